//! `bench plan`: what would run, what it costs, what the store holds; and the difference of two plans.

use std::collections::BTreeMap;
use std::path::Path;

use crate::apply::held;
use crate::cli::args::{ColorChoice, PlanArgs, PlanFormat};
use crate::cli::env::Env;
use crate::cli::exit::{Condition, Exit, ExitFlags, decide};
use crate::cli::load::{self, PlanFile};
use crate::cli::{output, stores};
use crate::diagnostic::text;
use crate::measure::rejudge;
use crate::plan::distributions::draw;
use crate::plan::render;
use crate::plan::{Plan, PointState, Stored, StoredPoint, diff, states};
use crate::report::model::{PointReport, Report, ValidityState};
use crate::store::Store;
use crate::store::runs::{self, RunEntry};
use crate::workload::Library;

/// Runs the command.
pub fn run(args: &PlanArgs, env: &Env, color: ColorChoice) -> Exit {
    match show(args, env, color) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn show(args: &PlanArgs, env: &Env, color: ColorChoice) -> Result<Exit, Exit> {
    let file = load::plan(&args.file, &args.scenario.sets, env, color)?;
    if let Some(path) = &args.output {
        save(&file.plan, path)?;
    }
    if let Some(base) = &args.base {
        let old = load::plan(base, &args.scenario.sets, env, color)?;
        return difference(&old.plan, &file.plan, args);
    }
    if let Some(point) = &args.distributions {
        return distributions(&file, point, args, env);
    }
    let states = compare(&file, args, env)?;
    match args.format {
        PlanFormat::Human => output::result(&render::human(&file.plan, &states, env.width)),
        PlanFormat::Markdown => {
            output::result(&format!("```text\n{}\n```", render::human(&file.plan, &states, env.width).trim_end()));
        }
        PlanFormat::Json => output::result(&String::from_utf8_lossy(&file.plan.to_json())),
    }
    let work = states.is_empty() || states.iter().any(PointState::has_work);
    Ok(finish(work, args))
}

/// What a point will draw, on the side of the plan: nothing is compared with a store.
fn distributions(file: &PlanFile, point: &str, args: &PlanArgs, env: &Env) -> Result<Exit, Exit> {
    let points = &file.plan.points;
    let index = match point {
        "first" => 0,
        id => points.iter().position(|point| point.id.starts_with(id)).ok_or_else(|| {
            let ids: Vec<&str> = points.iter().map(|point| point.id.as_str()).collect();
            let hint = text::suggestion(id, &ids, "the plan has").unwrap_or_default();
            output::message(&format!("error: the plan has no point {}\nhelp: {hint}", text::quote(id)));
            Exit::Usage
        })?,
    };
    let scenario = file.plan.point_scenario(index).map_err(|error| internal(&error.to_string()))?;
    let seeds = file.plan.point_seeds(index, &scenario).map_err(|error| internal(&error.to_string()))?;
    let library = Library::new(file.assets.clone());
    let place = (points[index].id.as_str(), &points[index].coordinates);
    let drawn = draw(&scenario, place, &seeds, &library).map_err(|error| {
        output::message(&format!("error: {error}"));
        Exit::ScenarioInvalid
    })?;
    match args.format {
        PlanFormat::Json => {
            let json = serde_json::to_string_pretty(&drawn).map_err(|error| internal(&error.to_string()))?;
            output::result(&json);
        }
        PlanFormat::Human => {
            let plan = render::human(&file.plan, &[], env.width);
            output::result(&format!("{plan}{}", render::distributions(&drawn, env.width)));
        }
        PlanFormat::Markdown => {
            output::result(&format!("```text\n{}\n```", render::distributions(&drawn, env.width).trim()));
        }
    }
    Ok(Exit::Success)
}

fn finish(work: bool, args: &PlanArgs) -> Exit {
    let flags = ExitFlags { detailed_exitcode: args.detailed_exitcode, ..ExitFlags::default() };
    decide(work.then_some(Condition::PlanHasWork), flags)
}

fn save(plan: &Plan, path: &Path) -> Result<(), Exit> {
    std::fs::write(path, plan.to_json()).map_err(|error| {
        output::message(&format!("error: cannot write `{}`: {error}", path.display()));
        Exit::EnvironmentFailed
    })?;
    output::message(&format!("saved {}; run it with `bench apply {}`", path.display(), path.display()));
    Ok(())
}

fn difference(old: &Plan, new: &Plan, args: &PlanArgs) -> Result<Exit, Exit> {
    let diff = diff(old, new).map_err(|error| internal(&error.to_string()))?;
    match args.format {
        PlanFormat::Human => output::result(&render::diff_human(&diff)),
        PlanFormat::Markdown => output::result(&render::diff_markdown(&diff)),
        PlanFormat::Json => {
            output::message("error: `--base` prints human or markdown; `--format json` prints a plan");
            return Err(Exit::Usage);
        }
    }
    Ok(finish(!diff.is_empty(), args))
}

/// The state of each point against the store; empty when there is no store to compare with.
fn compare(file: &PlanFile, args: &PlanArgs, env: &Env) -> Result<Vec<PointState>, Exit> {
    let address = stores::address(args.store.as_deref(), file);
    let explicit = args.store.is_some();
    if !explicit && address.is_default && !Path::new(&address.url).exists() {
        return Ok(file.plan.points.iter().map(|_| PointState::New { unusable: None }).collect());
    }
    let runtime = stores::runtime()?;
    runtime.block_on(async {
        let store = match Store::open_read_only(&address.url, &env.vars).await {
            Ok(store) => store,
            // A plan is worth seeing without a store; only one that was asked for must be there.
            Err(error) if !explicit => {
                output::message(&format!("warning: not compared with the store: {error}"));
                return Ok(Vec::new());
            }
            Err(error) => {
                output::message(&format!("error: {error}"));
                return Err(Exit::EnvironmentFailed);
            }
        };
        let stored = stored(&store, &file.plan).await.map_err(|message| {
            output::message(&format!("error: {message}"));
            Exit::EnvironmentFailed
        })?;
        states(&file.plan, &stored).map_err(|error| internal(&error.to_string()))
    })
}

/// One listing of the scenario's folder, one report a finished run, and the reports of points whose run
/// has none yet.
async fn stored(store: &Store, plan: &Plan) -> Result<Stored, String> {
    let runs = runs::runs_of_scenario(store, &plan.scenario.name).await.map_err(|error| error.to_string())?;
    let mut stored = Stored::default();
    for run in &runs {
        let digest = run.path.plan_digest();
        if digest != plan.digest && !stored.plans.contains_key(digest) {
            let bytes = store.get(&run.path.plan_json()).await.map_err(|error| error.to_string())?;
            // A plan of another version is no reason not to show this one.
            if let Some(old) = bytes.and_then(|bytes| Plan::load(&bytes).ok()) {
                stored.plans.insert(digest.to_owned(), old);
            }
        }
        let mut reports = reports(store, run).await?;
        if digest != plan.digest {
            judge_again(plan, &mut reports)?;
        }
        for (id, entry) in &run.points {
            let report = reports.get(id.as_str());
            stored.points.push(StoredPoint {
                run_id: run.path.run_id().to_owned(),
                plan_digest: digest.to_owned(),
                point_id: id.clone(),
                digest: report.map(|report| report.digest.clone()),
                coordinates: report.map(|report| report.coordinates.clone()),
                canonical: None,
                complete: entry.finished_at.is_some(),
                valid: report.is_none_or(|report| report.validity.state != ValidityState::Invalid),
                within_budget: report.is_none_or(|report| !report.errors.broken),
                finished_at: entry.finished_at,
            });
        }
    }
    Ok(stored)
}

async fn reports(store: &Store, run: &RunEntry) -> Result<BTreeMap<String, PointReport>, String> {
    let path = if run.is_finished() { Some(run.path.report()) } else { run.last_partial.map(|n| run.path.partial(n)) };
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let bytes = store.get(&path).await.map_err(|error| error.to_string())?;
    let report = bytes.and_then(|bytes| Report::from_slice(&bytes).ok());
    Ok(report
        .map(|report| report.points.into_iter().map(|point| (point.id.clone(), point)).collect())
        .unwrap_or_default())
}

/// Judges the points that `plan` shares with an earlier one as `plan` does: a tighter SLO can make a stored
/// measurement unusable, and `apply` would measure it again.
fn judge_again(plan: &Plan, reports: &mut BTreeMap<String, PointReport>) -> Result<(), String> {
    for (index, point) in plan.points.iter().enumerate() {
        if let Some(report) = reports.get_mut(&point.id).filter(|report| report.digest == point.digest) {
            let spec = held::judge_spec(plan, index).map_err(|error| error.to_string())?;
            *report = rejudge(report, &spec);
        }
    }
    Ok(())
}

fn internal(message: &str) -> Exit {
    output::message(&format!("internal error: {message}"));
    Exit::Internal
}
