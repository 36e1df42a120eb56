//! A choice among weighted entries.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// Entries with weights: each is chosen with its weight over the sum of all.
#[derive(Clone, Debug)]
pub struct Weighted<T> {
    entries: Vec<T>,
    /// Upper end of each entry in 0 … the sum of all weights.
    ends: Vec<f64>,
}

impl<T> Weighted<T> {
    /// The entries with a weight above 0; weights are finite, and one of them is above 0.
    pub fn new(entries: impl IntoIterator<Item = (T, f64)>) -> Self {
        let (mut kept, mut ends, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (entry, weight) in entries.into_iter().filter(|(_, weight)| *weight > 0.0) {
            sum += weight;
            kept.push(entry);
            ends.push(sum);
        }
        Self { entries: kept, ends }
    }

    /// One entry.
    pub fn draw(&self, rng: &mut ChaCha12Rng) -> &T {
        let at = rng.random::<f64>() * self.ends.last().copied().unwrap_or(0.0);
        let place = self.ends.partition_point(|end| *end <= at);
        // Rounding up to the very end of the last entry still is that entry.
        &self.entries[place.min(self.entries.len() - 1)]
    }

    /// The mean of `value` over the entries.
    pub fn mean(&self, value: impl Fn(&T) -> f64) -> f64 {
        let total = self.ends.last().copied().unwrap_or(1.0);
        let starts = std::iter::once(&0.0).chain(&self.ends);
        let weights = self.ends.iter().zip(starts).map(|(end, start)| end - start);
        self.entries.iter().zip(weights).map(|(entry, weight)| value(entry) * weight / total).sum()
    }

    /// The entries that can be drawn.
    pub fn entries(&self) -> &[T] {
        &self.entries
    }
}
