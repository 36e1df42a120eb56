//! A shuffled order that needs no list: position in, item out, each item exactly once.

use rand::Rng;

use crate::seed::Seed;

const ROUNDS: usize = 6;

/// A permutation of `0..size`, a pure function of its seed. Items are found in constant time and
/// memory, so drawing without replacement needs no shared state.
///
/// A Feistel network over the next power of four; results outside the range are fed in again.
#[derive(Clone, Debug)]
pub struct Permutation {
    size: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// A permutation of `size` items, 1 to 2^62.
    pub fn new(size: u64, seed: Seed) -> Self {
        assert!((1..=1 << 62).contains(&size), "a permutation has 1 to 2^62 items");
        let bits = u64::BITS - (size - 1).leading_zeros();
        let mut rng = seed.rng();
        Self { size, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| rng.next_u64()) }
    }

    /// Number of items.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The item at `position`, which wraps around at the end.
    pub fn at(&self, position: u64) -> u64 {
        let mut value = position % self.size;
        loop {
            value = self.mix(value);
            if value < self.size {
                return value;
            }
        }
    }

    fn mix(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (scramble(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// Spreads every input bit over the whole word; multipliers from `MurmurHash3`'s finaliser.
fn scramble(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_exactly_once() {
        for size in (1..=70).chain([255, 256, 257, 1000]) {
            let order = Permutation::new(size, Seed::root(size));
            let mut items: Vec<u64> = (0..size).map(|position| order.at(position)).collect();
            assert_eq!(order.at(size), items[0], "wraps around");
            items.sort_unstable();
            assert!(items.iter().copied().eq(0..size), "size {size}");
        }
    }

    #[test]
    fn each_item_is_equally_likely_at_a_position() {
        // 6 items, 6000 seeds: 1000 expected in each cell, 5 degrees of freedom, 99.9 % at 20.5.
        for position in 0..6 {
            let mut hits = [0_u32; 6];
            for seed in 0..6000 {
                hits[Permutation::new(6, Seed::root(seed)).at(position) as usize] += 1;
            }
            let chi: f64 = hits.iter().map(|hits| (f64::from(*hits) - 1000.0).powi(2) / 1000.0).sum();
            assert!(chi < 20.5, "position {position}: {hits:?}");
        }
    }
}
