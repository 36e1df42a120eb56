//! How an arrival finds its traffic class: by draw or by exact shares, a pure function of its number.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::load::Split;
use super::permutation::Permutation;
use crate::seed::Seed;

/// Largest block of an exact split. Weights that are whole in no smaller block are rounded to shares
/// of this block by largest remainder: at most 1/10 000 off.
const LARGEST_BLOCK: u64 = 10_000;

/// Shares of the classes and the rule that deals them out. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ClassSplit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: Seed,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// One class has all the weight.
    Only(u16),
    /// Upper ends of the classes in 0 … 2^64.
    Draw(Vec<u128>),
    /// Upper ends of the classes in a block.
    Exact(Vec<u64>),
}

impl ClassSplit {
    /// A split by `weights`, which are finite, not negative and not all zero.
    pub(crate) fn new(split: Split, weights: &[f64], seed: Seed) -> Self {
        let positive = || weights.iter().zip(0..).filter(|(weight, _)| **weight > 0.0);
        let rule = match (split, positive().count()) {
            (_, 1) => Rule::Only(positive().map(|(_, class)| class).next().unwrap_or(0)),
            (Split::Draw, _) => Rule::Draw(draw_ends(weights)),
            (Split::Exact, _) => Rule::Exact(ends(&block_counts(weights))),
        };
        Self(Arc::new(Inner { seed, rule }))
    }

    /// All to one class.
    pub(crate) fn only(class: u16, seed: Seed) -> Self {
        Self(Arc::new(Inner { seed, rule: Rule::Only(class) }))
    }

    /// Class of arrival `index`.
    pub(crate) fn class_of(&self, index: u64) -> u16 {
        self.from(index).next_class()
    }

    /// Classes of the arrivals from `index` on.
    pub(crate) fn from(&self, index: u64) -> SplitCursor {
        let mut draws = self.0.seed.rng();
        if matches!(self.0.rule, Rule::Draw(_)) {
            draws.set_word_pos(2 * u128::from(index));
        }
        SplitCursor { split: self.clone(), index, draws, block: None }
    }
}

/// Walks the arrivals in order: much cheaper than one lookup each.
#[derive(Clone, Debug)]
pub(crate) struct SplitCursor {
    split: ClassSplit,
    index: u64,
    draws: ChaCha12Rng,
    block: Option<(u64, Permutation)>,
}

impl SplitCursor {
    /// Class of the next arrival.
    pub(crate) fn next_class(&mut self) -> u16 {
        let index = self.index;
        self.index += 1;
        match &self.split.0.rule {
            Rule::Only(class) => *class,
            Rule::Draw(ends) => {
                // Draw `index` of the stream, two words each, so that any place of it can be looked up.
                let draw = u128::from(self.draws.next_u64());
                ends.partition_point(|end| *end <= draw) as u16
            }
            Rule::Exact(ends) => {
                let size = ends.last().copied().unwrap_or(1);
                let number = index / size;
                if self.block.as_ref().is_none_or(|(current, _)| *current != number) {
                    self.block = Some((number, Permutation::new(size, self.split.0.seed.index(number))));
                }
                let place = self.block.as_ref().map_or(0, |(_, order)| order.at(index % size));
                ends.partition_point(|end| *end <= place) as u16
            }
        }
    }
}

fn draw_ends(weights: &[f64]) -> Vec<u128> {
    let total: f64 = weights.iter().sum();
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    let mut sum = 0.0;
    let end = |(class, weight): (usize, &f64)| {
        sum += weight;
        // Rounding must leave no gap at the top that no class owns.
        if class >= last { 1 << 64 } else { (sum / total * 18_446_744_073_709_551_616.0) as u128 }
    };
    weights.iter().enumerate().map(end).collect()
}

fn ends(counts: &[u64]) -> Vec<u64> {
    let mut sum = 0;
    counts
        .iter()
        .map(|count| {
            sum += count;
            sum
        })
        .collect()
}

/// Places of each class in a block: the smallest block in which all shares are whole numbers, else
/// the largest one with the shares rounded by largest remainder.
fn block_counts(weights: &[f64]) -> Vec<u64> {
    let total: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    let whole = |size: &u64| {
        shares.iter().all(|share| {
            let places = share * *size as f64;
            (places - places.round()).abs() < 1e-9 * *size as f64
        })
    };
    let size = (1..=LARGEST_BLOCK).find(whole).unwrap_or(LARGEST_BLOCK);
    largest_remainder(&shares, size)
}

/// Classes with a weight so small that an exact split has no place for them.
pub(crate) fn unreachable_classes(split: Split, weights: &[f64]) -> Vec<usize> {
    if split == Split::Draw {
        return Vec::new();
    }
    let places = block_counts(weights);
    (0..weights.len()).filter(|class| weights[*class] > 0.0 && places[*class] == 0).collect()
}

/// Shares `size` among the classes: whole parts first, the rest to the largest remainders, the earlier
/// class first where they are equal.
pub(crate) fn largest_remainder(shares: &[f64], size: u64) -> Vec<u64> {
    let exact: Vec<f64> = shares.iter().map(|share| share * size as f64).collect();
    // The tolerance keeps 2.9999999999 a 3.
    let mut counts: Vec<u64> = exact.iter().map(|places| (places + 1e-6).floor() as u64).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|class| shares[*class] > 0.0).collect();
    let remainder = |class: usize| exact[class] - counts[class] as f64;
    order.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let missing = size.saturating_sub(counts.iter().sum());
    for class in order.into_iter().cycle().take(missing as usize) {
        counts[class] += 1;
    }
    counts
}
