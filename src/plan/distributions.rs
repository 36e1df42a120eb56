//! What the generators of a point will draw, before anything is sent: lengths and arrivals of its real requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::measure::timeline::{Phase, RequestId};
use crate::scenario::file::ScenarioFile;
use crate::units::NANOS_PER_SEC;
use crate::workload::{Arrival, Library, PointSeeds, Traffic, WorkloadError};

/// Value of `format` in what this build writes.
pub const DISTRIBUTIONS_FORMAT: &str = "bench.distributions/1";

/// Requests that are drawn at most: enough for a p99, few enough for an answer at once.
pub const LARGEST_SAMPLE: u64 = 10_000;

/// Intervals of a histogram, at most.
const MOST_BINS: i32 = 14;
/// Largest over smallest value from which on intervals double instead of being equally wide.
const WIDE: f64 = 40.0;
/// Equal parts of the sampled time in which arrivals are counted.
const SLICES: usize = 60;

/// What a point will draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distributions {
    /// `bench.distributions/1`.
    pub format: String,
    /// Id of the point.
    pub point: String,
    /// Its value of each axis.
    pub coordinates: BTreeMap<String, Value>,
    /// Requests that were drawn: the first of the measured window, exactly as they will be sent.
    pub requests: u64,
    /// Requests of the measured window; absent in a closed loop, where the server decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_requests: Option<u64>,
    /// Lengths by traffic class.
    pub classes: BTreeMap<String, ClassDistributions>,
    /// When they are due; absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<ArrivalDistributions>,
}

/// Lengths of a traffic class, in tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassDistributions {
    /// Its requests among those that were drawn.
    pub requests: u64,
    /// Tokens of prompts; absent without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Summary>,
    /// Tokens asked of answers; absent without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Summary>,
}

/// When requests are due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArrivalDistributions {
    /// Gaps between one arrival and the next, whatever their class, in milliseconds; absent with fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaps_ms: Option<Summary>,
    /// Arrivals per second over the time that was drawn; absent when that has no length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_s: Option<f64>,
    /// Length of each part of `counts`, in seconds.
    pub slice_s: f64,
    /// Arrivals in equal parts of the time that was drawn, in order.
    pub counts: Vec<u64>,
}

/// A sample in numbers and as a histogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Values.
    pub count: u64,
    /// Mean of the law they are drawn from, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law_mean: Option<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n − 1); absent with fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// Their median: the value of rank ⌈n/2⌉.
    pub p50: f64,
    /// The value of rank ⌈0.9 n⌉.
    pub p90: f64,
    /// The value of rank ⌈0.99 n⌉.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// The histogram, in order; empty intervals at the ends are left out.
    pub bins: Vec<HistogramBin>,
}

/// An interval of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramBin {
    /// Its lower end, inside.
    pub from: f64,
    /// Its upper end, outside.
    pub to: f64,
    /// Values in it.
    pub count: u64,
}

/// Draws the requests of the point `file`, whose draws hang on `seeds`: no prompt is written, nothing is sent.
///
/// # Errors
/// Settings that make no sense, or a file that cannot be used.
pub fn draw(
    file: &ScenarioFile,
    point: (&str, &BTreeMap<String, Value>),
    seeds: &PointSeeds,
    library: &Library,
) -> Result<Distributions, WorkloadError> {
    // A salt changes words, never lengths or times.
    let traffic = library.traffic(file, seeds, Some("plan"))?;
    let (requests, window_requests, arrivals) = match traffic.open() {
        Some(open) => {
            let window = open.window();
            let measured = window.measured.min(LARGEST_SAMPLE);
            let due: Vec<Arrival> = open.schedule().skip(window.warmup as usize).take(measured as usize).collect();
            let requests: Vec<(RequestId, u16)> =
                due.iter().map(|arrival| (RequestId::Open { index: arrival.index }, arrival.class)).collect();
            (requests, Some(window.measured), Some(due))
        }
        None => (turns(&traffic), None, None),
    };
    let arrivals = arrivals.map(|due| arrival_distributions(&due));
    let mut drawn: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); traffic.classes().len()];
    for (id, class) in &requests {
        let (input, output) = traffic.lengths(Phase::Measure, *id, *class);
        let (inputs, outputs) = &mut drawn[usize::from(*class)];
        inputs.push(f64::from(input));
        outputs.push(f64::from(output));
    }
    let classes = traffic.classes().iter().zip(drawn).map(|(info, (inputs, outputs))| {
        let class = ClassDistributions {
            requests: inputs.len() as u64,
            input_tokens: summary(inputs, true, Some(info.mean_input_tokens)),
            output_tokens: summary(outputs, true, Some(info.mean_output_tokens)),
        };
        (info.name.clone(), class)
    });
    Ok(Distributions {
        format: DISTRIBUTIONS_FORMAT.to_owned(),
        point: point.0.to_owned(),
        coordinates: point.1.clone(),
        requests: requests.len() as u64,
        window_requests,
        classes: classes.collect(),
        arrivals,
    })
}

/// The first requests of a closed loop, users in turns.
fn turns(traffic: &Traffic) -> Vec<(RequestId, u16)> {
    let users = traffic.closed().map_or(1, |closed| closed.users.max(1));
    (0..LARGEST_SAMPLE)
        .map(|number| ((number % u64::from(users)) as u32, (number / u64::from(users)) as u32))
        .map(|(user, turn)| (RequestId::Closed { user, turn }, traffic.class_of_turn(user, turn)))
        .collect()
}

fn arrival_distributions(due: &[Arrival]) -> ArrivalDistributions {
    let gaps = due.windows(2).map(|pair| (pair[1].at - pair[0].at) as f64 / 1e6).collect();
    let (first, last) = (due.first().map_or(0, |arrival| arrival.at), due.last().map_or(0, |arrival| arrival.at));
    let length = last - first;
    let slice = (length / SLICES as u64).max(1);
    let mut counts = vec![0_u64; if length == 0 { 1 } else { SLICES }];
    for arrival in due {
        let place = ((arrival.at - first) / slice) as usize;
        let last = counts.len() - 1;
        counts[place.min(last)] += 1;
    }
    let seconds = length as f64 / NANOS_PER_SEC as f64;
    ArrivalDistributions {
        gaps_ms: summary(gaps, false, None),
        // The last arrival ends the time; it opens no gap.
        per_s: (length > 0).then(|| (due.len() - 1) as f64 / seconds),
        slice_s: slice as f64 / NANOS_PER_SEC as f64,
        counts,
    }
}

/// Numbers and histogram of a sample; `None` of nothing.
fn summary(mut values: Vec<f64>, whole: bool, law_mean: Option<f64>) -> Option<Summary> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let rank = |share: f64| values[((share * count as f64).ceil() as usize).clamp(1, count) - 1];
    Some(Summary {
        count: count as u64,
        law_mean,
        mean,
        sd: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()),
        min,
        p50: rank(0.5),
        p90: rank(0.9),
        p99: rank(0.99),
        max,
        bins: bins(&values, whole),
    })
}

/// Histogram of sorted values: equal intervals of a round width, or doubling ones where the values span a lot.
fn bins(sorted: &[f64], whole: bool) -> Vec<HistogramBin> {
    let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
    let edges: Vec<f64> = if min > 0.0 && max / min >= WIDE {
        let top = max.log2().floor() as i32 + 1;
        let bottom = (min.log2().floor() as i32).max(top - MOST_BINS);
        (bottom..=top).map(|power| 2.0_f64.powi(power)).collect()
    } else {
        let width = round_width((max - min) / f64::from(MOST_BINS - 2), whole);
        let start = (min / width).floor();
        let steps = ((max / width).floor() - start) as i32 + 1;
        (0..=steps).map(|step| (start + f64::from(step)) * width).collect()
    };
    let mut before = 0;
    let mut bins: Vec<HistogramBin> = edges
        .windows(2)
        .map(|edge| {
            let up_to = sorted.partition_point(|value| *value < edge[1]);
            let bin = HistogramBin { from: edge[0], to: edge[1], count: (up_to - before) as u64 };
            before = up_to;
            bin
        })
        .collect();
    // What lies below the first of many doublings is counted in it, and the last one holds the rest.
    if let Some(last) = bins.last_mut() {
        last.count += (sorted.len() - before) as u64;
    }
    bins
}

/// The next of 1, 2, 5, 10, … at or above `width`; at least 1 for whole numbers.
fn round_width(width: f64, whole: bool) -> f64 {
    if width <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powi(width.log10().floor() as i32);
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= width * 0.999_999);
    let round = round.unwrap_or(10.0 * power);
    if whole { round.max(1.0) } else { round }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[f64], whole: bool) -> Vec<(f64, f64, u64)> {
        let summary = summary(values.to_vec(), whole, None).unwrap();
        assert_eq!(summary.bins.iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
        summary.bins.iter().map(|bin| (bin.from, bin.to, bin.count)).collect()
    }

    #[test]
    fn numbers_by_hand() {
        // 1 … 100: mean 50.5, sd √(100 · 101 / 12) = 29.0115.
        let found = summary((1..=100).rev().map(f64::from).collect(), true, Some(50.0)).unwrap();
        assert_eq!((found.min, found.p50, found.p90, found.p99, found.max), (1.0, 50.0, 90.0, 99.0, 100.0));
        assert!((found.mean - 50.5).abs() < 1e-12 && (found.sd.unwrap() - 29.011_49).abs() < 1e-4);
        assert_eq!(summary(Vec::new(), true, None), None);
        assert_eq!(summary(vec![7.0], true, None).unwrap().sd, None);
    }

    #[test]
    fn intervals_are_round_or_double() {
        // 100 … 199 in 12 parts is 8.25: intervals of 10.
        let even = counted(&(100..200).map(f64::from).collect::<Vec<_>>(), true);
        assert_eq!((even.len(), even[0], even[9]), (10, (100.0, 110.0, 10), (190.0, 200.0, 10)));
        assert_eq!(counted(&[5.0, 5.0], true), [(5.0, 6.0, 2)]);
        // 10 … 1000 is a hundredfold: doublings from 8 to 1024.
        let wide = counted(&[10.0, 15.0, 16.0, 1000.0], true);
        assert_eq!((wide.len(), wide[0], wide[1], wide[6]), (7, (8.0, 16.0, 2), (16.0, 32.0, 1), (512.0, 1024.0, 1)));
        // Nanoseconds beside seconds: the smallest are counted in the first of fourteen.
        let gaps = counted(&[0.000_001, 1000.0], false);
        assert_eq!((gaps.len(), gaps[0].2, gaps[13]), (14, 1, (512.0, 1024.0, 1)));
        assert_eq!(counted(&[0.0, 0.0], false), [(0.0, 1.0, 2)]);
    }

    #[test]
    fn arrivals_are_counted_in_parts_of_the_time() {
        let at = |seconds: u64| Arrival { index: seconds, place: seconds, at: seconds * NANOS_PER_SEC, class: 0 };
        let found = arrival_distributions(&(0..=120).map(at).collect::<Vec<_>>());
        assert_eq!((found.per_s, found.slice_s, found.counts.len()), (Some(1.0), 2.0, 60));
        // Two arrivals in each part of two seconds, and the last one in the last.
        assert_eq!((found.counts[0], found.counts[59], found.counts.iter().sum::<u64>()), (2, 3, 121));
        assert_eq!(found.gaps_ms.unwrap().bins, [HistogramBin { from: 1000.0, to: 1001.0, count: 120 }]);
        let burst = arrival_distributions(&[at(3), at(3)]);
        assert_eq!((burst.per_s, burst.counts), (None, vec![2]));
    }
}
