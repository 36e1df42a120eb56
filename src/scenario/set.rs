//! `--set key.path=value`.

use serde_json::Value;
use toml::de::DeValue;

use super::keypath::{self, Part};
use super::tree::{self, Entry, Item, Node};
use crate::diagnostic::text::{quote, suggestion};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceId, Span, codes};

/// Keys that are settled before `--set` applies.
const FIXED: [&str; 2] = ["schema", "extends"];

/// Applies one argument, whose text is `source`, to the tree.
pub(super) fn apply(root: &mut Node, argument: &str, source: SourceId, found: &mut Diagnostics) {
    let span = |start: usize, end: usize| Span { source, start, end };
    let Some(equals) = separator(argument) else {
        let diagnostic = Diagnostic::error(&codes::BAD_SET, "`--set` without `=`");
        found.push(diagnostic.at(span(0, argument.len()), "").help("the form is `--set key.path=value`"));
        return;
    };
    let path = match keypath::split(argument[..equals].trim_end()) {
        Ok(path) => path,
        Err(reason) => {
            let diagnostic = Diagnostic::error(&codes::BAD_SET, format!("`--set` with a broken key path: {reason}"));
            found.push(diagnostic.at(span(0, equals), "").help("the form is `--set key.path=value`"));
            return;
        }
    };
    if let Some((key, range)) = path.first().filter(|(key, _)| FIXED.contains(&key.as_str())) {
        let diagnostic = Diagnostic::error(&codes::NOT_SETTABLE, format!("`--set` cannot change `{key}`"));
        found.push(diagnostic.at(span(range.start, range.end), "settled before `--set` applies"));
        return;
    }
    let Some(node) = parse_value(argument, equals + 1, source, found) else { return };
    if let Err(diagnostic) = insert(root, &path, node, source) {
        found.push(diagnostic);
    }
}

/// The `=` between path and value; a quoted part of the path may hold others.
fn separator(argument: &str) -> Option<usize> {
    let mut quote = None;
    argument.char_indices().find_map(|(at, char)| match (quote, char) {
        (None, '=') => Some(at),
        (None, '"' | '\'') => {
            quote = Some(char);
            None
        }
        (Some(open), _) if open == char => {
            quote = None;
            None
        }
        _ => None,
    })
}

/// A TOML value, or a bare word as a string.
fn parse_value(argument: &str, from: usize, source: SourceId, found: &mut Diagnostics) -> Option<Node> {
    let written = &argument[from..];
    let text = written.trim();
    let offset = from + (written.len() - written.trim_start().len());
    let whole = Span { source, start: offset, end: offset + text.len() };
    let (value, errors) = DeValue::parse_recoverable(text);
    if errors.is_empty() {
        return Some(tree::convert(value.get_ref(), whole, offset, found));
    }
    if is_bare_word(text) {
        return Some(Node::new(whole, Item::Leaf(Value::from(text))));
    }
    let reason = if text.is_empty() { "the value is missing" } else { "the value is neither TOML nor a single word" };
    let diagnostic = Diagnostic::error(&codes::BAD_SET, format!("`--set`: {reason}"))
        .at(if text.is_empty() { Span { source, start: from.saturating_sub(1), end: from } } else { whole }, "");
    found.push(diagnostic.help("put text in quotes for the shell and for TOML: `--set 'name=\"night run\"'`"));
    None
}

/// Whether unquoted `text` can only have been meant as a string: one word with a letter in it.
fn is_bare_word(text: &str) -> bool {
    text.chars().any(|c| c.is_alphabetic())
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || "_-./:@%+~?&=$".contains(c) || "{}".contains(c) && text.contains("${"))
}

fn insert(root: &mut Node, path: &[Part], node: Node, source: SourceId) -> Result<(), Diagnostic> {
    let span = |part: &Part| Span { source, start: part.1.start, end: part.1.end };
    let (last, parents) = path.split_last().expect("a path has a part");
    let mut at = root;
    for part in parents {
        at = descend(at, part, span(part))?;
    }
    match &mut at.item {
        Item::Table(entries) => {
            entries.insert(last.0.clone(), Entry { key: span(last), node });
            Ok(())
        }
        Item::Array(nodes) => {
            let index = position(nodes, &last.0).ok_or_else(|| no_entry(nodes, &last.0, span(last)))?;
            nodes[index] = node;
            Ok(())
        }
        Item::Leaf(_) => Err(no_table(span(last), &last.0)),
    }
}

fn descend<'n>(at: &'n mut Node, part: &Part, span: Span) -> Result<&'n mut Node, Diagnostic> {
    match &mut at.item {
        Item::Table(entries) => {
            let empty = || Entry { key: span, node: Node::new(span, Item::Table(Default::default())) };
            Ok(&mut entries.entry(part.0.clone()).or_insert_with(empty).node)
        }
        Item::Array(nodes) => match position(nodes, &part.0) {
            Some(index) => Ok(&mut nodes[index]),
            None => Err(no_entry(nodes, &part.0, span)),
        },
        Item::Leaf(_) => Err(no_table(span, &part.0)),
    }
}

fn position(nodes: &[Node], name: &str) -> Option<usize> {
    nodes.iter().position(|node| node.get("name").and_then(Node::text) == Some(name))
}

fn no_entry(nodes: &[Node], name: &str, span: Span) -> Diagnostic {
    let names: Vec<&str> = nodes.iter().filter_map(|node| node.get("name").and_then(Node::text)).collect();
    let diagnostic = Diagnostic::error(&codes::NO_SUCH_PATH, format!("`--set`: no entry is named {}", quote(name)));
    let diagnostic = diagnostic.at(span, "array entries go by their `name`");
    match suggestion(name, &names, "names here") {
        Some(help) => diagnostic.help(help),
        None => diagnostic.note("the entries of this array have no names; set the whole array"),
    }
}

fn no_table(span: Span, key: &str) -> Diagnostic {
    let message = format!("`--set`: the path goes on to {} inside a plain value", quote(key));
    Diagnostic::error(&codes::NO_SUCH_PATH, message).at(span, "what comes before it is no table")
}
