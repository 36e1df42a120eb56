//! Traces replayed on the wall clock against the simulated server.

use std::path::Path;

use llm_bench::report::model::PointReport;

use super::public::file;
use crate::apply::harness::{ANY_CLIENT, World};

/// Replays a part of a trace and returns the only point.
fn replayed(path: &Path, load: &str, requests: u64, url: &str) -> PointReport {
    let scenario = format!(
        "schema = 1
name = \"replay\"

[backends.main]
protocol = \"openai-completions\"
url = \"{url}\"

[workloads.trace]
prompts = {{ kind = \"trace\" }}

[[traffic]]
name = \"trace\"
backend = \"main\"
workload = \"trace\"

[load]
kind = \"trace\"
path = \"{}\"
at_end = \"stop\"
{load}

[phases]
warmup = \"0s\"
measure = {{ requests = {requests} }}
drain = {{ max = \"120s\" }}

{ANY_CLIENT}",
        path.display()
    );
    let world = World::new(&scenario);
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let point = applied.point().clone();
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (requests, requests));
    assert_eq!(point.tokens.input.asked, point.tokens.input.measured, "the server counts what the trace says");
    point
}

#[test]
fn mooncake_hits_the_prefix_cache_as_often_as_its_ids_say() {
    // All requests 12.8 s of the trace in 1.3 s; the cache is large enough for all of it.
    let point =
        replayed(&super::data("mooncake.jsonl"), "block_tokens = 16\ntime_scale = 0.1", 39, "sim:8b-h100?jitter=0");
    let trace = super::chats();
    // What a prompt shares with those before it, in whole blocks of 16 tokens and never its last token.
    let mut known: std::collections::HashSet<u64> = std::collections::HashSet::new();
    let mut shared = 0;
    for (row, (input, _)) in trace.lengths().unwrap().iter().enumerate() {
        let hits = trace.hash_ids(row).iter().take_while(|id| known.contains(*id)).count() as u64;
        shared += 16 * hits.min(u64::from(input - 1) / 16);
        // Full blocks alone are known afterwards.
        known.extend(&trace.hash_ids(row)[..*input as usize / 16]);
    }
    let cached = point.tokens.input.cached;
    // Two that are computed at the same time do not hit each other.
    assert!(cached <= shared && cached * 10 >= shared * 8, "{cached} of {shared} tokens");
}

#[test]
fn the_published_traces_in_real_time() {
    for (name, load, requests, url) in [
        ("azure_llm_2023_code.csv", "time_scale = 0.05", 100, "sim:instant"),
        ("mooncake_synthetic_trace.jsonl", "time_scale = 0.1", 40, "sim:instant"),
    ] {
        let Some(path) = file(name) else { continue };
        let point = replayed(&path, load, requests, url);
        let trace = super::trace(&std::fs::read(&path).unwrap());
        let times = trace.times().unwrap();
        // The window ends when the next request is due: the rate is that of the trace, scaled.
        let scale = if requests == 100 { 0.05 } else { 0.1 };
        let span = (times[requests as usize] - times[0]) as f64 / 1e9 * scale;
        let rate = requests as f64 / span;
        let offered = point.rates.offered_per_s.unwrap();
        assert!((offered / rate - 1.0).abs() < 0.02, "{name}: {offered} instead of {rate}");
    }
}

#[test]
fn the_shipped_scenario_replays_its_trace() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/trace-replay.toml");
    let world = World::new("");
    let mut args = vec!["apply", path.to_str().unwrap(), "--store", "store", "--format", "json"];
    let shares = ["dispatch_lag_suspect_share=1e9", "dispatch_lag_invalid_share=1e9", "started_suspect_share=0"];
    let more = ["started_invalid_share=0", "blurred_stamps_suspect_share=1", "busy_core_suspect_share=1"];
    let rest = ["throttled_suspect_share=1", "run_queue_suspect_share=1", "steal_suspect_share=1"];
    let any: Vec<String> = shares.iter().chain(&more).chain(&rest).map(|set| format!("validity.{set}")).collect();
    let sweep = "sweep=[{ axis = \"load.time_scale\", values = [0.2, 0.1] }]";
    for set in any.iter().map(String::as_str).chain([sweep, "phases.drain.max=2m"]) {
        args.extend(["--set", set]);
    }
    let ran = world.bench(&args);
    assert!(matches!(ran.code, Some(0 | 99)), "{ran:?}");
    let report = crate::apply::harness::Applied::read(&ran).report;
    for point in &report.points {
        assert_eq!((point.outcomes.planned, point.outcomes.completed), (54, 54), "{:?}", point.coordinates);
        assert!(point.tokens.input.cached > 0, "prompts share blocks");
    }
}
