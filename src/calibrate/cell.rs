//! One load: the engine, as `bench apply` runs it, against a metronome in a process of its own.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use url::Url;

use super::child::{Beat, ChildOptions, MetronomeProcess};
use super::compare::{self, Comparison, compare};
use super::truth::Truth;
use crate::apply::ApplyError;
use crate::apply::mask::Mask;
use crate::apply::point::{self, PromptFacts};
use crate::engine::{Job, LoopPlan, OPEN_LOOP_CONNECTIONS_AHEAD, Source, Stop, Target, TransportFactory};
use crate::measure::timeline::{Phase, RequestId};
use crate::measure::{Addresses, ClassSpec, MeasureSpec};
use crate::protocol::openai::completions::OpenaiCompletions;
use crate::protocol::{BodyOptions, Prompt, Protocol};
use crate::report::model::{ClockSource, PointReport};
use crate::report::requests::{RequestRecord, RequestsReader};
use crate::scenario::file::{ErrorsConfig, MeasureConfig, ValidityConfig};
use crate::tokens;
use crate::transport::HttpVersion;
use crate::units::{HumanDuration, NANOS_PER_SEC, Nanos};
use crate::workload::{Arrival, ClosedLoop, Content, Window, WindowRule};

/// Time to first event of a stream of many.
const TTFT_STREAM: Nanos = 50_000_000;
/// Time to the only event of a short answer.
const TTFT_SHORT: Nanos = 5_000_000;
/// How long a stream lasts about; slow ones longer, so that few requests begin.
const STREAM_NS: Nanos = NANOS_PER_SEC;
const SLOW_STREAM_NS: Nanos = 4 * NANOS_PER_SEC;
/// Events per second below which a stream is slow.
const SLOW_EVENTS_PER_S: f64 = 10.0;
/// Connections that may be opened in a second while users start.
const CONNECTS_PER_S: u64 = 2000;
/// Before the window of an open loop.
const OPEN_WARMUP: Nanos = NANOS_PER_SEC / 2;
/// After the last connection stood and every user had a first turn.
const SETTLE: Nanos = 200_000_000;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time to the zero of the point's clock, as in an apply.
const LEAD: Duration = Duration::from_millis(100);

/// A load to try.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum CellLoad {
    /// Closed loop: so many streams at the same time.
    Streams {
        /// Users.
        streams: u32,
        /// Events per second of each.
        events_per_s_each: f64,
    },
    /// Open loop: requests of one token at a constant rate.
    Requests {
        /// Arrivals per second.
        requests_per_s: u32,
    },
}

/// What the cells of a calibration share.
#[derive(Clone)]
pub struct CellSetup {
    /// Length of the window.
    pub duration: Duration,
    /// Worker threads of the engine.
    pub workers: usize,
    /// How the server is started.
    pub child: ChildOptions,
    /// Connections of the engine.
    pub transport: TransportFactory,
    /// Where logs and records go.
    pub folder: PathBuf,
}

/// What one load showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What was asked of the machine.
    pub load: CellLoad,
    /// Events per second that arrived in the window.
    pub events_per_s: f64,
    /// Requests per second that completed in the window.
    pub requests_per_s: f64,
    /// Events per second that a server and a client without any delay would have made.
    pub asked_events_per_s: f64,
    /// What the client said beside what happened.
    pub comparison: Comparison,
    /// Who took the client's stamps.
    pub clock_source: ClockSource,
    /// Stamps that are those of a later read.
    pub blurred_stamps: u64,
    /// CPU time of the client for each event, warm-up included.
    pub client_cpu_us_per_event: f64,
    /// Busy share of the busiest worker's core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_core_share: Option<f64>,
    /// Largest resident set of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_peak_rss_bytes: Option<u64>,
    /// CPU time of the server for each event.
    pub server_cpu_us_per_event: f64,
}

/// Why a cell has no result.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The server.
    #[error("the metronome: {0}")]
    Metronome(io::Error),
    /// The client.
    #[error(transparent)]
    Client(#[from] ApplyError),
    /// Its records.
    #[error("the request records cannot be read: {0}")]
    Records(String),
}

/// Runs a load and compares.
///
/// # Errors
/// When the server or the engine cannot run at all; a load that is too much is a result.
pub async fn run(load: CellLoad, setup: &CellSetup) -> Result<Cell, CellError> {
    let shape = Shape::of(load, setup.duration);
    let name = match load {
        CellLoad::Streams { streams, events_per_s_each } => format!("streams-{streams}x{events_per_s_each}"),
        CellLoad::Requests { requests_per_s } => format!("requests-{requests_per_s}"),
    };
    let file = |suffix: &str| setup.folder.join(format!("{name}.{suffix}"));
    let server =
        MetronomeProcess::start(shape.beat, &file("truth.jsonl"), &setup.child).await.map_err(CellError::Metronome)?;
    let cpu = process_cpu();
    let measured = measure(&shape, setup, server.url(), file("requests.jsonl.gz")).await;
    let cpu = process_cpu().saturating_sub(cpu);
    let truth = server.stop().await.map_err(CellError::Metronome)?;
    let (report, records) = measured?;
    let records = read(&records)?;
    Ok(cell(load, &shape, &report, records, &truth, cpu))
}

/// Records of a cell.
fn read(path: &Path) -> Result<Vec<RequestRecord>, CellError> {
    let failed = |error: &dyn std::fmt::Display| CellError::Records(error.to_string());
    let file = File::open(path).map_err(|error| failed(&error))?;
    RequestsReader::new(BufReader::new(file)).collect::<Result<_, _>>().map_err(|error| failed(&error))
}

#[expect(clippy::cast_precision_loss, reason = "rates and times for people to read")]
fn cell(
    load: CellLoad,
    shape: &Shape,
    report: &PointReport,
    records: Vec<RequestRecord>,
    truth: &Truth,
    cpu: Nanos,
) -> Cell {
    let events: u64 = truth.requests.iter().map(|request| request.events().count() as u64).sum();
    let per_event = |nanos: Nanos| nanos as f64 / 1e3 / events.max(1) as f64;
    Cell {
        load,
        events_per_s: report.throughput.output_tokens_per_s.unwrap_or(0.0),
        requests_per_s: report.throughput.requests_per_s.unwrap_or(0.0),
        asked_events_per_s: shape.events_per_s,
        comparison: compare(records, truth),
        clock_source: report.clock.source,
        blurred_stamps: report.client.blurred_stamps,
        client_cpu_us_per_event: per_event(cpu),
        client_core_share: report.client.busiest_core_share,
        client_peak_rss_bytes: report.client.peak_rss_bytes,
        server_cpu_us_per_event: per_event(truth.header.cpu_ns),
    }
}

/// Carries the point out as an apply does: engine, collector, accumulator, records on disk.
async fn measure(
    shape: &Shape,
    setup: &CellSetup,
    url: &str,
    records: PathBuf,
) -> Result<(PointReport, PathBuf), CellError> {
    let url = Url::parse(url).map_err(|error| CellError::Metronome(io::Error::other(error)))?;
    let protocol = OpenaiCompletions::new(&BodyOptions { stream: true, usage: true, ..BodyOptions::default() });
    let url =
        url.join(&format!("/v1{}", protocol.path())).map_err(|error| CellError::Metronome(io::Error::other(error)))?;
    let target = Target {
        urls: Arc::new([url]),
        headers: HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        )]),
        protocol: Arc::new(protocol),
        model: "metronome".to_owned(),
        timeout: TIMEOUT,
        version: HttpVersion::Http1,
        max_in_flight: None,
        connections_ahead: match &shape.plan {
            LoopPlan::Open { .. } => OPEN_LOOP_CONNECTIONS_AHEAD,
            LoopPlan::Closed(closed) => closed.users,
        },
    };
    let closed_loop = matches!(shape.plan, LoopPlan::Closed(_));
    let (window_start_ns, window_end_ns) = match &shape.plan {
        LoopPlan::Open { window, .. } => (window.warmup_end_ns, Some(window.measure_end_ns)),
        LoopPlan::Closed(closed) => (closed.rule.warmup_end, None),
    };
    let spec = MeasureSpec {
        classes: vec![ClassSpec { name: "calibrate".to_owned(), slo: None, tokenizer: Some(tokens::builtin()) }],
        closed_loop,
        window_start_ns,
        window_end_ns,
        errors: ErrorsConfig::default(),
        validity: ValidityConfig::default(),
        calibration: None,
        laws: Vec::new(),
        addresses: Addresses::default(),
    };
    let job = Job {
        plan: shape.plan.clone(),
        source: Arc::new(Labels { tokens: shape.tokens }),
        targets: Arc::new([target]),
        max_in_flight: None,
        drain_max: shape.length.saturating_add(10 * NANOS_PER_SEC),
        workers: setup.workers,
        transport: Arc::clone(&setup.transport),
        lead: LEAD,
    };
    let grace = Duration::from_secs(5);
    let mut started = point::start(
        job,
        spec,
        Box::new(|_| PromptFacts::default()),
        Mask::default(),
        records,
        &Stop::default(),
        grace,
    )?;
    let measured = started.wait().await?;
    let report = measured.measurement.into_report(String::new(), String::new(), std::collections::BTreeMap::new());
    Ok((report, measured.records))
}

/// A load as times and counts.
struct Shape {
    beat: Beat,
    tokens: u32,
    /// From the receipt of a request to its last event.
    length: Nanos,
    plan: LoopPlan,
    events_per_s: f64,
}

impl Shape {
    fn of(load: CellLoad, duration: Duration) -> Self {
        match load {
            CellLoad::Streams { streams, events_per_s_each } => Self::closed(streams, events_per_s_each, duration),
            CellLoad::Requests { requests_per_s } => Self::open(requests_per_s, duration),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times of some seconds"
    )]
    fn closed(streams: u32, events_per_s_each: f64, duration: Duration) -> Self {
        let itl_ns = (NANOS_PER_SEC as f64 / events_per_s_each).round() as Nanos;
        let wanted = if events_per_s_each < SLOW_EVENTS_PER_S { SLOW_STREAM_NS } else { STREAM_NS };
        let tokens = u32::try_from(wanted / itl_ns.max(1)).unwrap_or(u32::MAX).max(2);
        let length = TTFT_STREAM + u64::from(tokens - 1) * itl_ns;
        // Users begin evenly over one stream, so that the load is the same at every moment.
        let ramp_ns = length.max(u64::from(streams) * NANOS_PER_SEC / CONNECTS_PER_S);
        let measure =
            MeasureConfig { duration: Some(HumanDuration::from(duration)), requests: None, ..MeasureConfig::default() };
        let rule = WindowRule::new(&measure, ramp_ns + length + SETTLE);
        let plan = LoopPlan::Closed(ClosedLoop { users: streams, think_time_ns: 0, ramp_ns, rule, shape: None });
        let events_per_s = f64::from(streams) * f64::from(tokens) / (length as f64 / NANOS_PER_SEC as f64);
        Self { beat: Beat { ttft_ns: TTFT_STREAM, itl_ns }, tokens, length, plan, events_per_s }
    }

    fn open(requests_per_s: u32, duration: Duration) -> Self {
        let rate = u64::from(requests_per_s.max(1));
        let at = move |index: u64| {
            Nanos::try_from(u128::from(index) * u128::from(NANOS_PER_SEC) / u128::from(rate)).unwrap_or(Nanos::MAX)
        };
        let warmup = (rate * OPEN_WARMUP).div_ceil(NANOS_PER_SEC);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let measured =
            u64::try_from(u128::from(rate) * u128::from(nanos) / u128::from(NANOS_PER_SEC)).unwrap_or(1).max(1);
        let window = Window {
            warmup_end_ns: at(warmup),
            measure_end_ns: at(warmup + measured),
            warmup,
            measured,
            warmup_by_class: vec![warmup],
            measured_by_class: vec![measured],
        };
        let schedule = Arc::new(move || {
            let arrivals = (0..).map(move |index| Arrival { index, place: index, at: at(index), class: 0 });
            Box::new(arrivals) as crate::engine::Schedule
        });
        Self {
            beat: Beat { ttft_ns: TTFT_SHORT, itl_ns: NANOS_PER_SEC },
            tokens: 1,
            length: TTFT_SHORT,
            plan: LoopPlan::Open { schedule, window },
            events_per_s: f64::from(requests_per_s),
        }
    }
}

/// Prompts that say who they are, so that the server's log can name them.
#[derive(Debug)]
struct Labels {
    tokens: u32,
}

impl Source for Labels {
    fn content(&self, _: Phase, id: RequestId, class: u16) -> Content {
        Content {
            id,
            class,
            prompt: Prompt::Text(compare::prompt(id).into()),
            input_tokens_asked: 1,
            input_tokens_counted: 1,
            output_tokens_asked: self.tokens,
            address: 0,
            expected_number: None,
        }
    }

    fn class_of_turn(&self, _: u32, _: u32) -> u16 {
        0
    }
}

#[cfg(target_os = "linux")]
fn process_cpu() -> Nanos {
    super::clock::process_cpu()
}

#[cfg(not(target_os = "linux"))]
fn process_cpu() -> Nanos {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_what_it_says() {
        let shape = Shape::of(CellLoad::Streams { streams: 1000, events_per_s_each: 100.0 }, Duration::from_secs(3));
        // 100 events of 10 ms after 50 ms: 1040 ms a stream, 100 000 / 1.04 events a second.
        assert_eq!((shape.beat.itl_ns, shape.tokens, shape.length), (10_000_000, 100, 1_040_000_000));
        assert!((shape.events_per_s - 96_153.846).abs() < 0.001, "{}", shape.events_per_s);
        let LoopPlan::Closed(plan) = &shape.plan else { panic!("an open loop") };
        assert_eq!((plan.users, plan.ramp_ns, plan.rule.warmup_end), (1000, 1_040_000_000, 2_280_000_000));
        assert_eq!(plan.rule.soft_end, 5_280_000_000);

        let shape = Shape::of(CellLoad::Streams { streams: 19_000, events_per_s_each: 2.0 }, Duration::from_secs(3));
        // Eight events of half a second; users begin at 2000 a second.
        assert_eq!((shape.tokens, shape.length), (8, 3_550_000_000));
        let LoopPlan::Closed(plan) = &shape.plan else { panic!("an open loop") };
        assert_eq!(plan.ramp_ns, 9_500_000_000);
    }

    #[test]
    fn arrivals_are_evenly_spaced_and_counted() {
        let shape = Shape::of(CellLoad::Requests { requests_per_s: 3000 }, Duration::from_millis(100));
        let LoopPlan::Open { schedule, window } = &shape.plan else { panic!("a closed loop") };
        assert_eq!((window.warmup, window.measured, window.warmup_end_ns), (1500, 300, 500_000_000));
        assert_eq!(window.measure_end_ns, 600_000_000);
        let times: Vec<_> = schedule().take(4).map(|arrival| arrival.at).collect();
        assert_eq!(times, [0, 333_333, 666_666, 1_000_000]);
    }
}
