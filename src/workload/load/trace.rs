//! Arrivals of a trace, replayed.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Arrivals, MaxInFlight, Problem, Split};
use crate::scenario::file::PhasesConfig;
use crate::trace::{Trace, TraceError, TraceFormat, TraceSource};
use crate::units::{HumanDuration, Nanos};
use crate::workload::window::WindowRule;

/// Open loop: requests arrive when those of a trace did. The point begins where the part of the trace that is
/// replayed begins, so warm-up (5 s unless set) takes its first seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceLoad {
    /// The file, relative to the scenario; packed with gzip or zstd, or not.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Its format; absent: told from its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TraceFormat>,
    /// Tokens of a block that `hash_ids` name; absent: as the file says, 512 for Mooncake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub block_tokens: Option<u32>,
    /// What times are multiplied by: 0.5 sends twice as fast, 2 half as fast.
    #[serde(default = "as_recorded")]
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub time_scale: f64,
    /// Start of the part that is replayed, in the trace's own time; absent: its start, which is the first
    /// request of a trace of dates and time 0 of any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HumanDuration>,
    /// End of that part, itself outside; absent: one mean gap after the last request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<HumanDuration>,
    /// Which of its requests are replayed; absent: all. With it, classes of traffic can each replay their own part, at
    /// the times of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// What follows the last request.
    pub at_end: AtEnd,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

/// Names that a message shows of those there are.
const SHOWN: usize = 8;

/// The requests of a trace that have all that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// The model that they asked for: `Model` of BurstGPT, `model` of `bench.trace/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// Their kind: `Log Type` of BurstGPT, `class` of `bench.trace/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub class: Option<String>,
}

impl Only {
    fn has(&self, trace: &Trace, row: usize) -> bool {
        let same =
            |asked: &Option<String>, found: Option<&str>| asked.as_deref().is_none_or(|asked| found == Some(asked));
        same(&self.model, trace.model(row)) && same(&self.class, trace.class(row))
    }

    /// What to say when no request has it.
    fn nothing(&self, path: &str, trace: &Trace) -> Problem {
        let named = |key: &str, asked: &Option<String>, known: &[Box<str>]| {
            let asked = asked.as_deref()?;
            if known.iter().any(|name| &**name == asked) {
                return None;
            }
            let message = if known.is_empty() {
                format!("no request of `{path}` has a {key}")
            } else {
                let shown: Vec<String> = known.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
                let more = if known.len() > SHOWN { ", …" } else { "" };
                format!("no request of `{path}` has the {key} `{asked}`; it has {}{more}", shown.join(", "))
            };
            Some(Problem::new(format!("only.{key}"), message))
        };
        named("model", &self.model, trace.models())
            .or_else(|| named("class", &self.class, trace.classes()))
            .unwrap_or_else(|| Problem::new("only", format!("no request of `{path}` in this part has all of it")))
    }
}

/// What follows the last request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtEnd {
    /// Nothing: a window that outlasts the trace is an error.
    Stop,
    /// The same part again, from its start.
    Loop,
}

fn as_recorded() -> f64 {
    1.0
}

impl TraceLoad {
    /// What is to be read.
    pub(crate) fn source(&self) -> TraceSource {
        TraceSource {
            path: self.path.clone(),
            sha256: self.sha256.clone(),
            format: self.format,
            block_tokens: self.block_tokens,
        }
    }

    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(self.time_scale.is_finite() && self.time_scale > 0.0) {
            let message = format!("`time_scale` {} is not a number above 0", self.time_scale);
            problems.push(Problem::new("time_scale", message));
        }
        if let Some(to) = self.to
            && to <= self.from.unwrap_or_default()
        {
            let from = self.from.unwrap_or_default();
            problems.push(Problem::new("to", format!("`to` {to} is not after `from` {from}")));
        }
        if let Some(Only { model: None, class: None }) = self.only {
            problems.push(Problem::new("only", "`only` names neither `model` nor `class`; leave it out"));
        }
        problems
    }
}

/// The part of a trace that is replayed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    trace: Arc<Trace>,
    first: usize,
    rows: u64,
    /// The rows of the part, where they are not all from `first` on.
    picked: Option<Box<[u32]>>,
    from: Nanos,
    scale: f64,
    /// Length of the part, scaled.
    length: Nanos,
    loops: bool,
}

impl Replay {
    /// What `config` takes of `trace`.
    ///
    /// # Errors
    /// A trace without times, or a part that does not exist: keys relative to `[load]`.
    pub(crate) fn new(config: &TraceLoad, trace: Arc<Trace>) -> Result<Result<Self, Problem>, TraceError> {
        let times = trace.times()?;
        let from = config.from.unwrap_or_default().nanos();
        let last = times[times.len() - 1];
        let window = trace.window(from, config.to.map(HumanDuration::nanos))?;
        if window.is_empty() {
            let key = if from > last { "from" } else { "to" };
            let message = format!(
                "no request of `{}` lies in this part: it has {} from {} to {}",
                config.path,
                requests(times.len() as u64),
                human(times[0]),
                human(last)
            );
            return Ok(Err(Problem::new(key, message)));
        }
        // One mean gap after the last request: where the next one would be.
        let span = last - times[window.start];
        let gaps = (times.len() - window.start) as u64 - 1;
        let natural_end = last + span.checked_div(gaps).unwrap_or(1).max(1);
        let end = match config.to.map(HumanDuration::nanos) {
            None if config.at_end == AtEnd::Loop && span == 0 => {
                let message = "all requests of this part arrive at one instant; say with `to` when it begins again";
                return Ok(Err(Problem::new("to", message)));
            }
            // Where there is no gap, nothing but `to` says how long the part is.
            Some(to) if to > natural_end && span > 0 => {
                let message = format!(
                    "`{}` ends {} after its start; leave `to` out, or end there",
                    config.path,
                    human(natural_end)
                );
                return Ok(Err(Problem::new("to", message)));
            }
            Some(to) => to,
            None => natural_end,
        };
        let loops = config.at_end == AtEnd::Loop;
        let length = scaled(end - from, config.time_scale);
        if loops && length == 0 {
            return Ok(Err(Problem::new("time_scale", "all requests would be at one instant, again and again")));
        }
        let path = config.path.clone();
        let first = window.start;
        let picked: Option<Box<[u32]>> = config
            .only
            .as_ref()
            .map(|only| window.clone().filter(|row| only.has(&trace, *row)).map(|row| row as u32).collect());
        let rows = picked.as_ref().map_or(window.len(), |picked| picked.len()) as u64;
        if let (0, Some(only)) = (rows, &config.only) {
            return Ok(Err(only.nothing(&path, &trace)));
        }
        let scale = config.time_scale;
        let inner = Inner { path, first, rows, picked, from, scale, length, loops, trace };
        Ok(Ok(Self(Arc::new(inner))))
    }

    /// The trace.
    pub fn trace(&self) -> &Arc<Trace> {
        &self.0.trace
    }

    /// The file, as the scenario spells it.
    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    /// Requests of the part that is replayed, at least 1.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// The row of the trace that arrival `index` is, and how often the part was replayed before it.
    pub fn row(&self, index: u64) -> (usize, u64) {
        let rows = self.0.rows;
        (self.row_at((index % rows) as usize), index / rows)
    }

    /// The row of the trace that is the `place`-th of the part.
    fn row_at(&self, place: usize) -> usize {
        self.0.picked.as_ref().map_or(self.0.first + place, |picked| picked[place] as usize)
    }

    /// Tokens of prompt and answer of a row, at least 1.
    pub(crate) fn lengths(&self, row: usize) -> (u32, u32) {
        let lengths = self.0.trace.lengths().expect("checked where prompts ask for it");
        (lengths[row].0.max(1), lengths[row].1.max(1))
    }

    /// Mean tokens of prompt and answer of the part.
    ///
    /// # Errors
    /// When the trace has no lengths.
    pub(crate) fn mean_lengths(&self) -> Result<(f64, f64), TraceError> {
        self.0.trace.lengths()?;
        let sums = (0..self.0.rows as usize)
            .map(|place| self.lengths(self.row_at(place)))
            .fold((0, 0), |sums: (u64, u64), (input, output)| (sums.0 + u64::from(input), sums.1 + u64::from(output)));
        Ok((sums.0 as f64 / self.0.rows as f64, sums.1 as f64 / self.0.rows as f64))
    }

    /// When arrival `index` is due, since the start of the point; `None` when there is none.
    pub fn at(&self, index: u64) -> Option<Nanos> {
        let (row, pass) = self.row(index);
        if pass > 0 && !self.0.loops {
            return None;
        }
        pass.checked_mul(self.0.length)?.checked_add(self.offset(row))
    }

    fn offset(&self, row: usize) -> Nanos {
        let times = self.0.trace.times().expect("checked when the replay was made");
        scaled(times[row] - self.0.from, self.0.scale)
    }

    /// Arrivals before `until`.
    pub fn before(&self, until: Nanos) -> u64 {
        let passes = if self.0.loops { until / self.0.length } else { 0 };
        let within = until - passes * self.0.length;
        let (mut low, mut high) = (0, self.0.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.offset(self.row_at(middle as usize)) < within { low = middle + 1 } else { high = middle }
        }
        passes * self.0.rows + low
    }

    /// What is wrong with a window that asks for more than there is: absolute keys.
    /// `table` is that of the load. Other loads beside it end a window of so many requests earlier, never later, so it is
    /// enough that this one would by itself.
    pub(crate) fn check_phases(&self, phases: &PhasesConfig, table: &str) -> Option<Problem> {
        if self.0.loops {
            return None;
        }
        let rule = WindowRule::new(&phases.measure, phases.warmup.nanos());
        let warmup = self.before(rule.warmup_end);
        let left = self.0.rows - warmup;
        if left == 0 {
            let message = format!(
                "the trace ends {} after the point begins, within warm-up ({}); shorten it, or set \
                 `{table}.at_end = \"loop\"`",
                human(self.0.length),
                phases.warmup
            );
            return Some(Problem::new("phases.warmup", message));
        }
        if rule.ended(self.0.length.max(rule.warmup_end), left) {
            return None;
        }
        let message = format!(
            "the window outlasts the trace, which has {} in {} after warm-up; measure less, or set \
             `{table}.at_end = \"loop\"`",
            requests(left),
            human(self.0.length.saturating_sub(rule.warmup_end))
        );
        Some(Problem::new("phases.measure", message))
    }
}

impl Arrivals for Replay {
    fn next_at(&self, index: u64, _: Nanos, _: &mut ChaCha12Rng) -> Option<Nanos> {
        self.at(index)
    }
}

/// `ns` times `scale`; exact where times are as recorded.
fn scaled(ns: Nanos, scale: f64) -> Nanos {
    // Not a rounding trick: a time beyond 104 days has no exact double.
    if scale == 1.0 { ns } else { (ns as f64 * scale).round() as Nanos }
}

/// A time as people write it, cut to milliseconds.
fn human(ns: Nanos) -> HumanDuration {
    HumanDuration::from(std::time::Duration::from_nanos(ns - ns % 1_000_000))
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> TraceLoad {
        toml_load(&format!("path = \"t\"\n{text}"))
    }

    fn toml_load(text: &str) -> TraceLoad {
        serde_json::from_value(text.lines().fold(serde_json::json!({ "at_end": "stop" }), |mut table, line| {
            let (key, value) = line.split_once(" = ").unwrap();
            table[key] = serde_json::from_str(value).unwrap();
            table
        }))
        .unwrap()
    }

    fn replay(text: &str, trace: &str) -> Result<Replay, Problem> {
        let config = load(text);
        let trace = Trace::read(&config.source(), trace.as_bytes(), false).unwrap();
        Replay::new(&config, Arc::new(trace)).unwrap()
    }

    const FIVE: &str = "offset_s\n1\n2\n2\n4\n9\n";

    fn times(replay: &Replay, count: u64) -> Vec<u64> {
        (0..count).map_while(|index| replay.at(index)).map(|ns| ns / 1_000_000).collect()
    }

    #[test]
    fn times_are_those_of_the_part_scaled_from_its_start() {
        assert_eq!(times(&replay("at_end = \"stop\"", FIVE).unwrap(), 9), [1000, 2000, 2000, 4000, 9000]);
        assert_eq!(times(&replay("time_scale = 0.25", FIVE).unwrap(), 9), [250, 500, 500, 1000, 2250]);
        assert_eq!(times(&replay("from = \"2s\"\nto = \"9s\"", FIVE).unwrap(), 9), [0, 0, 2000]);
    }

    #[test]
    fn a_loop_goes_on_one_mean_gap_after_the_last_request_or_at_the_end_that_is_given() {
        // Four gaps in 8 s: the next request would come at 11 s, and the part begins at 0.
        let natural = replay("at_end = \"loop\"", FIVE).unwrap();
        assert_eq!(times(&natural, 7), [1000, 2000, 2000, 4000, 9000, 12_000, 13_000]);
        let given = replay("at_end = \"loop\"\nfrom = \"1s\"\nto = \"5s\"\ntime_scale = 2", FIVE).unwrap();
        assert_eq!(times(&given, 6), [0, 2000, 2000, 6000, 8000, 10_000]);
        assert_eq!((given.row(3), given.row(4)), ((3, 0), (0, 1)));
    }

    #[test]
    fn arrivals_before_a_time_are_counted_as_they_come() {
        for text in ["at_end = \"stop\"", "at_end = \"loop\"", "at_end = \"loop\"\nfrom = \"2s\"\nto = \"9500ms\""] {
            let replay = replay(text, FIVE).unwrap();
            for until in (0..40_000).step_by(250) {
                let until = until * 1_000_000;
                let walked = (0..).map_while(|index| replay.at(index)).take_while(|at| *at < until).count();
                assert_eq!(replay.before(until), walked as u64, "{text} at {until}");
            }
        }
    }

    #[test]
    fn parts_that_do_not_exist_are_refused() {
        for (text, key, part) in [
            ("from = \"10s\"", "from", "no request of `t` lies in this part: it has 5 requests from 1s to 9s"),
            ("from = \"5s\"\nto = \"8s\"", "to", "no request of `t` lies in this part"),
            ("to = \"12s\"", "to", "`t` ends 11s after its start; leave `to` out, or end there"),
        ] {
            let problem = replay(text, FIVE).unwrap_err();
            assert_eq!(problem.key, key, "{text}");
            assert!(problem.message.contains(part), "{}", problem.message);
        }
        assert_eq!(load("time_scale = -1").check()[0].key, "time_scale");
        assert_eq!(load("from = \"2s\"\nto = \"2s\"").check()[0].key, "to");
    }

    #[test]
    fn a_window_must_not_outlast_the_trace() {
        let phases = |warmup: &str, measure: &str| PhasesConfig {
            warmup: warmup.parse().unwrap(),
            measure: serde_json::from_str(measure).unwrap(),
            ..PhasesConfig::default()
        };
        let stops = replay("at_end = \"stop\"", FIVE).unwrap();
        let check = |warmup, measure| stops.check_phases(&phases(warmup, measure), "load").map(|problem| problem.key);
        // The trace lasts 11 s: warm-up and window together may not last longer.
        assert_eq!(check("1s", r#"{ "duration": "10s" }"#), None);
        assert_eq!(check("1s", r#"{ "duration": "10001ms" }"#).as_deref(), Some("phases.measure"));
        // Requests at 2, 2, 4 and 9 s come after a warm-up of 1.5 s.
        assert_eq!(check("1500ms", r#"{ "requests": 4 }"#), None);
        assert_eq!(check("1500ms", r#"{ "requests": 5 }"#).as_deref(), Some("phases.measure"));
        assert_eq!(check("1500ms", r#"{ "requests": 5, "max_duration": "3s" }"#), None);
        assert_eq!(check("0s", r#"{ "duration": "1h", "max_requests": 3 }"#), None);
        assert_eq!(check("10s", r#"{ "requests": 1 }"#).as_deref(), Some("phases.warmup"));
        let loops = replay("at_end = \"loop\"", FIVE).unwrap();
        assert_eq!(loops.check_phases(&phases("1h", r#"{ "requests": 5000 }"#), "load"), None);
    }
}
