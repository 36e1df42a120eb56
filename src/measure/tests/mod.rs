//! Known-answer tests of the whole module: timelines in, judged point out, arithmetic in comments.

mod known;
mod rejudging;
mod slos;
mod validity;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::{ClientFacts, EngineFacts};
use super::timeline::{
    Answer, ConnectionUse, ContentEvent, ContentKind, Outcome, Phase, RequestId, Stamps, Timeline, Usage,
};
use super::{Accumulator, Addresses, ClassSpec, MeasureSpec};
use crate::report::model::{ClockSource, PointReport};
use crate::report::requests::RequestRecord;
use crate::scenario::file::{ErrorsConfig, SloConfig, SloTargets, ValidityConfig};
use crate::tokens::{Pieces, Tokenizer};

/// One millisecond in stamps.
const MS: u64 = 1_000_000;

/// A token for each word.
#[derive(Debug)]
struct Words;

impl Tokenizer for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        text.split_whitespace().map(|_| 0).collect()
    }

    fn decode(&self, _: &[u32]) -> String {
        unreachable!("no test decodes")
    }

    fn vocab_size(&self) -> usize {
        1
    }

    fn pieces(&self) -> &Pieces {
        unreachable!("no test makes prompts")
    }
}

fn words() -> Option<Arc<dyn Tokenizer>> {
    Some(Arc::new(Words))
}

fn class(name: &str) -> ClassSpec {
    ClassSpec { name: name.to_owned(), slo: None, tokenizer: None }
}

/// Window 1 s … 11 s, so that a request a second later is a rate of 0.1.
fn spec(classes: Vec<ClassSpec>) -> MeasureSpec {
    MeasureSpec {
        classes,
        closed_loop: false,
        window_start_ns: 1_000 * MS,
        window_end_ns: Some(11_000 * MS),
        errors: ErrorsConfig::default(),
        validity: ValidityConfig::default(),
        calibration: None,
        laws: Vec::new(),
        addresses: Addresses::default(),
    }
}

fn facts(planned: &[u64]) -> EngineFacts {
    EngineFacts {
        window_start_ns: 1_000 * MS,
        window_end_ns: 11_000 * MS,
        window_started_at: "2026-01-02T03:04:05.000000006Z".parse().unwrap(),
        planned: planned.to_vec(),
        not_started_by_client: 0,
        clock: ClockSource::User,
        client: ClientFacts::default(),
    }
}

fn event(at_ms: u64, tokens: Option<u32>, text: &str) -> ContentEvent {
    ContentEvent { at: at_ms * MS, kind: ContentKind::Text, tokens, text: text.into(), coalesced: false }
}

/// A streamed request due at `intended_ms`, sent at once, that completed with its last event.
fn completed(intended_ms: u64, events: Vec<ContentEvent>) -> Timeline {
    let end = events.last().map(|event| event.at);
    let stamp = Some(intended_ms * MS);
    let mut timeline = failed(intended_ms, Outcome::Completed);
    timeline.stamps = Stamps { dispatched: stamp, sent: stamp, end, ..timeline.stamps };
    timeline.answer.reason = None;
    timeline.answer.events = events;
    timeline
}

/// A request due at `intended_ms` that got nothing.
fn failed(intended_ms: u64, outcome: Outcome) -> Timeline {
    Timeline {
        id: RequestId::Open { index: intended_ms },
        class: 0,
        phase: Phase::Measure,
        stamps: Stamps { intended: intended_ms * MS, dispatched: Some(intended_ms * MS), ..Stamps::default() },
        answer: Answer::none(outcome, "because", None),
        streamed: true,
        input_tokens_asked: 11,
        input_tokens_counted: Some(11),
        output_tokens_asked: 20,
        expected_number: None,
        connection: ConnectionUse::Reused,
        address: 0,
    }
}

/// A request with a TTFT of `ttft_ms` and a second token 10 ms later.
fn with_ttft(intended_ms: u64, ttft_ms: u64) -> Timeline {
    let first = intended_ms + ttft_ms;
    completed(intended_ms, vec![event(first, Some(1), "a"), event(first + 10, Some(1), "b")])
}

fn usage(input: u64, output: u64) -> Option<Usage> {
    Some(Usage { input_tokens: Some(input), output_tokens: Some(output), cached_tokens: None })
}

/// Runs timelines through an accumulator; planned is what came in.
fn measure(spec: MeasureSpec, timelines: Vec<Timeline>) -> (PointReport, Vec<RequestRecord>) {
    let mut planned = vec![0; spec.classes.len()];
    let measured = timelines.iter().filter(|timeline| timeline.phase == Phase::Measure);
    measured.for_each(|timeline| planned[usize::from(timeline.class)] += 1);
    measure_with(spec, timelines, facts(&planned))
}

fn measure_with(spec: MeasureSpec, timelines: Vec<Timeline>, facts: EngineFacts) -> (PointReport, Vec<RequestRecord>) {
    let mut accumulator = Accumulator::new(spec);
    let records = timelines.into_iter().filter_map(|timeline| accumulator.record(timeline)).collect();
    let point = accumulator.finish(facts).into_report("p".to_owned(), "d".to_owned(), BTreeMap::new());
    (point, records)
}

fn ttft_slo(deadline: Option<f64>, p50: Option<f64>, p99: Option<f64>) -> SloConfig {
    SloConfig { ttft_ms: Some(SloTargets { deadline, p50, p99, ..SloTargets::default() }), ..SloConfig::default() }
}

#[track_caller]
fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

/// The exact mean and count of a metric; panics when it is absent.
#[track_caller]
fn mean(point: &PointReport, name: &str) -> (u64, f64) {
    let metric = point.metrics.get(name).unwrap_or_else(|| panic!("no {name}"));
    (metric.count, metric.mean)
}
