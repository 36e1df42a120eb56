//! The shipped scenarios, shortened: every point measured, nothing lost, verdicts on what they target.

use std::path::Path;

use llm_bench::report::model::{Report, Status, Verdict};
use serde_json::Value;

use super::harness::World;

/// Sets that let a loaded machine and a debug build pass: the scenario itself is what is tested.
const ANY_CLIENT: [&str; 9] = [
    "validity.dispatch_lag_suspect_share=1e9",
    "validity.dispatch_lag_invalid_share=1e9",
    "validity.started_suspect_share=0",
    "validity.started_invalid_share=0",
    "validity.blurred_stamps_suspect_share=1",
    "validity.throttled_suspect_share=1",
    "validity.busy_core_suspect_share=1",
    "validity.run_queue_suspect_share=1",
    "validity.steal_suspect_share=1",
];

/// Runs a shipped scenario with short phases, at as many rates as it has, but at some that a debug build on a loaded
/// machine can send: an open loop that is too fast for its client never catches up, and then requests are cancelled.
fn short(name: &str, rates: &[u32]) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let shipped = toml::from_str::<Value>(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let [axis] = shipped["sweep"].as_array().unwrap().as_slice() else { panic!("one axis") };
    assert_eq!((&axis["axis"], axis["values"].as_array().unwrap().len()), (&"load.rate_per_s".into(), rates.len()));
    let world = World::new("");
    let mut args = vec!["apply", path.to_str().unwrap(), "--store", "store", "--format", "json"];
    let sweep = format!("sweep=[{{ axis = \"load.rate_per_s\", values = {rates:?} }}]");
    for set in
        ["phases.warmup=0s", "phases.measure.duration=1s", "phases.drain.max=5m", &sweep].iter().chain(&ANY_CLIENT)
    {
        args.extend(["--set", set]);
    }
    let ran = world.bench(&args);
    // Latency targets may be missed on a machine that is busy; nothing else may go wrong.
    assert!(matches!(ran.code, Some(0 | 99)), "{ran:?}");
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let report = Report::from_slice(json["report"].to_string().as_bytes()).unwrap();
    assert_eq!((report.status, report.points.len()), (Status::Complete, rates.len()));
    for point in &report.points {
        assert_eq!(point.outcomes.completed, point.outcomes.planned, "{name} {:?}", point.coordinates);
        assert!(!point.sum_broken() && point.validity.reasons.is_empty(), "{:?}", point.validity);
        assert!(point.slo.iter().all(|slo| slo.verdict != Verdict::None));
    }
    assert!(report.points.iter().any(|point| !point.slo.is_empty()));
    report
}

#[test]
fn the_quickstart() {
    let report = short("quickstart.toml", &[5, 12, 32]);
    let planned: Vec<u64> = report.points.iter().map(|point| point.outcomes.planned).collect();
    assert!(planned.is_sorted() && planned[2] > 3 * planned[0].max(1), "the rate is the axis: {planned:?}");
    assert!(report.points[2].classes["chat"].metrics.contains_key("tpot_ms"));
    assert!(report.points[2].classes.contains_key("summary"));
}

#[test]
fn the_latency_curve() {
    let report = short("latency-curve.toml", &[1, 2, 3, 4, 6, 8]);
    let rates: Vec<f64> =
        report.points.iter().map(|point| point.coordinates["load.rate_per_s"].as_f64().unwrap()).collect();
    assert!(rates.is_sorted());
    let last = report.points.last().unwrap();
    assert!(
        last.metrics["ttft_ms"].mean > 0.0 && last.throughput.output_tokens_per_s > Some(0.0),
        "{:?}",
        last.throughput
    );
}
