//! `bench simulate`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use super::Desk;

/// A simulator on a free port; killed if the test fails.
struct Simulator {
    child: Child,
    address: String,
}

impl Simulator {
    fn start(desk: &Desk, args: &[&str]) -> Self {
        let mut child = desk.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("READY http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_ready_serves_and_ends_on_sigterm() {
    let desk = Desk::new();
    let mut server =
        Simulator::start(&desk, &["simulate", "--port", "0", "--profile", "tiny", "--log", "events.jsonl"]);
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    assert!(server.get("/v1/models").contains("sim-tiny"));
    assert!(server.get("/metrics").contains("vllm:"));
    let pid = nix::unistd::Pid::from_raw(server.child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(desk.path("events.jsonl").exists());
}

#[test]
fn a_taken_port_is_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let desk = Desk::new();
    desk.bench(&["simulate", "--port", &port]).code(78).says(&format!("port {port} is taken")).says("--port 0");
}

#[test]
fn it_ends_with_its_parent() {
    let desk = Desk::new();
    let mut child = desk
        .command(&["simulate", "--port", "0", "--profile", "tiny", "--die-with-parent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("READY "), "{line}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
