//! The command line: what was typed, checked by clap and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use humantime::Duration as HumanTime;

/// LLM-inference benchmarks as code.
///
/// A scenario is a TOML file that says which servers are measured, what traffic they get, what counts
/// as good enough and which values to sweep. `bench` checks it, expands it into a plan, carries the
/// plan out and stores JSON reports on local disk or in a bucket.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Start here:  bench init quickstart && bench apply quickstart.toml\nExit codes:  bench explain exit-codes"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Colour: `auto` (on a terminal, unless `NO_COLOR` is set), `always` or `never`.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    #[arg(hide_possible_values = true, hide_default_value = true, display_order = 900)]
    pub color: ColorChoice,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands of `bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check scenarios and print every mistake with its place and a remedy.
    Validate(ValidateArgs),
    /// Show what a scenario would run, what it costs, and what the store holds already.
    Plan(PlanArgs),
    /// Carry out a scenario or a saved plan and store the report.
    Apply(ApplyArgs),
    /// Show stored reports.
    Report(ReportArgs),
    /// Run the built-in simulated LLM server.
    Simulate(SimulateArgs),
    /// Find out how much load this machine can measure, and how exactly.
    Calibrate(CalibrateArgs),
    /// Show what a trace of requests holds, and write it in the project's own format.
    Import(ImportArgs),
    /// Print a JSON schema.
    Schema(SchemaArgs),
    /// Explain a diagnostic code, a metric, a reason or the exit codes.
    Explain(ExplainArgs),
    /// Write a commented scenario to start from.
    Init(InitArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
}

/// How a scenario is changed from outside.
#[derive(Clone, Debug, Default, Args)]
pub struct ScenarioArgs {
    /// Set a key of the scenario: `load.rate_per_s=4`, `traffic.base.weight=0.5`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Options of `bench validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateArgs {
    /// Scenarios.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Also check that this machine can run them: secrets, descriptors, ports, cores, memory and more.
    #[arg(long)]
    pub env: bool,
    /// Write the SHA-256 of every input file into the scenarios.
    #[arg(long)]
    pub pin: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    pub deny_warnings: bool,
    /// How mistakes are printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: DiagnosticFormat,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as help")]
    pub scenario: ScenarioArgs,
}

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiagnosticFormat {
    /// With source lines and carets.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
    /// GitHub workflow annotations.
    Github,
}

/// Options of `bench plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// A scenario, or a plan saved by `bench plan -o`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Store to compare with: a directory, `s3://…`, `gs://…` or `az://…`. [default: as `bench apply`]
    #[arg(long, value_name = "URL|DIR")]
    pub store: Option<String>,
    /// Save the plan, for `bench apply plan.json`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show the difference to this scenario or saved plan instead; needs no store.
    #[arg(long, value_name = "OLD")]
    pub base: Option<PathBuf>,
    /// Exit with 2 when there is something to measure.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Draw the requests of a point, the first one or that of this id, and show their lengths and arrivals.
    #[arg(
        long,
        value_name = "POINT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "first",
        conflicts_with_all = ["base", "detailed_exitcode"]
    )]
    pub distributions: Option<String>,
    /// How the plan is printed.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: PlanFormat,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as help")]
    pub scenario: ScenarioArgs,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// A table.
    #[default]
    Human,
    /// Markdown, as a comment on a pull request.
    Markdown,
    /// The plan as JSON.
    Json,
}

/// Options of `bench apply`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct ApplyArgs {
    /// A scenario, or a plan saved by `bench plan -o`.
    #[arg(value_name = "FILE|plan.json")]
    pub file: PathBuf,
    /// Where reports go: a directory, `s3://…`, `gs://…` or `az://…`. [default: `[store]` of the scenario, else ./reports]
    #[arg(long, value_name = "URL|DIR")]
    pub store: Option<String>,
    /// Name the run: continued if it exists, else opened fresh.
    #[arg(long, value_name = "ID", conflicts_with_all = ["rerun", "max_age"])]
    pub run_id: Option<String>,
    /// Measure everything anew under a new run id.
    #[arg(long, conflicts_with = "max_age")]
    pub rerun: bool,
    /// Measure again what is older than this, such as `12h`.
    #[arg(long, value_name = "D")]
    pub max_age: Option<HumanTime>,
    /// Only this point, by id or a unique beginning of it. May be repeated.
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// Let suspect measurements (101) and inconclusive verdicts (99) fail.
    #[arg(long)]
    pub strict: bool,
    /// Exit with 0 where an SLO miss (99) or a regression (98) would decide the code.
    #[arg(long)]
    pub exit_zero_on_slo: bool,
    /// Time that requests in flight get after the first signal.
    #[arg(long, value_name = "D", default_value = "20s")]
    pub grace: HumanTime,
    /// Worker threads that send requests. [default: half of the cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// Directory for files of a point until they are stored. [default: the system's temporary directory]
    #[arg(long, value_name = "DIR", env = "BENCH_SPOOL")]
    pub spool: Option<PathBuf>,
    /// What is printed on stdout at the end.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ApplyFormat,
    /// No progress on stderr.
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as help")]
    pub scenario: ScenarioArgs,
}

/// What `bench apply` prints at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ApplyFormat {
    /// Tables, and the address of the report on the last line.
    #[default]
    Human,
    /// The report as JSON.
    Json,
}

/// Options of `bench report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// A store, a folder of one (a scenario, a run), or a report.json. [default: ./reports]
    #[arg(value_name = "STORE|report.json")]
    pub source: Option<String>,
    /// Write one file per format into this directory instead of stdout.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Formats, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "terminal", value_name = "FORMAT")]
    pub format: Vec<ReportFormat>,
    /// Scenario to show where a store holds several.
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Run to show. [default: the last one]
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
}

/// A rendering of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Tables for a terminal.
    #[default]
    Terminal,
    /// Markdown.
    Md,
    /// Comma-separated values, a row per point and class.
    Csv,
    /// XML for continuous integration.
    Junit,
    /// The report as it is stored.
    Json,
}

/// Options of `bench simulate`.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8000, value_name = "P")]
    pub port: u16,
    /// Profile and settings, as after `sim:` in a url: `8b-h100`, `tiny?jitter=0&fault=http_500&every=3`.
    #[arg(long, default_value = "8b-h100", value_name = "NAME")]
    pub profile: String,
    /// Write an event log, the truth to compare a client with.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// End when stdin closes; for a parent process.
    #[arg(long, hide = true)]
    pub die_with_parent: bool,
}

/// Options of `bench calibrate`.
#[derive(Clone, Debug, Args)]
pub struct CalibrateArgs {
    /// Largest p99 error of TTFT and ITL that a load may have.
    #[arg(long, value_name = "D", default_value = "500us")]
    pub bound: HumanTime,
    /// Try these numbers of streams instead of searching, separated by commas.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub streams: Vec<u32>,
    /// Token events per second of each stream of `--streams`, separated by commas.
    #[arg(long, value_name = "R,…", value_delimiter = ',', default_value = "100", value_parser = event_rate)]
    pub rates: Vec<f64>,
    /// Try these rates of one-token requests per second instead of searching, separated by commas.
    #[arg(long, value_name = "R,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: Vec<u32>,
    /// Length of the measured window of each load.
    #[arg(long, value_name = "D", default_value = "3s")]
    pub duration: HumanTime,
    /// Worker threads that send requests. [default: as `bench apply`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// Whose stamps of received data are calibrated: the kernel's, where it has them, as `bench apply` takes them, or those
    /// of user space.
    #[arg(long, value_enum, default_value_t, value_name = "WHOSE")]
    pub stamps: Stamps,
    /// Where the result goes. [default: bench/calibration.json in the user's state directory; with `--streams`, `--requests` or `--stamps user` nowhere]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is printed on stdout at the end.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: CalibrateFormat,
    /// Keep the server's log and the request records of each load in this directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as help")]
    pub serve: ServeArgs,
}

/// Whose stamps of received data are calibrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Stamps {
    /// The kernel's, where it has them.
    #[default]
    Kernel,
    /// Those of user space.
    User,
}

impl Stamps {
    /// What the transport is told.
    pub const fn stamping(self) -> crate::transport::Stamping {
        match self {
            Self::Kernel => crate::transport::Stamping::Kernel,
            Self::User => crate::transport::Stamping::User,
        }
    }
}

/// The server of a calibration, started by hand or as its child. Hidden: docs/calibration.md.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Be the server instead of measuring with it.
    #[arg(long, hide = true)]
    pub serve: bool,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, hide = true, requires = "serve", default_value_t = 8000)]
    pub port: u16,
    /// From a request to its first event.
    #[arg(long, hide = true, requires = "serve", default_value = "50ms")]
    pub ttft: HumanTime,
    /// From each event to the next; `0s`: as fast as connections take them.
    #[arg(long, hide = true, requires = "serve", default_value = "10ms")]
    pub itl: HumanTime,
    /// Events of an answer whose request does not say, and the most it may ask for.
    #[arg(long, hide = true, requires = "serve", default_value_t = 100_000)]
    pub tokens: u32,
    /// Write the log of what was really written.
    #[arg(long, hide = true, requires = "serve")]
    pub log: Option<PathBuf>,
    /// Stay on this core.
    #[arg(long, hide = true, requires = "serve")]
    pub cpu: Option<usize>,
    /// End when stdin closes; for a parent process.
    #[arg(long, hide = true, requires = "serve")]
    pub die_with_parent: bool,
}

/// What `bench calibrate` prints at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CalibrateFormat {
    /// A table and the limits.
    #[default]
    Human,
    /// The calibration as JSON.
    Json,
}

/// A rate of events that has a schedule in nanoseconds.
fn event_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1_000_000.0).contains(&rate) { Ok(rate) } else { Err("must be from 0.1 to 1000000".to_owned()) }
}

/// Options of `bench import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The trace, packed with gzip or zstd, or not; or a dataset, packed with gzip or not.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write it here as `bench.trace/1`: a name that ends in `.jsonl.gz` or `.jsonl`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Its format; `auto` tells that of a trace from the first line.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ImportFormat,
    /// Tokens of a block that its ids name. [default: as the file says, 512 for Mooncake]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub block_tokens: Option<u32>,
    /// Tokenizer that counts the texts of a dataset, a tokenizer.json. [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Where a dataset of format jsonl or csv has its texts: `prompt=COLUMN`, `answer=COLUMN`, `output_tokens=COLUMN`. May
    /// be repeated.
    #[arg(long = "column", value_name = "NAME=COLUMN")]
    pub columns: Vec<String>,
    /// Tokens of every answer of a dataset, instead of those of the recorded ones.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub output_tokens: Option<u32>,
    /// Replace the output where it exists.
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Print what it holds as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A format of traces or datasets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Told from the first line.
    #[default]
    Auto,
    /// The project's own: bench.trace/1.
    Bench,
    /// Azure LLM inference traces of 2023 and 2024.
    Azure,
    /// Mooncake.
    Mooncake,
    /// BurstGPT.
    Burstgpt,
    /// Metron: arrival_time, or num_prefill_tokens and num_decode_tokens.
    Metron,
    /// A number a line.
    Offsets,
    /// Dataset: conversations of `from` and `value`; first turns count.
    Sharegpt,
    /// Dataset: conversations of `role` and `content`.
    Messages,
    /// Dataset: JSON objects with a prompt.
    Jsonl,
    /// Dataset: a JSON array of prompts.
    List,
    /// Dataset: a prompt a line.
    Lines,
    /// Dataset: a table with a column of prompts.
    Csv,
}

/// Options of `bench schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// Which schema.
    #[arg(value_enum, value_name = "WHICH")]
    pub which: SchemaName,
}

/// A schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// Of a scenario.
    Scenario,
    /// Of report.json.
    Report,
    /// Of plan.json.
    Plan,
    /// Of a line of requests.jsonl.
    Requests,
    /// Of a line of a trace.
    Trace,
}

/// Options of `bench explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A diagnostic code (`B0203`), a metric (`ttft_ms`), a reason, or `exit-codes`.
    #[arg(value_name = "CODE|METRIC")]
    pub what: String,
}

/// Options of `bench init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Template; see `--list`.
    #[arg(value_name = "NAME", required_unless_present = "list")]
    pub name: Option<String>,
    /// List the templates by purpose.
    #[arg(long)]
    pub list: bool,
    /// Where to write it; `-` is stdout. [default: NAME.toml]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Options of `bench completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}
