//! `bench calibrate`, and the server that it starts.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use llm_bench::calibrate::run::limits;
use llm_bench::calibrate::stored::Calibration;
use llm_bench::calibrate::truth::Truth;
use llm_bench::report::model::ClockSource;

use super::Desk;

#[test]
fn it_prints_stores_and_keeps() {
    let desk = Desk::new();
    let ended = desk.bench(&[
        "calibrate",
        "--streams",
        "20",
        "--rates",
        "20",
        "--requests",
        "20",
        "--duration",
        "200ms",
        "--workers",
        "1",
        "--bound",
        "1h",
        "--format",
        "json",
        "--output",
        "x/c.json",
        "--keep",
        "kept",
    ]);
    let ended = ended.code(0).says("20 streams × 20/s: ").says("stored in x/c.json");
    let printed: Calibration = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(Calibration::load(&desk.path("x/c.json")).unwrap().as_ref(), Some(&printed));
    assert_eq!((printed.cells.len(), printed.workers), (2, 1));
    // Windows this short may hold too few events to pass; what is stored is what was judged.
    assert_eq!(printed.limits, limits(&printed.cells, printed.bound_ms));
    assert!(printed.cells.iter().all(|cell| cell.comparison.matched == cell.comparison.requests));
    assert!(printed.cells.iter().all(|cell| cell.comparison.matched > 0 && cell.comparison.failed == 0));
    assert_eq!(printed.machine.bench.version, env!("CARGO_PKG_VERSION"));
    for name in ["streams-20x20", "requests-20"] {
        assert!(Truth::read(&desk.path(&format!("kept/{name}.truth.jsonl"))).unwrap().requests.len() > 2);
        assert!(desk.path(&format!("kept/{name}.requests.jsonl.gz")).exists());
    }
}

#[test]
fn a_bound_that_nothing_meets() {
    let desk = Desk::new();
    desk.bench(&["calibrate", "--requests", "20", "--duration", "200ms", "--bound", "1ns"])
        .code(0)
        .shows("beyond the bound")
        .shows("– (nothing passed, or nothing was tried)");
    // Loads that were listed are not stored unasked.
    assert_eq!(std::fs::read_dir(desk.path(".")).unwrap().count(), 0);
}

#[test]
fn stamps_of_user_space() {
    let desk = Desk::new();
    let ended =
        desk.bench(&["calibrate", "--requests", "20", "--duration", "200ms", "--stamps", "user", "--format", "json"]);
    let printed: Calibration = serde_json::from_str(&ended.code(0).out).unwrap();
    assert_eq!(printed.cells[0].clock_source, ClockSource::User);
}

#[test]
fn the_server_by_hand() {
    let desk = Desk::new();
    let core = llm_bench::calibrate::metronome::allowed_cpus()[0].to_string();
    let mut child = desk
        .command(&[
            "calibrate",
            "--serve",
            "--port",
            "0",
            "--ttft",
            "1ms",
            "--itl",
            "1ms",
            "--tokens",
            "3",
            "--log",
            "truth.jsonl",
            "--cpu",
            &core,
            "--die-with-parent",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut socket = TcpStream::connect(line.trim_end().strip_prefix("READY http://").unwrap()).unwrap();
    // More than `--tokens` allows.
    let body = "{\"prompt\":\"x\",\"max_tokens\":9,\"stream\":true}";
    let request = format!("POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"0\r\n\r\n") {
        let mut part = [0; 4096];
        let length = socket.read(&mut part).unwrap();
        assert!(length > 0);
        answer.extend_from_slice(&part[..length]);
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let truth = Truth::read(&desk.path("truth.jsonl")).unwrap();
    assert_eq!((truth.header.cpu, truth.requests[0].tokens), (Some(core.parse().unwrap()), 3));
}

#[test]
fn options_that_make_no_sense() {
    let desk = Desk::new();
    desk.bench(&["calibrate", "--port", "0"]).code(64).says("--serve");
    desk.bench(&["calibrate", "--streams", "0"]).code(64).says("--streams");
    desk.bench(&["calibrate", "--rates", "0"]).code(64).says("must be from 0.1");
    desk.bench(&["calibrate", "--bound", "0.5"]).code(64).says("--bound");
}
