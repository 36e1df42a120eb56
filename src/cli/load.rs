//! From a path on the command line to a checked scenario and its plan; mistakes are printed here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::args::{ColorChoice, DiagnosticFormat};
use super::env::Env;
use super::exit::Exit;
use super::output;
use crate::assets::Assets;
use crate::diagnostic::{Diagnostics, Sources, render};
use crate::plan::document::{self, Planned};
use crate::plan::{LoadedDatasets, Plan, PlanScenario};
use crate::scenario::{self, Loaded, Loading, Request};
use crate::seed::sha256_hex;

/// A scenario that was read and checked, with the folder its paths are relative to.
#[derive(Debug)]
pub struct Opened {
    /// The scenario.
    pub loaded: Loaded,
    /// Texts that diagnostics point into.
    pub sources: Sources,
    /// Files it names.
    pub assets: Assets,
    /// SHA-256 of its text.
    pub digest: String,
    /// Folder of the scenario.
    pub folder: PathBuf,
}

/// Reads and checks; returns the mistakes with their texts.
///
/// # Errors
/// What is wrong with it, or a sentence when the file cannot be read.
pub fn open(path: &Path, sets: &[String], env: &Env) -> Result<Result<Opened, (Sources, Diagnostics)>, String> {
    let text = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let base = folder.clone();
    let read = move |relative: &str| std::fs::read(base.join(relative));
    let name = path.to_string_lossy();
    let request = Request { path: &name, text: &text, sets, env: &env.vars, read: &read };
    let Loading { sources, result } = scenario::load(request);
    Ok(match result {
        Ok(loaded) => {
            let assets = Assets::new(&folder);
            Ok(Opened { loaded, sources, assets, digest: sha256_hex(&text), folder })
        }
        Err(found) => Err((sources, found)),
    })
}

/// One sentence about a file of the command line that cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let name = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("there is no file `{name}`; `bench init --list` shows scenarios to start from"),
        ErrorKind::IsADirectory => format!("`{name}` is a folder; name the scenarios in it, such as `{name}/*.toml`"),
        _ => format!("cannot read `{name}`: {error}"),
    }
}

/// Makes the plan of an opened scenario.
///
/// # Errors
/// What is wrong with its points, limits or input files.
pub fn expand(opened: &Opened, path: &Path) -> Result<Planned, Diagnostics> {
    let scenario = PlanScenario {
        path: path.to_string_lossy().into_owned(),
        digest: opened.digest.clone(),
        extends: opened
            .loaded
            .extends
            .iter()
            .filter_map(|base| Some((base.clone(), opened.assets.sha256(base).ok()?)))
            .collect(),
        sets: opened.loaded.sets.clone(),
        variables: opened.loaded.variables.clone(),
        ..PlanScenario::default()
    };
    let datasets = LoadedDatasets::new(opened.assets.clone());
    document::build_with(&opened.loaded, &opened.assets, scenario, &datasets)
}

/// A plan and where its files are, for commands that run or show one.
#[derive(Debug)]
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    /// Files it names.
    pub assets: Assets,
    /// Folder that a relative `[store]` is relative to.
    pub folder: PathBuf,
}

/// Reads a scenario or a saved plan and prints what is wrong with it.
///
/// # Errors
/// The exit code that says so.
pub fn plan(path: &Path, sets: &[String], env: &Env, color: ColorChoice) -> Result<PlanFile, Exit> {
    if path.extension().is_some_and(|extension| extension == "json") {
        return saved_plan(path, sets);
    }
    let fail = |message: String| {
        output::message(&format!("error: {message}"));
        Exit::ScenarioInvalid
    };
    let color = env.color_stderr(color);
    let opened = match open(path, sets, env).map_err(fail)? {
        Ok(opened) => opened,
        Err((sources, found)) => {
            output::message(&render::human(&found, &sources, color));
            return Err(Exit::ScenarioInvalid);
        }
    };
    match expand(&opened, path) {
        Ok(planned) => {
            let mut warnings = opened.loaded.warnings.clone();
            warnings.extend(planned.warnings);
            if !warnings.is_empty() {
                output::message(&render::human(&warnings, &opened.sources, color));
            }
            Ok(PlanFile { plan: planned.plan, assets: opened.assets, folder: opened.folder })
        }
        Err(found) => {
            output::message(&render::human(&found, &opened.sources, color));
            Err(Exit::ScenarioInvalid)
        }
    }
}

fn saved_plan(path: &Path, sets: &[String]) -> Result<PlanFile, Exit> {
    if !sets.is_empty() {
        output::message("error: `--set` changes a scenario; a saved plan runs exactly as it is");
        return Err(Exit::Usage);
    }
    let invalid = |message: String| {
        output::message(&format!("error: `{}`: {message}", path.display()));
        Exit::ScenarioInvalid
    };
    let bytes = std::fs::read(path).map_err(|error| {
        output::message(&format!("error: {}", unreadable(path, &error)));
        Exit::ScenarioInvalid
    })?;
    let plan = Plan::load(&bytes).map_err(|error| invalid(error.to_string()))?;
    // Input files are found from where the plan was made: beside the scenario, as the plan spells its
    // path, or else beside the plan itself.
    let scenario = Path::new(&plan.scenario.path);
    let folder = match scenario.parent() {
        Some(parent) if scenario.exists() => parent.to_path_buf(),
        _ => path.parent().map(Path::to_path_buf).unwrap_or_default(),
    };
    Ok(PlanFile { plan, assets: Assets::new(&folder), folder })
}

/// Prints diagnostics of several files in one format.
pub fn print(parts: &[(Sources, Diagnostics)], format: DiagnosticFormat, color: bool) {
    match format {
        DiagnosticFormat::Human => {
            for (sources, found) in parts.iter().filter(|(_, found)| !found.is_empty()) {
                output::message(&render::human(found, sources, color));
            }
        }
        DiagnosticFormat::Json => {
            for (sources, found) in parts.iter().filter(|(_, found)| !found.is_empty()) {
                output::result(&render::json(found, sources));
            }
        }
        DiagnosticFormat::Github => {
            for (sources, found) in parts.iter().filter(|(_, found)| !found.is_empty()) {
                output::result(&render::github(found, sources));
            }
        }
    }
}
