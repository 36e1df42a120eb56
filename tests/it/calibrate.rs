//! The ground-truth server by a raw connection, and a calibration from end to end. Nothing here says how good the machine
//! is: what is compared is what both sides must agree on.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use llm_bench::apply::point;
use llm_bench::calibrate::cell::{self, CellLoad, CellSetup};
use llm_bench::calibrate::child::{Beat, ChildOptions, MetronomeProcess, READY};
use llm_bench::calibrate::stored::{Calibration, Limit, LimitedBy, Limits, Machine};
use llm_bench::calibrate::truth::{ReceivedBy, Truth};
use llm_bench::engine::clock::PointClock;
use llm_bench::measure::timeline::Answer;
use llm_bench::protocol::{BodyEnd, Decoder};
use llm_bench::transport::{
    Ahead, AheadFuture, Cancel, ClockSource, ExchangeFuture, Outgoing, Pace, Stamping, Transport, TransportFacts,
};
use llm_bench::units::Nanos;
use serde_json::Value;

const MS: Nanos = 1_000_000;

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.env("BENCH_CALIBRATION", "").env("NO_COLOR", "1");
    command
}

/// A metronome with a raw connection to it.
struct Raw {
    child: Child,
    address: String,
    reader: BufReader<TcpStream>,
}

impl Raw {
    fn start(arguments: &[&str]) -> Self {
        let mut child = bench()
            .args(["calibrate", "--serve", "--port", "0", "--die-with-parent"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix(READY).unwrap().strip_prefix("http://").unwrap().to_owned();
        let reader = BufReader::new(TcpStream::connect(&address).unwrap());
        Self { child, address, reader }
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn post(&mut self, path: &str, body: &str) {
        self.send(&format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "the connection ended");
        line.trim_end().to_owned()
    }

    /// Status and headers.
    fn head(&mut self) -> (String, BTreeMap<String, String>) {
        let status = self.line();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { return (status, headers) };
            headers.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The data of the events of a streamed answer, each with the chunk it came in.
    fn stream(&mut self) -> Vec<String> {
        let (status, headers) = self.head();
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(headers["transfer-encoding"], "chunked");
        let mut events = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            assert_eq!(&chunk[size..], b"\r\n");
            if size == 0 {
                return events;
            }
            let text = String::from_utf8(chunk[..size].to_vec()).unwrap();
            events.push(text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap().to_owned());
        }
    }

    /// Ends it as a parent that goes away does, and waits for its log.
    fn stop(mut self, log: &Path) -> Truth {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        Truth::read(log).unwrap()
    }
}

const ASK: &str = "{\"model\":\"m\",\"prompt\":\"bench-request c7.1 x\",\"max_tokens\":4,\"stream\":true,\
    \"stream_options\":{\"include_usage\":true}}";

#[test]
fn the_metronome_keeps_its_schedule_and_logs_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    let mut raw = Raw::start(&["--ttft", "30ms", "--itl", "20ms", "--log", log.to_str().unwrap()]);
    let pages = [("/health", "200 OK"), ("/v1/models", "200 OK"), ("/nowhere", "404 Not Found")];
    for (path, status) in pages {
        raw.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (line, headers) = raw.head();
        assert_eq!(line, format!("HTTP/1.1 {status}"));
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        raw.reader.read_exact(&mut body).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap();
    }
    // Twice over one connection: kept alive.
    raw.post("/v1/completions", ASK);
    let completion = raw.stream();
    raw.post("/v1/chat/completions", "{\"messages\":[],\"max_tokens\":2,\"stream\":true}");
    let chat = raw.stream();
    raw.post("/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":3}");
    let (_, headers) = raw.head();
    let mut whole = vec![0; headers["content-length"].parse().unwrap()];
    raw.reader.read_exact(&mut whole).unwrap();

    let json: Vec<Value> = completion[..5].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert!(json[..4].iter().all(|event| event["choices"][0]["text"] == " tick"));
    assert_eq!(json[2]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(json[3]["choices"][0]["finish_reason"], "length");
    assert_eq!(json[4]["usage"]["completion_tokens"], 4);
    assert_eq!(&completion[5..], ["[DONE]"]);
    let chat: Vec<Value> = chat[..3].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(chat[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chat[2]["choices"][0]["delta"]["content"], " tick");
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["choices"][0]["text"], " tick tick tick");

    let truth = raw.stop(&log);
    assert_eq!((truth.header.ttft_ns, truth.header.itl_ns), (30 * MS, 20 * MS));
    let [first, second, third] = &truth.requests[..] else { panic!("{truth:?}") };
    assert_eq!((first.connection, first.sequence, second.sequence, third.sequence), (0, 0, 1, 2));
    assert_eq!((first.label.as_deref(), second.label.as_deref()), (Some("c7.1"), None));
    // `printf %s BODY | sha256sum`
    assert_eq!(first.body_sha256.len(), 16);
    assert_ne!(first.body_sha256, second.body_sha256);
    assert_eq!((first.tokens, second.tokens, third.tokens), (4, 2, 3));
    assert!(truth.requests.iter().all(|request| request.complete));
    // Nothing is early, and what is late moves nothing after it: the schedule is absolute.
    for (request, due) in [(first, &[30, 50, 70, 90][..]), (second, &[30, 50]), (third, &[70])] {
        assert_eq!(request.received_by, ReceivedBy::Kernel, "{request:?}");
        let events: Vec<_> = request.events().map(|at| at - request.received_ns).collect();
        assert_eq!(events.len(), due.len());
        assert!(events.iter().zip(due).all(|(at, due)| *at >= due * MS), "{events:?}");
    }
    assert!(second.received_ns > first.events().last().unwrap());
}

#[test]
fn a_burst_is_whole_whatever_the_client_reads() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    let mut raw = Raw::start(&["--ttft", "0s", "--itl", "0s", "--log", log.to_str().unwrap()]);
    let ask = |tokens: u32| format!("{{\"prompt\":\"bench-request b\",\"max_tokens\":{tokens},\"stream\":true}}");
    // More than the buffers of a connection hold, so that writes end anywhere inside an event.
    raw.post("/v1/completions", &ask(60_000));
    assert_eq!(raw.stream().len(), 60_001);
    raw.post("/v1/completions", &ask(1));
    assert_eq!(raw.stream().len(), 2);
    // One that goes away in the middle: no harm to the others, and the log says so.
    let mut gone = TcpStream::connect(&raw.address).unwrap();
    let body = ask(90_000);
    gone.write_all(format!("POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .unwrap();
    gone.read_exact(&mut [0; 4096]).unwrap();
    drop(gone);
    raw.post("/v1/completions", &ask(130));
    assert_eq!(raw.stream().len(), 131);
    let truth = raw.stop(&log);
    let complete: Vec<_> = truth.requests.iter().filter(|it| it.complete).map(|it| it.events().count()).collect();
    assert_eq!(complete, [60_000, 1, 130]);
    let cut: Vec<_> = truth.requests.iter().filter(|it| !it.complete).collect();
    assert_eq!((cut.len(), cut[0].tokens), (1, 90_000));
    assert!(cut[0].events().count() < 90_000);
}

#[test]
fn a_metronome_ends_by_a_signal_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    let mut raw = Raw::start(&["--ttft", "1h", "--log", log.to_str().unwrap()]);
    raw.post("/v1/completions", ASK);
    raw.send("GET /health HTTP/1.1\r\n\r\n");
    // The second request waits for the first, so by the time another connection is answered the first has been read.
    let mut other = BufReader::new(TcpStream::connect(&raw.address).unwrap());
    other.get_mut().write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    other.read_line(&mut String::new()).unwrap();
    let pid = i32::try_from(raw.child.id()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(raw.child.wait().unwrap().success());
    let truth = Truth::read(&log).unwrap();
    assert_eq!(truth.requests.len(), 1);
    assert_eq!((truth.requests[0].complete, truth.requests[0].first_ns), (false, None));
}

#[test]
fn a_request_that_is_none_ends_its_connection() {
    let mut raw = Raw::start(&[]);
    raw.post("/v1/completions", "no json");
    assert_eq!(raw.head().0, "HTTP/1.1 400 Bad Request");
    let mut rest = Vec::new();
    raw.reader.read_to_end(&mut rest).unwrap();
    drop(raw.child.stdin.take());
    assert!(raw.child.wait().unwrap().success());
}

fn setup(folder: &Path, transport: llm_bench::engine::TransportFactory) -> CellSetup {
    CellSetup {
        duration: Duration::from_millis(300),
        workers: 1,
        child: ChildOptions { program: Some(env!("CARGO_BIN_EXE_bench").into()), ..ChildOptions::default() },
        transport,
        folder: folder.to_owned(),
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A client whose stamps of received data are `by` late.
#[derive(Debug)]
struct Late {
    inner: Box<dyn Transport>,
    by: Nanos,
}

#[derive(Debug)]
struct LateDecoder<'a> {
    inner: &'a mut dyn Decoder,
    by: Nanos,
}

impl Transport for Late {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            let mut late = LateDecoder { inner: decoder, by: self.by };
            self.inner.exchange(request, &mut late, clock, cancel).await
        })
    }

    fn open_ahead<'a>(&'a self, ahead: &'a [Ahead], pace: &'a Pace, cancel: &'a Cancel) -> AheadFuture<'a> {
        self.inner.open_ahead(ahead, pace, cancel)
    }

    fn clock_source(&self) -> ClockSource {
        self.inner.clock_source()
    }

    fn facts(&self) -> TransportFacts {
        self.inner.facts()
    }
}

impl Decoder for LateDecoder<'_> {
    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.inner.head(status, headers);
    }

    fn data(&mut self, bytes: &[u8], at: Nanos) {
        self.inner.data(bytes, at + self.by);
    }

    fn finish(&mut self, end: BodyEnd) -> Answer {
        self.inner.finish(end)
    }
}

/// The known answer: what is added to the client's stamps is found in its errors, and only where it belongs.
#[test]
fn a_client_that_stamps_late_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let load = CellLoad::Streams { streams: 12, events_per_s_each: 50.0 };
    let delay = 400 * MS;
    let honest = point::transports(Stamping::Kernel);
    let late: llm_bench::engine::TransportFactory =
        Arc::new(move || Ok(Box::new(Late { inner: honest()?, by: delay })));
    let right = block_on(cell::run(load, &setup(folder.path(), point::transports(Stamping::Kernel)))).unwrap();
    let wrong = block_on(cell::run(load, &setup(folder.path(), late))).unwrap();
    for cell in [&right, &wrong] {
        let found = &cell.comparison;
        assert!(found.requests > 0 && found.matched == found.requests && found.failed == 0, "{cell:?}");
        // 50 events in a request of this kind.
        assert_eq!((found.ttft.count, found.itl.count), (found.matched, found.matched * 49));
        assert_eq!(found.events, found.matched * 50);
        assert_eq!(found.server_blocked, 0);
        assert!(found.received_by_kernel > 0);
    }
    // The smallest error of the late client is the delay; that of the other is far from it (medians, so that a busy
    // machine may be late with some).
    let (right, wrong) = (right.comparison, wrong.comparison);
    assert!(right.ttft_service.p50_ms < 200.0, "{right:?}");
    for spread in [wrong.ttft, wrong.ttft_service] {
        assert!(spread.bias_ms >= 400.0 && spread.p50_ms >= 400.0 && spread.p50_ms < 600.0, "{wrong:?}");
    }
    assert!(wrong.itl.p50_ms < 200.0, "a constant delay is in no gap: {wrong:?}");
}

#[test]
fn an_open_loop_is_matched_request_by_request() {
    let folder = tempfile::tempdir().unwrap();
    let load = CellLoad::Requests { requests_per_s: 40 };
    let cell = block_on(cell::run(load, &setup(folder.path(), point::transports(Stamping::Kernel)))).unwrap();
    let found = &cell.comparison;
    // 0.3 s at 40 a second.
    assert_eq!((found.requests, found.matched, found.failed, found.itl.count), (12, 12, 0, 0));
    let truth = Truth::read(&folder.path().join("requests-40.truth.jsonl")).unwrap();
    // The log holds the warm-up too.
    assert!(truth.requests.len() >= 32, "{}", truth.requests.len());
    assert!(truth.requests.iter().all(|it| it.label.as_ref().is_some_and(|label| label.starts_with('o'))));
}

#[test]
fn a_metronome_ends_with_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("truth.jsonl");
    let options = ChildOptions { program: Some(env!("CARGO_BIN_EXE_bench").into()), ..ChildOptions::default() };
    let truth = block_on(async {
        let server = MetronomeProcess::start(Beat { ttft_ns: 1, itl_ns: 2 }, &log, &options).await.unwrap();
        assert!(server.url().starts_with("http://127.0.0.1:"));
        server.stop().await.unwrap()
    });
    assert_eq!((truth.header.ttft_ns, truth.header.itl_ns, truth.requests.len()), (1, 2, 0));
    let broken = ChildOptions { program: Some("/bin/false".into()), ..ChildOptions::default() };
    assert!(block_on(MetronomeProcess::start(Beat { ttft_ns: 1, itl_ns: 2 }, &log, &broken)).is_err());
}

const SCENARIO: &str = "schema = 1\nname = \"room\"\n\n[backends.main]\nprotocol = \"openai-completions\"\n\
    url = \"sim:tiny?jitter=0\"\n\n[workloads.chat]\nprompts = { kind = \"synthetic\" }\n\
    input_tokens = { kind = \"fixed\", value = 8 }\noutput_tokens = { kind = \"fixed\", value = 4 }\n\n\
    [[traffic]]\nname = \"base\"\nbackend = \"main\"\nworkload = \"chat\"\n\n[load]\nkind = \"constant\"\nrate_per_s = 20\n\n\
    [phases]\nwarmup = \"0s\"\nmeasure = { duration = \"500ms\" }\n\n\
    [validity]\ndispatch_lag_suspect_share = 100\ndispatch_lag_invalid_share = 100\n";

fn calibration(machine: Machine, requests_per_s: f64) -> Calibration {
    Calibration {
        format: llm_bench::calibrate::stored::FORMAT.to_owned(),
        calibrated_at: "2026-11-22T12:00:00Z".to_owned(),
        machine,
        bound_ms: 0.5,
        workers: 1,
        server_cpu: None,
        client_cpus: Vec::new(),
        limits: Limits {
            requests_per_s: Some(Limit { value: requests_per_s, limited_by: LimitedBy::Client }),
            ..Limits::default()
        },
        cells: Vec::new(),
    }
}

/// The report of an apply with this calibration stored, what it prints, and what it says beside it.
fn apply(calibration: &Calibration) -> (Value, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("room.toml"), SCENARIO).unwrap();
    let path = folder.path().join("state/bench/calibration.json");
    calibration.save(&path).unwrap();
    let run = |arguments: &[&str]| {
        bench()
            .args(["apply", "room.toml", "--workers", "1"])
            .args(arguments)
            .env_remove("BENCH_CALIBRATION")
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let first = run(&[]);
    assert!(matches!(first.status.code(), Some(0)), "{}", text(&first.stderr));
    let json = run(&["--format", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    (report["report"]["points"][0].clone(), text(&first.stdout), text(&first.stderr))
}

#[test]
fn reports_state_their_headroom() {
    // 20 requests a second of 200.
    let (point, stdout, _) = apply(&calibration(Machine::current(), 200.0));
    let headroom = &point["client"]["headroom"];
    assert_eq!(headroom["requests_limit_per_s"], 200.0);
    assert_eq!((&headroom["bound_ms"], &headroom["host_matches"]), (&0.5.into(), &true.into()));
    assert_eq!(headroom["calibrated_at"], "2026-11-22T12:00:00Z");
    assert!(headroom.get("streams_limit").is_none());
    let used = headroom["used_share"].as_f64().unwrap();
    assert_eq!(used, headroom["requests_per_s"].as_f64().unwrap() / 200.0);
    assert!((0.05..0.2).contains(&used), "{headroom}");
    assert!(
        stdout.contains("This point used ") && stdout.contains("what this machine can measure within 0.5 ms"),
        "{stdout}"
    );
    let codes = |point: &Value| point["validity"].to_string();
    assert!(!codes(&point).contains("beyond_calibration"));

    let (beyond, stdout, _) = apply(&calibration(Machine::current(), 2.0));
    assert!(codes(&beyond).contains("beyond_calibration"), "{}", codes(&beyond));
    assert_eq!(beyond["validity"]["state"], "suspect");
    assert!(stdout.contains("beyond_calibration"), "{stdout}");
}

#[test]
fn a_calibration_of_another_machine_is_not_used() {
    let machine = Machine { kernel: Some("0.0.1-other".to_owned()), ..Machine::current() };
    let (point, stdout, stderr) = apply(&calibration(machine, 2.0));
    assert!(point["client"].get("headroom").is_none());
    assert!(!stdout.contains("can measure"));
    assert!(stderr.contains("is not used: it was made with another kernel: 0.0.1-other"), "{stderr}");
}
