//! Stores: a bucket end to end, and what is kept when it fails.

use std::fs;
use std::path::{Path, PathBuf};

use llm_bench::report::model::Report;
use nix::sys::signal::Signal;

use super::harness::{Ran, Running, World, files, skipped, sweep, sweep_tokens};
use super::server::Server;
use crate::support::gcs::{Fault, GcsServer, Op};

/// A server in this process with a runtime of its own: the binary is waited for on the test's thread.
struct Gcs {
    server: GcsServer,
    _runtime: tokio::runtime::Runtime,
}

fn gcs() -> Gcs {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(GcsServer::start());
    Gcs { server, _runtime: runtime }
}

fn world_with(gcs: &Gcs) -> World {
    world_of(&sweep("sim:tiny?jitter=0", 4, &[1, 2]), gcs)
}

fn world_of(scenario: &str, gcs: &Gcs) -> World {
    let mut world = World::new(scenario);
    world.set_env("GOOGLE_BASE_URL", &gcs.server.url());
    world.set_env("GOOGLE_BEARER_TOKEN", "token-of-the-tests");
    world.set_env("GOOGLE_ALLOW_HTTP", "true");
    world
}

fn apply_to(world: &World, url: &str, args: &[&str]) -> Ran {
    let mut all = vec!["apply", "scenario.toml", "--store", url];
    all.extend(args);
    world.bench(&all)
}

/// A bucket end to end: measured, found again, read, continued under another plan.
fn end_to_end(world: &World, url: &str) {
    let ran = apply_to(world, url, &[]).expect(0);
    let last = ran.stdout.trim_end().lines().last().unwrap();
    assert!(last.starts_with(&format!("report: {url}/test/")) && last.ends_with("/report.json"), "{last}");
    let again = apply_to(world, url, &[]).expect(0);
    assert!(again.stderr.contains("nothing to measure"), "{}", again.stderr);
    world.edit("[1, 2]", "[1, 2, 3]");
    let third: serde_json::Value =
        serde_json::from_str(&apply_to(world, url, &["--format", "json"]).expect(0).stdout).unwrap();
    assert_eq!(third["measured_points"], 1);
    let shown = world.bench(&["report", url, "--format", "json"]).expect(0);
    let report = Report::from_slice(shown.stdout.as_bytes()).unwrap();
    assert_eq!(report.points.len(), 3);
}

#[test]
fn a_gcs_bucket_end_to_end() {
    let gcs = gcs();
    let world = world_with(&gcs);
    end_to_end(&world, "gs://bucket/nightly");
    assert_eq!(files(&world.path("spool")), Vec::<PathBuf>::new());
    let log = gcs.server.log();
    assert!(log.iter().all(|seen| seen.authorization == "Bearer token-of-the-tests"));
}

#[test]
fn a_bucket_that_stumbles_costs_nothing() {
    let gcs = gcs();
    let world = world_with(&gcs);
    gcs.server.inject(Op::Put, 1, Fault::LostAcknowledgement);
    gcs.server.inject(Op::Put, 2, Fault::Status(503, "ServiceUnavailable"));
    gcs.server.inject(Op::Put, 1, Fault::Status(429, "TooManyRequests"));
    gcs.server.inject(Op::Put, 1, Fault::DropRequest);
    apply_to(&world, "gs://bucket/x", &[]).expect(0);
    assert_eq!(gcs.server.faults_left(), 0, "every fault was met");
}

/// What a run whose report could not be stored must leave: exit code, words, and files that `bench report` reads.
#[track_caller]
fn assert_kept(world: &World, ran: Ran) {
    let ran = ran.expect(73);
    let named = ran.stderr.split('`').find(|part| Path::new(part).starts_with(world.path("spool")));
    let kept = PathBuf::from(named.unwrap_or_else(|| panic!("no path of the spool in: {}", ran.stderr)));
    assert!(kept.is_dir(), "{}", kept.display());
    let shown = world.bench(&["report", kept.to_str().unwrap(), "--format", "json"]).expect(0);
    let report = Report::from_slice(shown.stdout.as_bytes()).unwrap();
    assert_eq!(report.points.len(), 2);
    assert!(report.points.iter().all(|point| point.outcomes.completed == 4));
    let last = ran.stdout.trim_end().lines().last().unwrap();
    assert!(last.starts_with("report: "), "the report is named all the same: {last}");
    assert!(Path::new(last.trim_start_matches("report: ")).is_file(), "{last}");
}

#[test]
fn a_bucket_that_refuses_after_the_plan_leaves_everything_on_disk() {
    let gcs = gcs();
    // The probe is answered, the first request is not: the plan is stored and nothing else when writing becomes
    // forbidden.
    let (server, gate) = Server::gated(5, 0);
    let mut world = world_of(&sweep_tokens(&server.url(), 4, &[5, 6]), &gcs);
    let running = Running::spawn(&mut world.command(&["apply", "scenario.toml", "--store", "gs://bucket/x"]));
    gate.wait_for_one();
    gcs.server.forbid(Op::Put);
    gate.open();
    assert_kept(&world, running.wait());
    world.unset_env("GOOGLE_BEARER_TOKEN");
}

#[test]
fn a_directory_that_goes_away_leaves_everything_on_disk() {
    let (server, gate) = Server::gated(5, 0);
    let world = World::new(&sweep_tokens(&server.url(), 4, &[5, 6]));
    let running = world.start(&[]);
    gate.wait_for_one();
    // The tests may run as root, whom permissions do not stop: a file where the run's folder was does.
    let run = world.stored("/plan.json")[0].parent().unwrap().to_path_buf();
    fs::remove_dir_all(&run).unwrap();
    fs::write(&run, "in the way").unwrap();
    gate.open();
    assert_kept(&world, running.wait());
}

#[test]
fn an_interrupted_run_in_a_bucket_goes_on() {
    let gcs = gcs();
    // The second point has answers to two of its four requests.
    let (server, gate) = Server::gated(6, 2);
    let world = world_of(&sweep_tokens(&server.url(), 4, &[5, 6]), &gcs);
    let running = Running::spawn(&mut world.command(&["apply", "scenario.toml", "--store", "gs://bucket/x"]));
    gate.wait_for_one();
    running.signal(Signal::SIGTERM);
    running.says("stopping: no new requests");
    gate.open();
    running.wait().expect(75);
    let ran = apply_to(&world, "gs://bucket/x", &["--format", "json"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["measured_points"], 1, "the first point was stored");
}

#[test]
fn a_store_that_cannot_be_written_is_78_before_the_first_request() {
    let gcs = gcs();
    let world = world_with(&gcs);
    gcs.server.forbid(Op::Put);
    let ran = apply_to(&world, "gs://bucket/x", &[]).expect(78);
    assert!(ran.stderr.contains("gs://bucket"), "{}", ran.stderr);
    let ran = apply_to(&world, "gs://no-such-bucket/x", &[]).expect(78);
    assert!(ran.stderr.contains("no-such-bucket"), "{}", ran.stderr);
    world.write("file", "not a directory");
    apply_to(&world, "file", &[]).expect(78);
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A real store whose variables are all set.
fn real(store: &str, url: &str, pairs: &[(&str, &str)], fixed: &[(&str, &str)]) {
    let Some(url) = variable(url) else {
        return skipped(store, "no variables of .ci/stores.sh");
    };
    let mut world = World::new(&sweep("sim:tiny?jitter=0", 4, &[1, 2]));
    for (name, from) in pairs {
        world.set_env(name, &variable(from).unwrap_or_else(|| panic!("{from} is not set")));
    }
    for (name, value) in fixed {
        world.set_env(name, value);
    }
    end_to_end(&world, &format!("{url}/apply-{}", uuid::Uuid::now_v7()));
}

#[test]
fn a_seaweedfs_bucket_end_to_end() {
    let pairs = [
        ("AWS_ENDPOINT", "BENCH_E2E_S3_ENDPOINT"),
        ("AWS_ACCESS_KEY_ID", "BENCH_E2E_S3_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "BENCH_E2E_S3_SECRET"),
    ];
    real("apply to SeaweedFS", "BENCH_E2E_S3_URL", &pairs, &[("AWS_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true")]);
}

#[test]
fn an_azurite_container_end_to_end() {
    let pairs = [
        ("AZURE_ENDPOINT", "BENCH_E2E_AZURE_ENDPOINT"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "BENCH_E2E_AZURE_ACCOUNT"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "BENCH_E2E_AZURE_KEY"),
    ];
    real("apply to Azurite", "BENCH_E2E_AZURE_URL", &pairs, &[("AZURE_ALLOW_HTTP", "true")]);
}
