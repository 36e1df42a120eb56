//! Zipf's law over a range of lengths, in the form that YCSB and Metron draw it.
//!
//! With `n = max - min + 1` lengths, `ζ(c)` the sum of `i ^ -θ` for `i` from 1 to `c - 1` (Metron's sum stops one short of
//! YCSB's), `α = 1 / (1 - θ)` and `η = (1 - (2 / n) ^ (1 - θ)) / (1 - ζ(2) / ζ(n))`, a uniform `u` gives `min` where
//! `u ζ(n) < 1`, `min + 1` where `u ζ(n) < 1 + 0.5 ^ θ`, and `min + ⌊n (η u - η + 1) ^ α⌋` elsewhere.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sums::powers;
use super::{Lengths, Problem, check_bounds};
use crate::seed::Seed;
use crate::workload::permutation::Permutation;

/// Fewest lengths for which the formula is a Zipf law: below, its two special cases are most of it.
const FEWEST: u32 = 10;
/// Keeps the formula finite where ζ(n) is; as in the tools that share it.
const GUARD: f64 = 1e-8;
/// Ranks whose scrambled lengths are averaged one by one; further ones are as good as spread evenly.
const AVERAGED: u32 = 2000;

/// A Zipf law: a length of rank `i` is drawn about `i ^ -theta` times as often as the shortest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zipf {
    /// How steep it is: 0 has all lengths equally often, near 1 the shortest are most of the traffic.
    #[schemars(range(min = 0, max = 0.999))]
    pub theta: f64,
    /// Smallest number of tokens, the most frequent one.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
    /// Whether the frequent lengths lie anywhere in the range, not at its lower end. Always in the same places.
    #[serde(default)]
    pub scramble: bool,
}

impl Zipf {
    /// The law of these settings, which are checked.
    pub(super) fn law(&self) -> ZipfLengths {
        let count = self.max - self.min + 1;
        let n = f64::from(count);
        let zeta = powers(count - 1, -self.theta);
        let eta = (1.0 - (2.0 / n).powf(1.0 - self.theta)) / (1.0 - 1.0 / (zeta + GUARD));
        let places =
            self.scramble.then(|| Permutation::new(u64::from(count), Seed::root(0).child("zipf").child("scramble")));
        ZipfLengths { theta: self.theta, alpha: 1.0 / (1.0 - self.theta), zeta, eta, min: self.min, count, places }
    }

    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = check_bounds(self.min, self.max);
        if problems.is_empty() && self.max - self.min + 1 < FEWEST {
            let message = format!(
                "there are only {} lengths between `min` {} and `max` {}; a Zipf law needs at least {FEWEST}: use \
                 `kind = \"histogram\"` for so few",
                self.max - self.min + 1,
                self.min,
                self.max
            );
            problems.push(Problem::new("max", message));
        }
        if !(0.0..=0.999).contains(&self.theta) {
            problems.push(Problem::new("theta", format!("`theta` {} is not between 0 and 0.999", self.theta)));
        }
        problems
    }
}

/// A Zipf law, ready to be drawn from.
#[derive(Clone, Debug)]
pub(super) struct ZipfLengths {
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
    min: u32,
    count: u32,
    places: Option<Permutation>,
}

impl ZipfLengths {
    /// Rank, from 0, that the uniform number `u` stands for.
    fn rank(&self, u: f64) -> u32 {
        let scaled = u * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < self.second_end() {
            return 1;
        }
        // `as` saturates; rounding must not reach past the last rank.
        let rank = (f64::from(self.count) * (self.eta * u - self.eta + 1.0).max(0.0).powf(self.alpha)) as u32;
        rank.min(self.count - 1)
    }

    /// Length of a rank.
    fn length(&self, rank: u32) -> u32 {
        match &self.places {
            None => self.min + rank,
            Some(places) => self.min + places.at(u64::from(rank)) as u32,
        }
    }

    fn second_end(&self) -> f64 {
        1.0 + 0.5_f64.powf(self.theta)
    }

    /// Share of the draws whose rank is at least `rank`.
    fn at_least(&self, rank: u32) -> f64 {
        match rank {
            0 => 1.0,
            1 => 1.0 - 1.0 / self.zeta,
            rank => {
                let from =
                    ((f64::from(rank) / f64::from(self.count)).powf(1.0 - self.theta) - 1.0 + self.eta) / self.eta;
                (1.0 - from.max(self.second_end() / self.zeta)).clamp(0.0, 1.0)
            }
        }
    }

    /// Mean rank: the sum over all ranks of the share that is at least there.
    fn mean_rank(&self) -> f64 {
        let single = AVERAGED.min(self.count - 1);
        let first: f64 = (1..=single).map(|rank| self.at_least(rank)).sum();
        // Σ (1 - ((k / n) ^ (1 - θ) - 1 + η) / η) over the ranks that are left, in closed form.
        let left = f64::from(self.count - 1 - single);
        let powers = powers(self.count - 1, 1.0 - self.theta) - powers(single, 1.0 - self.theta);
        first + (left - powers / f64::from(self.count).powf(1.0 - self.theta)) / self.eta
    }
}

impl Lengths for ZipfLengths {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        self.length(self.rank(rng.random()))
    }

    fn mean(&self) -> f64 {
        if self.places.is_none() {
            return f64::from(self.min) + self.mean_rank();
        }
        let single = AVERAGED.min(self.count);
        let (mut sum, mut lengths) = (0.0, 0.0);
        for rank in 0..single {
            let length = f64::from(self.length(rank));
            sum += length * (self.at_least(rank) - if rank + 1 < self.count { self.at_least(rank + 1) } else { 0.0 });
            lengths += length;
        }
        // The lengths that are left share the rest of the draws nearly evenly.
        let rest = f64::from(self.count - single);
        let all = f64::from(self.count) * (f64::from(self.min) + f64::from(self.count - 1) / 2.0);
        if rest > 0.0 { sum + self.at_least(single) * (all - lengths) / rest } else { sum }
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.min + self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values computed from Metron's formula: ζ(7169) = 341.71644, η = 0.99554548, and the lengths of some draws.
    #[test]
    fn the_formula_is_metrons() {
        let law = Zipf { theta: 0.4, min: 1024, max: 8192, scramble: false }.law();
        assert_eq!(law.count, 7169);
        assert!((law.zeta - 341.716_44).abs() < 5e-6, "{}", law.zeta);
        assert!((law.eta - 0.995_545_48).abs() < 5e-9, "{}", law.eta);
        for (u, length) in [(0.1, 1188), (0.25, 1751), (0.5, 3298), (0.75, 5473), (0.9, 7043), (0.99, 8074)] {
            assert_eq!(law.length(law.rank(u)), length, "u = {u}");
        }
        // 1 / 341.716 = 0.002926 of the draws are the shortest; 1.757858 / 341.716 = 0.005144 are one of the first two.
        for (u, length) in [(0.0, 1024), (0.0029, 1024), (0.0030, 1025), (0.0051, 1025), (1.0 - f64::EPSILON, 8192)] {
            assert_eq!(law.length(law.rank(u)), length, "u = {u}");
        }
        // Two million evenly spaced u, summed apart from this code: 3723.898.
        assert!((law.mean() - 3723.898).abs() < 0.01, "{}", law.mean());
    }

    /// The mean is that of all draws, however many lengths there are and wherever they lie.
    #[test]
    fn means_are_those_of_evenly_spaced_draws() {
        let draws = 400_000;
        for (theta, min, max, scramble) in [
            (0.4, 1024, 8192, false),
            (0.4, 1024, 8192, true),
            (0.9, 1, 100_000, false),
            (0.0, 5, 3000, false),
            (0.99, 1, 10, false),
            (0.8, 10, 60, true),
        ] {
            let law = Zipf { theta, min, max, scramble }.law();
            let whole: f64 = (0..draws)
                .map(|i| f64::from(law.length(law.rank((f64::from(i) + 0.5) / f64::from(draws)))))
                .sum::<f64>()
                / f64::from(draws);
            assert!((law.mean() / whole - 1.0).abs() < 2e-3, "{theta} {min} {max} {scramble}: {} {whole}", law.mean());
        }
    }

    #[test]
    fn scrambling_moves_lengths_and_keeps_their_frequencies() {
        let plain = Zipf { theta: 0.8, min: 100, max: 199, scramble: false }.law();
        let scrambled = Zipf { theta: 0.8, min: 100, max: 199, scramble: true }.law();
        let mut places: Vec<u32> = (0..100).map(|rank| scrambled.length(rank)).collect();
        assert_ne!(places, (100..200).collect::<Vec<_>>());
        places.sort_unstable();
        assert_eq!(places, (100..200).collect::<Vec<_>>(), "every length has one rank");
        assert_eq!(plain.rank(0.3), scrambled.rank(0.3));
    }
}
