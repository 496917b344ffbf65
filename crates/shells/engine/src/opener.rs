//! Game streams of the bridge over the session link.

use async_trait::async_trait;
use bytes::Bytes;
use warp_bridge::{
    GameRead, GameReader, GameWriter, LinkGone, OpenedStream, StreamOpener, WriteGone,
};
use warp_link_driver::{LinkHandle, ReadEvent, StreamReader, StreamWriter, WriteError};
use warp_protocol::stream::OpenRequest;

pub(crate) struct LinkOpener(pub(crate) LinkHandle);

struct Writer(StreamWriter);
struct Reader(StreamReader);

#[async_trait]
impl StreamOpener for LinkOpener {
    async fn open(&self, _request: &OpenRequest) -> Result<OpenedStream, LinkGone> {
        let stream = self.0.open_stream().await.map_err(|_| LinkGone)?;
        let (writer, reader) = stream.split();
        Ok(OpenedStream {
            writer: Box::new(Writer(writer)),
            reader: Box::new(Reader(reader)),
        })
    }
}

#[async_trait]
impl GameWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), WriteGone> {
        self.0.write(data).await.map_err(|error| match error {
            WriteError::Stopped(code) => WriteGone::Stopped(code),
            WriteError::Closed => WriteGone::Closed,
        })
    }

    async fn stopped(&mut self) -> Option<u32> {
        self.0.stopped().await
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn reset(&mut self, code: u32) {
        self.0.reset(code);
    }
}

#[async_trait]
impl GameReader for Reader {
    async fn read(&mut self) -> GameRead {
        match self.0.read().await {
            ReadEvent::Data(bytes) => GameRead::Data(bytes),
            ReadEvent::Finished => GameRead::Finished,
            ReadEvent::Reset(code) => GameRead::Reset(code),
            ReadEvent::Closed => GameRead::Closed,
        }
    }

    fn stop(&mut self, code: u32) {
        self.0.stop(code);
    }
}
