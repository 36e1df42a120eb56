//! How many requests before a given one draw from the same dataset.

use std::sync::RwLock;

use super::split::ClassSplit;

/// Requests between two stored counts: looking one up walks at most this many class draws.
const STRIDE: u64 = 1024;

/// Counts the requests of some of the classes. A pure function of the request's number; the stored
/// counts only make it fast, and grow as later numbers are asked for.
#[derive(Debug)]
pub(crate) struct Ranks {
    split: ClassSplit,
    /// Whether class i is among the counted.
    counted: Vec<bool>,
    /// Counted requests before number `STRIDE * i`.
    stored: RwLock<Vec<u64>>,
}

impl Ranks {
    pub(crate) fn new(split: ClassSplit, counted: Vec<bool>) -> Self {
        Self { split, counted, stored: RwLock::new(vec![0]) }
    }

    /// Counted requests before `number`.
    pub(crate) fn before(&self, number: u64) -> u64 {
        if self.counted.iter().all(|counted| *counted) {
            return number;
        }
        let block = number / STRIDE;
        let known = self.stored.read().expect("no holder of this lock panics").get(block as usize).copied();
        let base = known.unwrap_or_else(|| self.extend(block));
        base + self.count(block * STRIDE, number % STRIDE)
    }

    fn extend(&self, block: u64) -> u64 {
        let mut stored = self.stored.write().expect("no holder of this lock panics");
        for next in stored.len() as u64..=block {
            let sum = stored[next as usize - 1] + self.count((next - 1) * STRIDE, STRIDE);
            stored.push(sum);
        }
        stored[block as usize]
    }

    fn count(&self, from: u64, requests: u64) -> u64 {
        let mut classes = self.split.from(from);
        (0..requests).filter(|_| self.counted[usize::from(classes.next_class())]).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::workload::load::Split;

    #[test]
    fn a_rank_is_the_count_of_earlier_requests() {
        for split in [Split::Draw, Split::Exact] {
            let split = ClassSplit::new(split, &[0.5, 0.3, 0.2], Seed::root(3));
            let ranks = Ranks::new(split.clone(), vec![true, false, true]);
            let counted: Vec<u64> = (0..5000).map(|number| u64::from(split.class_of(number) != 1)).collect();
            // Asked out of order on purpose.
            for number in [4999_u64, 0, 1, 1023, 1024, 1025, 3000] {
                assert_eq!(ranks.before(number), counted[..number as usize].iter().sum::<u64>(), "{number}");
            }
        }
    }
}
