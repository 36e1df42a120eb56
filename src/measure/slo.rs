//! Targets, deadlines and verdicts: counts of what met a target, judged over everything planned.

use std::collections::BTreeMap;

use super::derive::{gaps, token_gaps, value};
use super::distribution::{Distribution, rank};
use super::interval::clopper_pearson;
use super::metric::{Metric, Unit};
use super::timeline::Outcome;
use crate::report::model::{Bound, Goodput, JudgedBy, Outcomes, SloReport, Verdict};
use crate::report::requests::RequestRecord;
use crate::scenario::file::{ErrorsConfig, PooledTargets, SloConfig, SloTargets, ValidityConfig};

/// Everything that judges stored measurements and changes none of them.
#[derive(Clone, Debug, Default)]
pub struct JudgeSpec {
    /// SLO of each class that has one.
    pub slos: BTreeMap<String, SloConfig>,
    /// The error budget.
    pub errors: ErrorsConfig,
    /// The validity limits.
    pub validity: ValidityConfig,
}

impl JudgeSpec {
    /// The smallest deadline of any class, in milliseconds.
    pub fn smallest_deadline_ms(&self) -> Option<f64> {
        let all = self.slos.values().flat_map(deadlines).map(|deadline| deadline.ms);
        all.min_by(f64::total_cmp)
    }
}

/// A quantile target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Its metric.
    pub metric: Metric,
    /// The quantile in thousandths.
    pub per_mille: u16,
    /// The target in milliseconds.
    pub ms: f64,
}

/// A deadline of each request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline {
    /// Its metric.
    pub metric: Metric,
    /// The deadline in milliseconds.
    pub ms: f64,
}

impl Target {
    fn limit(&self) -> u64 {
        Unit::Time.raw(self.ms)
    }

    /// `p50` … `p99_9`.
    pub fn quantile_name(&self) -> String {
        match self.per_mille % 10 {
            0 => format!("p{}", self.per_mille / 10),
            tenth => format!("p{}_{tenth}", self.per_mille / 10),
        }
    }
}

/// The per-request metrics an SLO can name, with what it says about each.
fn per_request(slo: &SloConfig) -> impl Iterator<Item = (Metric, &SloTargets)> {
    [
        (Metric::Ttft, &slo.ttft_ms),
        (Metric::TtftAnswer, &slo.ttft_answer_ms),
        (Metric::TtftService, &slo.ttft_service_ms),
        (Metric::Tpot, &slo.tpot_ms),
        (Metric::Ntpot, &slo.ntpot_ms),
        (Metric::E2e, &slo.e2e_ms),
        (Metric::E2eService, &slo.e2e_service_ms),
    ]
    .into_iter()
    .filter_map(|(metric, targets)| Some((metric, targets.as_ref()?)))
}

/// The targets of an SLO, metric by metric, lowest quantile first.
pub fn targets(slo: &SloConfig) -> Vec<Target> {
    let single = per_request(slo).flat_map(|(metric, config)| {
        let SloTargets { deadline: _, p50, p75, p90, p95, p99, p99_9 } = *config;
        quantiles(metric, [p50, p75, p90, p95, p99, p99_9])
    });
    let pooled = [(Metric::Itl, &slo.itl_ms), (Metric::Tbt, &slo.tbt_ms)]
        .into_iter()
        .filter_map(|(metric, config)| Some((metric, config.as_ref()?)))
        .flat_map(|(metric, config)| {
            let PooledTargets { p50, p75, p90, p95, p99, p99_9 } = *config;
            quantiles(metric, [p50, p75, p90, p95, p99, p99_9])
        });
    single.chain(pooled).collect()
}

fn quantiles(metric: Metric, targets: [Option<f64>; 6]) -> impl Iterator<Item = Target> {
    let per_mille = [500, 750, 900, 950, 990, 999];
    per_mille.into_iter().zip(targets).filter_map(move |(per_mille, ms)| Some(Target { metric, per_mille, ms: ms? }))
}

/// The deadlines of an SLO: given, else the target of the highest quantile given.
pub fn deadlines(slo: &SloConfig) -> Vec<Deadline> {
    per_request(slo)
        .filter_map(|(metric, config)| {
            let highest = [config.p99_9, config.p99, config.p95, config.p90, config.p75, config.p50];
            let ms = config.deadline.or_else(|| highest.into_iter().flatten().next())?;
            Some(Deadline { metric, ms })
        })
        .collect()
}

/// How a measured request of a class stands to the SLO of that class, counted while requests come in:
/// exact, and no larger for more requests.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) targets: Vec<TargetTally>,
    pub(crate) goodput: Option<GoodputTally>,
    min_share: Option<f64>,
}

#[derive(Clone, Debug)]
pub(crate) struct TargetTally {
    pub(crate) target: Target,
    pub(crate) met: u64,
    pub(crate) judged_by: JudgedBy,
}

#[derive(Clone, Debug)]
pub(crate) struct GoodputTally {
    pub(crate) deadlines: Vec<Deadline>,
    /// Absent when stored numbers cannot tell.
    pub(crate) met: Option<u64>,
    pub(crate) judged_by: JudgedBy,
}

/// What a class measured, as far as its SLO is concerned.
pub(crate) struct Measured<'a> {
    pub(crate) class: &'a str,
    pub(crate) outcomes: &'a Outcomes,
    pub(crate) window_s: Option<f64>,
    /// Distribution of each metric; absent or empty without samples.
    pub(crate) metrics: BTreeMap<Metric, &'a Distribution>,
}

impl Measured<'_> {
    fn count(&self, metric: Metric) -> u64 {
        self.metrics.get(&metric).map_or(0, |distribution| distribution.count())
    }

    /// What a target is judged over: pooled metrics their samples; per-request metrics every planned
    /// request but the completed ones for which the metric is undefined. A completed answer that is all
    /// reasoning has no answer token and stays in: it never came.
    fn population(&self, metric: Metric) -> u64 {
        if metric.is_pooled() {
            return self.count(metric);
        }
        let defined_by = if metric == Metric::TtftAnswer { Metric::Ttft } else { metric };
        let undefined = self.outcomes.completed.saturating_sub(self.count(defined_by));
        self.outcomes.planned.saturating_sub(undefined)
    }
}

impl Tally {
    pub(crate) fn new(slo: &SloConfig) -> Self {
        let judged_by = JudgedBy::Requests;
        let min_share = slo.goodput.as_ref().map(|goodput| goodput.min_share);
        let deadlines = deadlines(slo);
        let wanted = !deadlines.is_empty() || min_share.is_some();
        Self {
            targets: targets(slo).into_iter().map(|target| TargetTally { target, met: 0, judged_by }).collect(),
            goodput: wanted.then_some(GoodputTally { deadlines, met: Some(0), judged_by }),
            min_share,
        }
    }

    /// Counts one measured request. One that did not complete meets nothing.
    pub(crate) fn observe(&mut self, record: &RequestRecord) {
        if record.outcome != Outcome::Completed {
            return;
        }
        for TargetTally { target, met, .. } in &mut self.targets {
            let limit = target.limit();
            *met += match target.metric {
                Metric::Itl => gaps(record).filter(|gap| *gap <= limit).count() as u64,
                Metric::Tbt => token_gaps(record).iter().filter(|(gap, _)| *gap <= limit).map(|(_, n)| n).sum(),
                metric => u64::from(value(record, metric).is_some_and(|value| value <= limit)),
            };
        }
        if let Some(GoodputTally { deadlines, met: Some(met), .. }) = &mut self.goodput {
            *met += u64::from(deadlines.iter().all(|deadline| in_time(record, deadline)));
        }
    }

    /// The verdict on each target, goodput last.
    pub(crate) fn report(&self, measured: &Measured<'_>) -> Vec<SloReport> {
        let targets = self.targets.iter().map(|tally| tally.report(measured));
        targets.chain(self.goodput_verdict(measured)).collect()
    }

    /// Requests of the class that met every deadline.
    pub(crate) fn goodput_report(&self, measured: &Measured<'_>) -> Option<Goodput> {
        let tally = self.goodput.as_ref()?;
        let (met, planned) = (tally.met?, measured.outcomes.planned);
        let deadlines_ms = tally.deadlines.iter().map(|d| (d.metric.name().to_owned(), d.ms)).collect();
        Some(goodput(met, planned, measured.window_s, deadlines_ms))
    }

    fn goodput_verdict(&self, measured: &Measured<'_>) -> Option<SloReport> {
        let (target, tally) = (self.min_share?, self.goodput.as_ref()?);
        let planned = measured.outcomes.planned;
        let (met, judged) = tally.met.map_or((0, 0), |met| (met, planned));
        let interval = clopper_pearson(met, judged);
        let observed = (judged > 0).then(|| share(met, judged));
        Some(SloReport {
            metric: "goodput".to_owned(),
            class: measured.class.to_owned(),
            quantile: None,
            target,
            observed,
            observed_bound: None,
            judged,
            met,
            required_share: target,
            interval,
            missed: observed.is_some_and(|observed| observed < target),
            judged_by: tally.judged_by,
            verdict: by_interval(interval.low, interval.high, target),
        })
    }
}

/// Goodput of `met` out of `planned` requests.
pub(crate) fn goodput(met: u64, planned: u64, window_s: Option<f64>, deadlines_ms: BTreeMap<String, f64>) -> Goodput {
    #[allow(clippy::cast_precision_loss)]
    let requests_per_s = window_s.map(|seconds| met as f64 / seconds);
    Goodput { share: share(met, planned), requests_per_s, met, planned, deadlines_ms }
}

/// Whether a completed request met a deadline. A metric that is undefined for it (TPOT of a single
/// token) cannot be late; an answer that never came is.
fn in_time(record: &RequestRecord, deadline: &Deadline) -> bool {
    let limit = Unit::Time.raw(deadline.ms);
    let never_came = deadline.metric == Metric::TtftAnswer && record.streamed;
    value(record, deadline.metric).map_or(!never_came, |value| value <= limit)
}

impl TargetTally {
    fn report(&self, measured: &Measured<'_>) -> SloReport {
        let Self { target, met, judged_by } = *self;
        let judged = measured.population(target.metric);
        let rank = rank(target.per_mille, judged);
        let seen = measured.metrics.get(&target.metric).and_then(|distribution| distribution.at_rank(rank));
        // Pooled samples exist only where a request completed; when none did, every gap is missing.
        let nothing_came = measured.outcomes.completed == 0 && measured.outcomes.planned > 0;
        let unbounded = seen.is_none() && (judged > 0 || nothing_came);
        let missed = unbounded || judged > 0 && met < rank;
        let interval = clopper_pearson(met, judged);
        let required = f64::from(target.per_mille) / 1000.0;
        // The exact counts know that the quantile is within the target where its bucket reaches beyond.
        let observed = seen.map(|seen| Unit::Time.display(if missed { seen } else { seen.min(target.limit()) }));
        SloReport {
            metric: target.metric.name().to_owned(),
            class: measured.class.to_owned(),
            quantile: Some(target.quantile_name()),
            target: target.ms,
            observed,
            observed_bound: unbounded.then_some(Bound::Unbounded),
            judged,
            met,
            required_share: required,
            interval,
            missed,
            judged_by,
            verdict: if unbounded { Verdict::Fail } else { by_interval(interval.low, interval.high, required) },
        }
    }
}

/// Pass when the whole interval is at or above the required share, fail when all of it is below.
fn by_interval(low: f64, high: f64, required: f64) -> Verdict {
    if low >= required {
        Verdict::Pass
    } else if high < required {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    }
}

/// A share; of nothing it is 0.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
