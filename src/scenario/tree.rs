//! A TOML document with the place of every key and value, before it becomes JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::de::{DeInteger, DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics, SourceId, Span, codes};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) item: Item,
    /// Variables that were replaced in it.
    pub(super) variables: Vec<String>,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A string, number or boolean.
    Leaf(Value),
    Table(BTreeMap<String, Entry>),
    Array(Vec<Node>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn new(span: Span, item: Item) -> Self {
        Self { span, item, variables: Vec::new() }
    }

    pub(super) fn table(&self) -> Option<&BTreeMap<String, Entry>> {
        match &self.item {
            Item::Table(entries) => Some(entries),
            Item::Leaf(_) | Item::Array(_) => None,
        }
    }

    pub(super) fn table_mut(&mut self) -> Option<&mut BTreeMap<String, Entry>> {
        match &mut self.item {
            Item::Table(entries) => Some(entries),
            Item::Leaf(_) | Item::Array(_) => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.item {
            Item::Table(entries) => entries.get(key).map(|entry| &entry.node),
            Item::Array(nodes) => key.parse::<usize>().ok().and_then(|index| nodes.get(index)),
            Item::Leaf(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.item {
            Item::Leaf(Value::String(text)) => Some(text),
            Item::Leaf(_) | Item::Table(_) | Item::Array(_) => None,
        }
    }

    /// The JSON value, without places.
    pub(super) fn to_value(&self) -> Value {
        match &self.item {
            Item::Leaf(value) => value.clone(),
            Item::Array(nodes) => Value::Array(nodes.iter().map(Self::to_value).collect()),
            Item::Table(entries) => Value::Object(
                entries.iter().map(|(key, entry)| (key.clone(), entry.node.to_value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Calls `visit` with the path and node of every leaf.
    pub(super) fn each_leaf(&mut self, path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &mut Node)) {
        match &mut self.item {
            Item::Leaf(_) => visit(path, self),
            Item::Table(entries) => {
                for (key, entry) in entries {
                    path.push(key.clone());
                    entry.node.each_leaf(path, visit);
                    path.pop();
                }
            }
            Item::Array(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    path.push(index.to_string());
                    node.each_leaf(path, visit);
                    path.pop();
                }
            }
        }
    }
}

/// Parses a whole document. The tree is usable even with syntax errors: as much as could be read.
pub(super) fn parse(text: &str, source: SourceId, found: &mut Diagnostics) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    found.extend(syntax_errors(text, source, table.get_ref(), &errors));
    let mut reader = Reader { source, found, dates: errors.is_empty() };
    Node::new(Span { source, start: 0, end: 0 }, Item::Table(reader.table(table.get_ref())))
}

/// Converts a single parsed value whose spans begin at `offset` of `source`.
pub(super) fn convert(value: &DeValue<'_>, span: Span, offset: usize, found: &mut Diagnostics) -> Node {
    let mut local = Diagnostics::new();
    let mut reader = Reader { source: span.source, found: &mut local, dates: true };
    let at = Span { start: span.start - offset, end: span.end - offset, ..span };
    let mut node = reader.node(value, at);
    shift(&mut node, offset);
    found.extend(local.into_iter().map(|mut diagnostic| {
        if let Some(label) = &mut diagnostic.primary {
            label.span.start += offset;
            label.span.end += offset;
        }
        diagnostic
    }));
    node
}

fn shift(node: &mut Node, offset: usize) {
    node.span.start += offset;
    node.span.end += offset;
    match &mut node.item {
        Item::Leaf(_) => {}
        Item::Array(nodes) => nodes.iter_mut().for_each(|node| shift(node, offset)),
        Item::Table(entries) => {
            for entry in entries.values_mut() {
                entry.key.start += offset;
                entry.key.end += offset;
                shift(&mut entry.node, offset);
            }
        }
    }
}

struct Reader<'a> {
    source: SourceId,
    found: &'a mut Diagnostics,
    /// Whether values without a JSON form are reported; not beside syntax errors, whose recovery invents some.
    dates: bool,
}

impl Reader<'_> {
    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span { source: self.source, start: range.start, end: range.end }
    }

    fn table(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Entry> {
        table
            .iter()
            .map(|(key, value)| {
                let node = self.node(value.get_ref(), self.span(value.span()));
                (key.get_ref().to_string(), Entry { key: self.span(key.span()), node })
            })
            .collect()
    }

    fn node(&mut self, value: &DeValue<'_>, span: Span) -> Node {
        let item = match value {
            DeValue::String(text) => Item::Leaf(text.as_ref().into()),
            DeValue::Boolean(flag) => Item::Leaf((*flag).into()),
            DeValue::Integer(integer) => Item::Leaf(self.integer(integer, span)),
            DeValue::Float(float) => Item::Leaf(self.float(float.as_str(), span)),
            DeValue::Datetime(_) => {
                self.reject(span, "a date or time", "no setting is a date or time; write it as a string in quotes");
                Item::Leaf(Value::Null)
            }
            DeValue::Array(array) => {
                Item::Array(array.iter().map(|value| self.node(value.get_ref(), self.span(value.span()))).collect())
            }
            DeValue::Table(table) => Item::Table(self.table(table)),
        };
        Node::new(span, item)
    }

    fn integer(&mut self, integer: &DeInteger<'_>, span: Span) -> Value {
        i64::from_str_radix(integer.as_str(), integer.radix()).map_or_else(
            |_| {
                self.reject(span, "an integer beyond 64 bits", "the largest is 9223372036854775807");
                Value::Null
            },
            Value::from,
        )
    }

    fn float(&mut self, text: &str, span: Span) -> Value {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::from(number),
            _ => {
                self.reject(
                    span,
                    "an infinite or undefined number",
                    "write a number, or leave the key out where it is optional",
                );
                Value::Null
            }
        }
    }

    fn reject(&mut self, span: Span, what: &str, help: &str) {
        if self.dates {
            let diagnostic = Diagnostic::error(&codes::NO_JSON_VALUE, format!("a scenario cannot hold {what}"));
            self.found.push(diagnostic.at(span, "").help(help));
        }
    }
}

/// The parser's errors, less those that only follow from an earlier one.
fn syntax_errors(text: &str, source: SourceId, table: &DeTable<'_>, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut open: Option<(usize, usize)> = None;
    if let Some(error) = errors.iter().find(|error| error.message().starts_with("unclosed ")) {
        let end = error.span().map_or(text.len(), |span| span.start);
        // An unclosed bracket swallows what follows; everything inside it is an echo of the one mistake.
        open = outermost_ending_at(table, end);
    }
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    for error in errors {
        let range = error.span().unwrap_or(text.len()..text.len());
        let mut message = error.message().split(", expected").next().unwrap_or_default().to_owned();
        let (mut start, mut end) = (range.start.min(text.len()), range.end.min(text.len()));
        if let Some((from, to)) = open.filter(|(from, to)| (*from..=*to).contains(&start)) {
            if lines.contains(&usize::MAX) {
                continue;
            }
            lines.push(usize::MAX);
            let bracket = if text[from..].starts_with('{') { "inline table" } else { "array" };
            message = format!("unclosed {bracket}");
            (start, end) = (from, (from + 1).min(to));
        } else {
            let line = text[..start].matches('\n').count();
            if lines.contains(&line) {
                continue;
            }
            lines.push(line);
        }
        match message.as_str() {
            "string values must be quoted" if start == end => message = "the value is missing".to_owned(),
            "invalid basic string" | "invalid literal string" if error.message().contains("expected") => {
                message = "the string is not closed".to_owned();
            }
            _ => {}
        }
        let expected = error.message().split_once(", expected ").map(|(_, expected)| expected);
        let label = match expected.filter(|_| !message.starts_with("unclosed")) {
            Some("nothing") | None => String::new(),
            Some("literal string") if message.contains("missing") => "after `=` comes a value".to_owned(),
            Some("literal string") => "put it in quotes".to_owned(),
            Some(expected) => format!("expected {expected}"),
        };
        found.push(Diagnostic::error(&codes::SYNTAX, message).at(Span { source, start, end }, label));
    }
    found
}

/// The outermost array or inline table whose text runs to `end`, as an unclosed one does.
fn outermost_ending_at(table: &DeTable<'_>, end: usize) -> Option<(usize, usize)> {
    table.iter().find_map(|(_, value)| {
        let span = value.span();
        match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if span.end == end && span.len() > 1 => Some((span.start, span.end)),
            DeValue::Table(inner) => outermost_ending_at(inner, end),
            DeValue::Array(array) => array.iter().find_map(|value| match value.get_ref() {
                DeValue::Table(inner) => outermost_ending_at(inner, end),
                _ => None,
            }),
            _ => None,
        }
    })
}
