//! What failures must look like: every third request broken, timeouts, a stall of the whole server.

use llm_bench::measure::timeline::{Outcome, RequestId};
use llm_bench::report::model::{Bound, Verdict};

use super::harness::{ONE_USER, World, scenario};

const MEASURE: &str = "{ requests = 60 }";

/// Every third request of the server meets `fault`. The probe is number 1 and the 60 measured requests of the
/// only user are numbers 2 to 61, of which 3, 6, … 60 are divisible by 3: 20.
fn every_third(fault: &str, outcome: Outcome) {
    let url = format!("sim:tiny?jitter=0&fault={fault}&every=3");
    let world = World::new(&scenario(&url, "", ONE_USER, MEASURE, ""));
    let (_, applied) = world.apply_json(&["--run-id", "json"]);
    assert_eq!(applied.json["exit_code"], 100, "{fault}");
    let point = applied.point();
    assert_eq!(point.outcomes.planned, 60, "{fault}");
    assert_eq!(point.outcomes.get(outcome), 20, "{fault}: {:?}", point.outcomes);
    assert_eq!(point.outcomes.completed, 40, "{fault}: {:?}", point.outcomes);
    let sum: u64 = Outcome::ALL.into_iter().map(|outcome| point.outcomes.get(outcome)).sum();
    assert_eq!(sum, 60, "every planned request ends once");
    assert!(point.errors.broken);
    assert_eq!(point.metrics["e2e_ms"].count, 40, "distributions hold completed requests only");
    let [reason] = point.errors.reasons.as_slice() else { panic!("one reason: {:?}", point.errors.reasons) };
    assert_eq!((reason.outcome, reason.count), (outcome, 20), "{fault}");

    let ran = world.apply(&["--run-id", "json"]).expect(100);
    assert!(ran.stdout.contains(&reason.code), "{fault}: {}", ran.stdout);
    if outcome == Outcome::ServerError {
        let detail = reason.detail.as_deref().unwrap_or_else(|| panic!("{fault}: the body's first line"));
        assert_eq!(ran.stdout.matches(detail).count(), 1, "{fault}: `{detail}` once in: {}", ran.stdout);
        let line = ran.stdout.lines().find(|line| line.contains(detail)).unwrap();
        assert!(line.contains("20"), "{fault}: with its count: {line}");
    }
    let records = world.records();
    assert_eq!(records.len(), 60);
    assert_eq!(records.iter().filter(|record| record.outcome == outcome).count(), 20);
}

#[test]
fn every_third_answers_500() {
    every_third("http_500", Outcome::ServerError);
}

#[test]
fn every_third_is_cut_halfway() {
    every_third("cut", Outcome::Truncated);
}

#[test]
fn every_third_has_an_error_inside_its_200() {
    every_third("in_band_error", Outcome::ServerError);
}

#[test]
fn every_third_has_no_content() {
    every_third("empty", Outcome::Empty);
}

#[test]
fn a_server_that_times_out_half_its_requests_fails_the_slo_that_it_passes_when_healthy() {
    let load = "[load]\nkind = \"constant\"\nrate_per_s = 40\n";
    // The budget forgives all, so that the SLO alone speaks.
    let rest = "[errors]\nmax_share = 1\n\n[traffic.slo]\nttft_ms = { p50 = 60000, p90 = 60000 }\n";
    // Long enough for the other half to be answered in time by a busy machine.
    let text = |url: &str| scenario(url, "timeout = \"4s\"", load, MEASURE, rest);
    let healthy = World::new(&text("sim:tiny?jitter=0").replace("timeout = \"4s\"", "timeout = \"60s\""));
    let (_, applied) = healthy.apply_json(&[]);
    assert_eq!((applied.json["exit_code"].as_i64(), applied.report.verdict), (Some(0), Verdict::Pass));

    // Odd numbers answer, the probe among them; even ones never do.
    let broken = World::new(&text("sim:tiny?jitter=0&fault=hang&every=2"));
    let (_, applied) = broken.apply_json(&[]);
    assert_eq!(applied.json["exit_code"], 99);
    assert_eq!(applied.report.verdict, Verdict::Fail);
    let point = applied.point();
    let outcomes = point.outcomes;
    // Where the window ends, requests of the drain may overtake measured ones and take even numbers.
    assert!(outcomes.timed_out.abs_diff(30) <= 5, "half, but for the order of arrival at the end: {outcomes:?}");
    assert_eq!(outcomes.timed_out + outcomes.completed, 60);
    let p90 = point.slo.iter().find(|slo| slo.quantile.as_deref() == Some("p90")).unwrap();
    assert_eq!((p90.observed, p90.observed_bound), (None, Some(Bound::Unbounded)), "the p90 never came");
    assert_eq!((p90.judged, p90.met, p90.verdict), (60, outcomes.completed, Verdict::Fail));
    // The answers that did come were quick: a tool that judges those alone sees a healthy server.
    assert!(point.metrics["ttft_ms"].max < 60_000.0);

    let strict_budget =
        World::new(&text("sim:tiny?jitter=0&fault=hang&every=2").replace("max_share = 1", "max_share = 0.01"));
    strict_budget.apply(&[]).expect(100);
}

#[test]
fn a_stall_of_three_seconds_is_in_the_latency_of_every_request_due_during_it() {
    const RATE: u64 = 25;
    const STALL_NS: u64 = 3_000_000_000;
    let load = format!("[load]\nkind = \"constant\"\nrate_per_s = {RATE}\n");
    // The server counts from its first request, the probe: a machine that takes long from there to the window needs a
    // later stall, so that all of it falls into the window.
    let stalled = [2, 4, 8, 16].into_iter().find_map(|at| {
        let url = format!("sim:tiny?jitter=0&stall_server_at={at}s&stall_for=3s");
        let world = World::new(&scenario(&url, "", &load, "{ duration = \"7s\" }", ""));
        let (_, applied) = world.apply_json(&[]);
        let outcomes = applied.point().outcomes;
        assert_eq!((outcomes.planned, outcomes.completed), (7 * RATE, 7 * RATE));
        // The longest silence of the server is the stall. At the start of the window it is cut off by what comes first.
        let records = world.records();
        let mut stamps: Vec<u64> = records.iter().flat_map(|record| record.events.as_ref().unwrap().stamps()).collect();
        stamps.sort_unstable();
        let silence = stamps.windows(2).max_by_key(|pair| pair[1] - pair[0]).unwrap();
        let (from, to) = (silence[0], silence[1]);
        (to - from >= STALL_NS - 50_000_000).then_some((applied, records, from, to))
    });
    let (applied, records, from, to) = stalled.expect("the server stood still for three seconds");
    let point = applied.point();

    let due: Vec<_> = records.iter().filter(|record| (from..to).contains(&record.stamps_ns.intended)).collect();
    let expected = (to - from) * RATE / 1_000_000_000;
    assert!(due.len() as u64 >= expected - 1, "arrivals went on: {} of {expected}", due.len());
    for record in &due {
        let e2e = record.events.as_ref().unwrap().last_ns() - record.stamps_ns.intended;
        assert!(e2e >= to - record.stamps_ns.intended, "{:?}", record.id);
    }
    // Arrivals stayed on their schedule: intended is index / rate.
    for record in &records {
        let RequestId::Open { index } = record.id else { panic!("an open loop") };
        assert_eq!(record.stamps_ns.intended, index * 1_000_000_000 / RATE);
    }
    // The report says the same: 3 of 7 seconds' requests waited, so the median of those 43 % is above the
    // 75th percentile, half the stall.
    let ttft = &point.metrics["ttft_ms"];
    assert!(ttft.max >= 2_900.0, "{ttft:?}");
    assert!(ttft.quantiles.p90 >= 1_500.0, "{ttft:?}");
    let late = records
        .iter()
        .filter(|record| record.events.as_ref().unwrap().first_ns - record.stamps_ns.intended >= 1_000_000_000);
    assert!(late.count() as u64 >= 2 * RATE - 2, "two thirds of the stall's requests waited a second or more");
}
