//! `bench report`: the last stored run, and its difference to the one before.

use std::path::Path;

use crate::cli::args::{ColorChoice, ReportArgs, ReportFormat};
use crate::cli::env::Env;
use crate::cli::exit::Exit;
use crate::cli::{output, stores};
use crate::diagnostic::text;
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
    if path.ends_with(".toml") {
        return Err(format!("`{path}` is a scenario; `bench report` shows a store or a report.json"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    let report = Report::from_slice(&bytes).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(Shown { report, before: None })
}

/// What is wanted of a store.
#[derive(Clone, Debug, Default)]
struct Wanted {
    scenario: Option<String>,
    plan: Option<String>,
    run_id: Option<String>,
}

fn from_store(url: &str, args: &ReportArgs, env: &Env) -> Result<Shown, String> {
    if !url.contains("://") && !Path::new(url).exists() {
        return Err(format!("there is no folder or file `{url}`; `bench apply FILE` makes a report"));
    }
    let wanted = Wanted { scenario: args.scenario.clone(), run_id: args.run_id.clone(), plan: None };
    let runtime = stores::runtime().map_err(|_| "no runtime".to_owned())?;
    runtime.block_on(async {
        let store = Store::open_read_only(url, &env.vars).await.map_err(|error| error.to_string())?;
        let all = list(&store, wanted.scenario.as_deref()).await?;
        if let Some(shown) = choose(&store, &all, &wanted).await? {
            return Ok(shown);
        }
        if all.is_empty()
            && let Some((root, inside)) = folder_of_store(url)
            && let Ok(store) = Store::open_read_only(&root, &env.vars).await
        {
            let scenario = inside.scenario.clone().or(wanted.scenario.clone());
            let within = Wanted { scenario, plan: inside.plan, run_id: inside.run_id.or(wanted.run_id.clone()) };
            let all = list(&store, within.scenario.as_deref()).await?;
            if let Some(shown) = choose(&store, &all, &within).await? {
                return Ok(shown);
            }
        }
        Err(nothing(&store, &wanted).await)
    })
}

/// Runs with a report, newest first.
async fn list(store: &Store, scenario: Option<&str>) -> Result<Vec<RunEntry>, String> {
    let runs = match scenario {
        Some(name) => runs::runs_of_scenario(store, name).await,
        None => runs::all_runs(store).await,
    };
    Ok(runs.map_err(|error| error.to_string())?.into_iter().filter(has_report).collect())
}

async fn choose(store: &Store, runs: &[RunEntry], wanted: &Wanted) -> Result<Option<Shown>, String> {
    let position = runs.iter().position(|run| {
        wanted.run_id.as_ref().is_none_or(|id| run.path.run_id() == id)
            && wanted.plan.as_ref().is_none_or(|plan| run.path.plan_digest() == plan)
    });
    let Some(position) = position else { return Ok(None) };
    let chosen = &runs[position];
    // Earlier runs of the same scenario, whatever their plan: an added point is no reason not to
    // compare the others.
    let before = runs[position + 1..].iter().find(|run| run.path.scenario() == chosen.path.scenario());
    let before = match before {
        Some(run) => Some(read(store, run).await?),
        None => None,
    };
    Ok(Some(Shown { report: read(store, chosen).await?, before }))
}

/// The store that a folder inside it belongs to, told by the shape of its path, and which part of the
/// store the folder is: of a scenario, of a plan, or of a run.
fn folder_of_store(url: &str) -> Option<(String, Wanted)> {
    let whole = if url.contains("://") {
        url.to_owned()
    } else {
        std::fs::canonicalize(url).ok()?.to_string_lossy().into_owned()
    };
    let parts: Vec<&str> = whole.trim_end_matches('/').split('/').collect();
    let digest = |part: &str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (root, scenario, plan, run_id) = match parts.as_slice() {
        [root @ .., scenario, plan, "runs", run] if digest(plan) => (root, scenario, Some(plan), Some(run)),
        [root @ .., scenario, plan, "runs"] | [root @ .., scenario, plan] if digest(plan) => {
            (root, scenario, Some(plan), None)
        }
        [root @ .., scenario] => (root, scenario, None, None),
        [] => return None,
    };
    let owned = |part: Option<&&str>| part.map(|part| (*part).to_owned());
    let wanted = Wanted { scenario: owned(Some(scenario)), plan: owned(plan), run_id: owned(run_id) };
    Some((root.join("/"), wanted)).filter(|(root, _)| !root.is_empty() && !root.ends_with(['/', ':']))
}

fn has_report(run: &RunEntry) -> bool {
    run.is_finished() || run.last_partial.is_some()
}

/// Why nothing is shown, and what there is instead.
async fn nothing(store: &Store, wanted: &Wanted) -> String {
    let place = store.describe();
    let all = list(store, None).await.unwrap_or_default();
    let mut scenarios: Vec<&str> = all.iter().map(|run| run.path.scenario()).collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    if let Some(name) = &wanted.scenario
        && !scenarios.is_empty()
        && !scenarios.contains(&name.as_str())
    {
        let hint = text::suggestion(name, &scenarios, "scenarios there").unwrap_or_default();
        return format!("no report in {place} for the scenario {}; {hint}", text::quote(name));
    }
    if let Some(id) = &wanted.run_id {
        let of_scenario = |run: &&RunEntry| wanted.scenario.as_ref().is_none_or(|name| run.path.scenario() == name);
        let ids: Vec<String> =
            all.iter().filter(of_scenario).take(5).map(|run| text::quote(run.path.run_id())).collect();
        if !ids.is_empty() {
            return format!("no report in {place} of the run {}; the newest are {}", text::quote(id), ids.join(", "));
        }
    }
    format!("no report in {place}; `bench apply FILE` makes one")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_store_are_known_by_their_shape() {
        let digest = "0123456789abcdef".repeat(4);
        let parts = |url: &str| {
            let (root, wanted) = folder_of_store(url)?;
            Some((root, wanted.scenario?, wanted.plan, wanted.run_id))
        };
        let of = |plan: Option<&str>, run: Option<&str>| {
            let owned = |part: Option<&str>| part.map(str::to_owned);
            Some(("gs://bucket/reports".to_owned(), "nightly".to_owned(), owned(plan), owned(run)))
        };
        assert_eq!(parts("gs://bucket/reports/nightly/"), of(None, None));
        assert_eq!(parts(&format!("gs://bucket/reports/nightly/{digest}")), of(Some(&digest), None));
        assert_eq!(parts(&format!("gs://bucket/reports/nightly/{digest}/runs")), of(Some(&digest), None));
        assert_eq!(parts(&format!("gs://bucket/reports/nightly/{digest}/runs/r1")), of(Some(&digest), Some("r1")));
        assert_eq!(parts("gs://bucket"), None, "a bucket has no store above it");
    }
}
