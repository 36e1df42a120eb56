//! A temporary place with a scenario and a store, and the binary run in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use llm_bench::report::model::{PointReport, Report};
use llm_bench::report::requests::{RequestRecord, RequestsReader};
use serde_json::Value;

/// Variables of the surroundings that would change a run.
const FOREIGN: [&str; 6] = ["AWS_", "GOOGLE_", "AZURE_", "BENCH_", "OPENAI_", "GCE_"];

/// Longest time that anything is waited for: a machine that is this slow is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Limits that no loaded machine passes: for tests that are not about validity.
pub(crate) const ANY_CLIENT: &str = "[validity]
dispatch_lag_suspect_share = 1e9
dispatch_lag_invalid_share = 1e9
started_suspect_share = 0
started_invalid_share = 0
blurred_stamps_suspect_share = 1
throttled_suspect_share = 1
busy_core_suspect_share = 1
run_queue_suspect_share = 1
steal_suspect_share = 1
";

/// One user, so that the n-th request of the server is the n-th of the scenario (the probe is its first).
pub(crate) const ONE_USER: &str = "[load]\nkind = \"users\"\nusers = 1\n";

/// A scenario with one class: `backend` holds further keys of the backend, `rest` further tables.
pub(crate) fn scenario(url: &str, backend: &str, load: &str, measure: &str, rest: &str) -> String {
    format!(
        "schema = 1
name = \"test\"
seed = 5

[backends.main]
protocol = \"openai-completions\"
url = \"{url}\"
{backend}

[workloads.short]
prompts = {{ kind = \"synthetic\" }}
input_tokens = {{ kind = \"fixed\", value = 20 }}
output_tokens = {{ kind = \"fixed\", value = 4 }}

[[traffic]]
name = \"all\"
backend = \"main\"
workload = \"short\"

{load}
[phases]
warmup = \"0s\"
measure = {measure}
drain = {{ max = \"60s\" }}

{ANY_CLIENT}
{rest}
"
    )
}

/// A scenario whose points take a fraction of a second: one user, `requests` requests, an axis over `users`.
pub(crate) fn sweep(url: &str, requests: u32, users: &[u32]) -> String {
    let axis = format!("[[sweep]]\naxis = \"load.users\"\nvalues = {users:?}\n");
    scenario(url, "", ONE_USER, &format!("{{ requests = {requests} }}"), &axis)
}

/// The same with an axis over the length of the answers, by which a server can tell the points apart. The probe asks
/// for 4 tokens.
pub(crate) fn sweep_tokens(url: &str, requests: u32, tokens: &[u32]) -> String {
    let axis = format!("[[sweep]]\naxis = \"workloads.short.output_tokens.value\"\nvalues = {tokens:?}\n");
    scenario(url, "", ONE_USER, &format!("{{ requests = {requests} }}"), &axis)
}

/// A temporary place with a scenario and a store.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new(scenario: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), env: BTreeMap::new() };
        world.write("scenario.toml", scenario);
        fs::create_dir(world.path("spool")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces text of the scenario that must be there.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.read("scenario.toml");
        assert!(text.contains(from), "`{from}` is not in the scenario");
        self.write("scenario.toml", &text.replace(from, to));
    }

    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset_env(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// `bench ARGS` in this place, without the variables of the surroundings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        for (name, _) in std::env::vars_os() {
            if FOREIGN.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.dir.path()).envs(&self.env);
        command.env("BENCH_SPOOL", self.path("spool")).env("COLUMNS", "160").env("BENCH_CALIBRATION", "");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn bench(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// `bench apply scenario.toml --store store ARGS`.
    pub(crate) fn apply(&self, args: &[&str]) -> Ran {
        self.bench(&Self::apply_args(args))
    }

    /// The same, left running.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::spawn(&mut self.command(&Self::apply_args(args)))
    }

    fn apply_args<'a>(args: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["apply", "scenario.toml", "--store", "store"];
        all.extend(args);
        all
    }

    /// `bench apply --format json`: the report in its wrapper.
    pub(crate) fn apply_json(&self, args: &[&str]) -> (Ran, Applied) {
        let mut all = vec!["--format", "json"];
        all.extend(args);
        let ran = self.apply(&all);
        let applied = Applied::read(&ran);
        (ran, applied)
    }

    /// Files of the store whose path ends like this, sorted.
    pub(crate) fn stored(&self, suffix: &str) -> Vec<PathBuf> {
        files(&self.store()).into_iter().filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
    }

    /// All final reports.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let paths = self.stored("/report.json").into_iter().filter(|path| !path.to_string_lossy().contains("/points/"));
        paths.map(|path| Report::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The records of the only point of a run.
    pub(crate) fn records_of(&self, run: &str) -> Vec<RequestRecord> {
        let mut paths = self.stored("requests.jsonl.gz");
        paths.retain(|path| path.components().any(|part| part.as_os_str() == run));
        assert_eq!(paths.len(), 1, "{paths:?}");
        records(&paths[0])
    }

    /// The records of the only point of the only run.
    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        let paths = self.stored("requests.jsonl.gz");
        assert_eq!(paths.len(), 1, "{paths:?}");
        records(&paths[0])
    }
}

pub(crate) fn records(path: &Path) -> Vec<RequestRecord> {
    let bytes = fs::read(path).unwrap();
    RequestsReader::new(bytes.as_slice()).collect::<Result<_, _>>().unwrap()
}

/// The JSON of `bench apply --format json`.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) report: Report,
    pub(crate) measured: u64,
    pub(crate) json: Value,
}

impl Applied {
    pub(crate) fn read(ran: &Ran) -> Self {
        let json: Value = serde_json::from_str(ran.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let report = Report::from_slice(json["report"].to_string().as_bytes()).unwrap();
        assert_eq!(json["exit_code"].as_i64(), ran.code.map(i64::from), "{ran:?}");
        Self { report, measured: json["measured_points"].as_u64().unwrap(), json }
    }

    pub(crate) fn point(&self) -> &PointReport {
        assert_eq!(self.report.points.len(), 1);
        &self.report.points[0]
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A running command; killed when dropped. What it says on stderr can be read as it comes.
pub(crate) struct Running {
    child: Option<Child>,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (stderr, shared) = (child.stderr.take().unwrap(), Arc::<Mutex<String>>::default());
        let said = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 0 {
                said.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { child: Some(child), stderr: shared, reader: Some(reader) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until it has said this on stderr.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        wait_until(text, || self.stderr.lock().unwrap().contains(text));
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(mut self) -> Ran {
        let mut ran = Ran::of(self.child.take().unwrap().wait_with_output().unwrap());
        self.reader.take().unwrap().join().unwrap();
        ran.stderr = std::mem::take(&mut self.stderr.lock().unwrap());
        ran
    }

    /// Waits without reading what it printed, for a process that was killed.
    pub(crate) fn reap(mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// Processes that it started, found by their parent.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ids of processes whose parent is `pid`.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|candidate| parent(*candidate) == Some(pid)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; what follows the last bracket is `state parent …`.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process exists and is no zombie.
pub(crate) fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(')')?.1.split_whitespace().next()? != "Z"))
        .unwrap_or(false)
}

/// Polls until it holds; panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Says loudly what was not tested, and why.
pub(crate) fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
}
