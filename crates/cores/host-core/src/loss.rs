//! Loss on the way from the endpoint, by the numbers in the labels of datagrams.

/// A step of the numbers beyond this is a new carrier that counts anew, not a gap.
const GAP: i16 = 1_000;
/// The same backwards.
const LATE: i16 = -GAP;

/// Counts the gaps in the numbers of one carrier.
#[derive(Debug, Clone, Default)]
pub(crate) struct LossMeter {
    last: Option<u16>,
    expected: u64,
    received: u64,
}

impl LossMeter {
    pub(crate) fn on_number(&mut self, number: u16) {
        self.received += 1;
        let step = match self.last {
            // The cast wraps on purpose: numbers do.
            Some(last) => number.wrapping_sub(last) as i16,
            None => 1,
        };
        match step {
            1..GAP => self.expected += u64::from(step.unsigned_abs()),
            // It came late; its gap was counted.
            LATE..=0 => return,
            _ => self.expected += 1,
        }
        self.last = Some(number);
    }

    /// Expected and received since the last call.
    pub(crate) fn take(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.expected),
            std::mem::take(&mut self.received),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_late_ones_fill_them_and_a_new_carrier_is_no_gap() {
        let mut meter = LossMeter::default();
        for number in [65_534, 65_535, 0, 3, 2, 4] {
            meter.on_number(number);
        }
        // 1 is missing.
        assert_eq!(meter.take(), (7, 6));
        meter.on_number(30_000);
        meter.on_number(30_001);
        assert_eq!(meter.take(), (2, 2));
        assert_eq!(meter.take(), (0, 0));
    }
}
