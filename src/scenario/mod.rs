//! Text to checked scenario. Opens no file, reads no clock, no environment and no network itself.
//!
//! [`load`] runs the passes, each of which reports all it finds before the next begins: text → spans →
//! version → bases and `--set` → variables and credentials → schema and names → types → rules. The
//! [`Document`] keeps the place of every value, so that a plan can patch it and [`check`] each point.

mod base;
mod credentials;
mod document;
pub mod file;
mod interpolate;
mod judge;
mod keypath;
mod leaks;
mod merge;
mod partial;
mod pin;
pub mod range;
mod read;
pub mod requests;
mod rules;
pub mod schema;
mod set;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use document::{Document, Origin, Patch, SettingKind};
pub use keypath::Pointer;
pub use pin::pin;

use crate::diagnostic::{Diagnostics, Sources, codes};
use file::ScenarioFile;
use read::Reader;
use tree::Node;

/// The version of the format that this build reads.
pub const SCHEMA_VERSION: i64 = 1;

/// Largest scenario, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Everything a scenario depends on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Path of the file, as messages show it.
    pub path: &'a str,
    /// Its bytes; anything but UTF-8 is a diagnostic.
    pub text: &'a [u8],
    /// `--set` arguments in order.
    pub sets: &'a [String],
    /// The environment that `${…}` sees.
    pub env: &'a BTreeMap<String, String>,
    /// Reads a base, given its path relative to the folder of `path`.
    pub read: &'a dyn Fn(&str) -> std::io::Result<Vec<u8>>,
}

/// What [`load`] returns: the texts that diagnostics point into stay with the result.
#[derive(Debug)]
pub struct Loading {
    /// All texts read, secrets blanked out.
    pub sources: Sources,
    /// The scenario, or everything that is wrong with it (warnings among them).
    pub result: Result<Loaded, Diagnostics>,
}

/// A scenario that can be planned.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The resolved document with places.
    pub document: Document,
    /// The checked scenario.
    pub scenario: Scenario,
    /// What is allowed and probably not meant.
    pub warnings: Diagnostics,
    /// Environment variables that became part of the scenario, for the plan. None is a secret.
    pub variables: BTreeMap<String, String>,
    /// Bases, nearest first, relative to the folder of the scenario.
    pub extends: Vec<String>,
    /// `--set` arguments in order.
    pub sets: Vec<String>,
}

/// A scenario that passed every check. Only [`load`] and [`check`] make one.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    file: ScenarioFile,
}

impl Scenario {
    /// The scenario as written, with defaults filled in.
    pub fn file(&self) -> &ScenarioFile {
        &self.file
    }

    /// The scenario as written, with defaults filled in, by value.
    pub fn into_file(self) -> ScenarioFile {
        self.file
    }
}

impl std::ops::Deref for Scenario {
    type Target = ScenarioFile;

    fn deref(&self) -> &ScenarioFile {
        &self.file
    }
}

/// Reads, resolves and checks a scenario.
pub fn load(request: Request<'_>) -> Loading {
    let mut sources = Sources::new();
    let result = run(request, &mut sources);
    Loading { sources, result }
}

fn run(request: Request<'_>, sources: &mut Sources) -> Result<Loaded, Diagnostics> {
    let mut found = Diagnostics::new();
    let root = read::read_source(request.path, request.text, None, sources, &mut found);
    let Some(root) = root.filter(|_| !found.has_errors() || only_version_is_missing(&found)) else { return Err(found) };
    let mut reader =
        Reader { read: request.read, root_name: base::normalise(request.path), sources, folders: BTreeMap::new() };
    let (mut tree, extends) = base::resolve(root, &mut reader, request.env, &mut found);
    let folders = reader.folders;
    if found.has_errors() && !only_version_is_missing(&found) {
        return Err(found);
    }
    apply_sets(&mut tree, request.sets, sources, &mut found);
    let mut spoiled = Vec::new();
    let variables = interpolate::replace_all(&mut tree, request.env, &mut spoiled, &mut found);
    leaks::find(&mut tree, sources, &mut spoiled, &mut found);
    base::rebase(&mut tree, &folders);
    let document = Document::new(tree);
    let scenario = judge::judge(&document, &spoiled, true, &mut found);
    match scenario {
        Some(scenario) if !found.has_errors() => {
            Ok(Loaded { document, scenario, warnings: found, variables, extends, sets: request.sets.to_vec() })
        }
        _ => Err(found),
    }
}

/// Whether the passes after the version can still say something useful.
fn only_version_is_missing(found: &Diagnostics) -> bool {
    found.iter().all(|diagnostic| diagnostic.code == &codes::NO_VERSION)
}

/// Checks a (patched) document: schema, then types, then rules.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(document: &Document) -> Result<(Scenario, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::new();
    match judge::judge(document, &[], false, &mut found) {
        Some(scenario) if !found.has_errors() => Ok((scenario, found)),
        _ => Err(found),
    }
}

fn apply_sets(tree: &mut Node, sets: &[String], sources: &mut Sources, found: &mut Diagnostics) {
    for (index, argument) in sets.iter().enumerate() {
        let source = sources.add_argument(format!("--set #{}", index + 1), argument.as_str());
        for range in credentials::secret_ranges(argument) {
            sources.mask(source, range);
        }
        set::apply(tree, argument, source, found);
    }
}
