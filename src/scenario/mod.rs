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
mod keypath;
mod merge;
mod partial;
mod pin;
mod rules;
pub mod schema;
mod set;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use document::{Document, Origin, Patch, SettingKind};
pub use keypath::Pointer;
pub use pin::pin;

use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};
use file::ScenarioFile;
use tree::{Item, Node};

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

/// What reading needs beside the tree: where bases come from and which folder each text lies in.
struct Reader<'a> {
    read: &'a dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    root_name: String,
    sources: &'a mut Sources,
    folders: BTreeMap<SourceId, String>,
}

impl Reader<'_> {
    /// How messages name a base at `path`, relative to the root's folder.
    fn display_name(&self, path: &str) -> String {
        base::normalise(&base::join(base::parent(&self.root_name), path))
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
    let root = read_source(request.path, request.text, None, sources, &mut found);
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
    let variables = replace_variables(&mut tree, request.env, &mut spoiled, &mut found);
    find_credentials(&mut tree, sources, &mut spoiled, &mut found);
    base::rebase(&mut tree, &folders);
    let document = Document::new(tree);
    let scenario = judge(&document, &spoiled, true, &mut found);
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
    match judge(document, &[], false, &mut found) {
        Some(scenario) if !found.has_errors() => Ok((scenario, found)),
        _ => Err(found),
    }
}

/// The passes on a resolved document. Axes and what is unused are looked at once, `at_load`, not per point.
fn judge(document: &Document, spoiled: &[Pointer], at_load: bool, found: &mut Diagnostics) -> Option<Scenario> {
    let valid = schema::validator().is_valid(document.value());
    if valid && spoiled.is_empty() {
        return match ScenarioFile::deserialize(document.value()) {
            Ok(file) => {
                let whole = partial::Partial::whole(&file);
                rules::references(document, found);
                rules::run(&whole, document, found);
                if at_load {
                    rules::axes(&whole, document, true, found);
                    // Beside errors they would mostly be echoes: a misspelt reference leaves its target unused.
                    if !found.has_errors() {
                        rules::usage(&file, document, found);
                    }
                }
                Some(Scenario { file })
            }
            Err(error) => {
                found.push(disagreement(&error.to_string()));
                None
            }
        };
    }
    let findings = if valid { Vec::new() } else { schema::errors::find(document) };
    let mut bad: Vec<Pointer> = spoiled.to_vec();
    for finding in findings {
        if !spoiled.iter().any(|pointer| finding.pointer.is_within(pointer)) {
            found.push(finding.diagnostic);
        }
        bad.push(finding.pointer);
    }
    rules::references(document, found);
    // What the schema accepted is still held against the rules, so that one look shows every mistake.
    if let Some((file, places)) = partial::salvage(document, &bad) {
        let partial = partial::Partial::new(&file, places);
        rules::run(&partial, document, found);
        if at_load {
            rules::axes(&partial, document, false, found);
        }
    }
    None
}

fn disagreement(error: &str) -> Diagnostic {
    Diagnostic::error(&codes::DISAGREEMENT, format!("the schema accepts what the types refuse: {}", quote(error)))
        .help("this is a bug of `bench`; please report it with the scenario")
}

/// Bytes to tree: UTF-8, size, syntax, version. `None` when nothing can be made of it.
fn read_source(
    name: &str,
    bytes: &[u8],
    named_at: Option<Span>,
    sources: &mut Sources,
    found: &mut Diagnostics,
) -> Option<Node> {
    let also = |diagnostic: Diagnostic| match named_at {
        Some(span) => diagnostic.also(span, "read because of this"),
        None => diagnostic,
    };
    if bytes.len() > MAX_BYTES {
        let source = sources.add_file(name, "");
        let message = format!("the file has {} bytes; the most a scenario can have is {MAX_BYTES}", bytes.len());
        found.push(also(Diagnostic::error(&codes::TOO_LARGE, message).at(Span { source, start: 0, end: 0 }, "")));
        return None;
    }
    // Editors do not show a byte order mark, so columns are counted behind it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lossy = String::from_utf8_lossy(bytes);
    let text = lossy.as_ref();
    let source = sources.add_file(name, text);
    for range in credentials::secret_ranges(text) {
        sources.mask(source, range);
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        let start = error.valid_up_to();
        let message = format!("not UTF-8: byte {} of the text begins no character", start + 1);
        let diagnostic = Diagnostic::error(&codes::NOT_UTF8, message)
            .at(Span { source, start, end: start + '\u{fffd}'.len_utf8() }, "");
        found.push(also(diagnostic));
        return None;
    }
    let mut syntax = Diagnostics::new();
    let mut tree = tree::parse(text, source, &mut syntax);
    if let Some(diagnostic) = wrong_version(&tree) {
        // A newer format may well look like broken TOML of this one: nothing else is worth saying.
        found.push(also(diagnostic));
        return None;
    }
    let broken = syntax.iter().any(|diagnostic| diagnostic.code == &codes::SYNTAX);
    let clean = syntax.is_empty();
    found.extend(syntax);
    if broken {
        return None;
    }
    if tree.get("schema").is_none() {
        let span = Span { source, start: 0, end: 0 };
        let diagnostic = Diagnostic::error(&codes::NO_VERSION, "the version of the format is missing").at(span, "");
        found.push(also(diagnostic.help(format!("begin the file with `schema = {SCHEMA_VERSION}`"))));
        tree.table_mut().map(|entries| entries.insert("schema".to_owned(), base::version_entry(span)));
    }
    clean.then_some(tree)
}

fn wrong_version(tree: &Node) -> Option<Diagnostic> {
    let node = tree.get("schema")?;
    let Item::Leaf(value) = &node.item else {
        return Some(Diagnostic::error(&codes::VERSION, "`schema` must be the number 1").at(node.span, ""));
    };
    match value.as_i64() {
        Some(SCHEMA_VERSION) => None,
        Some(newer) if newer > SCHEMA_VERSION => {
            let message =
                format!("this file is of format {newer}, and this `bench` reads format {SCHEMA_VERSION} only");
            let label = format!("written for a newer `bench` than {}", env!("CARGO_PKG_VERSION"));
            Some(Diagnostic::error(&codes::VERSION, message).at(node.span, label).help("update `bench`"))
        }
        _ => {
            let message = format!("`schema` must be the number {SCHEMA_VERSION}");
            Some(Diagnostic::error(&codes::VERSION, message).at(node.span, "the version of the format"))
        }
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

/// Replaces `${…}` in every string; what could not be replaced is added to `spoiled`.
fn replace_variables(
    tree: &mut Node,
    env: &BTreeMap<String, String>,
    spoiled: &mut Vec<Pointer>,
    found: &mut Diagnostics,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    tree.each_leaf(&mut Vec::new(), &mut |path, leaf| {
        let Some(text) = leaf.text().map(str::to_owned) else { return };
        let mut errors = Diagnostics::new();
        let Some(replaced) = interpolate::replace(&text, leaf.span, env, &mut errors) else { return };
        if replaced.broken {
            // Where a credential stands, the fix is another one than setting the variable.
            if credentials::position(path, &text).is_none() {
                found.extend(errors);
                spoiled.push(Pointer::new(path.to_vec()));
                return;
            }
        }
        leaf.variables = replaced.used.iter().map(|(name, _)| name.clone()).collect();
        if leaf.variables.is_empty() && replaced.broken {
            leaf.variables = vec!["…".to_owned()];
        }
        variables.extend(replaced.used);
        leaf.item = Item::Leaf(Value::String(if replaced.broken { text } else { replaced.text }));
    });
    variables
}

/// Reports credentials, blanks them out of the sources and adds their places to `spoiled`.
fn find_credentials(tree: &mut Node, sources: &mut Sources, spoiled: &mut Vec<Pointer>, found: &mut Diagnostics) {
    let axes = rules::axis_paths(tree);
    tree.each_leaf(&mut Vec::new(), &mut |path, leaf| {
        let Some(text) = leaf.text() else { return };
        let setting = axes
            .iter()
            .find(|(place, _)| path.starts_with(place))
            .map(|(place, axis)| [axis.as_slice(), path.get(place.len() + 1..).unwrap_or_default()].concat());
        let Some(position) = credentials::position(setting.as_deref().unwrap_or(path), text) else { return };
        let written = sources.get(leaf.span.source).text().get(leaf.span.start..leaf.span.end).unwrap_or_default();
        let inner = written.trim_matches(['"', '\'']);
        let in_url = matches!(
            position,
            credentials::Position::UserInfo | credentials::Position::Query | credentials::Position::Text
        );
        // The look alone is enough in a URL, unless escapes hide it.
        if (!in_url || inner.contains('\\')) && !credentials::only_variable(inner) {
            let quotes = (written.len() - inner.len()) / 2;
            sources.mask(leaf.span.source, leaf.span.start + quotes..leaf.span.end - quotes);
        }
        found.push(credential(position, setting.as_deref().unwrap_or(path), leaf));
        spoiled.push(Pointer::new(path.to_vec()));
    });
}

fn credential(position: credentials::Position, path: &[String], leaf: &Node) -> Diagnostic {
    use credentials::Position;
    let name = path.last().map_or("", String::as_str);
    let (place, fix) = match position {
        Position::ApiKey => {
            ("`api_key` itself".to_owned(), "`api_key = { env = \"NAME_OF_THE_VARIABLE\" }`".to_owned())
        }
        Position::SecretHeader | Position::Header => (
            format!("the header {}", quote(name)),
            format!("`secret_headers = {{ {} = {{ env = \"NAME_OF_THE_VARIABLE\" }} }}`", header_key(name)),
        ),
        Position::UserInfo => (
            "the user part of a URL".to_owned(),
            "`secret_headers = { authorization = { env = \"NAME_OF_THE_VARIABLE\", prefix = \"Basic \" } }`".to_owned(),
        ),
        Position::Query => (
            "a parameter of a URL".to_owned(),
            "`api_key = { env = \"NAME_OF_THE_VARIABLE\" }` or an entry of `secret_headers`".to_owned(),
        ),
        Position::Body => {
            (format!("the body key {}", quote(name)), "`api_key` or an entry of `secret_headers`".to_owned())
        }
        Position::Text => {
            ("a text".to_owned(), "a reference where the credential is needed, and no credential here".to_owned())
        }
        Position::Reference => (
            "a reference to a secret".to_owned(),
            "`{ env = \"NAME_OF_THE_VARIABLE\" }` with the name, not the value, of a variable".to_owned(),
        ),
    };
    let stored = path.first().is_some_and(|top| top == "store");
    let fix =
        if stored { "the credentials of the environment (see the store's own variables)".to_owned() } else { fix };
    let diagnostic = if leaf.variables.is_empty() {
        Diagnostic::error(&codes::LITERAL_CREDENTIAL, format!("a credential in {place}"))
            .at(leaf.span, "scenarios are committed and copied into reports")
    } else {
        Diagnostic::error(&codes::CREDENTIAL_VARIABLE, format!("a variable in {place}, where a credential stands"))
            .at(leaf.span, "its value would be stored in the plan")
    };
    diagnostic.help(format!("use {fix}"))
}

fn header_key(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quote(name).replace('`', "\"") }
}
