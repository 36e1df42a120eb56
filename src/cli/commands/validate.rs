//! `bench validate`: every mistake of every file, before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::apply::secrets;
use crate::cli::args::{ColorChoice, DiagnosticFormat, ValidateArgs};
use crate::cli::commands::apply::default_workers;
use crate::cli::env::Env;
use crate::cli::exit::Exit;
use crate::cli::load::{self, Opened};
use crate::cli::output;
use crate::diagnostic::{Diagnostics, Sources, render};
use crate::observe::preflight::{self, Finding, Machine, Severity};
use crate::plan::document::Planned;
use crate::scenario;

/// Runs the command.
pub fn run(args: &ValidateArgs, env: &Env, color: ColorChoice) -> Exit {
    let mut parts = Vec::new();
    let mut unready: Vec<Unready> = Vec::new();
    let mut exit = Exit::Success;
    for path in &args.files {
        if args.pin
            && let Err(message) = pin(path, args, env)
        {
            output::message(&format!("error: {message}"));
            return Exit::EnvironmentFailed;
        }
        match check(path, args, env) {
            Ok(Checked { sources, found, opened }) => {
                let failed = found.has_errors() || (args.deny_warnings && !found.is_empty());
                if failed {
                    exit = Exit::worst([exit, Exit::ScenarioInvalid]);
                }
                if let (true, false, Some((opened, planned))) = (args.env, failed, &opened) {
                    let findings = problems(opened, planned, env);
                    unready.extend(findings.into_iter().map(|finding| Unready { file: path.clone(), finding }));
                }
                if !failed && args.format == DiagnosticFormat::Human {
                    output::result(&ok(path, opened.as_ref()));
                }
                parts.push((sources, found));
            }
            Err(message) => {
                output::message(&format!("error: {message}"));
                exit = Exit::worst([exit, Exit::ScenarioInvalid]);
            }
        }
    }
    load::print(&parts, args.format, env.color_stderr(color));
    // Several files ask the same of one machine: what is about the machine alone is said once.
    let mut said: Vec<Finding> = Vec::new();
    for Unready { file, finding } in unready {
        if said.contains(&finding) {
            continue;
        }
        print_unready(&file, &finding, args.format);
        if finding.severity == Severity::Error || args.deny_warnings {
            exit = Exit::worst([exit, Exit::EnvironmentFailed]);
        }
        said.push(finding);
    }
    exit
}

/// What the scenario of a file asks for and this machine does not give.
struct Unready {
    file: PathBuf,
    finding: Finding,
}

fn print_unready(file: &Path, finding: &Finding, format: DiagnosticFormat) {
    let Finding { severity, check, message } = finding;
    let severity = severity.as_str();
    let file = file.display().to_string();
    match format {
        DiagnosticFormat::Human => output::message(&format!("{severity}: {message}")),
        DiagnosticFormat::Json => output::result(
            &serde_json::json!({ "severity": severity, "check": check, "file": file, "message": message }).to_string(),
        ),
        DiagnosticFormat::Github => output::result(&format!(
            "::{severity} file={},title=environment {check}::{}",
            render::escape_property(&file),
            render::escape_data(message)
        )),
    }
}

struct Checked {
    sources: Sources,
    found: Diagnostics,
    opened: Option<(Opened, Planned)>,
}

fn check(path: &Path, args: &ValidateArgs, env: &Env) -> Result<Checked, String> {
    let opened = match load::open(path, &args.scenario.sets, env)? {
        Ok(opened) => opened,
        Err((sources, found)) => return Ok(Checked { sources, found, opened: None }),
    };
    let sources = opened.sources.clone();
    let mut found = opened.loaded.warnings.clone();
    Ok(match load::expand(&opened, path) {
        Ok(planned) => {
            found.extend(planned.warnings.clone());
            Checked { sources, found, opened: Some((opened, planned)) }
        }
        Err(errors) => {
            found.extend(errors);
            Checked { sources, found, opened: None }
        }
    })
}

fn ok(path: &Path, opened: Option<&(Opened, Planned)>) -> String {
    let points = opened.map_or(0, |(_, planned)| planned.plan.points.len());
    let noun = if points == 1 { "point" } else { "points" };
    format!("{}: ok, {points} {noun}", path.display())
}

/// Writes the digests of the input files as they are now into the scenario, before it is checked: a
/// pin that is out of date is what `--pin` is for.
fn pin(path: &Path, args: &ValidateArgs, env: &Env) -> Result<(), String> {
    let Ok(opened) = load::open(path, &args.scenario.sets, env)? else { return Ok(()) };
    let pins = opened
        .assets
        .pins(opened.loaded.scenario.file())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let digests: BTreeMap<_, _> = pins.into_iter().map(|pin| (pin.path, pin.found)).collect();
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let pinned = scenario::pin(&text, &digests);
    if pinned == text {
        let why = if digests.is_empty() { "names no input file" } else { "every input file is pinned as it is" };
        output::message(&format!("nothing to pin in {}: {why}", path.display()));
        return Ok(());
    }
    replace(path, &pinned).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    output::message(&format!("pinned {}", path.display()));
    Ok(())
}

/// All or nothing: a full disk must not leave half a scenario.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(path) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What of this machine does not fit the plan.
fn problems(opened: &Opened, planned: &Planned, env: &Env) -> Vec<Finding> {
    let mut problems = Vec::new();
    let file = opened.loaded.scenario.file();
    for (name, backend) in &file.backends {
        let classes = file.traffic.iter().filter(|class| class.backend == *name).map(Some);
        for class in std::iter::once(None).chain(classes) {
            if let Err(errors) = secrets::headers(name, backend.openai(), class, &env.vars, &opened.assets) {
                for finding in errors.iter().map(|error| Finding::error("secrets", error.to_string())) {
                    if !problems.contains(&finding) {
                        problems.push(finding);
                    }
                }
            }
        }
    }
    let workers = u16::try_from(default_workers()).unwrap_or(1);
    problems.extend(preflight::check(&planned.plan, &Machine::here(workers)));
    problems
}
