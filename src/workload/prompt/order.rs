//! In which order a dataset's rows are sent.

use super::dataset::config::RowDraw;
use super::{Who, pick};
use crate::measure::timeline::Phase;
use crate::seed::Seed;
use crate::workload::permutation::Permutation;

/// The rows of a dataset in the order of their sending. Without replacement the window and the drain take them from the
/// front until they run out, and warm-up goes round the rows reserved for it at the back; with replacement each takes any
/// of its rows.
#[derive(Clone, Debug)]
pub(crate) struct RowOrder {
    size: u64,
    deal: Deal,
    /// Rows at the back that only warm-up sends.
    reserved: u64,
}

#[derive(Clone, Debug)]
enum Deal {
    Shuffled(Permutation),
    InOrder,
    WithReplacement(Seed),
}

impl RowOrder {
    /// An order of `rows` rows. `warmup` is the number of warm-up requests and `measured` that of the
    /// window, where they are known.
    pub(crate) fn new(draw: RowDraw, rows: u64, seed: Seed, warmup: Option<u64>, measured: Option<u64>) -> Self {
        let deal = match draw {
            RowDraw::Shuffled => Deal::Shuffled(Permutation::new(rows, seed)),
            RowDraw::InOrder => Deal::InOrder,
            RowDraw::WithReplacement => Deal::WithReplacement(seed.child("with replacement")),
        };
        Self { size: rows, deal, reserved: reserved(rows, warmup, measured) }
    }

    /// The row of a request.
    pub(crate) fn row(&self, who: &Who) -> u64 {
        let front = self.size - self.reserved;
        let (from, rows) =
            if who.phase == Phase::Warmup && self.reserved > 0 { (front, self.reserved) } else { (0, front) };
        match &self.deal {
            Deal::Shuffled(order) => order.at(from + who.rank % rows),
            Deal::InOrder => from + who.rank % rows,
            Deal::WithReplacement(seed) => from + u64::from(pick(&mut who.seed(*seed).rng(), rows as usize)),
        }
    }

    /// Rows the window draws from before one repeats unasked; `None` where repeats are asked for.
    pub(crate) fn distinct(&self) -> Option<u64> {
        (!matches!(self.deal, Deal::WithReplacement(_))).then_some(self.size - self.reserved)
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
    use crate::measure::timeline::RequestId;

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

    fn who(phase: Phase, rank: u64) -> Who {
        Who { phase, id: RequestId::Open { index: rank }, number: rank, rank, output_tokens: 0 }
    }

    #[test]
    fn window_and_warm_up_never_share_a_row() {
        for draw in [RowDraw::Shuffled, RowDraw::InOrder] {
            let order = RowOrder::new(draw, 50, Seed::root(1), Some(10), Some(40));
            let mut rows: Vec<u64> = (0..40).map(|rank| order.row(&who(Phase::Measure, rank))).collect();
            assert_eq!(rows.is_sorted(), draw == RowDraw::InOrder);
            rows.extend((0..10).map(|rank| order.row(&who(Phase::Warmup, rank))));
            rows.sort_unstable();
            assert!(rows.iter().copied().eq(0..50), "each row once: {rows:?}");
        }
        let order = RowOrder::new(RowDraw::WithReplacement, 50, Seed::root(1), Some(10), Some(40));
        for rank in 0..500 {
            assert!(order.row(&who(Phase::Measure, rank)) < 40 && order.row(&who(Phase::Warmup, rank)) >= 40);
        }
    }

    #[test]
    fn with_replacement_every_row_is_equally_likely() {
        // 20 rows, 20 000 requests: 1000 expected of each, 19 degrees of freedom, 99.9 % at 43.8.
        let order = RowOrder::new(RowDraw::WithReplacement, 20, Seed::root(7), Some(0), None);
        let mut hits = [0_u32; 20];
        for rank in 0..20_000 {
            hits[order.row(&who(Phase::Measure, rank)) as usize] += 1;
        }
        let chi: f64 = hits.iter().map(|hits| (f64::from(*hits) - 1000.0).powi(2) / 1000.0).sum();
        assert!((5.0..43.8).contains(&chi), "{chi}: {hits:?}");
        assert_eq!(order.distinct(), None, "repeats are asked for");
    }
}
