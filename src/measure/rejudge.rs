//! Judging a stored point again: a new SLO, error budget or validity limit needs no new run.

use std::collections::{BTreeMap, BTreeSet};

use super::accumulator::{judge_point, window_seconds};
use super::distribution::Distribution;
use super::metric::{Metric, Unit};
use super::slo::{Deadline, GoodputTally, JudgeSpec, Measured, Tally, Target, TargetTally, deadlines, targets};
use crate::report::model::{ClassReport, JudgedBy, PointReport, SloReport};
use crate::report::requests::RequestRecord;
use crate::scenario::file::SloConfig;

/// Judges a stored point by `spec`. Targets and deadlines that the point was already judged by keep
/// their exact counts. New targets are counted in the stored histograms, to their resolution of 0.1 %
/// and never in favour of the server (`judged_by: "histogram"`). A new goodput of several deadlines
/// cannot be told from histograms: it is absent and its verdict inconclusive; see [`needs_records`].
pub fn rejudge(report: &PointReport, spec: &JudgeSpec) -> PointReport {
    judge_classes(report, spec, |name, class| {
        let slo = spec.slos.get(name)?;
        let mut tally = Tally::new(slo);
        let metrics = distributions(class, slo);
        for target in &mut tally.targets {
            recount_target(target, class, &metrics);
        }
        if let Some(goodput) = &mut tally.goodput {
            recount_goodput(goodput, class, &metrics);
        }
        Some(tally)
    })
}

/// Whether [`rejudge`] would have to fall back on histograms, so that the request records of the point
/// are worth fetching for [`rejudge_from_records`].
pub fn needs_records(report: &PointReport, spec: &JudgeSpec) -> bool {
    let judged = rejudge(report, spec);
    let from_histogram = |slo: &SloReport| slo.judged_by == JudgedBy::Histogram;
    judged.slo.iter().any(from_histogram)
        || spec.slos.iter().any(|(name, slo)| {
            let Some((old, new)) = report.classes.get(name).zip(judged.classes.get(name)) else { return false };
            // A goodput without a target of its own has no entry among the SLOs.
            let wanted = !deadlines(slo).is_empty();
            let same = |old: &ClassReport| old.goodput.as_ref().map(|goodput| goodput.deadlines_ms.clone());
            wanted && (new.goodput.is_none() || same(old) != same(new))
        })
}

/// Judges a stored point by `spec` exactly, from the records of its requests. When they are not all
/// there (a file that was cut) it falls back on [`rejudge`], because a missing request would count as
/// failed.
pub fn rejudge_from_records(
    report: &PointReport,
    spec: &JudgeSpec,
    records: impl Iterator<Item = RequestRecord>,
) -> PointReport {
    let mut tallies: BTreeMap<&str, Tally> =
        spec.slos.iter().map(|(name, slo)| (name.as_str(), Tally::new(slo))).collect();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        if let Some(tally) = tallies.get_mut(record.class.as_str()) {
            tally.observe(&record);
        }
        *seen.entry(record.class).or_default() += 1;
    }
    let all_there =
        report.classes.iter().all(|(name, class)| seen.get(name).copied().unwrap_or(0) == class.outcomes.sum());
    if !all_there {
        return rejudge(report, spec);
    }
    judge_classes(report, spec, |name, _| tallies.remove(name))
}

fn judge_classes<'a>(
    report: &'a PointReport,
    spec: &JudgeSpec,
    mut tally_of: impl FnMut(&str, &'a ClassReport) -> Option<Tally>,
) -> PointReport {
    let mut point = report.clone();
    let window_s = window_seconds(report.window.start_ns, report.window.end_ns);
    for (name, class) in &report.classes {
        let Some(judged) = point.classes.get_mut(name) else { continue };
        (judged.goodput, judged.slo) = (None, Vec::new());
        if let Some(tally) = tally_of(name, class) {
            let stored = spec.slos.get(name).map(|slo| distributions(class, slo)).unwrap_or_default();
            let metrics = stored.iter().map(|(metric, distribution)| (*metric, distribution)).collect();
            let measured = Measured { class: name, outcomes: &class.outcomes, window_s, metrics };
            judged.goodput = tally.goodput_report(&measured);
            judged.slo = tally.report(&measured);
        }
    }
    let reasons = point.errors.reasons.clone();
    judge_point(&mut point, spec, reasons);
    point
}

/// The stored distributions that an SLO is about; a damaged one counts as absent, which no target can be
/// met by. TTFT says how many answers were streamed.
fn distributions(class: &ClassReport, slo: &SloConfig) -> BTreeMap<Metric, Distribution> {
    let judged = targets(slo).into_iter().map(|target| target.metric);
    let needed: BTreeSet<Metric> =
        judged.chain(deadlines(slo).into_iter().map(|deadline| deadline.metric)).chain([Metric::Ttft]).collect();
    let stored = |metric: Metric| Distribution::from_report(class.metrics.get(metric.name())?).ok();
    needed.into_iter().filter_map(|metric| Some((metric, stored(metric)?))).collect()
}

fn recount_target(tally: &mut TargetTally, class: &ClassReport, metrics: &BTreeMap<Metric, Distribution>) {
    if let Some(old) = class.slo.iter().find(|old| same_target(old, &tally.target)) {
        (tally.met, tally.judged_by) = (old.met, old.judged_by);
        return;
    }
    tally.judged_by = JudgedBy::Histogram;
    let limit = Unit::Time.raw(tally.target.ms);
    tally.met = metrics.get(&tally.target.metric).map_or(0, |distribution| distribution.count_at_or_below(limit));
}

/// Whether the stored verdict counts the same thing; the quantile does not matter for that.
fn same_target(old: &SloReport, target: &Target) -> bool {
    old.quantile.is_some()
        && old.metric == target.metric.name()
        && old.judged_by == JudgedBy::Requests
        && Unit::Time.raw(old.target) == Unit::Time.raw(target.ms)
}

fn recount_goodput(tally: &mut GoodputTally, class: &ClassReport, metrics: &BTreeMap<Metric, Distribution>) {
    let wanted: BTreeMap<String, f64> = tally.deadlines.iter().map(|d| (d.metric.name().to_owned(), d.ms)).collect();
    if let Some(old) = class.goodput.as_ref().filter(|old| old.deadlines_ms == wanted) {
        let by = class.slo.iter().find(|slo| slo.metric == "goodput").map(|slo| slo.judged_by);
        (tally.met, tally.judged_by) = (Some(old.met), by.unwrap_or(JudgedBy::Requests));
        return;
    }
    tally.judged_by = JudgedBy::Histogram;
    tally.met = match tally.deadlines.as_slice() {
        [] => {
            tally.judged_by = JudgedBy::Requests;
            Some(class.outcomes.completed)
        }
        [Deadline { metric, ms }] if *metric != Metric::TtftAnswer => {
            let distribution = metrics.get(metric);
            let counted = distribution.map_or(0, Distribution::count);
            let undefined = class.outcomes.completed.saturating_sub(counted);
            let in_time = distribution.map_or(0, |all| all.count_at_or_below(Unit::Time.raw(*ms)));
            Some(undefined + in_time)
        }
        _ => None,
    };
}
