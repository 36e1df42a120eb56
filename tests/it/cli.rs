//! The command line from outside: the real binary in an empty folder. One file a group of commands; this
//! one holds what they share.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

mod apply;
mod calibrate;
mod help;
mod import;
mod init;
mod options;
mod plan;
mod print;
mod report;
mod scenario;
mod simulate;
mod validate;

/// Ten requests in a fifth of a second against the simulated server. The deadline is so long that a busy
/// machine cannot make the client's own lag count.
const SCENARIO: &str = r#"schema = 1
name = "tried"
seed = 7

[backends.main]
protocol = "openai-chat"
url = "sim:tiny?jitter=0"

[workloads.chat]
prompts = { kind = "synthetic" }
input_tokens = { kind = "fixed", value = 16 }
output_tokens = { kind = "fixed", value = 4 }

[[traffic]]
name = "base"
backend = "main"
workload = "chat"

[traffic.slo]
ttft_ms = { deadline = 60000, p50 = 60000 }

[load]
kind = "constant"
rate_per_s = 50

[phases]
warmup = "0s"
measure = { requests = 10 }
drain = { max = "20s" }
"#;

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// The lines of stdout as JSON values.
    fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Asserts the exit code, with everything that was printed in the message.
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Asserts that stderr has a text.
    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} on stderr: {self:#?}");
        self
    }

    /// Asserts that stdout has a text.
    #[track_caller]
    fn shows(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} on stdout: {self:#?}");
        self
    }
}

/// A folder of its own in which `bench` runs.
struct Desk {
    folder: tempfile::TempDir,
    vars: Vec<(&'static str, String)>,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), vars: Vec::new() }
    }

    /// With [`SCENARIO`] as `tried.toml`.
    fn with_scenario() -> Self {
        let desk = Self::new();
        desk.write("tried.toml", SCENARIO);
        desk
    }

    fn var(mut self, name: &'static str, value: &str) -> Self {
        self.vars.push((name, value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Rewrites a file by replacing text that must be there.
    #[track_caller]
    fn replace(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{name} has no {old:?}");
        self.write(name, &text.replace(old, new));
    }

    /// The command, not started: nothing of this process's environment but where programs are.
    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        command.args(args).current_dir(self.folder.path()).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|path| ("LLVM_PROFILE_FILE", path)));
        command.envs(self.vars.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null());
        command
    }

    fn bench<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        ended(&mut self.command(args))
    }

    /// Names of the files below `folder`, sorted.
    fn files(&self, folder: &str) -> Vec<String> {
        fn walk(at: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(at).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(folder), &self.path(folder), &mut found);
        found.sort();
        found
    }
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// The path that the last line of a successful `apply` names.
#[track_caller]
fn report_path(applied: &Ended) -> String {
    let last = applied.out.lines().last().unwrap_or_default();
    last.strip_prefix("report: ").unwrap_or_else(|| panic!("the last line names no report: {applied:#?}")).to_owned()
}
