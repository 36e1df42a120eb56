//! How exact `bench` is, and what it costs, against what the hardware allows: `cargo bench --bench accuracy`.
//!
//! One table, all rows with one server: the metronome (`bench calibrate --serve`) on core 0, the client on core 1. Errors
//! are compared here, from the records each client writes for each request and the server's log: nothing that `bench`
//! computed about itself is believed. `-- accuracy cpu` runs the named rows alone, `--duration 10s` sets the window of
//! each, `--runs 5` how often the dispatch row is repeated, `--soak 10m` adds the soak. `BENCH_BINARY` names the binary;
//! the one of this build is the default, so give it a release build.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, missing_docs)]

mod compare;
mod minimal;
mod peers;
mod server;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use compare::{Errors, Seen, errors};
use llm_bench::calibrate::metronome::{allowed_cpus, pin};
use llm_bench::calibrate::truth::Truth;
use nix::sys::resource::{UsageWho, getrusage};
use server::Server;

/// The binary that is measured.
fn bench() -> OsString {
    std::env::var_os("BENCH_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_bench").into())
}

/// Arguments that make `bench` stamp in user space although the kernel could.
const USER_STAMPS: Option<&[&str]> = Some(&["--stamps", "user"]);

const ROWS: [&str; 7] = ["accuracy", "slow", "cpu", "burst", "dispatch", "streams", "peers"];

struct Options {
    rows: Vec<String>,
    duration: Duration,
    runs: usize,
    soak: Option<Duration>,
}

fn options() -> Options {
    let mut options = Options { rows: Vec::new(), duration: Duration::from_secs(10), runs: 5, soak: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut duration = || humantime::parse_duration(&arguments.next().expect("a duration")).unwrap();
        match &*argument {
            "--duration" => options.duration = duration(),
            "--soak" => options.soak = Some(duration()),
            "--runs" => options.runs = arguments.next().expect("a number").parse().unwrap(),
            // What cargo adds.
            "--bench" => {}
            row if ROWS.contains(&row) => options.rows.push(row.to_owned()),
            other => panic!("`{other}` is none of {ROWS:?}, --duration, --runs, --soak"),
        }
    }
    if options.rows.is_empty() && options.soak.is_none() {
        options.rows = ROWS.map(str::to_owned).to_vec();
    }
    options
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(minimal::WORD) {
        return minimal::main();
    }
    let options = options();
    llm_bench::observe::preflight::raise_descriptor_limit();
    let cpus = allowed_cpus();
    println!("binary {}", Path::new(&bench()).display());
    match cpus.as_slice() {
        [server, client, ..] => println!("server on core {server}, clients on core {client}\n"),
        _ => println!("ONE CORE ONLY: server and client share it, and no goal below can be expected to hold\n"),
    }
    println!("| row | client | measured | goal |\n|---|---|---|---|");
    let place = Place { folder: tempfile::tempdir().unwrap(), cpus, duration: options.duration };
    for row in &options.rows {
        match &**row {
            "accuracy" => [100, 500, 1000].into_iter().for_each(|streams| accuracy(&place, streams, 100, GOALS)),
            "slow" => accuracy(&place, 1000, 20, SLOW_GOALS),
            "cpu" => cpu(&place),
            "burst" => burst(&place),
            "dispatch" => dispatch(&place, options.runs),
            "streams" => streams(&place),
            "peers" => peers::rows(&place),
            _ => unreachable!("checked"),
        }
    }
    if let Some(length) = options.soak {
        soak(&place, length);
    }
}

fn row(what: &str, client: &str, measured: &str, goal: &str) {
    println!("| {what} | {client} | {measured} | {goal} |");
}

fn skipped(what: &str, client: &str, why: &str) {
    row(what, client, &format!("SKIPPED: {why}"), "");
    eprintln!("SKIPPED: {what}, {client}: {why}");
}

/// Where everything happens.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    cpus: Vec<usize>,
    duration: Duration,
}

impl Place {
    fn server_cpu(&self) -> usize {
        self.cpus.first().copied().unwrap_or(0)
    }

    fn client_cpu(&self) -> usize {
        self.cpus.get(1).copied().unwrap_or_else(|| self.server_cpu())
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a client on its core and waits for it; its output, and the CPU time it and its children took.
    fn client(&self, command: &mut Command) -> (std::process::Output, Duration) {
        pin(&[self.client_cpu()]).unwrap();
        let before = children_cpu();
        let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap();
        pin(&self.cpus).unwrap();
        (output, children_cpu() - before)
    }

    /// The minimal client of this harness, in a process of its own.
    fn minimal(&self, ask: &minimal::Ask) -> Vec<Seen> {
        let records = self.file("minimal.jsonl");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(minimal::WORD).arg(&records).arg(serde_json::to_string(ask).unwrap());
        let (output, _) = self.client(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        compare::read_seen(&records)
    }

    /// CPU time for each event and events per second of the minimal client.
    fn minimal_cost(&self, ask: &minimal::Ask) -> minimal::Cost {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(minimal::WORD).arg("-").arg(serde_json::to_string(ask).unwrap());
        let (output, _) = self.client(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// CPU time of the processes that were waited for.
fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap())
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap())
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

const GOALS: [&str; 2] = ["TTFT ≤ 0.05 / 0.2 ms, ITL p99 ≤ +0.1 ms", "user stamps: TTFT ≤ 0.1 / 2 ms, ITL p99 ≤ +1 ms"];
const SLOW_GOALS: [&str; 2] = ["TTFT ≤ 0.02 / 0.05 ms, ITL p99 ≤ +0.05 ms", ""];

fn shown(found: &Errors) -> String {
    format!(
        "TTFT {:.3} / {:.3} ms (from sending {:.3} / {:.3}), ITL p99 {:+.3} ms; {} requests; server late p99 {:.2} ms",
        found.ttft_p50_ms,
        found.ttft_p99_ms,
        found.service_p50_ms,
        found.service_p99_ms,
        found.itl_p99_difference_ms,
        found.requests,
        found.server_late_p99_ms,
    )
}

/// What `bench calibrate` left of one load.
struct Kept {
    seen: Vec<Seen>,
    /// Requests that did not complete, as on a machine without time for anything.
    failed: usize,
    truth: Truth,
    cell: serde_json::Value,
}

impl Kept {
    /// The errors, and what they leave out.
    fn shown(&self) -> String {
        let errors = shown(&errors(&self.seen, &self.truth));
        if self.failed == 0 { errors } else { format!("{errors}; LEFT OUT: {} that did not complete", self.failed) }
    }
}

fn bench_records(place: &Place, arguments: &[&str], name: &str) -> Kept {
    let folder = place.file("kept");
    let duration = format!("{}ms", place.duration.as_millis());
    let output = Command::new(bench())
        .args(["calibrate", "--workers", "1", "--format", "json", "--duration", &duration, "--keep"])
        .arg(&folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (seen, failed) = compare::read_records(&folder.join(format!("{name}.requests.jsonl.gz")));
    let truth = Truth::read(&folder.join(format!("{name}.truth.jsonl"))).unwrap();
    let cell = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["cells"][0].clone();
    Kept { seen, failed, truth, cell }
}

/// TTFT and ITL errors of closed-loop streams.
fn accuracy(place: &Place, streams: u32, events_per_s: u32, goals: [&str; 2]) {
    let what = format!("{streams} streams × {events_per_s}/s");
    let (n, rate) = (streams.to_string(), events_per_s.to_string());
    let load = ["--streams", &n, "--rates", &rate];
    let name = format!("streams-{streams}x{events_per_s}");
    let kept = bench_records(place, &load, &name);
    let client = format!("bench, {} stamps", kept.cell["clock_source"].as_str().unwrap_or("?"));
    row(&what, &client, &kept.shown(), goals[0]);
    match USER_STAMPS {
        Some(extra) => {
            let kept = bench_records(place, &[&load[..], extra].concat(), &name);
            row(&what, "bench, user stamps", &kept.shown(), goals[1]);
        }
        None => skipped(&what, "bench, user stamps", "this build has no switch for it"),
    }
    for kernel in [true, false] {
        let itl = Duration::from_secs(1) / events_per_s;
        let server = Server::start(place, Duration::from_millis(50), itl, true);
        let ask = minimal::Ask {
            address: server.address.clone(),
            streams,
            tokens: events_per_s,
            ramp_ms: 1040,
            window_ms: [2300, 2300 + u64::try_from(place.duration.as_millis()).unwrap()],
            kernel,
            requests_per_s: 0,
        };
        let seen = place.minimal(&ask);
        let truth = server.stop();
        let client = if kernel { "minimal client, kernel stamps" } else { "minimal client, user stamps" };
        row(&what, client, &shown(&errors(&seen, &truth)), "the limit");
    }
}

/// A scenario of users against a server that runs already.
fn scenario(url: &str, users: u32, tokens: u32, duration: Duration) -> String {
    format!(
        "schema = 1\nname = \"accuracy\"\n\n[backends.main]\nprotocol = \"openai-completions\"\nurl = \"{url}\"\n\n\
         [workloads.chat]\nprompts = {{ kind = \"synthetic\" }}\ninput_tokens = {{ kind = \"fixed\", value = 16 }}\n\
         output_tokens = {{ kind = \"fixed\", value = {tokens} }}\n\n\
         [[traffic]]\nname = \"base\"\nbackend = \"main\"\nmodel = \"metronome\"\nworkload = \"chat\"\n\n\
         [load]\nkind = \"users\"\nusers = {users}\nramp = \"1s\"\n\n\
         [phases]\nwarmup = \"1s\"\nmeasure = {{ duration = \"{}ms\" }}\n",
        duration.as_millis()
    )
}

/// `bench apply` of such a scenario, as a user runs it.
fn apply(place: &Place, url: &str, users: u32, tokens: u32, duration: Duration) -> Command {
    std::fs::write(place.file("accuracy.toml"), scenario(url, users, tokens, duration)).unwrap();
    let mut command = Command::new(bench());
    command
        .args(["apply", "accuracy.toml", "--rerun", "--quiet", "--workers", "1", "--format", "json"])
        .current_dir(place.folder.path())
        .env("BENCH_CALIBRATION", "");
    command
}

/// Exit codes of a measurement that was carried out: the CPU is meant to be full.
fn carried_out(output: &std::process::Output) {
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 100 | 101)), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// CPU of the whole client process over every event that the server wrote.
fn cpu(place: &Place) {
    let what = "client CPU per event, 1000 streams × 100/s";
    let (ttft, itl) = (Duration::from_millis(50), Duration::from_millis(10));
    let server = Server::start(place, ttft, itl, false);
    let cost = place.minimal_cost(&minimal::Ask {
        address: server.address.clone(),
        streams: 1000,
        tokens: 100,
        ramp_ms: 1040,
        window_ms: [0, 2000 + u64::try_from(place.duration.as_millis()).unwrap()],
        kernel: true,
        requests_per_s: 0,
    });
    server.stop_without_log();
    let floor = cost.cpu_us / cost.events as f64;
    row(what, "minimal client", &format!("{floor:.2} µs ({} events)", cost.events), "");
    let server = Server::start(place, ttft, itl, true);
    let url = server.url();
    let (output, used) = place.client(&mut apply(place, &url, 1000, 100, place.duration));
    carried_out(&output);
    let events = count_events(&server.stop());
    let here = used.as_secs_f64() * 1e6 / events as f64;
    row(
        what,
        "bench apply, everything recorded",
        &format!("{here:.2} µs ({events} events), {:.2} × the minimal client", here / floor),
        "≤ 1.25 ×",
    );
}

fn count_events(truth: &Truth) -> u64 {
    truth.requests.iter().map(|request| request.events().count() as u64).sum()
}

/// Events from the first write to the last, per second.
fn events_per_s(truth: &Truth) -> f64 {
    let first = truth.requests.iter().filter_map(|request| request.first_ns).min().unwrap_or(0);
    let last = truth.requests.iter().filter_map(|request| request.events().last()).max().unwrap_or(1);
    count_events(truth) as f64 / ((last - first).max(1) as f64 / 1e9)
}

/// 64 streams of 5000 events as fast as the server can.
fn burst(place: &Place) {
    let what = "burst, 64 streams × 5000 events";
    let duration = place.duration.min(Duration::from_secs(5));
    let server = Server::start(place, Duration::ZERO, Duration::ZERO, false);
    let cost = place.minimal_cost(&minimal::Ask {
        address: server.address.clone(),
        streams: 64,
        tokens: 5000,
        ramp_ms: 0,
        window_ms: [0, u64::try_from(duration.as_millis()).unwrap()],
        kernel: false,
        requests_per_s: 0,
    });
    server.stop_without_log();
    let (floor, floor_cpu) = (cost.events as f64 / cost.wall_s, cost.events as f64 / cost.cpu_us);
    row(what, "raw read-and-frame loop", &format!("{floor:.0} events/s, {:.2} µs of CPU each", 1.0 / floor_cpu), "");
    let server = Server::start(place, Duration::ZERO, Duration::ZERO, true);
    let url = server.url();
    let (output, used) = place.client(&mut apply(place, &url, 64, 5000, duration));
    carried_out(&output);
    let truth = server.stop();
    let (here, here_cpu) = (events_per_s(&truth), count_events(&truth) as f64 / (used.as_secs_f64() * 1e6));
    row(
        what,
        "bench apply, everything recorded",
        &format!(
            "{here:.0} events/s, {:.2} µs of CPU each: {:.2} × by time, {:.2} × by CPU",
            1.0 / here_cpu,
            here / floor,
            here_cpu / floor_cpu
        ),
        "≥ 0.5 ×",
    );
}

/// Dispatch lag of 5000 one-token requests a second, `bench` and the minimal client in turn.
fn dispatch(place: &Place, runs: usize) {
    const WHAT: &str = "dispatch lag p99, 5000 one-token requests/s";
    let (mut bench, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let kept = bench_records(place, &["--requests", "5000"], "requests-5000");
        if kept.failed > 0 {
            eprintln!("{WHAT}: {} requests did not complete", kept.failed);
        }
        bench.push(compare::dispatch_p99_ms(&kept.seen));
        let server = Server::start(place, Duration::from_millis(5), Duration::from_secs(1), false);
        floor.push(compare::dispatch_p99_ms(&place.minimal(&minimal::Ask {
            address: server.address.clone(),
            streams: 256,
            tokens: 1,
            ramp_ms: 0,
            window_ms: [500, 500 + u64::try_from(place.duration.as_millis()).unwrap()],
            kernel: true,
            requests_per_s: 5000,
        })));
        server.stop_without_log();
    }
    for (client, mut lags, goal) in [("bench", bench, "≤ 0.25 ms"), ("minimal client", floor, "the limit")] {
        lags.sort_by(f64::total_cmp);
        let all: Vec<_> = lags.iter().map(|lag| format!("{lag:.3}")).collect();
        row(WHAT, client, &format!("{:.3} ms (median of {})", lags[lags.len() / 2], all.join(", ")), goal);
    }
}

/// As many streams as descriptors allow, and what each costs in memory.
fn streams(place: &Place) {
    const MANY: u32 = 19_000;
    let few = bench_records(place, &["--streams", "10", "--rates", "1"], "streams-10x1").cell;
    let Kept { seen, failed, truth, cell: many } =
        bench_records(place, &["--streams", &MANY.to_string(), "--rates", "1"], "streams-19000x1");
    let rss = |cell: &serde_json::Value| cell["client_peak_rss_bytes"].as_f64().unwrap_or(f64::NAN);
    let each = (rss(&many) - rss(&few)) / f64::from(MANY - 10) / 1e3;
    let found = &many["comparison"];
    row(
        &format!("{MANY} streams × 1/s"),
        "bench",
        &format!(
            "{} at the same time, {each:.1} kB each, {} of {} requests failed",
            most_at_once(&truth),
            found["failed"],
            seen.len() + failed
        ),
        "all, ≤ 36 kB, 0",
    );
}

/// Answers that were under way at the same moment, as the server saw it.
fn most_at_once(truth: &Truth) -> i64 {
    let spans = truth.requests.iter().filter_map(|request| Some((request.received_ns, request.events().last()?)));
    let mut steps: Vec<(u64, i64)> = spans.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    steps.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in steps {
        now += step;
        most = most.max(now);
    }
    most
}

/// Resident set at each minute of a long run.
fn soak(place: &Place, length: Duration) {
    let server = Server::start(place, Duration::from_millis(50), Duration::from_millis(50), false);
    let url = server.url();
    pin(&[place.client_cpu()]).unwrap();
    let mut child = apply(place, &url, 1000, 20, length).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    pin(&place.cpus).unwrap();
    let (began, mut samples) = (Instant::now(), Vec::new());
    while child.try_wait().unwrap().is_none() {
        let due = Duration::from_secs(60 * (samples.len() as u64 + 1)).min(length);
        if began.elapsed() >= due && samples.len() as u64 * 60 < length.as_secs() {
            let mib = server::resident(child.id()).unwrap_or(0) as f64 / f64::from(1 << 20);
            eprintln!("soak: {:.0} s: {mib:.1} MiB", began.elapsed().as_secs_f64());
            samples.push(format!("{mib:.1}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop_without_log();
    row("soak, 1000 streams × 20/s: MiB at each minute", "bench apply", &samples.join(", "), "flat");
}
