//! What a trace holds, counted while it is read.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::TraceRow;
use crate::units::{NANOS_PER_SEC, Nanos};

/// Bins of the requests over time; their width doubles until the trace fits.
const BINS: usize = 4096;

/// What a trace holds. Memory grows with different lengths, blocks and names, not with requests.
#[derive(Clone, Debug, Default)]
pub struct TraceStats {
    requests: u64,
    first: Option<Nanos>,
    last: Nanos,
    /// Sum of the squares of the gaps, ns².
    gap_squares: u128,
    input: Counts,
    output: Counts,
    seen: HashSet<u64>,
    blocks: u64,
    repeated: u64,
    models: BTreeMap<String, u64>,
    classes: BTreeMap<String, u64>,
    bins: Vec<u64>,
    bin_ns: Nanos,
}

/// How often each number of tokens occurs.
#[derive(Clone, Debug, Default)]
struct Counts {
    by_tokens: BTreeMap<u32, u64>,
}

/// Lengths of prompts or answers, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Mean.
    pub mean: f64,
    /// Smallest length that half of the requests do not exceed.
    pub p50: u32,
    /// The same for 99 of 100.
    pub p99: u32,
    /// Smallest.
    pub min: u32,
    /// Largest.
    pub max: u32,
    /// Requests with a length of 0: they are sent with 1.
    pub zero: u64,
}

impl Counts {
    fn add(&mut self, tokens: Option<u32>) {
        if let Some(tokens) = tokens {
            *self.by_tokens.entry(tokens).or_default() += 1;
        }
    }

    fn lengths(&self) -> Option<Lengths> {
        let count: u64 = self.by_tokens.values().sum();
        let (min, max) = (*self.by_tokens.first_key_value()?.0, *self.by_tokens.last_key_value()?.0);
        let sum: u128 = self.by_tokens.iter().map(|(tokens, times)| u128::from(*tokens) * u128::from(*times)).sum();
        let quantile = |hundredths: u64| {
            // The smallest length that at least ⌈q·n⌉ requests do not exceed: as in reports.
            let rank = (u128::from(count) * u128::from(hundredths)).div_ceil(100);
            let mut below = 0;
            self.by_tokens
                .iter()
                .find(|(_, times)| {
                    below += u128::from(**times);
                    below >= rank
                })
                .map_or(max, |(tokens, _)| *tokens)
        };
        Some(Lengths {
            mean: sum as f64 / count as f64,
            p50: quantile(50),
            p99: quantile(99),
            min,
            max,
            zero: self.by_tokens.get(&0).copied().unwrap_or(0),
        })
    }
}

impl TraceStats {
    /// Takes in the next row.
    pub fn add(&mut self, row: &TraceRow) {
        if let Some(at) = row.at_ns {
            if self.first.is_some() {
                let gap = u128::from(at - self.last);
                self.gap_squares = self.gap_squares.saturating_add(gap * gap);
            }
            self.first.get_or_insert(at);
            self.last = at;
            self.bin(at);
        }
        self.requests += 1;
        self.input.add(row.input_tokens);
        self.output.add(row.output_tokens);
        for (counts, name) in [(&mut self.models, &row.model), (&mut self.classes, &row.class)] {
            if let Some(name) = name {
                match counts.get_mut(name) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(name.clone(), 1),
                }
            }
        }
        for id in row.hash_ids.iter().flatten() {
            self.blocks += 1;
            self.repeated += u64::from(!self.seen.insert(*id));
        }
    }

    fn bin(&mut self, at: Nanos) {
        if self.bins.is_empty() {
            self.bins = vec![0; BINS];
            self.bin_ns = 1_000_000;
        }
        while at / self.bin_ns >= BINS as u64 {
            for index in 0..BINS / 2 {
                self.bins[index] = self.bins[2 * index] + self.bins[2 * index + 1];
            }
            self.bins[BINS / 2..].fill(0);
            self.bin_ns *= 2;
        }
        self.bins[(at / self.bin_ns) as usize] += 1;
    }

    /// Requests.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Seconds from the first to the last request; `None` without times.
    pub fn span_s(&self) -> Option<f64> {
        self.first.map(|first| (self.last - first) as f64 / NANOS_PER_SEC as f64)
    }

    /// Gaps over the span: requests per second. `None` without times, or when all arrive at once.
    pub fn rate_per_s(&self) -> Option<f64> {
        let span = self.span_s().filter(|span| *span > 0.0)?;
        Some((self.requests - 1) as f64 / span)
    }

    /// Coefficient of variation of the gaps: 1 for Poisson arrivals. `None` as for the rate.
    pub fn gap_cv(&self) -> Option<f64> {
        let gaps = (self.requests.max(1) - 1) as f64;
        let mean = self.first.map(|first| (self.last - first) as f64 / gaps).filter(|mean| *mean > 0.0)?;
        let variance = self.gap_squares as f64 / gaps - mean * mean;
        Some(variance.max(0.0).sqrt() / mean)
    }

    /// Lengths of the prompts, if the trace has any.
    pub fn input_tokens(&self) -> Option<Lengths> {
        self.input.lengths()
    }

    /// Lengths of the answers, if the trace has any.
    pub fn output_tokens(&self) -> Option<Lengths> {
        self.output.lengths()
    }

    /// Blocks, and how many of them an unbounded cache would have seen before.
    pub fn blocks(&self) -> Option<(u64, u64)> {
        (self.blocks > 0).then_some((self.blocks, self.repeated))
    }

    /// Requests by the model they asked for, where they say it.
    pub fn models(&self) -> &BTreeMap<String, u64> {
        &self.models
    }

    /// Requests by their kind, where they say it.
    pub fn classes(&self) -> &BTreeMap<String, u64> {
        &self.classes
    }

    /// Requests over time in `columns` equal parts of the trace; empty without times or with all at once.
    pub fn histogram(&self, columns: usize) -> Vec<u64> {
        let Some(used) = self.bins.iter().rposition(|count| *count > 0) else { return Vec::new() };
        let columns = columns.min(used + 1);
        let mut parts = vec![0; columns];
        for (index, count) in self.bins[..=used].iter().enumerate() {
            parts[index * columns / (used + 1)] += count;
        }
        parts
    }

    /// How often each length occurs, prompts or answers, in `columns` parts of equal ratio from 1 to the largest.
    pub fn length_histogram(&self, output: bool, columns: usize) -> Vec<u64> {
        let counts = if output { &self.output.by_tokens } else { &self.input.by_tokens };
        let Some(max) = counts.last_key_value().map(|(max, _)| (*max).max(2)) else { return Vec::new() };
        let mut parts = vec![0; columns];
        let top = f64::from(max).ln();
        for (tokens, count) in counts {
            let place = f64::from((*tokens).max(1)).ln() / top * columns as f64;
            parts[(place as usize).min(columns - 1)] += count;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_ms: u64, input: u32, output: u32, ids: &[u64]) -> TraceRow {
        TraceRow {
            at_ns: Some(at_ms * 1_000_000),
            input_tokens: Some(input),
            output_tokens: Some(output),
            hash_ids: Some(ids.to_vec()),
            ..TraceRow::default()
        }
    }

    #[test]
    fn known_answers() {
        let mut stats = TraceStats::default();
        for row in [row(0, 10, 0, &[1, 2]), row(1000, 20, 5, &[1, 3]), row(4000, 30, 5, &[1, 3]), row(4000, 40, 9, &[])]
        {
            stats.add(&row);
        }
        // Three gaps in 4 s: 1, 3 and 0 s. Mean 4/3, mean of squares 10/3, variance 10/3 - 16/9 = 14/9.
        assert_eq!((stats.requests(), stats.span_s()), (4, Some(4.0)));
        assert_eq!(stats.rate_per_s(), Some(0.75));
        assert!((stats.gap_cv().unwrap() - (14.0_f64 / 9.0).sqrt() / (4.0 / 3.0)).abs() < 1e-12);
        // ⌈0.5 · 4⌉ = 2nd of four, ⌈0.99 · 4⌉ = 4th.
        let input = Lengths { mean: 25.0, p50: 20, p99: 40, min: 10, max: 40, zero: 0 };
        assert_eq!(stats.input_tokens(), Some(input));
        let output = Lengths { mean: 4.75, p50: 5, p99: 9, min: 0, max: 9, zero: 1 };
        assert_eq!(stats.output_tokens(), Some(output));
        // 1 2 | 1 3 | 1 3: block 1 twice again, block 3 once again.
        assert_eq!(stats.blocks(), Some((6, 3)));
        // 4 s in bins of 1 ms: 0, 1000 and 4000 of 4001 bins, in four columns.
        assert_eq!(stats.histogram(4), [2, 0, 0, 2].map(|count: u64| count).to_vec());
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_there() {
        let mut stats = TraceStats::default();
        stats.add(&TraceRow { input_tokens: Some(3), output_tokens: Some(4), ..TraceRow::default() });
        assert_eq!((stats.span_s(), stats.rate_per_s(), stats.gap_cv(), stats.blocks()), (None, None, None, None));
        assert!(stats.histogram(10).is_empty());
        let mut stats = TraceStats::default();
        stats.add(&TraceRow { at_ns: Some(5), ..TraceRow::default() });
        stats.add(&TraceRow { at_ns: Some(5), ..TraceRow::default() });
        assert_eq!((stats.span_s(), stats.rate_per_s(), stats.gap_cv()), (Some(0.0), None, None));
        assert_eq!(stats.input_tokens(), None);
    }

    #[test]
    fn long_traces_fit_the_bins() {
        let mut stats = TraceStats::default();
        for day in 0..14 {
            stats.add(&row(day * 86_400_000, 1, 1, &[]));
        }
        assert_eq!(stats.histogram(14).iter().sum::<u64>(), 14);
        assert_eq!(stats.histogram(BINS).iter().filter(|count| **count > 0).count(), 14);
    }
}
