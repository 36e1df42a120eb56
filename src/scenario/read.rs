//! Bytes to tree: size, UTF-8, syntax, version.

use std::collections::BTreeMap;

use super::tree::{self, Item, Node};
use super::{MAX_BYTES, SCHEMA_VERSION, base, credentials};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

/// What reading needs beside the tree: where bases come from and which folder each text lies in.
pub(super) struct Reader<'a> {
    pub(super) read: &'a dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    pub(super) root_name: String,
    pub(super) sources: &'a mut Sources,
    pub(super) folders: BTreeMap<SourceId, String>,
}

impl Reader<'_> {
    /// How messages name a base at `path`, relative to the root's folder.
    pub(super) fn display_name(&self, path: &str) -> String {
        base::normalise(&base::join(base::parent(&self.root_name), path))
    }
}

/// Bytes to tree: UTF-8, size, syntax, version. `None` when nothing can be made of it.
pub(super) fn read_source(
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
