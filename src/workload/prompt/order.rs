//! In which order a dataset's rows are sent.

use crate::measure::timeline::Phase;
use crate::seed::Seed;
use crate::workload::permutation::Permutation;

/// The shuffled rows of a dataset: the window and the drain take them from the front, without replacement
/// until they run out; warm-up goes round the rows reserved for it at the back.
#[derive(Clone, Debug)]
pub(crate) struct RowOrder {
    rows: Permutation,
    /// Rows at the back that only warm-up sends.
    reserved: u64,
}

impl RowOrder {
    /// An order of `rows` rows. `warmup` is the number of warm-up requests and `measured` that of the
    /// window, where they are known.
    pub(crate) fn new(rows: u64, seed: Seed, warmup: Option<u64>, measured: Option<u64>) -> Self {
        Self { rows: Permutation::new(rows, seed), reserved: reserved(rows, warmup, measured) }
    }

    /// The row of the request with this rank in its phase's own count.
    pub(crate) fn row(&self, phase: Phase, rank: u64) -> u64 {
        let front = self.distinct();
        match phase {
            Phase::Warmup if self.reserved > 0 => self.rows.at(front + rank % self.reserved),
            _ => self.rows.at(rank % front),
        }
    }

    /// Rows the window draws from before one repeats.
    pub(crate) fn distinct(&self) -> u64 {
        self.rows.size() - self.reserved
    }
}

/// Warm-up gets a row for each of its requests if the window can spare them, never less than a tenth of
/// the rows (it may repeat its own prompts, but must not heat the window's), never all of them.
fn reserved(rows: u64, warmup: Option<u64>, measured: Option<u64>) -> u64 {
    let tenth = (rows / 10).max(1).min(rows - 1);
    match warmup {
        None => tenth,
        Some(warmup) => {
            let spare = rows.saturating_sub(measured.unwrap_or(rows));
            spare.max(tenth).min(warmup).min(rows - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_takes_what_the_window_can_spare() {
        // (rows, warm-up, measured) -> reserved
        assert_eq!(reserved(100, Some(0), Some(500)), 0, "no warm-up");
        assert_eq!(reserved(100, Some(20), Some(80)), 20, "room for both");
        assert_eq!(reserved(100, Some(20), Some(85)), 15, "the window needs 85");
        assert_eq!(reserved(100, Some(20), Some(99)), 10, "a tenth at least");
        assert_eq!(reserved(100, Some(3), Some(500)), 3, "no more than it sends");
        assert_eq!(reserved(100, None, None), 10, "closed loop: not known ahead");
        assert_eq!(reserved(1, Some(5), Some(5)), 0, "a single row is shared");
    }

    #[test]
    fn window_and_warm_up_never_share_a_row() {
        let order = RowOrder::new(50, Seed::root(1), Some(10), Some(40));
        let mut rows: Vec<u64> = (0..40).map(|rank| order.row(Phase::Measure, rank)).collect();
        rows.extend((0..10).map(|rank| order.row(Phase::Warmup, rank)));
        rows.sort_unstable();
        assert!(rows.iter().copied().eq(0..50), "each row once: {rows:?}");
    }
}
