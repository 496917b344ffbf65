//! Which counters were seen: a window that slides.

/// Width, counters. RFC 4303 3.4.3 wants at least 32 and recommends 64; a member that sends 100
/// frames a second fills 1024 in ten seconds, longer than any frame is under way.
pub const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// What a counter is to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not seen yet.
    New,
    /// Seen.
    Seen,
    /// Too far behind the highest to tell.
    Behind,
}

/// The highest counter that was seen, and which of the [`WINDOW`] up to it.
///
/// Bit `counter % WINDOW` stands for `counter`, so sliding clears and does not shift.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// One more than the highest; 0: none yet.
    next: u64,
    bits: [u64; WORDS],
}

impl Window {
    /// Looks; to be followed by [`Window::mark`] once the frame has proven authentic.
    pub(crate) fn place(&self, counter: u64) -> Place {
        if counter >= self.next {
            return Place::New;
        }
        if self.next - counter > WINDOW {
            return Place::Behind;
        }
        let (word, bit) = Self::spot(counter);
        if self.bits[word] & bit == 0 {
            Place::New
        } else {
            Place::Seen
        }
    }

    /// Notes a counter for which [`Window::place`] said [`Place::New`].
    pub(crate) fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            let skipped = counter - self.next;
            if skipped >= WINDOW {
                self.bits = [0; WORDS];
            } else {
                for between in self.next..counter {
                    let (word, bit) = Self::spot(between);
                    self.bits[word] &= !bit;
                }
            }
            self.next = counter.saturating_add(1);
        }
        let (word, bit) = Self::spot(counter);
        self.bits[word] |= bit;
    }

    fn spot(counter: u64) -> (usize, u64) {
        let bit = counter % WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_borders_of_the_window() {
        let mut window = Window::default();
        assert_eq!(window.place(0), Place::New);
        window.mark(0);
        assert_eq!(window.place(0), Place::Seen);
        window.mark(WINDOW);
        assert_eq!(window.place(0), Place::Behind);
        assert_eq!(window.place(1), Place::New);
        window.mark(10 * WINDOW);
        assert_eq!(window.place(9 * WINDOW), Place::Behind);
        assert_eq!(window.place(9 * WINDOW + 1), Place::New);
        assert_eq!(window.place(WINDOW), Place::Behind);
    }

    proptest! {
        /// Against a set of everything that was seen.
        #[test]
        fn a_window_says_what_a_complete_memory_says(
            steps in proptest::collection::vec((0u64..3000, any::<bool>()), 1..400)
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut base = 0;
            for (step, forward) in steps {
                let counter = if forward { base + step } else { base.saturating_sub(step) };
                let highest = seen.last().copied();
                let expected = match highest {
                    Some(highest) if counter + WINDOW <= highest => Place::Behind,
                    _ if seen.contains(&counter) => Place::Seen,
                    _ => Place::New,
                };
                prop_assert_eq!(window.place(counter), expected);
                if expected == Place::New {
                    window.mark(counter);
                    seen.insert(counter);
                    base = base.max(counter);
                }
            }
        }
    }
}
