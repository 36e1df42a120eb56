//! Whether the client or the server made the number, with the limits as they are shipped.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use llm_bench::report::model::{PointReport, Report, ValidityState};
use nix::sys::signal::Signal;

use super::harness::{ANY_CLIENT, ONE_USER, Ran, World, scenario, skipped, wait_until};
use super::server::{Server, healthy};

const LOAD: &str = "[load]\nkind = \"constant\"\nrate_per_s = 40\n";

/// The shipped limits, and a deadline that they are shares of.
fn strict(url: &str, deadline_ms: u32, measure: &str) -> World {
    let slo = format!("[traffic.slo]\nttft_ms = {{ deadline = {deadline_ms} }}\n");
    World::new(&scenario(url, "", LOAD, measure, &slo).replace(ANY_CLIENT, ""))
}

fn only_point(ran: &Ran) -> PointReport {
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let report = Report::from_slice(json["report"].to_string().as_bytes()).unwrap();
    assert_eq!(report.points.len(), 1);
    report.points[0].clone()
}

#[test]
fn a_client_that_was_stopped_is_invalid() {
    // Stopped for 2 of 4 seconds; p99 of the dispatch lag is about 2 s, 25 % of the deadline are 0.25 s.
    let server = Server::healthy();
    let world = strict(&server.url(), 1000, "{ duration = \"4s\" }");
    let running = world.start(&["--format", "json"]);
    // The probe and a second of the window.
    wait_until("the point", || server.bodies().len() > 40);
    running.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    running.signal(Signal::SIGCONT);
    let ran = running.wait().expect(101);
    let point = only_point(&ran);
    assert_eq!(point.validity.state, ValidityState::Invalid);
    let lag = point.validity.reasons.iter().find(|reason| reason.code == "dispatch_lag").unwrap();
    assert!(lag.observed > lag.limit && lag.message.chars().any(|c| c.is_ascii_digit()), "{lag:?}");
    assert_eq!(point.outcomes.planned, 160, "every arrival is counted all the same");
    assert!(!point.sum_broken());
    // An invalid point is not taken over by another plan.
    world.edit("name = \"all\"", "name = \"all\" # edited");
    world.apply(&[]).expect(101);
}

#[test]
fn a_slow_server_stays_valid() {
    // A step of the simulator takes 50 ms instead of 1; the queue grows for as long as the load lasts.
    // The last request waits for four seconds; a client that waited with it would be late by more than the limit of
    // one (5 % of the deadline).
    let world = strict("sim:tiny?jitter=0&speed=0.02&slots=2", 20_000, "{ duration = \"1s\" }");
    on_a_calm_moment(|| {
        let ran = world.apply(&["--rerun", "--format", "json"]);
        let point = only_point(&ran);
        assert!(point.metrics["ttft_ms"].mean > 500.0, "it is slow: {:?}", point.metrics["ttft_ms"].mean);
        let reasons = &point.validity.reasons;
        match reasons.iter().find(|reason| reason.code == "dispatch_lag" || reason.code == "started") {
            None => {
                assert_ne!(ran.code, Some(101));
                Ok(())
            }
            Some(reason) => Err(format!("the server's fault, not the client's: {reason:?}")),
        }
    });
}

/// For what is true unless the machine itself is held up, which a machine that runs other things may be now and then.
fn on_a_calm_moment(mut scene: impl FnMut() -> Result<(), String>) {
    const TRIES: usize = 5;
    let failures: Vec<String> = (0..TRIES).map_while(|_| scene().err()).collect();
    assert!(failures.len() < TRIES, "never in {TRIES} tries: {failures:#?}");
}

/// A group of processes with a CPU quota; removed when dropped.
struct Quota(PathBuf);

impl Quota {
    fn new() -> Result<Self, String> {
        let root = PathBuf::from("/sys/fs/cgroup/cpu");
        if !root.join("cpu.cfs_quota_us").exists() {
            return Err("no cgroup v1 cpu controller".to_owned());
        }
        let path = root.join(format!("bench-test-{}", std::process::id()));
        let quota = Self(path);
        let set = fs::create_dir(&quota.0).and_then(|()| fs::write(quota.0.join("cpu.cfs_period_us"), "100000"));
        set.map(|()| quota).map_err(|error| error.to_string())
    }

    fn hold(&self, pid: u32) -> std::io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }

    /// Lets the group have this much of every 100 ms.
    fn limit(&self, quota_us: Option<u32>) {
        let text = quota_us.map_or("-1".to_owned(), |quota| quota.to_string());
        fs::write(self.0.join("cpu.cfs_quota_us"), text).unwrap();
    }

    fn throttled(&self) -> Duration {
        let text = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let nanos = text.lines().find_map(|line| line.strip_prefix("throttled_time ")?.parse().ok());
        Duration::from_nanos(nanos.unwrap())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Its processes have ended; an empty group can be removed.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_client_under_a_cpu_quota_is_not_believed() {
    let quota = match Quota::new() {
        Ok(quota) => quota,
        Err(why) => return skipped("validity under a CPU quota", &why),
    };
    let server = Server::healthy();
    // Long, so that the quota falls into it wherever this test is held up.
    let world = strict(&server.url(), 1000, "{ duration = \"6s\" }");
    let mut running = world.start(&["--format", "json"]);
    // At once: a point looks for its groups when its window begins.
    if let Err(why) = quota.hold(running.pid()) {
        return skipped("validity under a CPU quota", &why.to_string());
    }
    wait_until("the point", || server.bodies().len() > 40);
    // Little enough for any machine to be held back, and lifted when it was: 0.5 s are 8 % of the window.
    let before = quota.throttled();
    quota.limit(Some(1000));
    wait_until("throttling", || quota.throttled() - before > Duration::from_millis(500) || !running.is_running());
    quota.limit(None);
    let ran = running.wait();
    let point = only_point(&ran);
    let codes: Vec<&str> = point.validity.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_ne!(point.validity.state, ValidityState::Valid);
    assert!(codes.contains(&"cpu_throttled"), "{codes:?}");
}

/// `bench apply --format json` of this place, started by a shell that runs `before` first.
fn after(world: &World, shell: &[&str], before: &str) -> Command {
    let bench = world.command(&["apply", "scenario.toml", "--store", "store", "--format", "json"]);
    let (program, arguments) = shell.split_first().unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(format!("{before} && exec \"$0\" \"$@\""))
        .arg(bench.get_program())
        .args(bench.get_args());
    for (name, value) in bench.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(world.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// More users at once than the machine has of something, and a server that keeps each for a while.
fn crowd(url: &str) -> World {
    let load = "[load]\nkind = \"burst\"\nsize = 100\n";
    World::new(&scenario(url, "", load, "{ duration = \"1s\" }", "[errors]\nmax_share = 1\n").replace(ANY_CLIENT, ""))
}

fn reason<'a>(point: &'a PointReport, code: &str) -> &'a llm_bench::report::model::ValidityReason {
    let found = point.validity.reasons.iter().find(|reason| reason.code == code);
    found.unwrap_or_else(|| panic!("no {code}: {:?} {:?}", point.validity, point.errors))
}

#[test]
fn a_client_without_descriptors_is_not_believed() {
    // It keeps each connection far longer than the client needs to ask for all of them.
    let server = Server::start(|seen| {
        if seen.method == "POST" {
            std::thread::sleep(Duration::from_secs(3));
        }
        healthy(seen)
    });
    let world = crowd(&server.url());
    let point = only_point(&Ran::of(after(&world, &["sh", "-c"], "ulimit -n 60").output().unwrap()));
    let without = point.client.without_descriptor;
    assert!(without > 0 && point.outcomes.connect_failed >= without, "{:?}", point.outcomes);
    assert!((reason(&point, "descriptors_exhausted").observed - without as f64 / 100.0).abs() < 1e-9);
    assert!(point.client.not_started >= without, "the client's fault, not the server's");
    assert_ne!(point.validity.state, ValidityState::Valid);
    if let Some(descriptors) = point.client.descriptors {
        assert_eq!(descriptors.limit, 60);
    }
}

#[test]
fn a_client_without_ports_is_not_believed() {
    // Twenty ports, in a network of its own.
    let isolated = "ip link set lo up && echo 40000 40019 > /proc/sys/net/ipv4/ip_local_port_range";
    let tried = Command::new("unshare").args(["-n", "sh", "-c", isolated]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skipped("validity without ports", "no network namespace of its own (`unshare -n`, `ip`)");
    }
    let world = crowd("sim:tiny?jitter=0&speed=0.02");
    let point = only_point(&Ran::of(after(&world, &["unshare", "-n", "sh", "-c"], isolated).output().unwrap()));
    let without = point.client.without_port;
    assert!(without > 0 && point.outcomes.connect_failed >= without, "{:?}", point.outcomes);
    assert!((reason(&point, "ports_exhausted").observed - without as f64 / 100.0).abs() < 1e-9);
    assert_eq!(point.client.ports.map(|ports| ports.range), Some(20));
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_window_is_sampled_to_its_end_and_no_longer() {
    // An answer takes seconds: the window of one ends while its only request still runs.
    let measure = "{ duration = \"1s\" }";
    let text = scenario("sim:tiny?jitter=0&speed=0.002", "", ONE_USER, measure, "");
    let mut sampled = None;
    on_a_calm_moment(|| {
        let world = World::new(&text);
        let (_, applied) = world.apply_json(&[]);
        let observed_s = applied.point().client.observed_s.unwrap();
        let end_s = world.records()[0].stamps_ns.end.unwrap() as f64 / 1e9;
        let whole = observed_s >= applied.point().window.duration_s - 0.01;
        sampled = Some(applied);
        match (whole, observed_s < end_s) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{observed_s} s of the window")),
            (_, false) => Err(format!("the drain is no part of it: {observed_s} s, the request ended at {end_s} s")),
        }
    });
    let applied = sampled.unwrap();
    let client = &applied.point().client;
    // What every Linux tells.
    assert!(!client.workers.is_empty());
    let worker = &client.workers[0];
    assert!(worker.cpu_share.is_some() && worker.peak_cpu_share >= worker.cpu_share, "{worker:?}");
    assert_eq!(client.busiest_core_share, client.workers.iter().filter_map(|worker| worker.cpu_share).reduce(f64::max));
    assert!(client.rss_end_bytes.is_some() && client.peak_rss_bytes >= client.rss_end_bytes, "{client:?}");
    let descriptors = client.descriptors.unwrap();
    assert!(descriptors.open_peak > 3 && descriptors.open_peak < descriptors.limit, "{descriptors:?}");
    assert!(client.tcp.is_some_and(|tcp| tcp.segments_sent > 0), "{client:?}");
}
