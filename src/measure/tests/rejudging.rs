//! Judging again: from records exactly what a run with the new SLO would have said, from histograms
//! never more than that.

use proptest::prelude::*;

use super::*;
use crate::measure::slo::JudgeSpec;
use crate::measure::{needs_records, rejudge, rejudge_from_records};
use crate::report::model::{JudgedBy, Verdict};
use crate::scenario::file::{GoodputTarget, PooledTargets};

fn load() -> Vec<Timeline> {
    (0..300_u64)
        .map(|n| match n % 10 {
            9 => failed(2000 + n, Outcome::TimedOut),
            k => with_ttft(2000 + n, 50 + k * 20 + n % 7),
        })
        .collect()
}

fn strict() -> SloConfig {
    SloConfig {
        ttft_ms: Some(SloTargets { p50: Some(120.0), p90: Some(210.0), ..SloTargets::default() }),
        e2e_ms: Some(SloTargets { deadline: Some(150.0), ..SloTargets::default() }),
        itl_ms: Some(PooledTargets { p99: Some(10.0), ..PooledTargets::default() }),
        goodput: Some(GoodputTarget { min_share: 0.4 }),
        ..SloConfig::default()
    }
}

fn judging(slo: Option<SloConfig>) -> JudgeSpec {
    let mut measured = spec(vec![ClassSpec { slo, ..class("base") }]);
    measured.errors.max_share = 0.2;
    measured.judge_spec()
}

fn run(slo: Option<SloConfig>) -> (PointReport, Vec<RequestRecord>) {
    let mut spec = spec(vec![ClassSpec { slo, ..class("base") }]);
    spec.errors.max_share = 0.2;
    measure(spec, load())
}

#[test]
fn from_records_equals_a_run_with_the_new_slo() {
    let (fresh, _) = run(Some(strict()));
    let (old, records) = run(Some(ttft_slo(None, Some(500.0), None)));
    assert!(needs_records(&old, &judging(Some(strict()))));
    // Through JSON, as the store has them.
    let stored = records.iter().map(|record| serde_json::to_string(record).unwrap());
    let read = stored.map(|line| serde_json::from_str(&line).unwrap());
    assert_eq!(rejudge_from_records(&old, &judging(Some(strict())), read), fresh);
}

#[test]
fn the_same_slo_changes_nothing_and_needs_no_records() {
    let (point, _) = run(Some(strict()));
    let same = judging(Some(strict()));
    assert!(!needs_records(&point, &same));
    assert_eq!(rejudge(&point, &same), point);
}

#[test]
fn budgets_and_limits_need_no_records() {
    let (point, _) = run(Some(strict()));
    assert!(!point.errors.broken);
    let mut spec = judging(Some(strict()));
    spec.errors.max_share = 0.05;
    spec.validity.started_suspect_share = 1.0;
    assert!(!needs_records(&point, &spec));
    let judged = rejudge(&point, &spec);
    assert!(judged.errors.broken);
    assert_eq!(judged.errors.reasons, point.errors.reasons);
    assert_eq!((judged.slo, judged.metrics), (point.slo, point.metrics));
}

#[test]
fn an_slo_that_is_gone_is_gone() {
    let (point, _) = run(Some(strict()));
    let judged = rejudge(&point, &judging(None));
    assert_eq!((judged.verdict, judged.slo.len(), judged.goodput), (Verdict::None, 0, None));
    assert!(judged.classes["base"].slo.is_empty() && judged.classes["base"].goodput.is_none());
}

#[test]
fn several_deadlines_cannot_be_told_from_histograms() {
    let (point, _) = run(None);
    let judged = rejudge(&point, &judging(Some(strict())));
    assert_eq!(judged.goodput, None);
    let goodput = judged.slo.iter().find(|slo| slo.metric == "goodput").unwrap();
    assert_eq!((goodput.verdict, goodput.judged, goodput.judged_by), (Verdict::Inconclusive, 0, JudgedBy::Histogram));
}

#[test]
fn a_single_new_deadline_is_told_from_its_histogram() {
    let (point, records) = run(None);
    let spec = judging(Some(ttft_slo(Some(120.0), None, None)));
    assert!(needs_records(&point, &spec));
    let exact = rejudge_from_records(&point, &spec, records.into_iter()).goodput.unwrap();
    let coarse = rejudge(&point, &spec).goodput.unwrap();
    assert_eq!(coarse.planned, exact.planned);
    assert!(coarse.met <= exact.met);
    // The next millisecond is far beyond the 0.1 % of a bucket.
    let above = rejudge(&point, &judging(Some(ttft_slo(Some(121.0), None, None)))).goodput.unwrap();
    assert!(above.met >= exact.met);
}

#[test]
fn missing_records_fall_back_instead_of_failing_requests() {
    let (old, mut records) = run(None);
    records.truncate(200);
    let spec = judging(Some(ttft_slo(None, Some(120.0), None)));
    let judged = rejudge_from_records(&old, &spec, records.into_iter());
    assert_eq!(judged, rejudge(&old, &spec));
    assert_eq!(judged.slo[0].judged_by, JudgedBy::Histogram);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn histograms_never_flatter(targets in prop::collection::vec(40_u32..300, 2)) {
        let (point, records) = run(None);
        let ms = |at: usize| Some(f64::from(targets[at]) + 0.25);
        let spec = judging(Some(ttft_slo(None, ms(0), ms(1))));
        let exact = rejudge_from_records(&point, &spec, records.into_iter());
        let coarse = rejudge(&point, &spec);
        for (exact, coarse) in exact.slo.iter().zip(&coarse.slo) {
            prop_assert!(coarse.met <= exact.met);
            prop_assert!(exact.met - coarse.met <= 30, "only the bucket of the target may differ");
            prop_assert_eq!(coarse.judged, exact.judged);
            prop_assert!(coarse.missed || !exact.missed);
        }
    }
}
