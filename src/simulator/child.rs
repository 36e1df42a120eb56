//! The simulator as a child process of the same binary, which ends with its parent.
//!
//! The child holds the read end of a pipe that only its parent can write to. Whatever happens to the
//! parent, SIGKILL included, the kernel closes that pipe and the child reads end of file. The child is in a
//! process group of its own, so that Ctrl-C reaches the parent alone and a draining parent still gets
//! answers.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::config::SimConfig;

/// What the child says on stdout, before its URL, once it accepts connections.
pub const READY: &str = "READY ";

/// How the child is started.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// The program; `None` is the running binary.
    pub program: Option<PathBuf>,
    /// Arguments before `simulate`.
    pub leading_args: Vec<OsString>,
    /// Where the child writes its event log.
    pub log: Option<PathBuf>,
    /// How long it may take until it is ready.
    pub ready_within: Duration,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self { program: None, leading_args: Vec::new(), log: None, ready_within: Duration::from_secs(10) }
    }
}

/// Why no simulator runs.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The running binary cannot be found or the process not be started.
    #[error("cannot start the simulator")]
    Start(#[source] io::Error),
    /// It ended before it was ready; its own message is on stderr.
    #[error("the simulator ended before it was ready ({status})")]
    Ended {
        /// How it ended.
        status: String,
    },
    /// It runs but does not answer.
    #[error("the simulator was not ready within {0:?}")]
    NotReady(Duration),
}

/// A running simulator. Dropping it kills it.
#[derive(Debug)]
pub struct SimProcess {
    child: Child,
    /// Kept open: a child that prints must not fail for want of a reader.
    _stdout: Lines<BufReader<ChildStdout>>,
    url: String,
    pid: u32,
}

impl SimProcess {
    /// Starts `config` as a process of its own on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it does not start or is not ready in time.
    pub async fn start(config: &SimConfig, options: &ChildOptions) -> Result<Self, ChildError> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(ChildError::Start)?,
        };
        let mut command = Command::new(program);
        command
            .args(&options.leading_args)
            .args(["simulate", "--port", "0", "--die-with-parent", "--profile"])
            .arg(config.source())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(log) = &options.log {
            command.arg("--log").arg(log);
        }
        let mut child = command.spawn().map_err(ChildError::Start)?;
        let pid = child.id().ok_or_else(|| ChildError::Start(io::Error::other("the process has no id")))?;
        let stdout = child.stdout.take().ok_or_else(|| ChildError::Start(io::Error::other("no stdout")))?;
        let mut stdout = BufReader::new(stdout).lines();
        match tokio::time::timeout(options.ready_within, ready_url(&mut stdout)).await {
            Ok(Ok(Some(url))) => Ok(Self { child, _stdout: stdout, url, pid }),
            Ok(Ok(None)) => {
                let status = child.wait().await.map_err(ChildError::Start)?.to_string();
                Err(ChildError::Ended { status })
            }
            Ok(Err(error)) => Err(ChildError::Start(error)),
            Err(_) => Err(ChildError::NotReady(options.ready_within)),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_none())
    }

    /// Lets it end by itself, so that its log is complete.
    ///
    /// # Errors
    /// When the system does not say how it ended.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// The URL of the first line that begins with [`READY`]; `None` if stdout ends without one.
async fn ready_url(lines: &mut Lines<BufReader<ChildStdout>>) -> io::Result<Option<String>> {
    while let Some(line) = lines.next_line().await? {
        if let Some(url) = line.strip_prefix(READY) {
            return Ok(Some(url.trim().to_owned()));
        }
    }
    Ok(None)
}

/// Ready when `bench simulate` should end: SIGTERM always; SIGINT when it runs by itself; end of stdin
/// with `die_with_parent`, where SIGINT is ignored. The handlers are installed by the call, not by the
/// first poll.
///
/// # Errors
/// When a handler cannot be installed.
pub fn stop_requested(die_with_parent: bool) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin_closed = die_with_parent.then(stdin_closed).transpose()?;
    Ok(async move {
        let interrupted = async {
            loop {
                interrupt.recv().await;
                if !die_with_parent {
                    return;
                }
            }
        };
        let orphaned = async {
            match stdin_closed {
                // A lost thread counts as a lost parent.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            () = interrupted => {}
            () = orphaned => {}
        }
    })
}

/// Reads stdin to its end on a thread of its own: tokio's stdin would keep the runtime from ending.
fn stdin_closed() -> io::Result<oneshot::Receiver<()>> {
    let (closed, on_closed) = oneshot::channel();
    std::thread::Builder::new().name("parent-watch".to_owned()).spawn(move || {
        let mut ignored = [0; 64];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut ignored) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = closed.send(());
    })?;
    Ok(on_closed)
}
