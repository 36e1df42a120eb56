//! Each validity limit, driven to both sides.

use super::*;
use crate::measure::validity::{
    BEYOND_CALIBRATION, CODES, CORE_BUSY, CPU_STOLEN, CPU_THROTTLED, DESCRIPTORS_EXHAUSTED, DISPATCH_LAG, OUTCOMES_SUM,
    PORTS_EXHAUSTED, PROMPT_LENGTHS_MISSED, PROMPTS_MISCOUNTED, PROMPTS_REPEATED, RUN_QUEUE, STAMPS_BLURRED, STARTED,
};
use crate::measure::{CalibratedLimits, rejudge};
use crate::report::model::{ValidityState, WorkerReport};

fn codes(point: &PointReport) -> Vec<(&str, ValidityState)> {
    point.validity.reasons.iter().map(|reason| (reason.code.as_str(), reason.state)).collect()
}

/// A hundred requests at 100 ms TTFT, each taken up `lag_us` late.
fn lagging(lag_us: u64) -> Vec<Timeline> {
    let late = |n: u64| {
        let mut timeline = with_ttft(2000 + n, 100);
        timeline.stamps.dispatched = Some(timeline.stamps.intended + lag_us * 1000);
        timeline
    };
    (0..100).map(late).collect()
}

fn with_client(change: impl FnOnce(&mut EngineFacts)) -> PointReport {
    let mut facts = facts(&[100]);
    change(&mut facts);
    measure_with(spec(vec![class("base")]), lagging(0), facts).0
}

#[test]
fn dispatch_lag_against_the_median_ttft() {
    // No deadline: 5 % of 100 ms is 5 ms, 25 % is 25 ms.
    for (lag_us, state) in [
        (4_900, ValidityState::Valid),
        (5_200, ValidityState::Suspect),
        (24_900, ValidityState::Suspect),
        (25_200, ValidityState::Invalid),
    ] {
        let (point, _) = measure(spec(vec![class("base")]), lagging(lag_us));
        assert_eq!(point.validity.state, state, "{lag_us} µs: {:?}", point.validity);
        assert_eq!(codes(&point).is_empty(), state == ValidityState::Valid);
    }
}

#[test]
fn dispatch_lag_against_the_smallest_deadline() {
    // Deadlines 400 and 40 ms: 5 % of 40 ms is 2 ms, although the median TTFT is 100 ms.
    let spec = || {
        let slo = |deadline| Some(ttft_slo(Some(deadline), None, None));
        spec(vec![ClassSpec { slo: slo(400.0), ..class("a") }, ClassSpec { slo: slo(40.0), ..class("b") }])
    };
    let (valid, _) = measure(spec(), lagging(1_900));
    assert_eq!(codes(&valid), []);
    let (suspect, _) = measure(spec(), lagging(2_100));
    assert_eq!(codes(&suspect), [(DISPATCH_LAG, ValidityState::Suspect)]);
    let reason = &suspect.validity.reasons[0];
    assert!(reason.message.contains("smallest deadline (40.000 ms)"), "{}", reason.message);
    near(reason.limit, 0.05);
    assert!(reason.observed > 0.05 && reason.observed < 0.06);
}

#[test]
fn more_than_the_machine_was_shown_to_measure() {
    // 100 requests due 1 ms apart from 2 s on, each in flight for 100 ms with two events: in the busiest second all of
    // them, so 100 requests and 200 events a second. 100 requests of 0.1 s are 10 in flight on average over it.
    let limits = |events: f64, streams: f64| CalibratedLimits {
        bound_ms: 0.5,
        events_per_s: Some(events),
        streams: Some(streams),
        requests_per_s: Some(1_000.0),
        calibrated_at: "2026-11-22T12:00:00Z".to_owned(),
    };
    let request = |n: u64| completed(2_000 + n, vec![event(2_050 + n, None, "a"), event(2_100 + n, None, "b")]);
    let point = |limits| {
        let spec = MeasureSpec { calibration: Some(limits), ..spec(vec![class("base")]) };
        measure(spec, (0..100).map(request).collect()).0
    };
    let within = point(limits(200.0, 40.0));
    let headroom = within.client.headroom.as_ref().unwrap();
    near(headroom.events_per_s, 200.0);
    near(headroom.requests_per_s, 100.0);
    near(headroom.streams, 10.0);
    near(headroom.used_share, 1.0);
    assert_eq!(codes(&within), []);
    let beyond = point(limits(160.0, 40.0));
    assert_eq!(codes(&beyond), [(BEYOND_CALIBRATION, ValidityState::Suspect)]);
    let reason = &beyond.validity.reasons[0];
    assert_eq!((reason.observed, reason.limit), (1.25, 1.0));
    assert!(reason.message.contains("used 125 % of what this machine can measure within 0.5 ms"), "{}", reason.message);
    near(point(limits(1e9, 5.0)).client.headroom.unwrap().used_share, 2.0);
    // Judged again from what is stored.
    assert_eq!(rejudge(&beyond, &spec(vec![class("base")]).judge_spec()).validity, beyond.validity);
    assert_eq!(measure(spec(vec![class("base")]), (0..100).map(request).collect()).0.client.headroom, None);
}

#[test]
fn a_slow_server_stays_valid() {
    let timelines = (0..100).map(|n| with_ttft(2000 + n, 30_000 + n * 1000)).collect();
    let (point, _) = measure(spec(vec![class("base")]), timelines);
    assert_eq!(point.validity.state, ValidityState::Valid);
}

#[test]
fn requests_the_client_did_not_start() {
    for (missing, state) in [
        (1, ValidityState::Valid), // 99 % exactly
        (2, ValidityState::Suspect),
        (5, ValidityState::Suspect), // 95 % exactly
        (6, ValidityState::Invalid),
    ] {
        let point = with_client(|facts| facts.not_started_by_client = missing);
        assert_eq!(point.validity.state, state, "{missing} of 100");
        assert!(state == ValidityState::Valid || codes(&point)[0].0 == STARTED);
    }
}

#[test]
fn blurred_stamps() {
    // 200 stamps in 100 requests: 2 are 1 %, 3 are more.
    for (blurred, expected) in [(2, vec![]), (3, vec![(STAMPS_BLURRED, ValidityState::Suspect)])] {
        let mut timelines = lagging(0);
        timelines.iter_mut().take(blurred).for_each(|timeline| timeline.answer.events[1].coalesced = true);
        let (point, _) = measure(spec(vec![class("base")]), timelines);
        assert_eq!(codes(&point), expected, "{blurred} of 200");
        assert_eq!(point.client.blurred_stamps, blurred as u64);
    }
}

#[test]
fn throttling_busy_cores_and_repeated_prompts() {
    let suspect = |code| vec![(code, ValidityState::Suspect)];
    let throttled = |share| with_client(|facts| facts.client.throttled_share = Some(share));
    assert_eq!(codes(&throttled(0.01)), []);
    assert_eq!(codes(&throttled(0.011)), suspect(CPU_THROTTLED));
    let busy = |share| with_client(|facts| facts.client.busiest_core_share = Some(share));
    assert_eq!(codes(&busy(0.9)), []);
    assert_eq!(codes(&busy(0.91)), suspect(CORE_BUSY));
    let repeated = |count| with_client(|facts| facts.client.prompts_repeated = count);
    assert_eq!(codes(&repeated(0)), []);
    assert_eq!(codes(&repeated(1)), suspect(PROMPTS_REPEATED));
    let earlier = |count| with_client(|facts| facts.client.prompts_of_earlier_points = count);
    assert_eq!(codes(&earlier(0)), []);
    assert_eq!(codes(&earlier(1)), suspect(PROMPTS_REPEATED));
    let miscounted = |count| {
        with_client(|facts| {
            facts.client.prompts_recounted = 9;
            facts.client.prompts_miscounted = count;
        })
    };
    assert_eq!(codes(&miscounted(0)), []);
    assert_eq!(codes(&miscounted(1)), suspect(PROMPTS_MISCOUNTED));
    let waiting = |share| {
        with_client(|facts| {
            let worker = |name: &str, share| WorkerReport {
                name: name.to_owned(),
                run_queue_share: Some(share),
                ..WorkerReport::default()
            };
            facts.client.workers = vec![worker("worker-0", share), worker("worker-1", 0.001)];
        })
    };
    assert_eq!(codes(&waiting(0.2)), []);
    assert_eq!(codes(&waiting(0.21)), suspect(RUN_QUEUE));
    let stolen = |share| with_client(|facts| facts.client.steal_share = Some(share));
    assert_eq!(codes(&stolen(0.05)), []);
    assert_eq!(codes(&stolen(0.06)), suspect(CPU_STOLEN));
    // What could not be sampled says nothing, and a division by zero is not a number.
    assert_eq!(codes(&with_client(|facts| facts.client.cpu_share = Some(f64::NAN))), []);
}

#[test]
fn descriptors_and_ports_that_ran_out() {
    let without = |descriptor, port| {
        with_client(|facts| {
            facts.client.without_descriptor = descriptor;
            facts.client.without_port = port;
        })
    };
    assert_eq!(codes(&without(0, 0)), []);
    assert_eq!(codes(&without(1, 0)), [(DESCRIPTORS_EXHAUSTED, ValidityState::Suspect)]);
    let ports = without(0, 3);
    assert_eq!(codes(&ports), [(PORTS_EXHAUSTED, ValidityState::Suspect)]);
    let reason = &ports.validity.reasons[0];
    near(reason.observed, 0.03);
    assert!(reason.message.starts_with("3 of 100 requests (3 %) got no connection"), "{}", reason.message);
    let mut lenient = spec(vec![class("base")]);
    lenient.validity.exhausted_suspect_share = 0.5;
    let mut facts = facts(&[100]);
    facts.client.without_port = 50;
    assert_eq!(codes(&measure_with(lenient, lagging(0), facts).0), []);
}

#[test]
fn a_broken_sum_is_invalid() {
    let (point, _) = measure_with(spec(vec![class("base")]), lagging(0), facts(&[101]));
    assert_eq!(codes(&point), [(OUTCOMES_SUM, ValidityState::Invalid)]);
    assert!(point.sum_broken());
    // Sums that are wrong in two classes must not cancel out.
    let mut timelines = lagging(0);
    timelines.iter_mut().take(50).for_each(|timeline| timeline.class = 1);
    let (point, _) = measure_with(spec(vec![class("a"), class("b")]), timelines, facts(&[51, 49]));
    assert!(point.sum_broken());
}

#[test]
fn prompts_of_other_lengths_than_asked() {
    let asked = |wrong: u64| {
        let mut timelines: Vec<Timeline> = (0..1000).map(|number| with_ttft(2000 + number, 100)).collect();
        for (timeline, number) in timelines.iter_mut().zip(0..) {
            timeline.input_tokens_asked = 50;
            timeline.input_tokens_counted = Some(if number < wrong { 49 } else { 50 });
        }
        let (point, _) = measure(spec(vec![class("base")]), timelines);
        codes(&point).contains(&(PROMPT_LENGTHS_MISSED, ValidityState::Suspect))
    };
    assert!(!asked(0) && !asked(1), "one in a thousand may");
    assert!(asked(2));
}

#[test]
fn limits_are_those_of_the_scenario() {
    let mut strict = spec(vec![class("base")]);
    strict.validity.dispatch_lag_suspect_share = 0.001;
    let (point, _) = measure(strict, lagging(1_000));
    assert_eq!(codes(&point), [(DISPATCH_LAG, ValidityState::Suspect)]);
}

#[test]
fn the_worst_reason_decides() {
    let point = with_client(|facts| {
        facts.not_started_by_client = 50;
        facts.client.prompts_repeated = 3;
    });
    assert_eq!(point.validity.state, ValidityState::Invalid);
    assert_eq!(point.validity.reasons.len(), 2);
    assert!(point.validity.reasons.iter().all(|reason| CODES.contains(&reason.code.as_str())));
}
