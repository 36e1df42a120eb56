//! `bench report`: the last stored run, and its difference to the one before.

use std::path::Path;

use crate::cli::args::{ColorChoice, ReportArgs, ReportFormat};
use crate::cli::env::Env;
use crate::cli::exit::Exit;
use crate::cli::{output, stores};
use crate::report::compare::{Comparison, compare};
use crate::report::model::Report;
use crate::report::terminal::{self, TerminalOptions};
use crate::report::{csv, junit, markdown};
use crate::store::Store;
use crate::store::runs::{self, RunEntry};

/// A report and the one of the run before.
struct Shown {
    report: Report,
    before: Option<Report>,
}

/// Runs the command.
pub fn run(args: &ReportArgs, env: &Env, color: ColorChoice) -> Exit {
    let source = args.source.clone().unwrap_or_else(|| stores::DEFAULT.to_owned());
    let shown = if Path::new(&source).is_file() { from_file(&source) } else { from_store(&source, args, env) };
    let shown = match shown {
        Ok(shown) => shown,
        Err(message) => {
            output::message(&format!("error: {message}"));
            return Exit::EnvironmentFailed;
        }
    };
    let before = shown.before.as_ref().map(|before| compare(before, &shown.report));
    for format in &args.format {
        let color = env.color_stdout(color) && args.output.is_none();
        let text = render(&shown.report, before.as_ref(), *format, env.width, color);
        let Some(folder) = &args.output else {
            output::result(&text);
            continue;
        };
        let path = folder.join(file_name(*format));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        match written {
            Ok(()) => output::message(&format!("wrote {}", path.display())),
            Err(error) => {
                output::message(&format!("error: cannot write `{}`: {error}", path.display()));
                return Exit::ReportNotStored;
            }
        }
    }
    Exit::Success
}

fn render(report: &Report, before: Option<&Comparison>, format: ReportFormat, width: usize, color: bool) -> String {
    match format {
        ReportFormat::Terminal => terminal::render(report, before, TerminalOptions { width, color }),
        ReportFormat::Md => markdown::render(report, before),
        ReportFormat::Csv => csv::render(report),
        ReportFormat::Junit => junit::render(report),
        ReportFormat::Json => report.to_vec().map_or_else(
            |error| format!("{{\"error\": \"{error}\"}}"),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        ),
    }
}

const fn file_name(format: ReportFormat) -> &'static str {
    match format {
        ReportFormat::Terminal => "report.txt",
        ReportFormat::Md => "report.md",
        ReportFormat::Csv => "report.csv",
        ReportFormat::Junit => "report.xml",
        ReportFormat::Json => "report.json",
    }
}

fn from_file(path: &str) -> Result<Shown, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    let report = Report::from_slice(&bytes).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(Shown { report, before: None })
}

fn from_store(url: &str, args: &ReportArgs, env: &Env) -> Result<Shown, String> {
    let runtime = stores::runtime().map_err(|_| "no runtime".to_owned())?;
    runtime.block_on(async {
        let store = Store::open_read_only(url, &env.vars).await.map_err(|error| error.to_string())?;
        let runs = match &args.scenario {
            Some(name) => runs::runs_of_scenario(&store, name).await,
            None => runs::all_runs(&store).await,
        };
        let runs: Vec<RunEntry> = runs.map_err(|error| error.to_string())?.into_iter().filter(has_report).collect();
        let position = match &args.run_id {
            Some(id) => runs.iter().position(|run| run.path.run_id() == id),
            None => (!runs.is_empty()).then_some(0),
        };
        let Some(position) = position else { return Err(nothing(&store, args)) };
        let chosen = &runs[position];
        // Earlier runs of the same scenario, whatever their plan: an added point is no reason not to
        // compare the others.
        let before = runs[position + 1..].iter().find(|run| run.path.scenario() == chosen.path.scenario());
        let before = match before {
            Some(run) => Some(read(&store, run).await?),
            None => None,
        };
        Ok(Shown { report: read(&store, chosen).await?, before })
    })
}

fn has_report(run: &RunEntry) -> bool {
    run.is_finished() || run.last_partial.is_some()
}

fn nothing(store: &Store, args: &ReportArgs) -> String {
    let mut text = format!("no report in {}", store.describe());
    if let Some(name) = &args.scenario {
        text.push_str(&format!(" for the scenario `{name}`"));
    }
    if let Some(id) = &args.run_id {
        text.push_str(&format!(" of the run `{id}`"));
    }
    text.push_str("; `bench apply FILE` makes one");
    text
}

async fn read(store: &Store, run: &RunEntry) -> Result<Report, String> {
    let path = match run.last_partial {
        Some(number) if !run.is_finished() => run.path.partial(number),
        _ => run.path.report(),
    };
    let bytes = store.get(&path).await.map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("`{}` is gone", store.location(&path)))?;
    Report::from_slice(&bytes).map_err(|error| format!("`{}`: {error}", store.location(&path)))
}
