//! Game streams of the bridge over a session link.

use std::sync::Arc;
use std::task::{Context, Poll};

use warp_bridge::{GameRead, GameReader, GameWriter, LinkGone, OpenedStream, WriteGone};
use warp_bridge_core::Level;
use warp_engine_core::view::LinkState;
use warp_link_driver::{GameStream, LinkHandle, ReadEvent, StreamReader, StreamWriter, WriteError};
use warp_protocol::stream::ServerRole;

use crate::router::Counted;

struct Writer {
    stream: StreamWriter,
    /// Dropped with the last half.
    _counted: Option<Arc<Counted>>,
}

struct Reader {
    stream: StreamReader,
    _counted: Option<Arc<Counted>>,
}

/// Opens a stream; waits while the link is not connected.
pub(crate) async fn open(
    handle: &LinkHandle,
    role: ServerRole,
    counted: Option<Counted>,
) -> Result<OpenedStream, LinkGone> {
    let stream = handle.open_stream().await.map_err(|_| LinkGone)?;
    Ok(wrap(handle, stream, role, counted))
}

/// Whether a link in this state carries game now.
pub(crate) fn carries(state: LinkState) -> bool {
    matches!(state, LinkState::Connected | LinkState::FailingOver)
}

/// A stream of `handle` as the bridge takes it.
pub(crate) fn wrap(
    handle: &LinkHandle,
    stream: GameStream,
    role: ServerRole,
    counted: Option<Counted>,
) -> OpenedStream {
    let counted = counted.map(Arc::new);
    let (mut writer, reader) = stream.split();
    writer.prioritise(role.priority());
    let status = handle.watch_status();
    OpenedStream {
        writer: Box::new(Writer {
            stream: writer,
            _counted: counted.clone(),
        }),
        reader: Box::new(Reader {
            stream: reader,
            _counted: counted,
        }),
        path: Arc::new(move || {
            let status = status.borrow();
            status.path.filter(|_| carries(status.state))
        }),
        at_most: Level::Assist,
    }
}

impl GameWriter for Writer {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut &[u8],
    ) -> Poll<Result<(), WriteGone>> {
        self.stream
            .poll_write(cx, data)
            .map_err(|error| match error {
                WriteError::Stopped(code) => WriteGone::Stopped(code),
                WriteError::Closed => WriteGone::Closed,
            })
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.stream.poll_stopped(cx)
    }

    fn finish(&mut self) {
        self.stream.finish();
    }

    fn reset(&mut self, code: u32) {
        self.stream.reset(code);
    }
}

impl GameReader for Reader {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<GameRead> {
        self.stream.poll_read(cx).map(|event| match event {
            ReadEvent::Data(bytes) => GameRead::Data(bytes),
            ReadEvent::Finished => GameRead::Finished,
            ReadEvent::Reset(code) => GameRead::Reset(code),
            ReadEvent::Closed => GameRead::Closed,
        })
    }

    fn stop(&mut self, code: u32) {
        self.stream.stop(code);
    }
}
