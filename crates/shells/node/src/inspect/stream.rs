//! What files say, on its way to the screen or to the detector.

use std::io;
use std::rc::Rc;

use warp_ro_packet::{Direction, Role};

/// Why reading ends early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The output cannot be written.
    Output(io::Error),
    /// An input cannot be used; the text says which and why.
    Input(String),
}

/// One direction of one connection.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The file that it was found in.
    pub(super) file: Rc<str>,
    /// What tells its connection from others of the same number: the tag of a recording, or the
    /// name of one capture among several files.
    pub(super) session: Option<Rc<str>>,
    pub(super) role: Role,
    pub(super) direction: Direction,
    /// Number of its connection in the file.
    pub(super) number: u32,
    /// Its first byte is there: nothing was sent before.
    pub(super) whole: bool,
}

/// Takes streams piece by piece. Times are microseconds on the file's clock.
pub(super) trait Sink {
    /// A stream begins; its number is for the calls that follow.
    fn open(&mut self, origin: Origin) -> u64;

    /// The next bytes of a stream.
    fn data(&mut self, stream: u64, time_us: u64, bytes: &[u8]) -> Result<(), Trouble>;

    /// `missing` bytes of the stream are not in the file.
    fn gap(&mut self, stream: u64, time_us: u64, missing: u64) -> Result<(), Trouble>;

    /// The stream is over.
    fn end(&mut self, stream: u64, time_us: u64) -> Result<(), Trouble>;

    /// Whether more of the stream is of use.
    fn wants(&self, stream: u64) -> bool;
}

#[cfg(test)]
pub(super) mod collect {
    //! A sink that keeps everything, for tests.

    use super::{Origin, Sink, Trouble};

    /// What a stream came to.
    #[derive(Debug)]
    pub(in crate::inspect) struct Collected {
        pub(in crate::inspect) origin: Origin,
        pub(in crate::inspect) bytes: Vec<u8>,
        /// Where bytes are missing, and how many.
        pub(in crate::inspect) gaps: Vec<(usize, u64)>,
        pub(in crate::inspect) ended: bool,
    }

    #[derive(Debug, Default)]
    pub(in crate::inspect) struct Collect(pub(in crate::inspect) Vec<Collected>);

    impl Collect {
        fn stream(&mut self, stream: u64) -> &mut Collected {
            let one = &mut self.0[usize::try_from(stream).unwrap()];
            assert!(!one.ended, "nothing comes behind the end");
            one
        }
    }

    impl Sink for Collect {
        fn open(&mut self, origin: Origin) -> u64 {
            self.0.push(Collected {
                origin,
                bytes: Vec::new(),
                gaps: Vec::new(),
                ended: false,
            });
            self.0.len() as u64 - 1
        }

        fn data(&mut self, stream: u64, _: u64, bytes: &[u8]) -> Result<(), Trouble> {
            assert!(!bytes.is_empty());
            self.stream(stream).bytes.extend_from_slice(bytes);
            Ok(())
        }

        fn gap(&mut self, stream: u64, _: u64, missing: u64) -> Result<(), Trouble> {
            let one = self.stream(stream);
            one.gaps.push((one.bytes.len(), missing));
            Ok(())
        }

        fn end(&mut self, stream: u64, _: u64) -> Result<(), Trouble> {
            self.stream(stream).ended = true;
            Ok(())
        }

        fn wants(&self, _: u64) -> bool {
            true
        }
    }
}
