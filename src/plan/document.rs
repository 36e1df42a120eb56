//! The plan of a scenario that was read from text: errors point at the place that caused them.

use std::collections::BTreeMap;

use super::base::{AxisPatch, Base};
use super::build::{BuildOptions, Built, PlanWarning, build as build_plan};
use super::error::{PlanError, Site};
use super::estimate::{DatasetFacts, NoDatasets};
use super::{Plan, PlanScenario};
use crate::assets::{Assets, InputError};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span, codes};
use crate::scenario::file::ScenarioFile;
use crate::scenario::{self, Document, Loaded, Patch, Pointer};

/// A plan with the doubts about it as diagnostics.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Doubts that do not stop it.
    pub warnings: Diagnostics,
}

/// Makes the plan of a loaded scenario.
///
/// # Errors
/// Everything that is wrong with its axes, else with its points, else with limits and input files.
pub fn build(loaded: &Loaded, assets: &Assets, scenario: PlanScenario) -> Result<Planned, Diagnostics> {
    build_with(loaded, assets, scenario, &NoDatasets)
}

/// [`build`] with the lengths of datasets at hand.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    loaded: &Loaded,
    assets: &Assets,
    scenario: PlanScenario,
    datasets: &dyn DatasetFacts,
) -> Result<Planned, Diagnostics> {
    let document = &loaded.document;
    let mut base = DocumentBase { document, pointers: BTreeMap::new() };
    let options = BuildOptions { scenario, datasets };
    match build_plan(loaded.scenario.file(), &mut base, assets, options) {
        Ok(Built { plan, warnings }) => {
            let warnings = warnings.iter().filter_map(|warning| doubt(warning, document)).collect::<Vec<_>>();
            let mut found = Diagnostics::new();
            found.extend(warnings);
            Ok(Planned { plan, warnings: found })
        }
        Err(errors) => {
            let mut found = Diagnostics::new();
            for error in errors {
                found.extend(diagnostics(error, document));
            }
            Err(found)
        }
    }
}

/// A document as expansion sees it.
struct DocumentBase<'d> {
    document: &'d Document,
    pointers: BTreeMap<String, Pointer>,
}

impl Base for DocumentBase<'_> {
    type Error = Diagnostics;

    fn resolve(&mut self, key_path: &str) -> Result<String, Diagnostics> {
        let pointer = self.document.resolve(key_path).map_err(one)?;
        let text = pointer.to_string();
        self.pointers.insert(text.clone(), pointer);
        Ok(text)
    }

    fn point(&mut self, patches: &[AxisPatch<'_>]) -> Result<ScenarioFile, Diagnostics> {
        let patches: Vec<Patch> = patches
            .iter()
            .map(|patch| Patch {
                pointer: self.pointers.get(patch.pointer).cloned().unwrap_or_else(|| pointer_of(patch.pointer)),
                value: patch.value.clone(),
                origin: self.document.span(&pointer_of(&patch.origin.pointer())),
            })
            .collect();
        let (scenario, _) = scenario::check(&self.document.with(&patches))?;
        Ok(scenario.into_file())
    }
}

fn one(diagnostic: Diagnostic) -> Diagnostics {
    let mut found = Diagnostics::new();
    found.push(diagnostic);
    found
}

/// Parts of a JSON pointer, escapes undone.
fn pointer_of(pointer: &str) -> Pointer {
    Pointer::new(pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

fn diagnostics(error: PlanError<Diagnostics>, document: &Document) -> Vec<Diagnostic> {
    let span = span(&error.site(), document);
    let (code, help) = match &error {
        // The document has said it better; what it lacks is the point.
        PlanError::AxisKey { error, .. } => return error.iter().cloned().collect(),
        PlanError::Document { at, error, .. } => {
            return error.iter().cloned().map(|found| found.note(format!("at the point {at}"))).collect();
        }
        PlanError::ValuesOrRange { .. } => (&codes::AXIS_VALUES, None),
        PlanError::Range { .. } => (&codes::AXIS_RANGE, None),
        PlanError::ValueTwice { .. } => (&codes::VALUE_TWICE, None),
        PlanError::Overlap { .. } => (&codes::AXIS_TWICE, None),
        PlanError::NotASetting { .. } => (&codes::NOT_SWEEPABLE, None),
        PlanError::ZipLength { .. } => (&codes::ZIP_LENGTH, None),
        PlanError::ExcludeAxis { .. } => (&codes::EXCLUDE_AXIS, None),
        PlanError::AllExcluded { .. } => (&codes::NO_POINT, None),
        PlanError::Limit { key, .. } => {
            (&codes::LIMIT, Some(format!("make the plan smaller, or raise `limits.{key}`")))
        }
        PlanError::SamePoint { .. } => (&codes::SAME_POINT, Some("to repeat a point, sweep `seed`".to_owned())),
        PlanError::IdCollision { .. } => (&codes::ID_COLLISION, None),
        PlanError::Trace { .. } => (&codes::TRACE, None),
        PlanError::Input(input) => input_help(input),
    };
    let diagnostic = Diagnostic::error(code, error.to_string()).at(span, "");
    vec![match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }]
}

fn input_help(error: &InputError) -> (&'static Code, Option<String>) {
    match error {
        InputError::Unreadable { .. } => (&codes::INPUT_MISSING, None),
        InputError::Content { .. } => (&codes::INPUT_CONTENT, None),
        InputError::Pin { .. } => (&codes::INPUT_CHANGED, None),
    }
}

fn span(site: &Site, document: &Document) -> Span {
    match site {
        Site::Pointer(pointer) => document.span(&pointer_of(pointer)),
        Site::KeyPath(key_path) => match document.resolve(key_path) {
            Ok(pointer) => document.span(&pointer),
            Err(_) => document.span(&Pointer::new(Vec::new())),
        },
        Site::Document => document.span(&Pointer::new(Vec::new())),
    }
}

fn doubt(warning: &PlanWarning, document: &Document) -> Option<Diagnostic> {
    let (code, pointer) = match warning {
        PlanWarning::LimitUnchecked { key } => (&codes::LIMIT_UNCHECKED, format!("/limits/{key}")),
        PlanWarning::LonelyZip { axis, .. } => (&codes::LONELY_ZIP, format!("/sweep/{axis}/zip")),
        PlanWarning::SamePrompts { class, .. } => (&codes::SAME_PROMPTS, format!("/traffic/{class}")),
        // The scenario pass has said it already.
        PlanWarning::IdleExclude { .. } => return None,
    };
    let diagnostic = Diagnostic::warning(code, warning.to_string()).at(document.span(&pointer_of(&pointer)), "");
    Some(match warning {
        PlanWarning::SamePrompts { workload, .. } => diagnostic
            .help(format!("`workloads.{workload}.prompts.salt = \"point\"` gives each point prompts of its own")),
        _ => diagnostic,
    })
}
