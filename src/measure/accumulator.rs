//! One pass over the timelines of a point: record, count, forget.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::attribution::{EventCounts, record_of};
use super::class::ClassTotals;
use super::facts::EngineFacts;
use super::headroom::{CalibratedLimits, LoadSlices};
use super::lengths::LawMeans;
use super::slo::{JudgeSpec, Tally};
use super::timeline::{Outcome, Phase, Timeline};
use super::validity;
use super::window::WindowTally;
use crate::report::model::{
    AddressReport, ClassReport, ClientReport, Clock, Goodput, Loop, Outcomes, PointReport, Validity, Verdict, WallTime,
    Window,
};
use crate::report::requests::RequestRecord;
use crate::scenario::file::{ErrorsConfig, SloConfig, ValidityConfig};
use crate::tokens::Tokenizer;
use crate::units::{NANOS_PER_SEC, Nanos};

/// A traffic class as far as measuring is concerned.
#[derive(Clone, Debug)]
pub struct ClassSpec {
    /// Its name.
    pub name: String,
    /// Its SLO.
    pub slo: Option<SloConfig>,
    /// Counts tokens that the server does not count.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
}

/// What to measure and how to judge it.
#[derive(Clone, Debug)]
pub struct MeasureSpec {
    /// The classes; `Timeline::class` is a position here.
    pub classes: Vec<ClassSpec>,
    /// Whether answers set the rate of arrivals.
    pub closed_loop: bool,
    /// Start of the measured window, in nanoseconds since the start of the point.
    pub window_start_ns: Nanos,
    /// Its end, where it is known before the point starts: by duration, or from the schedule of an open
    /// loop. Absent: [`Accumulator::close_window`] says it.
    pub window_end_ns: Option<Nanos>,
    /// The error budget.
    pub errors: ErrorsConfig,
    /// The validity limits.
    pub validity: ValidityConfig,
    /// What this machine can measure, where it is known.
    pub calibration: Option<CalibratedLimits>,
    /// Mean lengths of the laws of the classes, in their order; empty: unknown.
    pub laws: Vec<LawMeans>,
    /// The addresses of backends that have several.
    pub addresses: Addresses,
}

/// Addresses whose requests are counted apart.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Backend and address, as reports name them.
    pub names: Vec<(String, String)>,
    /// Position in `names` of the first address of each class; `None`: its backend has only one.
    pub first: Vec<Option<usize>>,
}

impl MeasureSpec {
    /// The part that judges stored measurements.
    pub fn judge_spec(&self) -> JudgeSpec {
        let slos = self.classes.iter().filter_map(|class| Some((class.name.clone(), class.slo.clone()?)));
        JudgeSpec { slos: slos.collect(), errors: self.errors.clone(), validity: self.validity.clone() }
    }
}

/// Takes timelines in any order and keeps sums. Memory does not grow with their number.
#[derive(Clone, Debug)]
pub struct Accumulator {
    spec: MeasureSpec,
    totals: Vec<ClassTotals>,
    tallies: Vec<Option<Tally>>,
    window: WindowTally,
    load: LoadSlices,
    counts: Vec<EventCounts>,
    by_address: Vec<Outcomes>,
}

/// A measured point without its place in a plan.
#[derive(Clone, Debug)]
pub struct PointMeasurement(PointReport);

impl Accumulator {
    /// Nothing measured yet.
    pub fn new(spec: MeasureSpec) -> Self {
        let classes = spec.classes.len();
        Self {
            totals: vec![ClassTotals::new(); classes],
            tallies: spec.classes.iter().map(|class| class.slo.as_ref().map(Tally::new)).collect(),
            window: WindowTally::new(spec.window_start_ns, spec.window_end_ns, classes),
            load: LoadSlices::default(),
            counts: vec![EventCounts::default(); classes],
            by_address: vec![Outcomes::default(); spec.addresses.names.len()],
            spec,
        }
    }

    /// Takes one request: counts and attributes its tokens and adds it to every sum. Returns its line
    /// for `requests.jsonl` when it is a measured one. Not for the thread that reads answers.
    ///
    /// # Panics
    /// When the class is not one of the spec.
    pub fn record(&mut self, timeline: Timeline) -> Option<RequestRecord> {
        let class = usize::from(timeline.class);
        let phase = timeline.phase;
        if self.spec.calibration.is_some() {
            self.load.observe(&timeline);
        }
        let spec = &self.spec.classes[class];
        if phase != Phase::Measure {
            self.totals[class].observe_unmeasured(phase, timeline.answer.outcome);
            // Tokenising is the expensive part; only a warm-up answer that reaches the window needs it.
            if timeline.answer.outcome == Outcome::Completed && self.reaches_window(&timeline) {
                self.window.observe(class, &record_of(timeline, spec, &mut self.counts[class]));
            }
            return None;
        }
        if let Some(first) = self.spec.addresses.first.get(class).copied().flatten()
            && let Some(outcomes) = self.by_address.get_mut(first + usize::from(timeline.address))
        {
            outcomes.planned += 1;
            outcomes.add(timeline.answer.outcome);
        }
        let record = record_of(timeline, spec, &mut self.counts[class]);
        self.totals[class].observe(&record);
        self.window.observe(class, &record);
        if let Some(tally) = &mut self.tallies[class] {
            tally.observe(&record);
        }
        Some(record)
    }

    /// Says when a window ends whose end was not known. To be called before any request is recorded that
    /// ended more than a second later; what arrived after `end` is taken back.
    pub fn close_window(&mut self, end_ns: Nanos) {
        self.window.close(end_ns);
    }

    /// The measurement of the point.
    pub fn finish(mut self, facts: EngineFacts) -> PointMeasurement {
        self.window.close(facts.window_end_ns);
        for (class, totals) in self.totals.iter_mut().enumerate() {
            totals.outcomes.planned = facts.planned.get(class).copied().unwrap_or(0);
            totals.lengths.drawn_by(self.spec.laws.get(class).copied().unwrap_or_default());
        }
        let mut pooled = ClassTotals::new();
        self.totals.iter().for_each(|totals| pooled.merge(totals));
        let window_s = window_seconds(facts.window_start_ns, facts.window_end_ns);
        let classes = self.class_reports(window_s);
        let all = self.pooled_report(&pooled, window_s);
        let mut point = assemble(self.spec.closed_loop, &facts, &pooled, all, classes);
        let peak = self.load.peak(facts.window_start_ns, facts.window_end_ns);
        point.client.headroom =
            self.spec.calibration.as_ref().zip(peak).and_then(|(limits, peak)| limits.headroom(peak));
        let names = self.spec.addresses.names.iter().zip(&self.by_address);
        point.addresses = names
            .map(|((backend, url), outcomes)| AddressReport {
                backend: backend.clone(),
                url: url.clone(),
                outcomes: *outcomes,
            })
            .collect();
        let judge = self.spec.judge_spec();
        judge_point(&mut point, &judge, pooled.reasons.report());
        PointMeasurement(point)
    }

    fn reaches_window(&self, timeline: &Timeline) -> bool {
        let last = timeline.answer.events.last().map(|event| event.at);
        last.max(timeline.stamps.end).is_some_and(|at| at >= self.spec.window_start_ns)
    }

    fn class_reports(&self, window_s: Option<f64>) -> BTreeMap<String, ClassReport> {
        let parts = self.spec.classes.iter().zip(&self.totals).zip(&self.tallies).enumerate();
        parts
            .map(|(class, ((spec, totals), tally))| {
                let mut report = totals.report(&self.window.class(class), window_s, !self.spec.closed_loop);
                if let Some(tally) = tally {
                    totals.judge(spec, tally, window_s, &mut report);
                }
                (spec.name.clone(), report)
            })
            .collect()
    }

    fn pooled_report(&self, pooled: &ClassTotals, window_s: Option<f64>) -> ClassReport {
        let mut inside = super::window::Inside::default();
        (0..self.totals.len()).for_each(|class| inside.merge(&self.window.class(class)));
        pooled.report(&inside, window_s, !self.spec.closed_loop)
    }
}

impl PointMeasurement {
    /// The report of the point at its place in a plan.
    pub fn into_report(self, id: String, digest: String, coordinates: BTreeMap<String, Value>) -> PointReport {
        PointReport { id, digest, coordinates, ..self.0 }
    }
}

/// Length of the window in seconds; absent when it has none, because nothing can be divided by it.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn window_seconds(start_ns: Nanos, end_ns: Nanos) -> Option<f64> {
    let length = end_ns.checked_sub(start_ns).filter(|length| *length > 0)?;
    Some(length as f64 / NANOS_PER_SEC as f64)
}

/// Everything but the judgements.
fn assemble(
    closed_loop: bool,
    facts: &EngineFacts,
    pooled: &ClassTotals,
    all: ClassReport,
    classes: BTreeMap<String, ClassReport>,
) -> PointReport {
    PointReport {
        id: String::new(),
        digest: String::new(),
        coordinates: BTreeMap::new(),
        loop_kind: if closed_loop { Loop::Closed } else { Loop::Open },
        reused_from: None,
        requests_file: None,
        verdict: Verdict::None,
        validity: Validity::default(),
        errors: crate::report::model::Errors::default(),
        clock: Clock { source: facts.clock },
        window: Window {
            started_at: WallTime(facts.window_started_at),
            duration_s: window_seconds(facts.window_start_ns, facts.window_end_ns).unwrap_or(0.0),
            start_ns: facts.window_start_ns,
            end_ns: facts.window_end_ns,
        },
        bodies: None,
        sessions: (pooled.sessions.turns > 0).then_some(pooled.sessions),
        outcomes: all.outcomes,
        rates: all.rates,
        throughput: all.throughput,
        metrics: all.metrics,
        goodput: None,
        slo: Vec::new(),
        token_attribution: all.token_attribution,
        tokens: all.tokens,
        lengths: all.lengths,
        classes,
        addresses: Vec::new(),
        datasets: Vec::new(),
        phases: pooled.phases,
        client: client_report(facts, pooled),
        server_metrics: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

fn client_report(facts: &EngineFacts, pooled: &ClassTotals) -> ClientReport {
    let client = &facts.client;
    ClientReport {
        dispatch_lag_ms: pooled.dispatch_lag.report(),
        loop_lag_ms: client.loop_lag.report(),
        stamp_lag_ms: client.stamp_lag.report(),
        reads: client.reads,
        observed_s: finite(client.observed_s),
        usable_cpus: finite(client.usable_cpus),
        cpu_share: finite(client.cpu_share),
        busiest_core_share: finite(client.busiest_core_share),
        workers: client.workers.clone(),
        throttled_share: finite(client.throttled_share),
        throttled_periods: client.throttled_periods,
        steal_share: finite(client.steal_share),
        peak_rss_bytes: client.peak_rss_bytes,
        rss_begin_bytes: client.rss_begin_bytes,
        rss_end_bytes: client.rss_end_bytes,
        descriptors: client.descriptors,
        ports: client.ports,
        tcp: client.tcp,
        connections: client.connections,
        stamps: pooled.stamps,
        blurred_stamps: pooled.blurred_stamps,
        not_started: facts.not_started_by_client,
        without_descriptor: client.without_descriptor,
        without_port: client.without_port,
        prompts_repeated: client.prompts_repeated,
        prompts_of_earlier_points: client.prompts_of_earlier_points,
        prompts_recounted: client.prompts_recounted,
        prompts_miscounted: client.prompts_miscounted,
        headroom: None,
    }
}

/// JSON has no NaN: a sampler that divided by zero knew nothing.
fn finite(share: Option<f64>) -> Option<f64> {
    share.filter(|share| share.is_finite())
}

/// Pools the judgements of the classes and adds those of the whole point.
pub(crate) fn judge_point(point: &mut PointReport, spec: &JudgeSpec, reasons: Vec<crate::report::model::ReasonCount>) {
    point.slo = point.classes.values().flat_map(|class| class.slo.iter().cloned()).collect();
    point.verdict = Verdict::worst(point.slo.iter().map(|slo| slo.verdict));
    point.goodput = pooled_goodput(point, spec);
    point.errors = validity::error_budget(point.outcomes.planned, point.outcomes.failed(), &spec.errors, reasons);
    point.validity = validity::judge(point, spec);
}

/// Goodput over the classes that have an SLO; absent when one of them cannot tell.
fn pooled_goodput(point: &PointReport, spec: &JudgeSpec) -> Option<Goodput> {
    let with_slo = point.classes.iter().filter(|(name, _)| {
        spec.slos.get(*name).is_some_and(|slo| slo.goodput.is_some() || !super::slo::deadlines(slo).is_empty())
    });
    let parts: Vec<&Goodput> = with_slo.map(|(_, class)| class.goodput.as_ref()).collect::<Option<_>>()?;
    if parts.is_empty() {
        return None;
    }
    let (met, planned) = parts.iter().fold((0, 0), |(met, planned), part| (met + part.met, planned + part.planned));
    let window_s = window_seconds(point.window.start_ns, point.window.end_ns);
    Some(super::slo::goodput(met, planned, window_s, BTreeMap::new()))
}
