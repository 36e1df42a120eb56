//! Runs: converge, named, repeated, reused, judged anew; what measures again and what does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use llm_bench::measure::timeline::RequestId;
use llm_bench::report::model::{JudgedBy, PlanRef, Report};
use serde_json::Value;

use super::harness::{ANY_CLIENT, ONE_USER, World, scenario, sweep};
use super::server::Server;

const SIM: &str = "sim:tiny?jitter=0";
const SLO: &str = "\n[traffic.slo]\nttft_ms = { p50 = 60000 }\n";

fn quick() -> World {
    World::new(&sweep(SIM, 4, &[1, 2]))
}

/// Applies and checks the exit code and how many points were measured.
#[track_caller]
fn measures(world: &World, args: &[&str], code: i32, points: u64) -> Report {
    let (ran, applied) = world.apply_json(args);
    assert_eq!((ran.code, applied.measured), (Some(code), points), "{}", ran.stderr);
    applied.report
}

#[test]
fn a_second_apply_measures_nothing_and_ends_the_same() {
    let world = quick();
    let first = measures(&world, &[], 0, 2);
    let files = world.stored("");
    let second = measures(&world, &[], 0, 0);
    assert_eq!(first, second, "the stored report");
    assert_eq!(world.stored(""), files, "and not an object more");
    let ran = world.apply(&[]).expect(0);
    let last = ran.stdout.trim_end().lines().last().unwrap().to_owned();
    assert!(last.starts_with("report: ") && last.ends_with("/report.json"), "{last}");
}

#[test]
fn a_missed_slo_exits_99_twice_and_stays_missed() {
    let text = scenario(SIM, "", ONE_USER, "{ requests = 5 }", &SLO.replace("60000", "0.001"));
    let world = World::new(&text);
    measures(&world, &[], 99, 1);
    measures(&world, &[], 99, 0);
    world.apply(&[]).expect(99);
    world.apply(&["--exit-zero-on-slo"]).expect(0);
}

#[test]
fn run_ids_leave_a_report_each_and_are_not_measured_again() {
    let world = quick();
    let a = measures(&world, &["--run-id", "a"], 0, 2);
    let b = measures(&world, &["--run-id", "b"], 0, 2);
    assert_eq!((a.run_id.as_str(), b.run_id.as_str()), ("a", "b"));
    assert_eq!(world.reports().len(), 2);
    assert_eq!(measures(&world, &["--run-id", "a"], 0, 0), a);
    assert!(b.points.iter().all(|point| point.reused_from.is_none()), "a named run takes nothing over");
    let warned = b.points.iter().all(|point| point.warnings.iter().any(|w| w.code == "prompts_seen_before"));
    assert!(warned, "the same prompts within a day, without salt: {:?}", b.points[0].warnings);
}

#[test]
fn rerun_and_max_age_measure_again() {
    let world = quick();
    let first = measures(&world, &[], 0, 2);
    let again = measures(&world, &["--rerun"], 0, 2);
    assert_ne!(first.run_id, again.run_id);
    measures(&world, &["--max-age", "1h"], 0, 0);
    let anew = measures(&world, &["--max-age", "0s"], 0, 2);
    assert!(anew.run_id != again.run_id && anew.points.iter().all(|point| point.reused_from.is_none()));
    assert_eq!(world.reports().len(), 3);
}

#[test]
fn only_measures_what_it_names_and_the_rest_follows() {
    let world = quick();
    let plan: Value =
        serde_json::from_str(&world.bench(&["plan", "scenario.toml", "--format", "json"]).stdout).unwrap();
    let ids: Vec<&str> = plan["points"].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap()).collect();
    let report = measures(&world, &["--only", ids[1]], 0, 1);
    assert_eq!(report.points[0].id, ids[1]);
    assert!(world.reports().is_empty(), "a run with points missing has no final report");
    let report = measures(&world, &[], 0, 1);
    assert_eq!(report.points.iter().map(|point| point.id.as_str()).collect::<Vec<_>>(), ids);
    let ran = world.apply(&["--only", "no-such-point"]).expect(64);
    assert!(ran.stderr.contains("no-such-point") && ran.stderr.contains("bench plan"), "{}", ran.stderr);
}

#[test]
fn a_new_axis_value_measures_one_point() {
    let world = quick();
    let first = measures(&world, &[], 0, 2);
    world.edit("[1, 2]", "[1, 2, 3]");
    let second = measures(&world, &[], 0, 1);
    let from: Vec<_> = second.points.iter().map(|point| point.reused_from.clone()).collect();
    assert_eq!(from, [Some(first.run_id.clone()), Some(first.run_id.clone()), None]);
    // Taken over a second time it still names the run that measured.
    world.edit("[1, 2, 3]", "[2, 3]");
    let third = measures(&world, &[], 0, 0);
    assert_eq!(third.points[0].reused_from.as_ref(), Some(&first.run_id));
    assert_eq!(third.points[1].reused_from.as_ref(), Some(&second.run_id));
}

#[test]
fn tightening_an_slo_judges_the_stored_requests_exactly() {
    let text = scenario(SIM, "", ONE_USER, "{ requests = 40 }", SLO);
    let world = World::new(&text);
    let loose = measures(&world, &[], 0, 1);
    let mut ttft: Vec<u64> = world
        .records()
        .iter()
        .map(|record| record.events.as_ref().unwrap().first_ns - record.stamps_ns.intended)
        .collect();
    ttft.sort_unstable();
    // Two targets around one request's own TTFT: no histogram of three digits can tell them apart.
    for (target_ns, within) in [(ttft[29], 30_u64), (ttft[29] - 1, 29)] {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let target_ms = target_ns as f64 / 1e6;
        let world_text = text.replace("p50 = 60000", &format!("p75 = {target_ms}"));
        world.write("scenario.toml", &world_text);
        // Ties would move the count: count them here.
        let met = ttft.iter().filter(|value| **value <= target_ns).count() as u64;
        assert!(met >= within);
        let code = if met >= 30 { 0 } else { 99 };
        let judged = measures(&world, &[], code, 0);
        let slo = &judged.points[0].slo[0];
        assert_eq!((slo.judged, slo.met, slo.missed), (40, met, met < 30), "of 40, p75 asks for 30");
        assert_eq!(slo.judged_by, JudgedBy::Requests);
        assert_eq!(judged.points[0].reused_from.as_ref(), Some(&loose.run_id));
        assert_eq!(judged.points[0].metrics, loose.points[0].metrics, "the measurement is untouched");
    }
    // And again to the first: its own report still stands.
    world.write("scenario.toml", &text);
    assert_eq!(measures(&world, &[], 0, 0), loose);
}

#[test]
fn names_comments_order_and_budgets_measure_nothing() {
    let world = quick();
    measures(&world, &[], 0, 2);
    for (from, to) in [
        ("name = \"test\"", "name = \"renamed\""),
        ("seed = 5", "seed = 5 # as ever\ndescription = \"other words\""),
        (ONE_USER, "[load]\nusers = 1\nthink_time = \"0ms\"\nkind = \"users\"\n"),
        ("dispatch_lag_suspect_share = 1e9", "dispatch_lag_suspect_share = 1e8"),
        ("[validity]", "[errors]\nmax_share = 0.5\n\n[labels]\nteam = \"x\"\n\n[validity]"),
        ("[workloads.short]", "[store]\nurl = \"elsewhere\"\n\n[workloads.short]"),
    ] {
        world.edit(from, to);
        measures(&world, &[], 0, 0);
    }
}

#[test]
fn seeds_values_and_dataset_bytes_measure_again() {
    let world = World::new(&scenario(SIM, "", ONE_USER, "{ requests = 3 }", ""));
    measures(&world, &[], 0, 1);
    world.edit("seed = 5", "seed = 6");
    measures(&world, &[], 0, 1);
    // A default that is written out is the same; another value is not.
    world.edit("users = 1", "users = 1\nramp = \"0s\"");
    measures(&world, &[], 0, 0);
    world.edit("ramp = \"0s\"", "ramp = \"1ms\"");
    measures(&world, &[], 0, 1);

    let rows = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sharegpt/small.json")).unwrap();
    world.write("rows.json", &rows);
    world.edit(
        "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 20 }",
        "prompts = { kind = \"sharegpt\", path = \"rows.json\" }",
    );
    measures(&world, &[], 0, 1);
    measures(&world, &[], 0, 0);
    // White space at the end: no row differs, but the bytes do.
    world.write("rows.json", &format!("{rows}\n"));
    measures(&world, &[], 0, 1);
}

#[test]
fn a_saved_plan_runs_as_it_was_saved() {
    let rows = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sharegpt/small.json")).unwrap();
    let text = sweep(SIM, 3, &[1, 2]).replace(
        "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 20 }",
        "prompts = { kind = \"sharegpt\", path = \"rows.json\" }",
    );
    let world = World::new(&text);
    world.write("rows.json", &rows);
    world.bench(&["plan", "scenario.toml", "-o", "plan.json"]).expect(0);
    let plan: Value = serde_json::from_str(&world.read("plan.json")).unwrap();
    // The scenario moves on; the plan does not.
    world.edit("seed = 5", "seed = 77");
    let apply = |args: &[&str]| {
        let mut all = vec!["apply", "plan.json", "--store", "store", "--format", "json"];
        all.extend(args);
        world.bench(&all)
    };
    let ran = apply(&[]).expect(0);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["report"]["plan"]["digest"], plan["digest"]);
    let stored = world.stored("/plan.json");
    assert_eq!(fs::read_to_string(&stored[0]).unwrap(), world.read("plan.json"), "the run holds that very plan");

    world.write("rows.json", &rows.replacen("human", "Human", 1));
    let refused = apply(&["--rerun"]).expect(65);
    assert!(refused.stderr.contains("rows.json"), "names the input: {}", refused.stderr);
    assert_eq!(world.stored("/plan.json").len(), 1, "and opens no run");
}

/// Intended time and body of every measured request.
type Requests = BTreeMap<RequestId, u64>;

#[test]
fn two_runs_send_the_same_requests_at_the_same_times_whatever_the_workers() {
    let load = "[load]\nkind = \"poisson\"\nrate_per_s = 100\n";
    let server = Server::healthy();
    let world = World::new(&scenario(&server.url(), "", load, "{ requests = 80 }", ""));
    let mut runs: Vec<(PlanRef, Vec<Vec<u8>>, Requests)> = Vec::new();
    for workers in ["1", "2"] {
        let earlier = server.bodies().len();
        let report = measures(&world, &["--run-id", workers, "--workers", workers], 0, 1);
        server.settle();
        let times = world.records_of(workers).iter().map(|record| (record.id, record.stamps_ns.intended)).collect();
        // The probe, 80 arrivals, and those of the drain, which go on until the last measured answer.
        runs.push((report.plan, server.bodies().split_off(earlier), times));
    }
    let [first, second] = runs.try_into().unwrap();
    assert_eq!(first.0, second.0, "the digest of the plan and its seed");
    assert_eq!(first.2, second.2, "identity and intended time");
    assert_eq!(first.2.len(), 80);
    // Two requests that are due within microseconds may overtake each other, so compare as sets.
    let sets = [first.1, second.1].map(|bodies| bodies.into_iter().collect::<BTreeSet<_>>());
    assert!(sets.iter().all(|set| set.len() >= 81), "no two requests are the same");
    let both = sets[0].intersection(&sets[1]).count();
    assert!(both >= 81, "{both} bodies came in both runs; at least the probe and the 80 measured ones must");
}

#[test]
fn the_same_server_gets_the_same_plan_and_bodies_in_two_runs() {
    let server = Server::healthy();
    let text = scenario(&server.url(), "", ONE_USER, "{ requests = 30 }", "");
    let world = World::new(&text);
    let a = measures(&world, &["--run-id", "a", "--workers", "1"], 0, 1);
    server.settle();
    let first = server.bodies();
    let b = measures(&world, &["--run-id", "b", "--workers", "2"], 0, 1);
    let second = server.bodies().split_off(first.len());
    assert_eq!(a.plan, b.plan);
    // One user: the probe, 30 turns, and perhaps one of the drain, in order.
    assert!(first.len() >= 31 && second.len() >= 31);
    assert_eq!(first[..31], second[..31]);
    // Closed-loop identity is (user, turn).
    let ids = |run: &str| world.records_of(run).iter().map(|record| record.id).collect::<BTreeSet<_>>();
    assert_eq!(ids("a"), ids("b"));

    // Salted, the bodies are each run's own, and the plan is the same.
    world.edit("{ kind = \"synthetic\" }", "{ kind = \"synthetic\", salt = \"run\" }");
    server.settle();
    let mut start = server.bodies().len();
    let mut salted = Vec::new();
    for run in ["c", "d"] {
        measures(&world, &["--run-id", run], 0, 1);
        server.settle();
        salted.push(server.bodies().split_off(start)[1..31].to_vec());
        start = server.bodies().len();
    }
    assert!(salted[0].iter().all(|body| !salted[1].contains(body)));
}

/// Two classes with loads of their own, of which one is swept: the other sends in each point what it sent in the one before.
#[test]
fn prompts_that_an_earlier_point_sent_make_a_point_suspect() {
    let server = Server::healthy();
    let text = format!(
        r#"
schema = 1
name = "beside"
[backends.main]
protocol = "openai-completions"
url = "{}"
[workloads.w]
prompts = {{ kind = "synthetic" }}
input_tokens = {{ kind = "fixed", value = 20 }}
output_tokens = {{ kind = "fixed", value = 2 }}
[workloads.swept]
prompts = {{ kind = "synthetic" }}
input_tokens = {{ kind = "fixed", value = 20 }}
output_tokens = {{ kind = "fixed", value = 3 }}
[[traffic]]
name = "swept"
backend = "main"
workload = "swept"
load = {{ kind = "constant", rate_per_s = 10 }}
[[traffic]]
name = "beside"
backend = "main"
workload = "w"
load = {{ kind = "constant", rate_per_s = 20 }}
[phases]
warmup = "0s"
measure = {{ duration = "500ms" }}
{ANY_CLIENT}
[[sweep]]
axis = "traffic.swept.load.rate_per_s"
values = [10, 12]
"#,
        server.url()
    );
    let world = World::new(&text);
    let found = |report: &Report| -> Vec<(u64, bool)> {
        let suspected = |point: &llm_bench::report::model::PointReport| {
            point.validity.reasons.iter().any(|reason| reason.code == "prompts_repeated")
        };
        report.points.iter().map(|point| (point.client.prompts_of_earlier_points, suspected(point))).collect()
    };
    // 0, 50, … 450 ms: ten requests of the class beside.
    assert_eq!(found(&measures(&world, &[], 0, 2)), [(0, false), (10, true)]);
    let twice = |server: &Server, start: usize, output_tokens: u64| {
        server.settle();
        let mut counts = BTreeMap::<String, usize>::new();
        for body in server.bodies().split_off(start) {
            let body: Value = serde_json::from_slice(&body).unwrap();
            if body["max_tokens"] == output_tokens {
                *counts.entry(body.to_string()).or_default() += 1;
            }
        }
        assert!(counts.len() >= 5, "{counts:?}");
        counts.values().filter(|sent| **sent > 1).count()
    };
    // Ten are sent twice, perhaps with some of the drain, and not one of the class that is swept.
    assert!(twice(&server, 0, 2) >= 10);
    assert_eq!(twice(&server, 0, 3), 0);
    for salt in ["point", "run"] {
        let start = server.bodies().len();
        world.edit("{ kind = \"synthetic\"", &format!("{{ salt = \"{salt}\", kind = \"synthetic\""));
        assert_eq!(found(&measures(&world, &["--run-id", salt], 0, 2)), [(0, false), (0, false)], "{salt}");
        assert_eq!((twice(&server, start, 2), twice(&server, start, 3)), (0, 0), "{salt}");
        world.edit(&format!("salt = \"{salt}\", "), "");
    }
}

/// Two classes replay a trace between them, each the requests of its model.
#[test]
fn classes_replay_their_parts_of_a_trace() {
    let text = format!(
        r#"
schema = 1
name = "parts"
[backends.main]
protocol = "openai-completions"
url = "{SIM}"
[workloads.rows]
prompts = {{ kind = "trace" }}
[[traffic]]
name = "old"
backend = "main"
workload = "rows"
load = {{ kind = "trace", path = "t.csv", only = {{ model = "ChatGPT" }}, at_end = "stop" }}
[[traffic]]
name = "new"
backend = "main"
workload = "rows"
load = {{ kind = "trace", path = "t.csv", only = {{ model = "GPT-4" }}, at_end = "stop" }}
[phases]
warmup = "0s"
measure = {{ duration = "500ms" }}
{ANY_CLIENT}
"#
    );
    let world = World::new(&text);
    let rows = "Timestamp,Model,Request tokens,Response tokens\n0,ChatGPT,10,1\n0.1,GPT-4,20,2\n0.2,ChatGPT,30,3\n0.6,ChatGPT,9,9\n";
    world.write("t.csv", rows);
    let report = measures(&world, &[], 0, 1);
    let classes = &report.points[0].classes;
    let planned = |name: &str| classes[name].outcomes.planned;
    assert_eq!((planned("old"), planned("new")), (2, 1));
    let records = world.records_of(&report.run_id);
    let mut lengths: Vec<_> = records.iter().map(|record| (record.class.clone(), record.tokens.input_asked)).collect();
    lengths.sort();
    let of = |name: &str, tokens| (name.to_owned(), tokens);
    assert!(lengths.starts_with(&[of("new", 20), of("old", 10)]), "{lengths:?}");
    // Another file of that name is another point.
    world.write("t.csv", &rows.replace("20,2", "21,2"));
    assert_ne!(measures(&world, &[], 0, 1).plan, report.plan);
    world.write("t.csv", &rows.replace("GPT-4", "GPT-5"));
    let refused = world.apply(&[]);
    assert_eq!(refused.code, Some(65), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no request of `t.csv` has the model `GPT-4`; it has `ChatGPT`, `GPT-5`"),
        "{}",
        refused.stderr
    );
}
