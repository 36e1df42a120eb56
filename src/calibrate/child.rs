//! The metronome as a child process of the same binary, so that it takes nothing from the client it judges.
//!
//! Like a `sim:` server it ends with its parent: the parent holds the only write end of its standard input.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::truth::Truth;
use crate::units::Nanos;

/// What the child says on stdout, before its URL, once it accepts connections.
pub const READY: &str = "READY ";

/// How the child is started.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// The program; `None` is the running binary.
    pub program: Option<PathBuf>,
    /// Arguments before `calibrate`.
    pub leading_args: Vec<OsString>,
    /// The core it stays on.
    pub cpu: Option<usize>,
    /// How long it may take until it is ready, and to write its log in the end.
    pub patience: Duration,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self { program: None, leading_args: Vec::new(), cpu: None, patience: Duration::from_secs(60) }
    }
}

/// When it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// From the receipt of a request to its first event.
    pub ttft_ns: Nanos,
    /// From each event to the next.
    pub itl_ns: Nanos,
}

/// A running metronome. Dropping it kills it.
#[derive(Debug)]
pub struct MetronomeProcess {
    child: Child,
    /// Kept open: a child that prints must not fail for want of a reader.
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    log: PathBuf,
    patience: Duration,
}

impl MetronomeProcess {
    /// Starts one on a free port of 127.0.0.1; its log goes to `log`.
    ///
    /// # Errors
    /// When it does not start or is not ready in time.
    pub async fn start(beat: Beat, log: &Path, options: &ChildOptions) -> io::Result<Self> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let mut command = Command::new(program);
        command
            .args(&options.leading_args)
            .args(["calibrate", "--serve", "--port", "0", "--die-with-parent"])
            .args(["--ttft", &format!("{}ns", beat.ttft_ns), "--itl", &format!("{}ns", beat.itl_ns)])
            .arg("--log")
            .arg(log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cpu) = options.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the process has no stdout"))?;
        let mut stdout = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = stdout.next_line().await? {
                if let Some(url) = line.strip_prefix(READY) {
                    return Ok(url.trim().to_owned());
                }
            }
            Err(io::Error::other("it ended before it was ready"))
        };
        let url = tokio::time::timeout(options.patience, ready)
            .await
            .map_err(|_| io::Error::other(format!("not ready within {:?}", options.patience)))??;
        Ok(Self { child, _stdout: stdout, url, log: log.to_owned(), patience: options.patience })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets it end, and reads what it logged.
    ///
    /// # Errors
    /// When it does not end in time, failed, or left no readable log.
    pub async fn stop(mut self) -> io::Result<Truth> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(self.patience, self.child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => {}
            Ok(status) => return Err(io::Error::other(format!("it failed: {}", status?))),
            Err(_) => {
                self.child.kill().await?;
                return Err(io::Error::other(format!("it did not write its log within {:?}", self.patience)));
            }
        }
        Truth::read(&self.log)
    }
}
