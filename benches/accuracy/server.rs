//! The metronome of the binary under test, on its core.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use llm_bench::calibrate::child::READY;
use llm_bench::calibrate::truth::Truth;

use super::{Place, bench};

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(place: &Place, ttft: Duration, itl: Duration, log: bool) -> Self {
        let path = place.file("truth.jsonl");
        let nanos = |time: Duration| format!("{}ns", time.as_nanos());
        let mut command = Command::new(bench());
        command
            .args(["calibrate", "--serve", "--port", "0", "--die-with-parent"])
            .args(["--ttft", &nanos(ttft), "--itl", &nanos(itl), "--cpu", &place.server_cpu().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if log {
            command.arg("--log").arg(&path);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix(READY).expect("the server is ready");
        Self { child, address: url.strip_prefix("http://").unwrap().to_owned(), log: path }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn stop(self) -> Truth {
        let log = self.log.clone();
        self.stop_without_log();
        Truth::read(&log).unwrap()
    }

    pub(crate) fn stop_without_log(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Resident set of a process in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
