//! Openings that requests share: so many prefixes, drawn equally often or by Zipf's law.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Who, pick};
use crate::seed::Seed;
use crate::workload::error::Problem;

/// Prefixes that the prompts of a class draw from, as system prompts and documents that many requests open with. A cache
/// that holds all of them has `tokens` tokens of a `share` of the prompts, but for the first request of each prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixPool {
    /// Different prefixes.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prefixes: u32,
    /// Tokens of each.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub tokens: u32,
    /// Share of the requests that open with one of them; the others have nothing in common.
    #[serde(default = "all")]
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// Exponent of Zipf's law: the n-th prefix is drawn in proportion to 1/n^exponent. 0: all equally often.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub zipf_exponent: f64,
}

fn all() -> f64 {
    1.0
}

impl PrefixPool {
    /// What is wrong with the settings, keys relative to the pool.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.prefixes == 0 {
            problems.push(Problem::new("prefixes", "a pool has at least 1 prefix"));
        }
        if !(0.0..=1.0).contains(&self.share) {
            problems.push(Problem::new("share", format!("`share` {} is not between 0 and 1", self.share)));
        }
        if !(0.0..=10.0).contains(&self.zipf_exponent) {
            let message = format!("`zipf_exponent` {} is not between 0 and 10", self.zipf_exponent);
            problems.push(Problem::new("zipf_exponent", message));
        }
        problems
    }
}

/// Deals the prefixes of a pool out.
#[derive(Debug)]
pub(super) struct Pool {
    tokens: usize,
    /// Draws below this have a prefix.
    hits: u64,
    /// Upper ends of the prefixes in 0 … 2^64, the last one apart.
    ends: Vec<u64>,
    seed: Seed,
}

impl Pool {
    pub(super) fn new(config: &PrefixPool, seed: Seed) -> Self {
        let weight = |rank: u32| f64::from(rank).powf(-config.zipf_exponent);
        let total: f64 = (1..=config.prefixes).map(weight).sum();
        let mut sum = 0.0;
        let mut ends: Vec<u64> = (1..=config.prefixes)
            .map(|rank| {
                sum += weight(rank);
                of_all(sum / total)
            })
            .collect();
        ends.pop();
        Self { tokens: config.tokens as usize, hits: of_all(config.share), ends, seed }
    }

    /// Tokens of a prefix.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of the prefix that a request opens with, from the most frequent on; `None`: it has none.
    pub(super) fn prefix(&self, who: &Who) -> Option<u64> {
        let mut rng = who.seed(self.seed.child("draw")).rng();
        let hit = self.hits == u64::MAX || rng.next_u64() < self.hits;
        let draw = rng.next_u64();
        hit.then(|| self.ends.partition_point(|end| *end <= draw) as u64)
    }

    /// Piece numbers of a prefix, each below `choices`.
    pub(super) fn pieces(&self, prefix: u64, choices: usize) -> Vec<u32> {
        let mut rng = self.seed.child("prefix").index(prefix).rng();
        (0..self.tokens).map(|_| pick(&mut rng, choices)).collect()
    }
}

/// The part of 2^64 that `share` of it is.
fn of_all(share: f64) -> u64 {
    // `as` saturates at 2^64 - 1.
    (share * 2.0_f64.powi(64)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::timeline::{Phase, RequestId};

    fn draws(config: &PrefixPool, requests: u64) -> Vec<Option<u64>> {
        let pool = Pool::new(config, Seed::root(5));
        let who = |index| Who {
            phase: Phase::Measure,
            id: RequestId::Open { index },
            number: index,
            rank: 0,
            output_tokens: 0,
        };
        (0..requests).map(|index| pool.prefix(&who(index))).collect()
    }

    #[test]
    fn prefixes_follow_their_law() {
        // Zipf with exponent 1 over 4: weights 1, 1/2, 1/3, 1/4 of 25/12: shares 0.48, 0.24, 0.16, 0.12.
        for (zipf_exponent, shares) in [(0.0, [0.25; 4]), (1.0, [0.48, 0.24, 0.16, 0.12])] {
            let config = PrefixPool { prefixes: 4, tokens: 3, share: 0.7, zipf_exponent };
            let requests = 20_000;
            let drawn = draws(&config, requests);
            let hits = drawn.iter().flatten().count() as f64;
            // 14 000 expected, standard deviation 64.8.
            assert!((hits - 14_000.0).abs() < 4.0 * 64.8, "{hits}");
            // Chi-square with 3 degrees of freedom: 99.9 % at 16.3.
            let chi: f64 = (0..4)
                .zip(shares)
                .map(|(prefix, share)| {
                    let found = drawn.iter().flatten().filter(|drawn| **drawn == prefix).count() as f64;
                    (found - hits * share).powi(2) / (hits * share)
                })
                .sum();
            assert!(chi < 16.3, "exponent {zipf_exponent}: {chi}");
        }
    }

    #[test]
    fn the_ends_of_the_share_are_exact() {
        let config = |share| PrefixPool { prefixes: 3, tokens: 3, share, zipf_exponent: 0.0 };
        assert!(draws(&config(1.0), 1000).iter().all(Option::is_some));
        assert!(draws(&config(0.0), 1000).iter().all(Option::is_none));
        let pool = Pool::new(&config(1.0), Seed::root(1));
        assert_eq!(pool.pieces(2, 100), pool.pieces(2, 100));
        assert_ne!(pool.pieces(2, 1 << 20), pool.pieces(1, 1 << 20));
    }
}
