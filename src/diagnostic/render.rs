//! Diagnostics as text for people, lines of JSON, or annotations of a pull request.

use std::fmt::Write;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Map, Value, json};

use super::{Diagnostic, Diagnostics, Label, Severity, SourceId, Sources};

/// Findings shown for one source; of the rest only the number is said.
pub const SHOWN_PER_SOURCE: usize = 20;

/// The form for people: message, place, the line with a caret, notes and help.
pub fn human(diagnostics: &Diagnostics, sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    let mut ids: Vec<Option<SourceId>> = diagnostics.iter().map(source_of).collect();
    ids.dedup();
    for id in ids {
        let of_source: Vec<&Diagnostic> = diagnostics.iter().filter(|diagnostic| source_of(diagnostic) == id).collect();
        for diagnostic in of_source.iter().take(SHOWN_PER_SOURCE) {
            text.push_str(renderer.render(&[group(diagnostic, sources)]).trim_end());
            text.push_str("\n\n");
        }
        if let Some(rest) = of_source.len().checked_sub(SHOWN_PER_SOURCE).filter(|rest| *rest > 0) {
            let place = id.map_or(String::new(), |id| format!(" in {}", sources.get(id).name()));
            let _ = writeln!(text, "… and {rest} more{place}\n");
        }
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn source_of(diagnostic: &Diagnostic) -> Option<SourceId> {
    diagnostic.primary.as_ref().map(|label| label.span.source)
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code.id));
    let mut shown: Vec<SourceId> = Vec::new();
    for label in diagnostic.primary.as_deref().into_iter().chain(&diagnostic.secondary) {
        if !shown.contains(&label.span.source) {
            shown.push(label.span.source);
        }
    }
    for id in shown {
        let source = sources.get(id);
        let primary = diagnostic.primary.as_deref().into_iter().filter(|label| label.span.source == id);
        let secondary = diagnostic.secondary.iter().filter(|label| label.span.source == id);
        group = group.element(
            Snippet::source(source.text())
                .path(source.name())
                .annotations(primary.map(|label| annotation(label, AnnotationKind::Primary, source.text())))
                .annotations(secondary.map(|label| annotation(label, AnnotationKind::Context, source.text()))),
        );
    }
    let group = group.elements(diagnostic.notes.iter().map(|note| Level::NOTE.message(note)));
    group.elements(diagnostic.help.iter().map(|help| Level::HELP.message(help)))
}

fn annotation<'a>(label: &'a Label, kind: AnnotationKind, text: &str) -> Annotation<'a> {
    // A span over many lines (a whole table) would draw a bracket around all of them: its first line says enough.
    let start = label.span.start.min(text.len());
    let end = label.span.end.clamp(start, text.len());
    let end = text.get(start..end).and_then(|shown| shown.find(['\n', '\r'])).map_or(end, |at| start + at);
    let annotation = kind.span(start..end);
    if label.text.is_empty() { annotation } else { annotation.label(&label.text) }
}

/// One JSON object a line: `file` (or `argument`), `line`, `column`, `end`, `severity`, `code`,
/// `message`, `label`, `notes`, `help`. Every finding, none left out.
pub fn json(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let _ = writeln!(text, "{}", Value::Object(object(diagnostic, sources)));
    }
    text
}

fn object(diagnostic: &Diagnostic, sources: &Sources) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("severity", diagnostic.severity.as_str().into());
    put("code", diagnostic.code.id.into());
    put("message", diagnostic.message.as_str().into());
    if let Some(label) = &diagnostic.primary {
        let source = sources.get(label.span.source);
        let (start, end) = (sources.start(label.span), sources.end(label.span));
        put(if source.is_file() { "file" } else { "argument" }, source.name().into());
        put("line", start.line.into());
        put("column", start.column.into());
        put("end", json!({ "line": end.line, "column": end.column }));
        if !label.text.is_empty() {
            put("label", label.text.as_str().into());
        }
    }
    if !diagnostic.notes.is_empty() {
        put("notes", diagnostic.notes.as_slice().into());
    }
    if !diagnostic.help.is_empty() {
        put("help", diagnostic.help.join("; ").into());
    }
    object
}

/// Workflow commands that put each finding beside its line in a pull request.
pub fn github(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let _ = write!(text, "::{}", diagnostic.severity.as_str());
        let mut message = diagnostic.message.clone();
        let mut separator = ' ';
        if let Some(label) = &diagnostic.primary {
            let source = sources.get(label.span.source);
            if source.is_file() {
                let (start, end) = (sources.start(label.span), sources.end(label.span));
                let file = escape_property(source.name());
                let _ = write!(text, " file={file},line={},col={}", start.line, start.column);
                let _ = write!(text, ",endLine={},endColumn={}", end.line, end.column);
                separator = ',';
            } else {
                message = format!("{}: {message}", source.name());
            }
            if !label.text.is_empty() {
                message = format!("{message}: {}", label.text);
            }
        }
        for line in diagnostic.notes.iter().chain(&diagnostic.help) {
            message = format!("{message}\n{line}");
        }
        let _ = writeln!(text, "{separator}title={}::{}", diagnostic.code.id, escape_data(&message));
    }
    text
}

/// A text as the message of a workflow command.
pub fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A text as a property of a workflow command.
pub fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}
