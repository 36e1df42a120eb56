//! What a point will cost before it runs: requests, tokens, time, money, and whether its sample suffices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::sample::{SampleGap, gaps};
use crate::scenario::file::{MeasureConfig, PriceConfig, ScenarioFile, TrafficConfig, WorkloadConfig};
use crate::workload::joint::Side;
use crate::workload::load::LoadConfig;
use crate::workload::prompt::PromptsConfig;
use crate::workload::session::Expected;
use crate::workload::{Problem, Replay};

/// Nominal time to first token, seconds: used where the server decides how fast requests come.
pub const NOMINAL_TTFT_S: f64 = 0.25;

/// Nominal time per output token, seconds.
pub const NOMINAL_TPOT_S: f64 = 0.02;

/// Nominal output tokens of a dataset that nobody has counted.
pub const NOMINAL_OUTPUT_TOKENS: f64 = 256.0;

/// What a point is expected to take. Counts are expectations of random numbers, rounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Requests of the warm-up.
    pub warmup_requests: u64,
    /// Requests of the measured window.
    pub measure_requests: u64,
    /// Unmeasured requests while the measured ones finish.
    pub drain_requests: u64,
    /// The same if the drain lasts as long as it may.
    pub drain_requests_max: u64,
    /// Input tokens of all phases; absent where the length of a dataset is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens asked in all phases; absent where the length of a dataset is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Length of the measured window, seconds.
    pub window_s: f64,
    /// Wall time of warm-up, window and drain, seconds.
    pub wall_s: f64,
    /// Cost of the classes whose backend has a price, US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Whether a class is missing from the cost because it has no price or no known length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cost_partial: bool,
    /// Whether the number of requests hangs on a nominal service time, because the loop is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nominal: bool,
    /// Targets that the sample is too small to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub too_small: Vec<SampleGap>,
}

impl Estimate {
    /// Requests of all phases.
    pub fn requests(&self) -> u64 {
        self.warmup_requests.saturating_add(self.measure_requests).saturating_add(self.drain_requests)
    }

    /// Input and output tokens of all phases.
    pub fn tokens(&self) -> Option<u64> {
        Some(self.input_tokens?.saturating_add(self.output_tokens?))
    }
}

/// Mean lengths of a workload that only a file knows, in tokens of its tokenizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatasetLengths {
    /// Mean tokens of a prompt.
    pub input_tokens: f64,
    /// Mean tokens asked of an answer.
    pub output_tokens: f64,
}

/// Who knows how long the prompts of a dataset, and lengths in files, are. Answers should be remembered: it is asked per point.
pub trait DatasetFacts: std::fmt::Debug {
    /// Mean lengths for `workload`, which has a dataset or a file of lengths; `None`: unknown, and the estimate says so.
    fn lengths(&self, file: &ScenarioFile, workload: &WorkloadConfig) -> Option<DatasetLengths>;

    /// The arrivals of a load that replays a trace; `None`: unknown, and the estimate has no requests.
    fn replay(&self, _: &ScenarioFile) -> Option<Replay> {
        None
    }

    /// What is wrong with the traces that `file` uses, absolute keys.
    fn problems(&self, _: &ScenarioFile) -> Vec<Problem> {
        Vec::new()
    }
}

/// Knows no dataset.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDatasets;

impl DatasetFacts for NoDatasets {
    fn lengths(&self, _: &ScenarioFile, _: &WorkloadConfig) -> Option<DatasetLengths> {
        None
    }
}

/// What the point `file` is expected to take.
pub fn estimate(file: &ScenarioFile, datasets: &dyn DatasetFacts) -> Estimate {
    let classes = classes(file, datasets);
    let service_s: f64 = classes.iter().map(|class| class.share * class.service_s).sum();
    let arrivals =
        Arrivals { load: &file.load, replay: datasets.replay(file), warmup_s: seconds(file.phases.warmup), service_s };
    let (window_s, measured) = window(&file.phases.measure, &arrivals);
    let window_end_s = arrivals.warmup_s + window_s;
    let drain_max_s = seconds(file.phases.drain.max);
    let slowest_s = classes.iter().filter(|class| class.share > 0.0).map(|class| class.service_s).fold(0.0, f64::max);
    let drain_s = slowest_s.min(drain_max_s);
    let warmup = arrivals.between(0.0, arrivals.warmup_s);
    let drain = arrivals.between(window_end_s, window_end_s + drain_s);
    let spans = [(0.0, arrivals.warmup_s), (arrivals.warmup_s, window_end_s), (window_end_s, window_end_s + drain_s)];
    let requests = |class: &Class<'_>| {
        let later: f64 = spans.iter().map(|span| class.later_turns(&arrivals, *span)).sum();
        class.share * (warmup + measured + drain) + later
    };
    let later = |span| classes.iter().map(|class| class.later_turns(&arrivals, span)).sum::<f64>();
    let total = |tokens: &dyn Fn(&Class<'_>) -> Option<f64>| -> Option<u64> {
        classes.iter().map(|class| Some(requests(class) * tokens(class)?)).sum::<Option<f64>>().map(count)
    };
    let costs: Vec<Option<f64>> = classes.iter().map(|class| class.cost_usd(requests(class))).collect();
    let too_small = classes
        .iter()
        .filter_map(|class| {
            let measured = measured * class.share + class.later_turns(&arrivals, spans[1]);
            Some(gaps(&class.config.name, class.config.slo.as_ref()?, measured, class.output_tokens))
        })
        .flatten()
        .collect();
    Estimate {
        warmup_requests: count(warmup + later(spans[0])),
        measure_requests: count(measured + later(spans[1])),
        drain_requests: count(drain + later(spans[2])),
        drain_requests_max: count(
            arrivals.between(window_end_s, window_end_s + drain_max_s)
                + later((window_end_s, window_end_s + drain_max_s)),
        ),
        input_tokens: total(&|class| class.input_tokens),
        output_tokens: total(&|class| class.output_tokens),
        window_s,
        wall_s: arrivals.warmup_s + window_s + drain_s,
        cost_usd: costs.iter().any(Option::is_some).then(|| costs.iter().flatten().sum()),
        cost_partial: costs.iter().any(Option::is_some) && costs.iter().any(Option::is_none),
        nominal: matches!(file.load, LoadConfig::Users(_)),
        too_small,
    }
}

/// What an estimate needs to know of a traffic class.
struct Class<'a> {
    config: &'a TrafficConfig,
    share: f64,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    service_s: f64,
    session: Option<Expected>,
    price: Option<&'a PriceConfig>,
}

impl Class<'_> {
    fn cost_usd(&self, requests: f64) -> Option<f64> {
        let price = self.price?;
        let per_request = self.input_tokens? * price.input_usd_per_million_tokens
            + self.output_tokens? * price.output_usd_per_million_tokens;
        Some(requests * per_request / 1e6)
    }

    /// Expected later requests of sessions that come due in the span: an arrival's k-th follows it after k answers and
    /// pauses. In a closed loop all requests come from the users' own pace.
    fn later_turns(&self, arrivals: &Arrivals<'_>, (from_s, to_s): (f64, f64)) -> f64 {
        let Some(session) = self.session.as_ref().filter(|_| !matches!(arrivals.load, LoadConfig::Users(_))) else {
            return 0.0;
        };
        let step_s = self.service_s + session.think_time_s;
        let later = session.later.iter().zip(1_u32..);
        let turns = later.map(|(share, turn)| {
            let earlier = |at_s: f64| (at_s - f64::from(turn) * step_s).max(0.0);
            share * arrivals.between(earlier(from_s), earlier(to_s))
        });
        self.share * turns.sum::<f64>()
    }
}

fn classes<'a>(file: &'a ScenarioFile, datasets: &dyn DatasetFacts) -> Vec<Class<'a>> {
    let weights: f64 = file.traffic.iter().map(|class| class.weight).sum();
    let class = |config: &'a TrafficConfig| {
        let workload = file.workloads.get(&config.workload);
        let dataset = workload
            .filter(|workload| {
                matches!(workload.prompts, PromptsConfig::Sharegpt(_)) || workload.length_files().next().is_some()
            })
            .and_then(|workload| datasets.lengths(file, workload));
        let input = workload.and_then(|workload| workload.mean_length(Side::Input));
        let output = workload.and_then(|workload| workload.mean_length(Side::Output));
        let output_tokens = output.or(dataset.map(|dataset| dataset.output_tokens));
        let session = workload.and_then(|workload| Some(workload.session.as_ref()?.expected(input?, output?)));
        Class {
            config,
            share: if weights > 0.0 { config.weight / weights } else { 0.0 },
            input_tokens: session
                .as_ref()
                .map(|session| session.input_tokens)
                .or(input)
                .or(dataset.map(|dataset| dataset.input_tokens)),
            output_tokens,
            service_s: NOMINAL_TTFT_S + NOMINAL_TPOT_S * output_tokens.unwrap_or(NOMINAL_OUTPUT_TOKENS),
            session,
            price: file.backends.get(&config.backend).and_then(|backend| backend.openai().price.as_ref()),
        }
    };
    file.traffic.iter().map(class).collect()
}

/// Expected arrivals of a load.
struct Arrivals<'a> {
    load: &'a LoadConfig,
    /// Of a trace, where its file is at hand.
    replay: Option<Replay>,
    warmup_s: f64,
    /// Nominal service time of the mean request.
    service_s: f64,
}

impl Arrivals<'_> {
    /// Expected arrivals with an intended time in `[from_s, to_s)`.
    fn between(&self, from_s: f64, to_s: f64) -> f64 {
        let span_s = (to_s - from_s).max(0.0);
        if let Some(curve) = self.load.curve(nanos(self.warmup_s)) {
            return curve.expected(nanos(from_s), nanos(to_s));
        }
        match self.load {
            LoadConfig::Constant(load) => multiples(from_s, to_s, load.gap_s()),
            LoadConfig::Poisson(load) => load.rate_per_s * span_s,
            LoadConfig::Gamma(load) => load.rate_per_s * span_s,
            LoadConfig::Weibull(load) => load.rate_per_s * span_s,
            LoadConfig::Burst(load) => match load.every.map(seconds) {
                Some(every_s) if every_s > 0.0 => {
                    let before = multiples(0.0, from_s, every_s);
                    let bursts = multiples(from_s, to_s, every_s);
                    whole(load.in_first(count(before + bursts))) - whole(load.in_first(count(before)))
                }
                // A single burst is the window's own: see `in_window`.
                _ => 0.0,
            },
            LoadConfig::Trace(_) => {
                let before = |edge_s| self.replay.as_ref().map_or(0, |replay| replay.before(nanos(edge_s)));
                whole(before(to_s.max(from_s)) - before(from_s))
            }
            LoadConfig::Users(load) => {
                let ramp_s = seconds(load.ramp);
                // Users that have started, averaged over the span: the integral of min(1, t / ramp).
                let started = |until_s: f64| {
                    if until_s < ramp_s { until_s * until_s / (2.0 * ramp_s) } else { until_s - ramp_s / 2.0 }
                };
                self.closed_rate_per_s() * (started(to_s) - started(from_s)).clamp(0.0, span_s)
            }
        }
    }

    /// Expected arrivals of a measured window that lasts `window_s`.
    fn in_window(&self, window_s: f64) -> f64 {
        match self.load {
            LoadConfig::Burst(load) if load.every.is_none() => f64::from(load.size),
            _ => self.between(self.warmup_s, self.warmup_s + window_s),
        }
    }

    /// Requests per second of all users together at the nominal service time.
    fn closed_rate_per_s(&self) -> f64 {
        let LoadConfig::Users(load) = self.load else { return 0.0 };
        let free = f64::from(load.users) / (self.service_s + seconds(load.think_time));
        let cap = load.max_in_flight.as_ref().map_or(f64::INFINITY, |cap| f64::from(cap.limit) / self.service_s);
        free.min(cap)
    }

    /// Time from the start of the window until it holds `requests`; infinite when it never does.
    fn time_for(&self, requests: u64) -> f64 {
        let warmup = nanos(self.warmup_s);
        if let Some(curve) = self.load.curve(warmup) {
            let reached = curve.advance(warmup, whole(requests));
            return reached.map_or(f64::INFINITY, |at| whole(at - warmup) / 1e9);
        }
        if let LoadConfig::Burst(load) = self.load
            && let Some(every_s) = load.every.map(seconds).filter(|every_s| *every_s > 0.0)
        {
            let before = count(multiples(0.0, self.warmup_s, every_s));
            let last = load.before((load.in_first(before) + requests).saturating_sub(1));
            return whole(last.saturating_sub(before)) * every_s;
        }
        let requests = whole(requests);
        match self.load {
            LoadConfig::Constant(load) => requests * load.gap_s(),
            LoadConfig::Poisson(load) => requests / load.rate_per_s,
            LoadConfig::Gamma(load) => requests / load.rate_per_s,
            LoadConfig::Weibull(load) => requests / load.rate_per_s,
            LoadConfig::Burst(load) => match load.every {
                Some(_) => 0.0,
                None if requests <= f64::from(load.size) => 0.0,
                None => f64::INFINITY,
            },
            LoadConfig::Trace(_) => self.replay.as_ref().map_or(f64::INFINITY, |replay| {
                // The window holds them once the last of them has come.
                let last = replay.before(nanos(self.warmup_s)) + (requests as u64).max(1) - 1;
                replay.at(last).map_or(f64::INFINITY, |at| whole(at + 1) / 1e9 - self.warmup_s)
            }),
            LoadConfig::Users(_) => requests / self.closed_rate_per_s(),
        }
    }
}

/// Length of the measured window in seconds, and the requests expected in it.
fn window(measure: &MeasureConfig, arrivals: &Arrivals<'_>) -> (f64, f64) {
    let &MeasureConfig { duration, requests, min_duration, max_duration, min_requests, max_requests } = measure;
    let (window_s, target) = match (duration, requests) {
        (Some(duration), _) => {
            let asked_s = seconds(duration);
            let longest_s = max_requests.map_or(f64::INFINITY, |requests| arrivals.time_for(requests));
            let least_s = min_requests.map_or(0.0, |requests| arrivals.time_for(requests));
            if longest_s < asked_s {
                (longest_s, max_requests)
            } else if least_s > asked_s {
                (least_s, min_requests)
            } else {
                (asked_s, None)
            }
        }
        (None, Some(requests)) => {
            let asked_s = arrivals.time_for(requests);
            let bounded_s =
                asked_s.max(min_duration.map_or(0.0, seconds)).min(max_duration.map_or(f64::INFINITY, seconds));
            // Exact comparison: only an unbounded window holds the very number that was asked.
            (bounded_s, (bounded_s == asked_s).then_some(requests))
        }
        (None, None) => (0.0, None),
    };
    if !window_s.is_finite() {
        return (0.0, arrivals.in_window(0.0));
    }
    (window_s, target.map_or_else(|| arrivals.in_window(window_s), whole))
}

/// How many multiples of `step` (0 included) lie in `[from, to)`.
fn multiples(from: f64, to: f64, step: f64) -> f64 {
    // Rates such as 0.1 are not exact in binary: a multiple within a billionth of the edge is on it.
    let before = |edge: f64| (edge / step - 1e-9).ceil().max(0.0);
    before(to) - before(from).min(before(to))
}

#[expect(clippy::cast_precision_loss, reason = "an estimate of a count")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, never negative, saturating")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn seconds(duration: crate::units::HumanDuration) -> f64 {
    duration.get().as_secs_f64()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an expected count, never negative, saturating"
)]
fn count(expected: f64) -> u64 {
    expected.round() as u64
}
