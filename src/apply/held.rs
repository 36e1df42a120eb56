//! What the store holds already, and what of it a run may use.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::ApplyError;
use crate::measure::{JudgeSpec, needs_records, rejudge, rejudge_from_records};
use crate::plan::{Plan, Point};
use crate::report::model::{PointFile, PointReport, Report, ValidityState};
use crate::report::requests::RequestsReader;
use crate::store::Store;
use crate::store::layout::RunPath;
use crate::store::runs::{self, RunEntry};

/// How a run is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Continue the newest unfinished run of the plan; measure nothing when the newest is finished;
    /// take over finished points otherwise.
    Converge {
        /// A point older than this is measured again.
        max_age: Option<Duration>,
    },
    /// This run: continued if it exists, else opened fresh, reusing nothing.
    Named(String),
    /// A new run, reusing nothing.
    Rerun,
}

/// Which run an apply works on.
#[derive(Debug)]
pub enum Chosen {
    /// All is measured: this report stands.
    Finished {
        /// The run.
        path: RunPath,
    },
    /// An unfinished run goes on.
    Continued(RunEntry),
    /// A new run.
    Opened {
        /// Its path.
        path: RunPath,
        /// Runs that finished points may be taken over from, newest first.
        sources: Vec<RunEntry>,
    },
}

/// Chooses the run.
///
/// # Errors
/// When the store cannot be listed or the id cannot be a folder.
pub async fn choose(store: &Store, plan: &Plan, mode: &RunMode, now: Timestamp) -> Result<Chosen, ApplyError> {
    let name = &plan.scenario.name;
    let fresh = |id: &str| RunPath::new(name, &plan.digest, id);
    match mode {
        RunMode::Rerun => Ok(Chosen::Opened { path: fresh(&new_run_id())?, sources: Vec::new() }),
        RunMode::Named(id) => {
            let path = fresh(id)?;
            let runs = runs::runs_of_plan(store, name, &plan.digest).await?;
            Ok(match runs.into_iter().find(|run| run.path == path) {
                Some(run) if run.is_finished() => Chosen::Finished { path },
                Some(run) => Chosen::Continued(run),
                None => Chosen::Opened { path, sources: Vec::new() },
            })
        }
        RunMode::Converge { max_age } => {
            let mut sources = runs::runs_of_scenario(store, name).await?;
            if sources.is_empty() {
                sources = under_other_names(store, plan).await?;
            }
            let newest = sources
                .iter()
                .find(|run| run.path.scenario() == name && run.path.plan_digest() == plan.digest)
                .cloned();
            let stale = |run: &RunEntry| {
                max_age.is_some_and(|age| {
                    run.points.values().filter_map(|point| point.finished_at).any(|at| older(at, age, now))
                })
            };
            Ok(match newest {
                Some(run) if !stale(&run) && run.is_finished() => Chosen::Finished { path: run.path },
                Some(run) if !stale(&run) => Chosen::Continued(run),
                _ => {
                    if let Some(age) = max_age {
                        for run in &mut sources {
                            run.points.retain(|_, point| point.finished_at.is_some_and(|at| !older(at, *age, now)));
                        }
                    }
                    Chosen::Opened { path: fresh(&new_run_id())?, sources }
                }
            })
        }
    }
}

fn older(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    now.duration_since(at).unsigned_abs() > age
}

/// Runs of the same plan under another scenario name: renaming a scenario measures nothing again.
async fn under_other_names(store: &Store, plan: &Plan) -> Result<Vec<RunEntry>, ApplyError> {
    let mut found = Vec::new();
    for name in store.folders("").await? {
        if crate::store::layout::scenario_prefix(&name).is_ok() {
            found.extend(runs::runs_of_plan(store, &name, &plan.digest).await?);
        }
    }
    Ok(found)
}

/// Ids that sort by time.
fn new_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The final report of a finished run.
///
/// # Errors
/// When it cannot be read.
pub async fn report(store: &Store, path: &RunPath) -> Result<Report, ApplyError> {
    let location = path.report();
    let bytes = store.get(&location).await?.ok_or_else(|| stored(store, &location, "it is gone"))?;
    Report::from_slice(&bytes).map_err(|error| stored(store, &location, &error.to_string()))
}

/// The report of a point of a run.
///
/// # Errors
/// When it cannot be read.
pub async fn point_report(store: &Store, run: &RunPath, id: &str) -> Result<Option<PointReport>, ApplyError> {
    let location = run.point_report(id)?;
    let Some(bytes) = store.get(&location).await? else { return Ok(None) };
    let file = PointFile::from_slice(&bytes).map_err(|error| stored(store, &location, &error.to_string()))?;
    Ok(Some(file.point))
}

/// Points of `plan` that `sources` hold: same digest, complete, valid or suspect, within the error
/// budget of this plan. Judged by this plan, marked with the run that measured them.
///
/// # Errors
/// When an object that the listing showed cannot be read.
pub async fn take_over(
    store: &Store,
    plan: &Plan,
    sources: &[RunEntry],
) -> Result<BTreeMap<String, PointReport>, ApplyError> {
    let mut taken = BTreeMap::new();
    for (index, point) in plan.points.iter().enumerate() {
        for run in sources.iter().filter(|run| holds(run, &point.id)) {
            let Some(report) = point_report(store, &run.path, &point.id).await? else { continue };
            if report.digest != point.digest {
                continue;
            }
            let mut judged = judge_again(store, plan, index, report, sources).await?;
            if judged.validity.state == ValidityState::Invalid || judged.errors.broken {
                continue;
            }
            let measured_by = judged.reused_from.take().unwrap_or_else(|| run.path.run_id().to_owned());
            judged.reused_from = Some(measured_by);
            judged.coordinates.clone_from(&point.coordinates);
            taken.insert(point.id.clone(), judged);
            break;
        }
    }
    Ok(taken)
}

fn holds(run: &RunEntry, id: &str) -> bool {
    run.points.get(id).is_some_and(|point| point.finished_at.is_some())
}

/// Whether the store holds a point of this plan measured in the last day: with unsalted prompts a
/// server's prefix cache may have seen them.
pub fn seen_before(point: &Point, sources: &[RunEntry], now: Timestamp) -> bool {
    const RECENT: Duration = Duration::from_secs(24 * 3600);
    sources.iter().filter_map(|run| run.points.get(&point.id)?.finished_at).any(|at| !older(at, RECENT, now))
}

/// Applies the judgements of `plan` to a stored measurement, from its records where the report alone
/// cannot tell exactly.
async fn judge_again(
    store: &Store,
    plan: &Plan,
    index: usize,
    report: PointReport,
    sources: &[RunEntry],
) -> Result<PointReport, ApplyError> {
    let spec = judge_spec(plan, index)?;
    if needs_records(&report, &spec) {
        let of_run = report.reused_from.as_deref();
        let holder = sources.iter().find(|run| {
            run.points.get(&report.id).is_some_and(|point| point.last_requests.is_some())
                && of_run.is_none_or(|id| run.path.run_id() == id)
        });
        if let Some(run) = holder
            && let Some(bytes) = store.get(&run.path.point_file(&report.id, requests_file(&report))?).await?
        {
            // A file that cannot be read to its end falls back on the report's own histograms.
            let records = RequestsReader::new(bytes.as_ref()).map_while(Result::ok);
            return Ok(rejudge_from_records(&report, &spec, records));
        }
    }
    Ok(rejudge(&report, &spec))
}

/// Name of the records beside the report of a point.
fn requests_file(report: &PointReport) -> &str {
    report.requests_file.as_deref().unwrap_or("requests.jsonl.gz")
}

/// What `plan` judges the measurement of its point `index` by.
///
/// # Errors
/// When the point cannot be rebuilt, which only a plan changed by hand cannot.
pub fn judge_spec(plan: &Plan, index: usize) -> Result<JudgeSpec, ApplyError> {
    let file = plan.point_scenario(index).map_err(|error| ApplyError::Internal(error.to_string()))?;
    let slos = file.traffic.iter().filter_map(|class| Some((class.name.clone(), class.slo.clone()?)));
    Ok(JudgeSpec { slos: slos.collect(), errors: file.errors.clone(), validity: file.validity.clone() })
}

fn stored(store: &Store, location: &str, reason: &str) -> ApplyError {
    ApplyError::Stored { location: store.location(location), reason: reason.to_owned() }
}
