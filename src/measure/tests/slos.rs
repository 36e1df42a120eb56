//! Verdicts, goodput and the error budget.

use super::*;
use crate::report::model::{Bound, SloReport, Verdict};
use crate::scenario::file::{GoodputTarget, PooledTargets};

fn with_slo(slo: SloConfig) -> MeasureSpec {
    spec(vec![ClassSpec { slo: Some(slo), ..class("base") }])
}

fn judged(slo: SloConfig, timelines: Vec<Timeline>) -> PointReport {
    measure(with_slo(slo), timelines).0
}

fn only(point: &PointReport) -> &SloReport {
    assert_eq!(point.slo.len(), 1, "{:?}", point.slo);
    &point.slo[0]
}

#[test]
fn survivors_do_not_save_a_server_that_times_out() {
    // Healthy: 400 requests at 100 ms pass p50 ≤ 300 and p99 ≤ 300 (400 ≥ 368).
    let slo = ttft_slo(None, Some(300.0), Some(300.0));
    let healthy: Vec<_> = (0..400).map(|n| with_ttft(2000 + n, 100)).collect();
    let point = judged(slo.clone(), healthy);
    assert_eq!(point.verdict, Verdict::Pass);
    assert!(point.slo.iter().all(|slo| !slo.missed && slo.met == 400 && slo.judged == 400));

    // Half of them time out; the survivors are even faster. Their median is fine, the SLO is not:
    // ⌈0.99·400⌉ = 396th of 400 is among those that never answered; ⌈0.5·400⌉ = 200th is the last survivor.
    let sick = (0..400).map(|n| if n % 2 == 0 { with_ttft(2000 + n, 50) } else { failed(2000 + n, Outcome::TimedOut) });
    let point = judged(slo, sick.collect());
    near(point.metrics["ttft_ms"].max, 50.0);
    assert_eq!(point.verdict, Verdict::Fail);
    let (p50, p99) = (&point.slo[0], &point.slo[1]);
    assert_eq!((p99.observed, p99.observed_bound, p99.verdict), (None, Some(Bound::Unbounded), Verdict::Fail));
    assert!(p99.missed);
    // 200 of 400 met: the interval 0.45 … 0.55 reaches to both sides of one half.
    assert_eq!((p50.met, p50.missed, p50.verdict), (200, false, Verdict::Inconclusive));
    assert!(p50.observed.is_some_and(|ms| (50.0..50.1).contains(&ms)));
    assert!(point.errors.broken);
    near(point.errors.share, 0.5);
}

#[test]
fn verdicts_follow_the_interval() {
    // p50 ≤ 100 ms, k of 20 within it: 20 → [0.832, 1] pass; 12 → [0.361, 0.809] inconclusive, not missed;
    // 8 → [0.191, 0.639] inconclusive but missed; 2 → [0.012, 0.317] fail.
    for (within, verdict, missed) in [
        (20, Verdict::Pass, false),
        (12, Verdict::Inconclusive, false),
        (10, Verdict::Inconclusive, false),
        (9, Verdict::Inconclusive, true),
        (8, Verdict::Inconclusive, true),
        (2, Verdict::Fail, true),
    ] {
        let timelines = (0..20).map(|n| with_ttft(2000 + n, if n < within { 90 } else { 200 })).collect();
        let point = judged(ttft_slo(None, Some(100.0), None), timelines);
        let slo = only(&point);
        assert_eq!((slo.verdict, slo.missed, slo.met), (verdict, missed, within), "{within} of 20");
        assert_eq!(point.slo_missed(), missed);
        assert_eq!(slo.interval, crate::measure::interval::clopper_pearson(within, 20));
    }
}

#[test]
fn a_target_is_met_exactly_not_by_the_bucket() {
    // 300.000000 ms lies inside a bucket that ends beyond it; the exact comparison counts.
    let timelines: Vec<_> = (0..400).map(|n| with_ttft(2000 + n, 300)).collect();
    let point = judged(ttft_slo(None, None, Some(300.0)), timelines.clone());
    let slo = only(&point);
    assert!(!slo.missed);
    near(slo.observed.unwrap(), 300.0);
    assert!(point.metrics["ttft_ms"].quantiles.p99 > 300.0, "the bucket ends beyond the target");
    // One nanosecond less and it is missed, and says so with a value beyond the target.
    let point = judged(ttft_slo(None, None, Some(299.999_999)), timelines);
    let slo = only(&point);
    assert!(slo.missed && slo.observed.unwrap() > slo.target);
    assert_eq!((slo.met, slo.verdict), (0, Verdict::Fail));
}

#[test]
fn requests_that_were_planned_and_lost_count_against_the_target() {
    let timelines: Vec<_> = (0..10).map(|n| with_ttft(2000 + n, 100)).collect();
    let (point, _) = measure_with(with_slo(ttft_slo(None, Some(300.0), None)), timelines, facts(&[30]));
    assert_eq!((only(&point).judged, only(&point).met), (30, 10));
    assert_eq!(only(&point).observed_bound, Some(Bound::Unbounded));
}

#[test]
fn an_undefined_metric_is_not_judged_but_an_answer_that_never_came_is() {
    let tpot =
        SloConfig { tpot_ms: Some(SloTargets { p50: Some(20.0), ..SloTargets::default() }), ..SloConfig::default() };
    let single = completed(2000, vec![event(2100, Some(1), "a")]);
    let point = judged(tpot, vec![single, with_ttft(3000, 100), failed(4000, Outcome::Empty)]);
    assert_eq!((only(&point).judged, only(&point).met), (2, 1));

    let answer = SloConfig {
        ttft_answer_ms: Some(SloTargets { p99: Some(500.0), ..SloTargets::default() }),
        ..SloConfig::default()
    };
    let thinking = completed(2000, vec![ContentEvent { kind: ContentKind::Reasoning, ..event(2100, Some(1), "hm") }]);
    let point = judged(answer, vec![thinking, with_ttft(3000, 100)]);
    assert_eq!((only(&point).judged, only(&point).met), (2, 1));
    assert_eq!(only(&point).observed_bound, Some(Bound::Unbounded));
    assert_eq!(point.goodput.as_ref().unwrap().met, 1);
}

#[test]
fn gaps_are_pooled() {
    let slo = |ms| SloConfig {
        itl_ms: Some(PooledTargets { p90: Some(ms), ..PooledTargets::default() }),
        ..SloConfig::default()
    };
    // 100 gaps: 91 of 10 ms, 9 of 50 ms.
    let mut at = 2000;
    let mut events = vec![event(at, Some(1), "a")];
    for n in 0..100 {
        at += if n < 91 { 10 } else { 50 };
        events.push(event(at, Some(1), "a"));
    }
    let point = judged(slo(10.0), vec![completed(2000, events.clone())]);
    assert_eq!((only(&point).judged, only(&point).met, only(&point).missed), (100, 91, false));
    assert!(point.goodput.is_none(), "pooled metrics have no deadline");
    let point = judged(slo(9.0), vec![completed(2000, events)]);
    assert!(only(&point).missed);
    // No request completed: there are no gaps, and that is no pass.
    let point = judged(slo(10.0), vec![failed(2000, Outcome::ServerError)]);
    assert_eq!((only(&point).verdict, only(&point).missed), (Verdict::Fail, true));
    // Nothing was planned: nothing is known.
    let point = judged(slo(10.0), Vec::new());
    assert_eq!((only(&point).verdict, only(&point).missed), (Verdict::Inconclusive, false));
}

#[test]
fn goodput_asks_for_every_deadline() {
    let slo = SloConfig {
        ttft_ms: Some(SloTargets { deadline: Some(100.0), ..SloTargets::default() }),
        // No deadline: the target of the highest quantile given, 120 ms.
        e2e_ms: Some(SloTargets { p50: Some(90.0), p95: Some(120.0), ..SloTargets::default() }),
        goodput: Some(GoodputTarget { min_share: 0.5 }),
        ..SloConfig::default()
    };
    let slow_end = completed(2000, vec![event(2050, Some(1), "a"), event(2121, Some(1), "b")]);
    // with_ttft: e2e = ttft + 10. 100 → 110 good; 101 → late first token; slow_end → 121 ms; one failure.
    let timelines = vec![with_ttft(2000, 100), with_ttft(2000, 101), slow_end, failed(2000, Outcome::Truncated)];
    let point = judged(slo, timelines);
    let goodput = point.goodput.as_ref().unwrap();
    assert_eq!((goodput.met, goodput.planned), (1, 4));
    near(goodput.share, 0.25);
    near(goodput.requests_per_s.unwrap(), 0.1);
    near(point.classes["base"].goodput.as_ref().unwrap().deadlines_ms["e2e_ms"], 120.0);
    let verdict = point.slo.iter().find(|slo| slo.metric == "goodput").unwrap();
    assert_eq!((verdict.missed, verdict.verdict, verdict.observed), (true, Verdict::Inconclusive, Some(0.25)));
}

#[test]
fn a_class_without_slo_inflates_no_goodput() {
    let spec = spec(vec![ClassSpec { slo: Some(ttft_slo(Some(100.0), None, None)), ..class("base") }, class("free")]);
    let mut free = with_ttft(2000, 5);
    free.class = 1;
    let (point, _) = measure(spec, vec![with_ttft(2000, 200), free.clone(), free]);
    assert_eq!(point.goodput.as_ref().map(|goodput| (goodput.met, goodput.planned)), Some((0, 1)));
    assert!(point.classes["free"].goodput.is_none());
    assert_eq!(point.verdict, Verdict::None, "a deadline alone is no target");
}

#[test]
fn the_error_budget_breaks_above_its_share() {
    for (failures, broken) in [(1, false), (2, true)] {
        let timelines = (0..100)
            .map(|n| if n < failures { failed(2000 + n, Outcome::ServerError) } else { with_ttft(2000 + n, 100) });
        let (point, _) = measure(spec(vec![class("base")]), timelines.collect());
        assert_eq!(point.errors.broken, broken, "{failures} of 100 with max_share 0.01");
    }
}
