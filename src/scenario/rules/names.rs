//! Names that must lead somewhere, and names that must be one's own. Works on the plain document, so it
//! has its say even beside errors of the schema.

use serde_json::Value;

use super::super::document::Document;
use crate::diagnostic::text::{quote, suggestion};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};

/// The tokenizer that is always there.
const BUILTIN: &str = "builtin";

/// Checks references and the names of traffic classes.
pub(in crate::scenario) fn check(document: &Document, found: &mut Diagnostics) {
    let root = document.value();
    if let Some(Value::Array(classes)) = root.get("traffic") {
        for (index, class) in classes.iter().enumerate() {
            for (key, table) in [("backend", "backends"), ("workload", "workloads")] {
                reference(document, &["traffic", &index.to_string(), key], class.get(key), table, &[], found);
            }
        }
        duplicates(document, classes, found);
    }
    if let Some(Value::Object(workloads)) = root.get("workloads") {
        for (name, workload) in workloads {
            let path = ["workloads", name, "tokenizer"];
            reference(document, &path, workload.get("tokenizer"), "tokenizers", &[BUILTIN], found);
        }
    }
    let builtin = root.get("tokenizers").and_then(|tokenizers| tokenizers.get(BUILTIN));
    if builtin.and_then(|tokenizer| tokenizer.get("kind")).is_some_and(|kind| kind != BUILTIN) {
        let origin = document.origin(&["tokenizers".to_owned(), BUILTIN.to_owned()]);
        let message = "`builtin` always is the tokenizer inside `bench`";
        let diagnostic = Diagnostic::error(&codes::RESERVED_NAME, message);
        found.push(diagnostic.at(origin.key.unwrap_or(origin.value), "choose another name"));
    }
}

fn reference(
    document: &Document,
    path: &[&str],
    value: Option<&Value>,
    table: &str,
    always: &[&str],
    found: &mut Diagnostics,
) {
    let Some(Value::String(name)) = value else { return };
    let defined = document.value().get(table).and_then(Value::as_object);
    if always.contains(&name.as_str()) || defined.is_some_and(|table| table.contains_key(name)) {
        return;
    }
    let names: Vec<&str> =
        defined.into_iter().flatten().map(|(name, _)| name.as_str()).chain(always.iter().copied()).collect();
    let what = path.last().copied().unwrap_or_default();
    let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
    let diagnostic = Diagnostic::error(&codes::UNKNOWN_NAME, format!("no {what} is named {}", quote(name)))
        .at(document.origin(&path).value, format!("not in `[{table}]`"));
    found.push(match suggestion(name, &names, &format!("`[{table}]` has")) {
        Some(help) => diagnostic.help(help),
        None => diagnostic.help(format!("define it: `[{table}.{name}]`")),
    });
}

fn duplicates(document: &Document, classes: &[Value], found: &mut Diagnostics) {
    let names: Vec<Option<&str>> = classes.iter().map(|class| class.get("name").and_then(Value::as_str)).collect();
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        if let Some(first) = names[..index].iter().position(|other| *other == Some(name)) {
            let span =
                |index: usize| document.origin(&["traffic".to_owned(), index.to_string(), "name".to_owned()]).value;
            let message = format!("two traffic classes are named {}", quote(name));
            let diagnostic = Diagnostic::error(&codes::DUPLICATE_NAME, message).at(span(index), "the second");
            found.push(diagnostic.also(span(first), "the first"));
        }
    }
}
