//! Many events, few messages: a message to the web view costs far more than an event.
//!
//! An event that comes alone goes out at once. After a message the next one waits until
//! [`PERIOD`] has passed, and takes everything that has come meanwhile, [`MOST`] events at a time.
//! While a message is full nothing is read, so that the engine's own bounded queue decides what
//! happens to a listener that does not keep up.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};
use warp_engine_core::event::Event;

/// Shortest time between two messages.
pub(crate) const PERIOD: Duration = Duration::from_millis(75);
/// Most events of one message.
pub(crate) const MOST: usize = 256;

/// Where events come from: the engine's stream.
pub(crate) trait Source: Send {
    /// The next event; `None` after the last one. Dropping the future loses no event.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

/// Hands everything from `source` to `send` until the source ends or `send` says false: nobody
/// listens any more.
pub(crate) async fn forward(mut source: impl Source, send: impl Fn(Vec<Event>) -> bool) {
    let mut not_before = Instant::now();
    while let Some(first) = source.next().await {
        let mut batch = vec![first];
        let mut ended = false;
        while batch.len() < MOST && !ended {
            match timeout_at(not_before, source.next()).await {
                Ok(Some(event)) => batch.push(event),
                Ok(None) => ended = true,
                Err(_) => break,
            }
        }
        if !send(batch) || ended {
            return;
        }
        not_before = Instant::now() + PERIOD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::mpsc;
    use warp_engine_core::event::ConsoleAnswer;

    impl Source for mpsc::Receiver<Event> {
        async fn next(&mut self) -> Option<Event> {
            self.recv().await
        }
    }

    fn numbered(number: usize) -> Event {
        Event::Console {
            line: number.to_string(),
            answer: ConsoleAnswer::Help,
        }
    }

    #[tokio::test]
    async fn a_flood_arrives_whole_in_order_and_in_few_messages() {
        let (events, source) = mpsc::channel(1_000);
        for number in 0..1_000 {
            events.send(numbered(number)).await.unwrap();
        }
        drop(events);
        let batches = Mutex::new(Vec::new());
        forward(source, |batch| {
            batches.lock().unwrap().push(batch);
            true
        })
        .await;
        let batches = batches.into_inner().unwrap();
        assert!(batches.iter().all(|batch| batch.len() <= MOST));
        // The first goes out at once, the others full: 1, or as many as were read in that moment.
        assert!(batches.len() <= 2 + 1_000 / MOST + 1, "{}", batches.len());
        let all: Vec<Event> = batches.into_iter().flatten().collect();
        assert_eq!(all, (0..1_000).map(numbered).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_event_alone_does_not_wait_for_others() {
        let (events, source) = mpsc::channel(1);
        let (out, mut seen) = mpsc::channel(1);
        let task = tokio::spawn(forward(source, move |batch| out.try_send(batch).is_ok()));
        events.send(Event::SignedOut).await.unwrap();
        // The sender is still open: only what was sent can have ended the wait.
        assert_eq!(seen.recv().await, Some(vec![Event::SignedOut]));
        drop(events);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn it_ends_when_nobody_listens() {
        let (events, source) = mpsc::channel(2);
        events.send(Event::SignedOut).await.unwrap();
        forward(source, |_| false).await;
        assert!(events.is_closed());
    }
}
