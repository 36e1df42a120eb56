//! A distribution whose memory does not grow: an HDR histogram with exact sums beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use super::metric::Unit;
use crate::report::model::{HistogramReport, MetricReport, Quantiles};

/// Significant decimal digits of a bucket.
const DIGITS: u8 = 3;

/// Largest relative width of a bucket with three significant digits.
pub const RESOLUTION: f64 = 0.001;

/// The word for the payload of a histogram.
const ENCODING: &str = "hdr-v2-deflate-base64";

/// Samples of one metric. Count, min, max, sum and sum of squares are exact; quantiles have the
/// resolution of the histogram. Merging is exact: parts in any order equal one pass.
#[derive(Clone, Debug)]
pub struct Distribution {
    unit: Unit,
    /// Absent before the first sample: most classes never see half of the metrics.
    histogram: Option<Histogram<u64>>,
    count: u64,
    min: u64,
    max: u64,
    sum: u128,
    sum_squares: u128,
}

/// Why a stored histogram cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// Another encoding or unit than this build knows.
    #[error("unknown histogram {what} `{found}`")]
    Unknown {
        /// `encoding` or `unit`.
        what: &'static str,
        /// The word found.
        found: String,
    },
    /// The payload is damaged.
    #[error("histogram payload is damaged: {0}")]
    Payload(String),
}

impl Distribution {
    /// An empty distribution.
    pub const fn new(unit: Unit) -> Self {
        Self { unit, histogram: None, count: 0, min: u64::MAX, max: 0, sum: 0, sum_squares: 0 }
    }

    /// Adds one sample, in the integers of the unit.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Adds the same sample `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        let histogram = self.histogram.get_or_insert_with(growing);
        add(histogram, value, n);
        self.count += n;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let (value, n) = (u128::from(value), u128::from(n));
        self.sum = self.sum.saturating_add(value * n);
        self.sum_squares = self.sum_squares.saturating_add((value * value).saturating_mul(n));
    }

    /// Adds all samples of `other`, which has the same unit.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.unit, other.unit, "only the same metric is merged");
        let Some(theirs) = &other.histogram else { return };
        if self.histogram.is_none() {
            *self = other.clone();
            return;
        }
        let histogram = self.histogram.get_or_insert_with(growing);
        for step in theirs.iter_recorded() {
            add(histogram, step.value_iterated_to(), step.count_at_value());
        }
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.sum_squares = self.sum_squares.saturating_add(other.sum_squares);
    }

    /// Unit of the samples.
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Number of samples.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Upper edge of the smallest bucket that holds the sample of that rank; ranks count from 1.
    /// Absent when there are fewer samples.
    pub fn at_rank(&self, rank: u64) -> Option<u64> {
        self.at_ranks(&[rank])[0]
    }

    /// The `per_mille`-quantile: the sample of rank ⌈q·n⌉. Absent without samples.
    pub fn quantile(&self, per_mille: u16) -> Option<u64> {
        self.at_rank(rank(per_mille, self.count))
    }

    /// Samples in buckets that lie wholly at or below `value`.
    pub fn count_at_or_below(&self, value: u64) -> u64 {
        if value >= self.max {
            return self.count;
        }
        let Some(histogram) = &self.histogram else { return 0 };
        histogram
            .iter_recorded()
            .take_while(|step| histogram.highest_equivalent(step.value_iterated_to()) <= value)
            .map(|step| step.count_at_value())
            .sum()
    }

    /// Values at ascending ranks in one walk over the buckets.
    fn at_ranks<const N: usize>(&self, ranks: &[u64; N]) -> [Option<u64>; N] {
        let mut found = [None; N];
        let Some(histogram) = &self.histogram else { return found };
        let (mut seen, mut next) = (0_u64, 0);
        for step in histogram.iter_recorded() {
            seen += step.count_at_value();
            while next < N && ranks[next] <= seen {
                found[next] = Some(histogram.highest_equivalent(step.value_iterated_to()));
                next += 1;
            }
        }
        found
    }

    /// The distribution as a report holds it; absent without samples.
    pub fn report(&self) -> Option<MetricReport> {
        let histogram = self.histogram.as_ref()?;
        Some(MetricReport {
            unit: self.unit.name().to_owned(),
            count: self.count,
            mean: self.mean(),
            sd: self.sd(),
            min: self.unit.display(self.min),
            max: self.unit.display(self.max),
            quantiles: self.quantiles()?,
            histogram: HistogramReport {
                encoding: ENCODING.to_owned(),
                unit: self.unit.raw_name().to_owned(),
                resolution: RESOLUTION,
                min: self.min,
                max: self.max,
                sum: self.sum.to_string(),
                sum_squares: self.sum_squares.to_string(),
                data: BASE64.encode(encode(histogram)),
            },
        })
    }

    /// Reads a distribution back from a report; further samples can be merged into it.
    ///
    /// # Errors
    /// When the encoding or unit is unknown or the payload is damaged.
    pub fn from_report(report: &MetricReport) -> Result<Self, HistogramError> {
        let stored = &report.histogram;
        let unknown = |what, found: &str| HistogramError::Unknown { what, found: found.to_owned() };
        if stored.encoding != ENCODING {
            return Err(unknown("encoding", &stored.encoding));
        }
        let unit = Unit::from_raw_name(&stored.unit).ok_or_else(|| unknown("unit", &stored.unit))?;
        let damaged = |what: &dyn std::fmt::Display| HistogramError::Payload(what.to_string());
        let bytes = BASE64.decode(&stored.data).map_err(|error| damaged(&error))?;
        let mut histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| damaged(&error))?;
        histogram.auto(true);
        if histogram.len() != report.count {
            return Err(damaged(&format_args!("{} samples instead of {}", histogram.len(), report.count)));
        }
        Ok(Self {
            unit,
            count: report.count,
            min: stored.min,
            max: stored.max,
            sum: stored.sum.parse().map_err(|error| damaged(&error))?,
            sum_squares: stored.sum_squares.parse().map_err(|error| damaged(&error))?,
            histogram: Some(histogram),
        })
    }

    /// Mean in the unit users read, from the exact sum, to a millionth of that unit.
    #[allow(clippy::cast_precision_loss)]
    fn mean(&self) -> f64 {
        let millionths = u128::from(1_000_000 / self.unit.scale());
        let count = u128::from(self.count);
        let mean = (self.sum.saturating_mul(millionths) + count / 2) / count;
        mean as f64 / 1e6
    }

    /// Sample standard deviation from the exact sums, to a millionth of the unit users read.
    #[allow(clippy::cast_precision_loss)]
    fn sd(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        let n = u128::from(self.count);
        // n·Σx² − (Σx)² in integers: the subtraction would eat the digits of a float.
        let exact = n.checked_mul(self.sum_squares).zip(self.sum.checked_mul(self.sum));
        let spread = match exact {
            Some((squares, square)) => squares.saturating_sub(square) as f64,
            None => (n as f64 * self.sum_squares as f64 - self.sum as f64 * self.sum as f64).max(0.0),
        };
        let variance = spread / (n as f64 * (n - 1) as f64);
        let sd = variance.sqrt() / self.unit.scale() as f64;
        Some((sd * 1e6).round() / 1e6)
    }

    fn quantiles(&self) -> Option<Quantiles> {
        let ranks = [10, 50, 100, 250, 500, 750, 900, 950, 990, 999].map(|per_mille| rank(per_mille, self.count));
        let values = self.at_ranks(&ranks).map(|raw| raw.map(|raw| self.unit.display(raw)));
        let [p1, p5, p10, p25, p50, p75, p90, p95, p99, p99_9] = values;
        Some(Quantiles {
            p1: p1?,
            p5: p5?,
            p10: p10?,
            p25: p25?,
            p50: p50?,
            p75: p75?,
            p90: p90?,
            p95: p95?,
            p99: p99?,
            p99_9: p99_9?,
        })
    }
}

/// ⌈q·n⌉ in integers (0.07 · 100 is 7.000000000000001 in floats), at least 1.
pub fn rank(per_mille: u16, n: u64) -> u64 {
    let rank = (u128::from(per_mille) * u128::from(n)).div_ceil(1000).max(1);
    u64::try_from(rank).unwrap_or(u64::MAX)
}

fn growing() -> Histogram<u64> {
    let mut histogram = Histogram::new(DIGITS).expect("three digits are within the library's range");
    histogram.auto(true);
    histogram
}

fn add(histogram: &mut Histogram<u64>, value: u64, n: u64) {
    histogram.record_n(value, n).expect("a growing histogram takes every 64-bit value");
}

/// The V2 payload. The header holds the range of the histogram, which after growing depends on the
/// order of the samples; a copy whose range follows from the samples alone makes equal contents equal
/// bytes.
fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let high = histogram.max().max(2);
    let mut canonical =
        Histogram::<u64>::new_with_bounds(1, high, DIGITS).expect("1 < high and three digits make a valid histogram");
    for step in histogram.iter_recorded() {
        add(&mut canonical, step.value_iterated_to(), step.count_at_value());
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&canonical, &mut bytes).expect("writing to memory cannot fail");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(unit: Unit, values: &[u64]) -> Distribution {
        let mut distribution = Distribution::new(unit);
        values.iter().for_each(|value| distribution.record(*value));
        distribution
    }

    fn json(distribution: &Distribution) -> String {
        serde_json::to_string(&distribution.report()).unwrap()
    }

    #[test]
    fn small_sample_by_hand() {
        // 1, 2, 3, 4 ms: mean 2.5; squares of the distances 2.25+0.25+0.25+2.25 = 5; sd √(5/3) = 1.290994.
        let report = of(Unit::Time, &[4_000_000, 1_000_000, 3_000_000, 2_000_000]).report().unwrap();
        assert_eq!(report.count, 4);
        assert!((report.mean - 2.5).abs() < 1e-9);
        assert_eq!(report.sd, Some(1.290_994));
        assert!((report.min - 1.0).abs() < 1e-12 && (report.max - 4.0).abs() < 1e-12);
        // ⌈0.5·4⌉ = 2nd of the sorted samples: 2 ms; ⌈0.99·4⌉ = 4th. Buckets near 2e6 ns are 1024 ns wide:
        // 2_000_000 = 1953·1024 + 128, upper edge 1954·1024 − 1 = 2_000_895.
        assert!((report.quantiles.p50 - 2.000_895).abs() < 1e-9, "{}", report.quantiles.p50);
        assert!(report.quantiles.p99 >= 4.0 && report.quantiles.p99 < 4.004);
        assert_eq!(report.histogram.sum, "10000000");
        assert_eq!(report.histogram.sum_squares, "30000000000000");
    }

    #[test]
    fn token_counts_are_whole_and_exact() {
        let report = of(Unit::Tokens, &[7, 7, 9, 100]).report().unwrap();
        assert_eq!((report.unit.as_str(), report.histogram.unit.as_str()), ("tokens", "tokens"));
        assert!((report.quantiles.p50 - 7.0).abs() < 1e-12);
        assert!((report.quantiles.p75 - 9.0).abs() < 1e-12);
        assert!((report.mean - 30.75).abs() < 1e-12);
    }

    #[test]
    fn one_sample_has_no_spread_and_none_has_no_report() {
        assert_eq!(of(Unit::Time, &[5]).report().unwrap().sd, None);
        assert!(Distribution::new(Unit::Time).report().is_none());
    }

    #[test]
    fn a_day_fits() {
        let day = 86_400_000_000_000;
        let distribution = of(Unit::Time, &[1, day]);
        assert_eq!(distribution.quantile(10), Some(1));
        assert!(distribution.quantile(990).unwrap() >= day);
        assert_eq!(json(&Distribution::from_report(&distribution.report().unwrap()).unwrap()), json(&distribution));
    }

    #[test]
    fn damaged_payloads_are_refused() {
        let good = of(Unit::Time, &[1, 2, 3]).report().unwrap();
        let mut other = good.clone();
        other.histogram.data = "AAAA".to_owned();
        assert!(Distribution::from_report(&other).is_err());
        let mut other = good.clone();
        other.count = 4;
        assert!(Distribution::from_report(&other).is_err());
        let mut other = good;
        other.histogram.encoding = "zstd".to_owned();
        assert!(Distribution::from_report(&other).unwrap_err().to_string().contains("`zstd`"));
    }

    fn samples() -> impl Strategy<Value = Vec<u64>> {
        // Zero, nanoseconds and up to a day, so that growing histograms differ in size.
        prop::collection::vec(prop_oneof![0_u64..5000, 0_u64..10_000_000_000, 0_u64..86_400_000_000_000], 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn quantiles_agree_with_sorting(mut values in samples()) {
            let distribution = of(Unit::Time, &values);
            values.sort_unstable();
            for per_mille in [10, 50, 250, 500, 900, 990, 999_u16] {
                let position = (usize::from(per_mille) * values.len()).div_ceil(1000).max(1) - 1;
                let exact = values[position];
                let quantile = distribution.quantile(per_mille).unwrap();
                prop_assert!(quantile >= exact);
                #[allow(clippy::cast_precision_loss)]
                let limit = exact as f64 * (1.0 + RESOLUTION);
                #[allow(clippy::cast_precision_loss)]
                let value = quantile as f64;
                prop_assert!(value <= limit.max(1.0), "{} for {}", quantile, exact);
            }
        }

        #[test]
        fn merging_is_exact_in_any_order(a in samples(), b in samples(), c in samples()) {
            let parts = [of(Unit::Time, &a), of(Unit::Time, &b), of(Unit::Time, &c)];
            let mut left = parts[0].clone();
            left.merge(&parts[1]);
            left.merge(&parts[2]);
            let mut right = parts[1].clone();
            right.merge(&parts[2]);
            let mut outer = Distribution::new(Unit::Time);
            outer.merge(&right);
            outer.merge(&parts[0]);
            let once = of(Unit::Time, &[a, b, c].concat());
            prop_assert_eq!(json(&left), json(&once));
            prop_assert_eq!(json(&outer), json(&once));
        }

        #[test]
        fn stored_and_read_back_merges_like_the_original(a in samples(), b in samples()) {
            let mut read = Distribution::from_report(&of(Unit::Time, &a).report().unwrap()).unwrap();
            read.merge(&Distribution::from_report(&of(Unit::Time, &b).report().unwrap()).unwrap());
            prop_assert_eq!(json(&read), json(&of(Unit::Time, &[a, b].concat())));
        }

        #[test]
        fn counting_below_a_target_never_flatters(values in samples(), target in 0_u64..10_000_000_000) {
            let distribution = of(Unit::Time, &values);
            let exact = values.iter().filter(|value| **value <= target).count() as u64;
            prop_assert!(distribution.count_at_or_below(target) <= exact);
            prop_assert!(distribution.count_at_or_below(target + target / 999 + 1) >= exact);
        }
    }
}
