//! What a limit of time is worth on a machine that does other things as well.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use warp_tests::process::PATIENCE;

/// How often it is looked how many wait for a processor.
const EVERY: Duration = Duration::from_millis(50);

/// Counts how many threads of the machine want a processor at once. Where they are more than two for
/// each that it has, a limit says nothing about the coordinator, and only [`PATIENCE`] counts.
pub(crate) struct Calm {
    /// Looks, and how many wanted one at each, summed.
    seen: Arc<Mutex<(usize, usize)>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Calm {
    pub(crate) fn watch() -> Self {
        let seen = Arc::<Mutex<(usize, usize)>>::default();
        let stop = CancellationToken::new();
        let (notes, stopped) = (Arc::clone(&seen), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.is_cancelled() {
                let mut notes = notes.lock().unwrap();
                notes.0 += 1;
                notes.1 += runnable();
                drop(notes);
                std::thread::sleep(EVERY);
            }
        });
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// Something begins that has a limit.
    pub(crate) fn begin(&self) -> Instant {
        *self.seen.lock().unwrap() = (1, runnable());
        Instant::now()
    }

    /// Prints how long something took since `from`, and fails where it took longer than it may.
    #[track_caller]
    pub(crate) fn took(&self, what: &str, from: Instant, limit: Duration) {
        let took = from.elapsed();
        let (looks, sum) = *self.seen.lock().unwrap();
        let wanted = sum as f64 / looks as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "{what} after {} ms ({wanted:.1} threads wanted one of {cores} cores)",
            took.as_millis()
        );
        let limit = if wanted > 2.0 * cores as f64 {
            PATIENCE
        } else {
            limit
        };
        assert!(took < limit, "{what}: {took:?} of {limit:?}");
    }
}

impl Drop for Calm {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Threads that run or could run now, of the whole machine.
fn runnable() -> usize {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let field = text.split(' ').nth(3).unwrap_or_default();
    let (running, _) = field.split_once('/').unwrap_or_default();
    running.parse().unwrap_or(0)
}
