//! What the driver's task, the handles and the streams of one link share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use warp_link::{Carrier, CarrierSender};
use warp_link_core::{Link, LinkEvent, StreamId};
use warp_protocol::carrier::PathKind;

use crate::notice::{LinkEnd, LinkNotice, LinkStatus};

/// One end of every stream that has a handle.
#[derive(Default)]
pub(crate) struct StreamEntry {
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// Waits for [`StreamEntry::stopped`] alone.
    pub(crate) stop_watcher: Option<Waker>,
    /// The code with which the other side stopped reading.
    pub(crate) stopped: Option<u32>,
    /// Halves that are still held; at zero the entry goes.
    pub(crate) halves: u8,
}

impl StreamEntry {
    fn take_all(&mut self, out: &mut Vec<Waker>) {
        out.extend(self.reader.take());
        out.extend(self.writer.take());
        out.extend(self.stop_watcher.take());
    }
}

/// The link and everything that changes with it.
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) streams: HashMap<StreamId, StreamEntry>,
    /// Opened by the other side, not yet taken; bounded by the link's `max_streams`.
    pub(crate) incoming: VecDeque<StreamId>,
    /// Carriers to attach (or, `None`, to detach); the newest of a kind wins.
    pub(crate) orders: BTreeMap<PathKind, Option<Carrier>>,
    /// Carriers in use.
    pub(crate) senders: BTreeMap<PathKind, CarrierSender>,
    /// Tasks that wait to open a stream.
    pub(crate) openers: usize,
    pub(crate) ended: bool,
}

impl Inner {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            streams: HashMap::new(),
            incoming: VecDeque::new(),
            orders: BTreeMap::new(),
            senders: BTreeMap::new(),
            openers: 0,
            ended: false,
        }
    }

    pub(crate) fn add_stream(&mut self, id: StreamId) {
        let entry = StreamEntry {
            halves: 2,
            ..StreamEntry::default()
        };
        self.streams.insert(id, entry);
    }

    /// Takes what the link says about a stream; gathers whom to wake.
    pub(crate) fn on_stream_event(&mut self, event: &LinkEvent, wake: &mut Vec<Waker>) {
        match *event {
            LinkEvent::Readable(id) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    wake.extend(entry.reader.take());
                }
            }
            LinkEvent::Writable(id) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    wake.extend(entry.writer.take());
                }
            }
            LinkEvent::Stopped(id, code) => {
                let code = u32::try_from(code).unwrap_or(u32::MAX);
                // A stream that nobody reads has to be reset, or QUIC keeps it open.
                self.link.reset(id, code);
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.stopped = Some(code);
                    wake.extend(entry.writer.take());
                    wake.extend(entry.stop_watcher.take());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn wake_all(&mut self, wake: &mut Vec<Waker>) {
        for entry in self.streams.values_mut() {
            entry.take_all(wake);
        }
    }
}

/// The lock and the bells around [`Inner`].
pub(crate) struct Shared {
    /// Poisoned by a panic inside the link: then the driver ends and every handle says so.
    inner: Mutex<Inner>,
    /// Wakes the driver's task.
    pub(crate) work: Notify,
    /// Wakes those who wait to open a stream.
    pub(crate) may_open: Notify,
    /// Wakes the one who takes incoming streams.
    pub(crate) arrived: Notify,
    pub(crate) notices: broadcast::Sender<LinkNotice>,
    pub(crate) status: watch::Sender<LinkStatus>,
    pub(crate) end: watch::Sender<Option<LinkEnd>>,
    /// Cancelled when the task has gone.
    pub(crate) gone: CancellationToken,
}

impl Shared {
    pub(crate) fn new(link: Link) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner::new(link)),
            work: Notify::new(),
            may_open: Notify::new(),
            arrived: Notify::new(),
            notices: broadcast::Sender::new(crate::NOTICES),
            status: watch::Sender::new(LinkStatus::default()),
            end: watch::Sender::new(None),
            gone: CancellationToken::new(),
        })
    }

    /// Works on the link; `None` when a panic inside the link has made it unusable.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> Option<R> {
        let mut inner = self.inner.lock().ok()?;
        Some(work(&mut inner))
    }

    /// As [`Shared::with`], and lets the driver send what came of it.
    pub(crate) fn change<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> Option<R> {
        let result = self.with(work);
        self.work.notify_one();
        result
    }

    /// Makes the end known, once.
    pub(crate) fn finish(&self, end: LinkEnd) {
        let first = self.end.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(end.clone());
            }
            first
        });
        if first {
            self.status.send_replace(LinkStatus::default());
            // Nobody may be listening.
            let _ = self.notices.send(LinkNotice::Closed(end));
        }
        self.may_open.notify_waiters();
        self.arrived.notify_one();
    }

    /// The streams of a driver that is gone: their owners are woken, also after a panic.
    pub(crate) fn abandon(&self) {
        let mut wake = Vec::new();
        {
            let mut inner = match self.inner.lock() {
                Ok(inner) => inner,
                Err(poisoned) => poisoned.into_inner(),
            };
            inner.ended = true;
            inner.wake_all(&mut wake);
            inner.senders.clear();
            inner.orders.clear();
        }
        for waker in wake {
            waker.wake();
        }
    }
}
