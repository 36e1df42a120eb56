//! Signals at any moment: what is finished stays, what is missing is measured once.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use llm_bench::report::model::{Report, Status};
use nix::sys::signal::Signal;

use super::harness::{ONE_USER, Ran, Running, World, alive, scenario, sweep, sweep_tokens, wait_until};
use super::server::Server;

/// Three points; the second never ends by itself, because its user thinks for an hour between requests.
fn endless_second() -> World {
    let text = scenario(
        "sim:tiny?jitter=0",
        "",
        ONE_USER,
        "{ requests = 3 }",
        "[[sweep]]\naxis = \"load.think_time\"\nvalues = [\"0s\", \"1h\", \"1ms\"]\n",
    );
    World::new(&text)
}

/// Starts an apply and waits until its first point is stored and the second runs.
fn in_the_second_point(world: &World, args: &[&str]) -> Running {
    let running = world.start(args);
    wait_until("the first point", || !point_reports(world).is_empty());
    // Between the two points there is nothing to interrupt for a moment; the record file of the second in the
    // spool shows that it has begun.
    wait_until("the second point", || super::harness::files(&world.path("spool")).len() == 1);
    running
}

fn point_reports(world: &World) -> Vec<PathBuf> {
    let mut paths = world.stored("/report.json");
    paths.retain(|path| path.to_string_lossy().contains("/points/"));
    paths
}

fn partial(world: &World) -> Report {
    let paths = world.stored("report.partial.json");
    assert_eq!(paths.len(), 1);
    Report::from_slice(&fs::read(&paths[0]).unwrap()).unwrap()
}

fn assert_children_end(children: &[u32]) {
    assert!(!children.is_empty(), "the simulator is a child");
    wait_until("the simulators to end", || !children.iter().any(|child| alive(*child)));
}

/// What every interruption in the second point must leave.
#[track_caller]
fn assert_interrupted(world: &World, ran: &Ran) {
    assert_eq!(ran.code, Some(75), "{ran:?}");
    let last = ran.stdout.trim_end().lines().last().unwrap();
    assert!(last.starts_with("partial report: ") && last.ends_with("report.partial.json"), "{last}");
    let report = partial(world);
    assert_eq!(report.status, Status::Failed);
    assert_eq!(report.points[0].outcomes.completed, 3, "the finished point");
    assert_eq!(report.points.len(), 2, "and what there is of the second");
    let reasons = &report.points[1].validity.reasons;
    assert!(reasons.iter().any(|reason| reason.code == "interrupted"), "{reasons:?}");
    assert!(!report.points[1].sum_broken(), "cut short, but nothing lost count");
    assert_eq!(point_reports(world).len(), 1, "an interrupted point does not count as measured");
    assert_eq!(super::harness::files(&world.path("spool")), Vec::<PathBuf>::new(), "nothing stays behind");
}

#[test]
fn the_first_signal_drains_and_the_same_command_goes_on() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let world = endless_second();
        let running = in_the_second_point(&world, &[]);
        let children = running.children();
        running.signal(signal);
        let ran = running.wait();
        assert_interrupted(&world, &ran);
        assert!(ran.stderr.contains("stopping: no new requests"), "{}", ran.stderr);
        assert_children_end(&children);

        // The same plan would wait for an hour again: only the third point is asked for now.
        let plan = world.bench(&["plan", "scenario.toml", "--store", "store", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
        let before = fs::read(&point_reports(&world)[0]).unwrap();
        let third = plan["points"][2]["id"].as_str().unwrap();
        let first = plan["points"][0]["id"].as_str().unwrap();
        let (_, applied) = world.apply_json(&["--only", first, "--only", third]);
        assert_eq!(applied.measured, 1, "the first is there already");
        let after = point_reports(&world).into_iter().find(|path| path.to_string_lossy().contains(first)).unwrap();
        assert_eq!(fs::read(after).unwrap(), before);
        assert_eq!(world.stored("/plan.json").len(), 1, "the same run went on");
    }
}

#[test]
fn an_interrupted_run_is_finished_by_the_same_command() {
    // The second point has answers to ten of its thirty requests.
    let (server, gate) = Server::gated(6, 10);
    let world = World::new(&sweep_tokens(&server.url(), 30, &[5, 6, 7]));
    let running = world.start(&[]);
    gate.wait_for_one();
    running.signal(Signal::SIGINT);
    running.says("stopping: no new requests");
    gate.open();
    let ran = running.wait();
    assert_eq!(ran.code, Some(75), "{ran:?}");
    assert_eq!(point_reports(&world).len(), 1);
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!((ran.code, applied.measured), (Some(0), 2));
    assert!(ran.stderr.contains("continuing "), "{}", ran.stderr);
    assert_eq!((applied.report.status, applied.report.points.len()), (Status::Complete, 3));
    assert!(applied.report.points.iter().all(|point| point.outcomes.completed == 30));
    let (_, again) = world.apply_json(&[]);
    assert_eq!((again.measured, again.report), (0, applied.report));
}

#[test]
fn the_second_signal_cancels_what_is_in_flight() {
    // Every answer of the second point hangs: draining would take the whole grace.
    let (server, gate) = Server::gated(6, 0);
    let world = World::new(&sweep_tokens(&server.url(), 10, &[5, 6]));
    let running = world.start(&["--grace", "1h"]);
    gate.wait_for_one();
    running.signal(Signal::SIGINT);
    running.says("stopping: no new requests");
    running.signal(Signal::SIGTERM);
    let ran = running.wait();
    assert_eq!(ran.code, Some(75), "{ran:?}");
    assert!(ran.stderr.contains("cancelling requests in flight"), "{}", ran.stderr);
    let report = partial(&world);
    let cut = &report.points[1];
    assert!(cut.outcomes.cancelled > 0, "{:?}", cut.outcomes);
    assert!(!cut.sum_broken());
    assert!(cut.errors.reasons.iter().any(|reason| reason.code == "interrupted"), "{:?}", cut.errors.reasons);
    gate.open();
}

#[test]
fn a_signal_before_the_first_request_leaves_a_run_that_goes_on() {
    // A server that accepts connections and never answers: the probe waits.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let world = World::new(&scenario(&url, "", ONE_USER, "{ requests = 3 }", ""));
    let running = world.start(&[]);
    let (_connection, _) = silent.accept().unwrap();
    running.signal(Signal::SIGINT);
    let ran = running.wait().expect(75);
    assert!(ran.stdout.contains("report.partial.json"), "{ran:?}");
    assert!(partial(&world).points.is_empty());
    assert!(point_reports(&world).is_empty());
}

/// A number in 0..limit that follows from the seed and the step.
fn draw(seed: u64, step: u64, limit: u64) -> u64 {
    // SplitMix64.
    let mut z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % limit
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "below a thousand")]
fn kills_at_fifty_random_moments_lose_no_finished_point() {
    const KILLS: u64 = 50;
    const SEED: u64 = 20_261_122;
    // Small points: most of an apply that is killed is its start.
    const POINTS: u32 = 30;
    const REQUESTS: u32 = 15;
    let users: Vec<u32> = (1..=POINTS).collect();
    let world = World::new(&sweep("sim:instant", REQUESTS, &users));
    let mut known: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut check = |world: &World| {
        for path in point_reports(world) {
            let bytes = fs::read(&path).unwrap();
            match known.get(&path) {
                Some(before) => assert_eq!(before, &bytes, "{} changed", path.display()),
                None => drop(known.insert(path, bytes)),
            }
        }
        known.len()
    };
    let (mut kills, mut finished_early) = (0, 0);
    let mut run_id = 0;
    let mut name = format!("run-{run_id}");
    // How long an apply needs from its start to its first point differs by an order of magnitude between
    // machines, so a moment is drawn against progress: some points on, and a share of that time later.
    let mut first_point = Duration::from_millis(300);
    while kills < KILLS {
        let before = point_reports(&world).len();
        let mut running = world.start(&["--run-id", &name]);
        let began = Instant::now();
        // Most kills come within the time of a first point, one in four surely after one.
        let points = usize::from(draw(SEED, 2 * kills, 4) == 0);
        let mut seen = before;
        while seen < before + points && running.is_running() {
            std::thread::sleep(Duration::from_millis(1));
            let now = point_reports(&world).len();
            if seen == before && now > before {
                first_point = began.elapsed();
            }
            seen = now;
        }
        let reached = Instant::now();
        let further = first_point.mul_f64(draw(SEED, 2 * kills + 1, 1000) as f64 / 1000.0);
        while reached.elapsed() < further && running.is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !running.is_running() {
            // The run is whole before the kills are used up: the next one begins.
            running.wait().expect(0);
            finished_early += 1;
            run_id += 1;
            name = format!("run-{run_id}");
            continue;
        }
        let children = running.children();
        running.signal(Signal::SIGKILL);
        running.reap();
        kills += 1;
        check(&world);
        wait_until("orphaned simulators to end", || !children.iter().any(|child| alive(*child)));
    }
    let held = check(&world);
    let ran = world.apply(&["--run-id", &name, "--format", "json"]).expect(0);
    assert!(held > 0, "kills came before anything was finished");
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let report = Report::from_slice(json["report"].to_string().as_bytes()).unwrap();
    assert_eq!((report.status, report.points.len()), (Status::Complete, POINTS as usize));
    let held_by_it = point_reports(&world).iter().filter(|path| path.to_string_lossy().contains(&name)).count();
    assert_eq!(held_by_it, POINTS as usize);
    assert_eq!(check(&world), (finished_early + 1) * POINTS as usize, "every point of every run, each measured once");
    for point in &report.points {
        assert_eq!(point.outcomes.completed, u64::from(REQUESTS));
    }
    // The final report holds exactly what was stored when each point ended.
    for path in point_reports(&world).iter().filter(|path| path.to_string_lossy().contains(&name)) {
        let stored = llm_bench::report::model::PointFile::from_slice(&fs::read(path).unwrap()).unwrap().point;
        assert!(report.points.contains(&stored));
    }
}

#[test]
fn a_kill_between_records_and_report_measures_the_point_once_more() {
    let slo = "[traffic.slo]\nttft_ms = { p50 = 60000 }\n";
    let world = World::new(&scenario("sim:tiny?jitter=0", "", ONE_USER, "{ requests = 5 }", slo));
    for tries in 1..=3_usize {
        let (ran, applied) = world.apply_json(&["--run-id", "a"]);
        assert_eq!((ran.code, applied.measured), (Some(0), 1), "try {tries}: {}", ran.stderr);
        let name = applied.report.points[0].requests_file.clone();
        assert_eq!(name, (tries > 1).then(|| format!("requests-{tries}.jsonl.gz")));
        assert_eq!(world.stored(".jsonl.gz").len(), tries, "nothing is overwritten");
        if tries < 3 {
            // What a kill at that moment leaves.
            for path in world.stored("/report.json") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    // Judging anew reads the records that belong to the report.
    let records = world.stored("requests-3.jsonl.gz");
    let first = super::harness::records(&records[0])
        .iter()
        .map(|record| record.events.as_ref().unwrap().first_ns - record.stamps_ns.intended)
        .min()
        .unwrap();
    for path in world.stored(".jsonl.gz") {
        if path != records[0] {
            fs::write(path, b"not the records of this report").unwrap();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let target = first as f64 / 1e6;
    world.edit("p50 = 60000", &format!("p50 = {target}"));
    let (_, applied) = world.apply_json(&[]);
    assert_eq!(applied.measured, 0);
    let slo = &applied.report.points[0].slo[0];
    assert_eq!(slo.judged_by, llm_bench::report::model::JudgedBy::Requests);
    assert!(slo.met >= 1, "the quickest request is within its own TTFT: {slo:?}");
}
