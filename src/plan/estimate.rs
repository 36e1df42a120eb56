//! What a point will cost before it runs: requests, tokens, time, money, and whether its sample suffices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::sample::{SampleGap, gaps};
use crate::scenario::file::{MeasureConfig, PriceConfig, ScenarioFile, TrafficConfig, WorkloadConfig};
use crate::workload::joint::Side;
use crate::workload::load::LoadConfig;
use crate::workload::load::users::Users;
use crate::workload::prompt::PromptsConfig;
use crate::workload::session::Expected;
use crate::workload::{LoadStream, Problem, Replay, load_streams};

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
    /// Mean lengths for `workload`, which has a dataset, numbers in words or a file of lengths; `None`: unknown, and the
    /// estimate says so.
    fn lengths(&self, file: &ScenarioFile, workload: &WorkloadConfig) -> Option<DatasetLengths>;
    /// Mean turns of a row, where rows are the sessions of `workload`.
    fn turns(&self, _file: &ScenarioFile, _workload: &WorkloadConfig) -> Option<f64> {
        None
    }

    /// The arrivals of a load that replays a trace, the common one or that of a class; `None`: unknown, and the estimate
    /// has no requests.
    fn replay(&self, _: &ScenarioFile, _own: Option<usize>) -> Option<Replay> {
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
    let loads = Loads::of(file, &|own| datasets.replay(file, own), |class| classes[class].visit());
    let warmup_s = loads.warmup_s;
    let (window_s, measured) = window(&file.phases.measure, &loads);
    let window_end_s = warmup_s + window_s;
    let drain_max_s = seconds(file.phases.drain.max);
    let slowest_s = classes.iter().filter(|class| class.share > 0.0).map(|class| class.service_s).fold(0.0, f64::max);
    let drain_s = slowest_s.min(drain_max_s);
    let warmup = loads.between(0.0, warmup_s);
    let drain = loads.between(window_end_s, window_end_s + drain_s);
    // A window that holds a number of requests holds the expected mix of them.
    let expected = loads.in_window(window_s);
    let scale = if expected > 0.0 { measured / expected } else { 1.0 };
    let streams: Vec<Stream<'_>> = loads
        .streams
        .iter()
        .map(|stream| {
            let alone = loads.streams.len() == 1;
            let measured = if alone { measured } else { stream.in_window(window_s) * scale };
            let other = stream.between(0.0, warmup_s) + stream.between(window_end_s, window_end_s + drain_s);
            Stream { shares: &stream.shares_of_requests, measured, requests: other + measured }
        })
        .collect();
    let spans = [(0.0, warmup_s), (warmup_s, window_end_s), (window_end_s, window_end_s + drain_s)];
    let later_of = |index: usize, span| {
        let serving = loads.streams.iter().filter(|stream| stream.shares[index] > 0.0);
        serving.map(|stream| classes[index].later_turns(stream, span)).sum::<f64>()
    };
    let later = |span| (0..classes.len()).map(|index| later_of(index, span)).sum::<f64>();
    let requests = |index: usize| {
        let first: f64 = streams.iter().map(|stream| stream.shares[index] * stream.requests).sum();
        first + spans.iter().map(|span| later_of(index, *span)).sum::<f64>()
    };
    let total = |tokens: &dyn Fn(&Class<'_>) -> Option<f64>| -> Option<u64> {
        let of = |(index, class): (usize, &Class<'_>)| Some(requests(index) * tokens(class)?);
        classes.iter().enumerate().map(of).sum::<Option<f64>>().map(count)
    };
    let costs: Vec<Option<f64>> =
        classes.iter().enumerate().map(|(index, class)| class.cost_usd(requests(index))).collect();
    let too_small = classes
        .iter()
        .enumerate()
        .filter_map(|(index, class)| {
            let first: f64 = streams.iter().map(|stream| stream.shares[index] * stream.measured).sum();
            let measured = first + later_of(index, spans[1]);
            Some(gaps(&class.config.name, class.config.slo.as_ref()?, measured, class.output_tokens))
        })
        .flatten()
        .collect();
    Estimate {
        warmup_requests: count(warmup + later(spans[0])),
        measure_requests: count(measured + later(spans[1])),
        drain_requests: count(drain + later(spans[2])),
        drain_requests_max: count(
            loads.between(window_end_s, window_end_s + drain_max_s) + later((window_end_s, window_end_s + drain_max_s)),
        ),
        input_tokens: total(&|class| class.input_tokens),
        output_tokens: total(&|class| class.output_tokens),
        window_s,
        wall_s: warmup_s + window_s + drain_s,
        cost_usd: costs.iter().any(Option::is_some).then(|| costs.iter().flatten().sum()),
        cost_partial: costs.iter().any(Option::is_some) && costs.iter().any(Option::is_none),
        nominal: matches!(file.load, LoadConfig::Users(_)),
        too_small,
    }
}

/// Share of the requests of the measured window that each class is expected to get.
pub fn class_shares(file: &ScenarioFile) -> Vec<f64> {
    let loads = Loads::of(file, &|_| None, |_| Visit { turns: 1.0, service_s: NOMINAL_TTFT_S, pause_s: 0.0 });
    let (window_s, _) = window(&file.phases.measure, &loads);
    let mut shares = vec![0.0; file.traffic.len()];
    let alone = loads.streams.len() == 1;
    for stream in &loads.streams {
        let requests = if alone { 1.0 } else { stream.in_window(window_s) };
        for (share, own) in shares.iter_mut().zip(&stream.shares) {
            *share += own * requests;
        }
    }
    let total: f64 = shares.iter().sum();
    shares.iter().map(|share| if total > 0.0 { share / total } else { 0.0 }).collect()
}

/// What one stream is expected to send.
struct Stream<'a> {
    shares: &'a [f64],
    measured: f64,
    requests: f64,
}

/// What an estimate needs to know of a traffic class.
struct Class<'a> {
    config: &'a TrafficConfig,
    /// Share of the load that serves it.
    share: f64,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    service_s: f64,
    session: Option<Expected>,
    price: Option<&'a PriceConfig>,
}

/// What a user does between two pauses of its own: a request, or a session of several.
#[derive(Clone, Copy)]
struct Visit {
    /// Requests.
    turns: f64,
    /// Nominal service time of each.
    service_s: f64,
    /// Pauses between them, all together.
    pause_s: f64,
}

impl Class<'_> {
    fn visit(&self) -> Visit {
        let (turns, think_s) =
            self.session.as_ref().map_or((1.0, 0.0), |session| (session.turns, session.think_time_s));
        Visit { turns, service_s: self.service_s, pause_s: (turns - 1.0).max(0.0) * think_s }
    }

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
    let weights: f64 = file.traffic.iter().filter(|class| class.load.is_none()).map(|class| class.weight).sum();
    let class = |(index, config): (usize, &'a TrafficConfig)| {
        let workload = file.workloads.get(&config.workload);
        let dataset = workload
            .filter(|workload| {
                workload.prompts.dataset().is_some()
                    || matches!(workload.prompts, PromptsConfig::Trace(_) | PromptsConfig::NumberWords(_))
                    || workload.length_files().next().is_some()
            })
            .and_then(|workload| match workload.prompts {
                // The part that the load of the class replays.
                PromptsConfig::Trace(_) => {
                    let replay = datasets.replay(file, config.load.is_some().then_some(index))?;
                    let (input_tokens, output_tokens) = replay.mean_lengths().ok()?;
                    Some(DatasetLengths { input_tokens, output_tokens })
                }
                _ => datasets.lengths(file, workload),
            });
        let input = workload.and_then(|workload| workload.mean_length(Side::Input));
        let output = workload.and_then(|workload| workload.mean_length(Side::Output));
        let output_tokens = output.or(dataset.map(|dataset| dataset.output_tokens));
        let session = workload.and_then(|workload| {
            let session = workload.session.as_ref()?;
            match dataset {
                Some(rows) => Some(session.expected_of_rows(datasets.turns(file, workload)?, rows.input_tokens)),
                None => Some(session.expected(input?, output?)),
            }
        });
        Class {
            config,
            share: match &config.load {
                Some(_) => 1.0,
                None if weights > 0.0 => config.weight / weights,
                None => 0.0,
            },
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
    file.traffic.iter().enumerate().map(class).collect()
}

/// Expected arrivals of all loads of a point.
struct Loads<'a> {
    streams: Vec<Arrivals<'a>>,
    warmup_s: f64,
}

impl<'a> Loads<'a> {
    fn of(
        file: &'a ScenarioFile,
        replay: &dyn Fn(Option<usize>) -> Option<Replay>,
        visit: impl Fn(usize) -> Visit,
    ) -> Self {
        let warmup_s = seconds(file.phases.warmup);
        let streams = load_streams(file).into_iter().map(|LoadStream { load, shares, own }| {
            let mean = |of: &dyn Fn(Visit) -> f64| -> f64 {
                shares.iter().enumerate().map(|(class, share)| share * of(visit(class))).sum()
            };
            let turns = mean(&|visit| visit.turns);
            // A user's turn finds a class by its share of the sessions; an arrival is the first request of one, and the
            // others are counted apart.
            let closed = matches!(load, LoadConfig::Users(_)) && turns > 0.0;
            let of_requests =
                |(class, share): (usize, &f64)| if closed { share * visit(class).turns / turns } else { *share };
            let shares_of_requests: Vec<f64> = shares.iter().enumerate().map(of_requests).collect();
            let service = |(class, share): (usize, &f64)| share * visit(class).service_s;
            let service_s = shares_of_requests.iter().enumerate().map(service).sum();
            let visit_s = mean(&|visit| visit.turns * visit.service_s + visit.pause_s);
            let replay = if matches!(load, LoadConfig::Trace(_)) { replay(own) } else { None };
            Arrivals { load, shares, shares_of_requests, replay, warmup_s, service_s, turns, visit_s }
        });
        Self { streams: streams.collect(), warmup_s }
    }

    fn between(&self, from_s: f64, to_s: f64) -> f64 {
        self.streams.iter().map(|stream| stream.between(from_s, to_s)).sum()
    }

    fn in_window(&self, window_s: f64) -> f64 {
        self.streams.iter().map(|stream| stream.in_window(window_s)).sum()
    }

    /// Time from the start of the window until it holds `requests`; infinite when it never does.
    fn time_for(&self, requests: u64) -> f64 {
        if let [stream] = self.streams.as_slice() {
            return stream.time_for(requests);
        }
        search(whole(requests), |window_s| self.in_window(window_s))
    }
}

/// The shortest window, in seconds, in which `requests` are expected.
fn search(requests: f64, in_window: impl Fn(f64) -> f64) -> f64 {
    let enough = |window_s: f64| in_window(window_s) >= requests;
    // 30 years are more than any point lasts.
    let Some(mut high) = (0..30).map(|power| f64::from(1 << power)).find(|high| enough(*high)) else {
        return f64::INFINITY;
    };
    let mut low = 0.0;
    while high - low > 1e-9 * high {
        let middle = low + (high - low) / 2.0;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Expected arrivals of a load.
struct Arrivals<'a> {
    load: &'a LoadConfig,
    /// Of a trace, where its file is at hand.
    replay: Option<Replay>,
    /// Of each class in it.
    shares: Vec<f64>,
    /// The same of its requests, where one of a closed loop may be followed by others of its session.
    shares_of_requests: Vec<f64>,
    warmup_s: f64,
    /// Nominal service time of the mean request.
    service_s: f64,
    /// Requests of a user between two pauses of its own, and the time that they take with the pauses between them.
    turns: f64,
    visit_s: f64,
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
            LoadConfig::Users(load) if !load.user_stages.is_empty() => {
                let crowd = load.crowd(nanos(self.warmup_s));
                let user_s = crowd.user_seconds(nanos(from_s), nanos(to_s.max(from_s)));
                let all = self.closed_rate_per_s() / f64::from(load.users) * user_s;
                let cap =
                    load.max_in_flight.as_ref().map_or(f64::INFINITY, |cap| f64::from(cap.limit) / self.service_s);
                self.capped(load, all.min(cap * span_s))
            }
            LoadConfig::Users(load) => {
                let ramp_s = seconds(load.ramp);
                // Users that have started, averaged over the span: the integral of min(1, t / ramp).
                let started = |until_s: f64| {
                    if until_s < ramp_s { until_s * until_s / (2.0 * ramp_s) } else { until_s - ramp_s / 2.0 }
                };
                let rate_per_s = self.closed_rate_per_s();
                let before = rate_per_s * started(from_s).max(0.0);
                let expected = rate_per_s * (started(to_s) - started(from_s)).clamp(0.0, span_s);
                match load.requests_per_user {
                    None => expected,
                    Some(_) => self.capped(load, before + expected) - self.capped(load, before),
                }
            }
            LoadConfig::Classes(_) => 0.0,
        }
    }

    /// As many requests as the users make before they leave for good.
    fn capped(&self, load: &Users, requests: f64) -> f64 {
        let most = load.requests_per_user.map(|each| f64::from(load.most()) * f64::from(each));
        most.map_or(requests, |most| requests.min(most))
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
        let free = f64::from(load.users) * self.turns / (self.visit_s + load.mean_think_s());
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
            LoadConfig::Users(load) if load.user_stages.is_empty() => requests / self.closed_rate_per_s(),
            // The nominal rate of the users that there are in the end, once the stages are over.
            LoadConfig::Users(_) => search(requests, |window_s| self.in_window(window_s)),
            LoadConfig::Classes(_) => f64::INFINITY,
        }
    }
}

/// Length of the measured window in seconds, and the requests expected in it.
fn window(measure: &MeasureConfig, arrivals: &Loads<'_>) -> (f64, f64) {
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
