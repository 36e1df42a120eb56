//! `bench apply`: carries a plan out.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::apply::{Applied, ApplyError, Options, RunMode, apply};
use crate::calibrate::stored::{Calibration, Machine};
use crate::cli::args::{ApplyArgs, ApplyFormat, ColorChoice};
use crate::cli::env::Env;
use crate::cli::exit::{Condition, Exit, ExitFlags, decide};
use crate::cli::load::{self, PlanFile};
use crate::cli::progress::ProgressPrinter;
use crate::cli::{output, stores};
use crate::engine::{Stop, StopLevel};
use crate::measure::CalibratedLimits;
use crate::observe::provenance::{self, ProcessInputs};
use crate::observe::{git, preflight};
use crate::report::model::{GitState, Provenance, Report, ScenarioRef, ValidityState};
use crate::report::terminal::{self, TerminalOptions};
use crate::store::{Spool, Store};

/// Runs the command.
pub fn run(args: &ApplyArgs, env: &Env, color: ColorChoice) -> Exit {
    let file = match load::plan(&args.file, &args.scenario.sets, env, color) {
        Ok(file) => file,
        Err(exit) => return exit,
    };
    let runtime = match stores::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    preflight::raise_descriptor_limit();
    let exit = runtime.block_on(async {
        let stop = Stop::default();
        // Handlers stand before anything else does: a signal at any moment ends in a stage, not in a kill.
        let signals = listen(stop.clone());
        tokio::select! {
            biased;
            () = signals => Exit::Interrupted,
            exit = carry_out(args, &file, env, color, &stop) => exit,
        }
    });
    // A resolver or an upload that hangs in a blocking thread must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

async fn carry_out(args: &ApplyArgs, file: &PlanFile, env: &Env, color: ColorChoice, stop: &Stop) -> Exit {
    let fail = |message: String, exit: Exit| {
        output::message(&format!("error: {message}"));
        exit
    };
    let address = stores::address(args.store.as_deref(), file);
    let opened = tokio::select! {
        biased;
        () = stop.reached(StopLevel::Drain) => return fail("stopped before the first request".into(), Exit::Interrupted),
        opened = Store::open(&address.url, &env.vars) => opened,
    };
    let store = match opened {
        Ok(store) => store,
        Err(error) => return fail(error.to_string(), Exit::EnvironmentFailed),
    };
    let spool = match Spool::create(args.spool.as_deref()) {
        Ok(spool) => spool,
        Err(error) => return fail(error.to_string(), Exit::EnvironmentFailed),
    };
    let mut printer = ProgressPrinter::new(env.stderr_terminal, args.quiet);
    let options = options(args, file, env).await;
    let applied = {
        let mut observer = |event| printer.on(&event);
        apply(&file.plan, &store, spool, options, stop, &mut observer).await
    };
    printer.finish();
    match applied {
        Ok(applied) => conclude(args, &applied, env, color),
        Err(error) => {
            let exit = exit_of(&error);
            fail(error.to_string(), exit)
        }
    }
}

/// Turns signals into stages; ends at the third.
async fn listen(stop: Stop) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.escalate() == StopLevel::Abandon {
            return;
        }
    }
}

async fn options(args: &ApplyArgs, file: &PlanFile, env: &Env) -> Options {
    let mode = match (&args.run_id, args.rerun) {
        (Some(id), _) => RunMode::Named(id.clone()),
        (None, true) => RunMode::Rerun,
        (None, false) => RunMode::Converge { max_age: args.max_age.map(Into::into) },
    };
    let workers = args.workers.map_or_else(default_workers, usize::from);
    let facts = provenance::Provenance::collect(ProcessInputs {
        args: std::iter::once("bench".to_owned()).chain(env.arguments.iter().cloned()).collect(),
        container_image: env.vars.get("BENCH_IMAGE").cloned(),
    });
    let scenario = &file.plan.scenario;
    let mut inputs: Vec<PathBuf> = vec![args.file.clone()];
    inputs.extend(scenario.extends.keys().chain(file.plan.inputs.keys()).map(|path| file.assets.locate(path)));
    let git = git::state_of(&inputs).await.map(|state| GitState { commit: state.commit, dirty: state.dirty });
    Options {
        mode,
        only: args.only.clone(),
        grace: args.grace.into(),
        workers,
        env: env.vars.clone(),
        assets: file.assets.clone(),
        provenance: Provenance {
            bench: Some(facts.bench),
            host: Some(facts.host),
            container_image: facts.container_image,
            command: facts.command,
            workers: Some(workers),
            ..Provenance::default()
        },
        scenario: ScenarioRef {
            name: scenario.name.clone(),
            digest: scenario.digest.clone(),
            path: scenario.path.clone(),
            git,
        },
        calibration: calibration(env, workers, args.quiet),
    }
}

/// The stored calibration, if it holds for this machine, this build and this many workers.
fn calibration(env: &Env, workers: usize, quiet: bool) -> Option<CalibratedLimits> {
    let path = env.calibration_file()?;
    let why = match Calibration::load(&path) {
        Ok(None) => return None,
        Ok(Some(calibration)) => match calibration.difference(&Machine::current(), workers) {
            None => return Some(calibration.limits()),
            Some(difference) => format!("is not used: {difference}"),
        },
        Err(error) => error.to_string(),
    };
    if !quiet {
        output::message(&format!(
            "notice: the calibration {} {why}; `bench calibrate` makes a new one",
            path.display()
        ));
    }
    None
}

/// Half of the cores: the other half belongs to the kernel, the preparers and a server on the same
/// machine.
pub(super) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 8))
}

fn conclude(args: &ApplyArgs, applied: &Applied, env: &Env, color: ColorChoice) -> Exit {
    if let Some(kept) = &applied.kept {
        output::message(&format!("error: {kept}"));
    }
    let flags = ExitFlags { strict: args.strict, exit_zero_on_slo: args.exit_zero_on_slo, ..ExitFlags::default() };
    let exit = decide(conditions(applied), flags);
    match args.format {
        ApplyFormat::Human => {
            output::result(&terminal::render(
                &applied.report,
                None,
                TerminalOptions { width: env.width, color: env.color_stdout(color) },
            ));
            if applied.measured == 0 && !applied.unfinished {
                output::message("nothing to measure: the store holds this plan; `--rerun` measures it anew");
            }
            if exit != Exit::Success {
                output::message(&format!("exit code {}: {}. {}", exit.code(), exit.name(), exit.meaning()));
            }
            let word = if applied.unfinished { "partial report" } else { "report" };
            output::result(&format!("{word}: {}", applied.location));
        }
        ApplyFormat::Json => output::result(&json(applied, exit)),
    }
    exit
}

/// One line: the report, its address and the exit code.
fn json(applied: &Applied, exit: Exit) -> String {
    serde_json::json!({
        "location": applied.location,
        "exit_code": exit.code(),
        "measured_points": applied.measured,
        "report": applied.report,
    })
    .to_string()
}

/// What the report says that the exit code has to tell: a function of the report, not of what was
/// executed just now.
fn conditions(applied: &Applied) -> Vec<Condition> {
    let mut conditions = of_report(&applied.report);
    if applied.interrupted {
        // Of a plan that is still to be finished nobody can say that nothing of it completed.
        conditions.retain(|condition| *condition != Condition::NothingMeasured);
        conditions.push(Condition::Interrupted);
    }
    if applied.kept.is_some() {
        conditions.push(Condition::ReportNotStored);
    }
    conditions
}

/// The conditions of a report alone.
pub fn of_report(report: &Report) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let mut add = |holds: bool, condition| {
        if holds {
            conditions.push(condition);
        }
    };
    add(report.sum_broken(), Condition::Internal);
    add(report.nothing_measured(), Condition::NothingMeasured);
    add(report.validity() == ValidityState::Invalid, Condition::Invalid);
    add(report.validity() == ValidityState::Suspect, Condition::Suspect);
    add(report.errors_broken(), Condition::ErrorBudgetBroken);
    add(report.slo_missed(), Condition::SloMissed);
    add(report.slo_inconclusive(), Condition::SloInconclusive);
    conditions
}

fn exit_of(error: &ApplyError) -> Exit {
    match error {
        ApplyError::Internal(_) | ApplyError::Engine(_) => Exit::Internal,
        ApplyError::Only { .. } | ApplyError::Name(_) => Exit::Usage,
        ApplyError::InputMoved(_) | ApplyError::Address { .. } | ApplyError::Workload(_) | ApplyError::TooLong(_) => {
            Exit::ScenarioInvalid
        }
        ApplyError::Probe(errors) if errors.iter().all(crate::apply::probe::ProbeError::may_pass) => {
            Exit::NothingMeasured
        }
        ApplyError::Store(_)
        | ApplyError::Spool { .. }
        | ApplyError::Secrets(_)
        | ApplyError::Probe(_)
        | ApplyError::Simulator { .. }
        | ApplyError::Stored { .. } => Exit::EnvironmentFailed,
    }
}
