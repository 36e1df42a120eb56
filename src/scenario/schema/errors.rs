//! From what the validator says to what a person can act on: each finding at its own key or value.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::navigate::{self, Setting};
use crate::diagnostic::text::{list, nearest, quote, suggestion};
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::credentials;
use crate::scenario::document::Document;
use crate::scenario::keypath::{Pointer, display, lookup};
use crate::units::HumanDuration;

/// What a pattern asks for, in words. Patterns without an entry show themselves.
const FORMS: [(&str, &str); 6] = [
    (HumanDuration::PATTERN, "a duration with its unit, such as `10s`, `250ms` or `1h 30m`"),
    (
        r"^[a-z0-9][a-z0-9._-]{0,62}$",
        "up to 63 lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
    ),
    (
        r"^[a-z0-9][a-z0-9_-]{0,62}$",
        "up to 63 lower-case letters, digits, `_` and `-`, beginning with a letter or digit",
    ),
    (r"^(https?://.+|sim:[A-Za-z0-9._-]+(\?.*)?)$", "`http://…`, `https://…` or `sim:PROFILE`"),
    (r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable"),
    (r"^[0-9a-f]{64}$", "64 lower-case hexadecimal digits"),
];

/// What the form of a text is, in words.
pub(super) fn form(pattern: &str) -> Option<&'static str> {
    FORMS.iter().find(|(known, _)| *known == pattern).map(|(_, words)| *words)
}

/// One finding and the place in the document that it spoils.
pub(in crate::scenario) struct Finding {
    pub(in crate::scenario) pointer: Pointer,
    pub(in crate::scenario) diagnostic: Diagnostic,
}

/// Everything the schema says against `document`.
pub(in crate::scenario) fn find(document: &Document) -> Vec<Finding> {
    let mut findings = Vec::new();
    for error in super::validator().iter_errors(document.value()) {
        Explainer { document, findings: &mut findings }.explain(&error);
    }
    findings
}

struct Explainer<'a> {
    document: &'a Document,
    findings: &'a mut Vec<Finding>,
}

impl Explainer<'_> {
    fn explain(&mut self, error: &ValidationError<'_>) {
        let pointer = Pointer::from_json(error.instance_path().as_str());
        let parts = pointer.parts();
        match error.kind() {
            Kind::OneOfNotValid { context } | Kind::OneOfMultipleValid { context } => self.tagged(parts, context),
            Kind::AdditionalProperties { unexpected } => unexpected.iter().for_each(|key| self.unknown_key(parts, key)),
            Kind::Required { property } => self.missing_key(parts, property.as_str().unwrap_or_default()),
            Kind::Type { .. } => self.wrong_type(parts),
            Kind::Custom { .. } => self.has_fraction(parts),
            Kind::Minimum { limit } => self.out_of_bounds(parts, "at least", limit),
            Kind::Maximum { limit } => self.out_of_bounds(parts, "at most", limit),
            Kind::ExclusiveMinimum { limit } => self.out_of_bounds(parts, "more than", limit),
            Kind::ExclusiveMaximum { limit } => self.out_of_bounds(parts, "less than", limit),
            Kind::Enum { options } => self.unknown_word(parts, options),
            Kind::Pattern { pattern } => match form(pattern) {
                Some(form) => self.wrong_form(parts, form),
                None => self.wrong_form(parts, &format!("a text that matches {}", quote(pattern))),
            },
            Kind::MinLength { .. } => self.wrong_form(parts, "a text that is not empty"),
            Kind::MinItems { .. } | Kind::MinProperties { .. } => self.empty(parts),
            _ => {
                let message = format!("{} is not valid: {}", self.name(parts), error.masked());
                self.value(parts, Diagnostic::error(&codes::WRONG_FORM, message), "");
            }
        }
    }

    /// `` `load.rate_per_s` ``, or words for the whole file.
    fn name(&self, parts: &[String]) -> String {
        if parts.is_empty() {
            "the scenario".to_owned()
        } else {
            format!("`{}`", display(parts, self.document.value()))
        }
    }

    fn push(&mut self, parts: &[String], diagnostic: Diagnostic) {
        self.findings.push(Finding { pointer: Pointer::new(parts.to_vec()), diagnostic });
    }

    /// Points `diagnostic` at the value.
    fn value(&mut self, parts: &[String], diagnostic: Diagnostic, label: &str) {
        let origin = self.document.origin(parts);
        let mut diagnostic = diagnostic.at(origin.value, label);
        for name in origin.variables {
            diagnostic = diagnostic.note(format!("part of the text comes from the variable `{name}`"));
        }
        self.push(parts, diagnostic);
    }

    fn setting(&self, parts: &[String]) -> Option<Setting<'static>> {
        navigate::at(self.document.value(), parts)
    }

    /// A table whose `kind` chooses its keys: only the chosen kind's errors matter.
    fn tagged(&mut self, parts: &[String], context: &[Vec<ValidationError<'static>>]) {
        let value = lookup(self.document.value(), parts);
        let Some((tag, options)) = self.setting(parts).and_then(|setting| setting.tag()) else { return };
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        if !value.is_some_and(Value::is_object) {
            return self.wrong_type(parts);
        }
        match value.and_then(|value| value.get(tag)) {
            None => {
                let message = format!("{} lacks `{tag}`", self.name(parts));
                let label = format!("`{tag}` is one of {}", list(&words, "or"));
                self.value(parts, Diagnostic::error(&codes::MISSING_KEY, message), &label);
            }
            Some(Value::String(word)) => match words.iter().position(|known| known == word) {
                Some(index) => {
                    let errors = context.get(index).map(Vec::as_slice).unwrap_or_default();
                    errors.iter().for_each(|error| self.explain(error));
                }
                None => self.unknown_kind(parts, tag, word, &words),
            },
            Some(_) => {
                let path = [parts, &[tag.to_owned()]].concat();
                let message = format!("{} must be a word", self.name(&path));
                let label = format!("expected {}", list(&words, "or"));
                self.value(&path, Diagnostic::error(&codes::WRONG_TYPE, message), &label);
            }
        }
    }

    fn unknown_kind(&mut self, parts: &[String], tag: &str, word: &str, words: &[&str]) {
        let what = parts.iter().rev().find(|part| part.parse::<usize>().is_err()).map_or("", String::as_str);
        let message = match tag {
            "protocol" => format!("unknown protocol {}", quote(word)),
            _ => format!("unknown kind {} of `{what}`", quote(word)),
        };
        let mut diagnostic = Diagnostic::error(&codes::UNKNOWN_KIND, message);
        if let Some(near) = nearest(word, words) {
            diagnostic = diagnostic.help(format!("did you mean {}?", quote(near)));
        }
        let label = format!("expected {}", list(words, "or"));
        self.value(&[parts, &[tag.to_owned()]].concat(), diagnostic, &label);
    }

    fn unknown_key(&mut self, parts: &[String], key: &str) {
        let table = self.setting(parts);
        let value = lookup(self.document.value(), parts);
        let chosen = table.and_then(|table| table.chosen(value));
        let present = |name: &str| value.is_some_and(|value| value.get(name).is_some());
        let known: Vec<&str> =
            chosen.map(|table| table.properties()).unwrap_or_default().into_iter().map(|(n, _)| n).collect();
        let place = if parts.is_empty() { String::new() } else { format!(" in {}", self.name(parts)) };
        let mut diagnostic = Diagnostic::error(&codes::UNKNOWN_KEY, format!("unknown key {}{place}", quote(key)));
        let others = table.and_then(|table| table.tag()).map(|(tag, options)| {
            let with: Vec<&str> = options
                .iter()
                .filter(|(_, table)| table.properties().iter().any(|(n, _)| *n == key))
                .map(|(w, _)| *w)
                .collect();
            (tag, with)
        });
        match others.filter(|(_, with)| !with.is_empty()) {
            Some((tag, with)) => {
                let word = value.and_then(|value| value.get(tag)).and_then(Value::as_str).unwrap_or_default();
                diagnostic = diagnostic.note(format!(
                    "`{key}` belongs to `{tag} = \"{}\"`, this is {}",
                    with.join("\"` or `\""),
                    quote(word)
                ));
            }
            None => {
                let free: Vec<&str> = known.iter().copied().filter(|name| !present(name)).collect();
                let taken: Vec<&str> = known.iter().copied().filter(|name| present(name)).collect();
                if let (None, Some(near)) = (nearest(key, &free), nearest(key, &taken)) {
                    diagnostic = diagnostic.help(format!("did you mean {}? it is set already", quote(near)));
                } else if let Some(help) =
                    suggestion(key, if free.is_empty() { &known } else { &free }, "keys that may stand here")
                {
                    diagnostic = diagnostic.help(help);
                }
            }
        }
        let path = [parts, &[key.to_owned()]].concat();
        let origin = self.document.origin(&path);
        self.push(&path, diagnostic.at(origin.key.unwrap_or(origin.value), "no setting has this name here"));
    }

    fn missing_key(&mut self, parts: &[String], key: &str) {
        let value = lookup(self.document.value(), parts);
        let chosen = self.setting(parts).and_then(|table| table.chosen(value));
        let doc = chosen.and_then(|table| match table.step(value, key) {
            navigate::Step::Known(setting) => setting.doc(),
            _ => None,
        });
        let diagnostic = Diagnostic::error(&codes::MISSING_KEY, format!("{} lacks `{key}`", self.name(parts)));
        let diagnostic = match doc {
            Some(doc) => diagnostic.note(format!("`{key}`: {}", doc.trim_end_matches('.'))),
            None => diagnostic,
        };
        self.value(parts, diagnostic, "");
    }

    fn wrong_type(&mut self, parts: &[String]) {
        let setting = self.setting(parts);
        let value = lookup(self.document.value(), parts).unwrap_or(&Value::Null);
        let kind = setting.and_then(|setting| setting.kind());
        if kind == Some("integer") && value.is_f64() {
            return self.has_fraction(parts);
        }
        let duration = setting.is_some_and(|s| s.target().get("pattern").is_some_and(|p| p == HumanDuration::PATTERN));
        let expected = match kind {
            Some("string") if duration => "a duration in quotes",
            Some("string") => "a string",
            Some("integer") => "a whole number",
            Some("number") => "a number",
            Some("boolean") => "`true` or `false`",
            Some("array") => "an array",
            Some("object") => "a table",
            _ => "something else",
        };
        let found = match value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "a table",
        };
        let message = format!("{} must be {expected}, not {found}", self.name(parts));
        let mut diagnostic = Diagnostic::error(&codes::WRONG_TYPE, message);
        match value {
            Value::Number(number) if duration => {
                diagnostic = diagnostic.help(format!("give the unit: `\"{number}s\"`, `\"{number}ms\"`, …"));
            }
            Value::String(text) if text.parse::<f64>().is_ok() && expected.ends_with("number") => {
                let variable = !self.document.origin(parts).variables.is_empty();
                let set =
                    format!("variables make strings only; use `--set {}=…`", display(parts, self.document.value()));
                diagnostic = diagnostic.help(if variable { set } else { "leave the quotes out".to_owned() });
            }
            Value::Object(_) if kind == Some("array") => {
                let name = display(parts, self.document.value());
                diagnostic = diagnostic.help(format!("write `[[{name}]]` with double brackets, once for each entry"));
            }
            Value::String(text) if text == "true" || text == "false" => {
                diagnostic = diagnostic.help("leave the quotes out");
            }
            _ => {}
        }
        self.value(parts, diagnostic, &format!("expected {expected}"));
    }

    fn has_fraction(&mut self, parts: &[String]) {
        let value = lookup(self.document.value(), parts).cloned().unwrap_or_default();
        let message = format!("{} must be a whole number, not `{value}`", self.name(parts));
        let mut diagnostic = Diagnostic::error(&codes::WRONG_TYPE, message);
        if let Some(whole) = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15) {
            diagnostic = diagnostic.help(format!("write `{whole:.0}`"));
        }
        self.value(parts, diagnostic, "expected a whole number");
    }

    fn out_of_bounds(&mut self, parts: &[String], relation: &str, limit: &Value) {
        let value = lookup(self.document.value(), parts).cloned().unwrap_or_default();
        let limit = number(limit);
        let message = format!("{} must be {relation} {limit}, not {}", self.name(parts), number(&value));
        self.value(parts, Diagnostic::error(&codes::OUT_OF_BOUNDS, message), &format!("expected {relation} {limit}"));
    }

    fn unknown_word(&mut self, parts: &[String], options: &Value) {
        let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(word) = lookup(self.document.value(), parts).and_then(Value::as_str) else {
            // The wrong type is an error of its own.
            return;
        };
        let mut diagnostic =
            Diagnostic::error(&codes::UNKNOWN_WORD, format!("{} cannot be {}", self.name(parts), quote(word)));
        if let Some(near) = nearest(word, &words) {
            diagnostic = diagnostic.help(format!("did you mean {}?", quote(near)));
        }
        self.value(parts, diagnostic, &format!("expected {}", list(&words, "or")));
    }

    fn wrong_form(&mut self, parts: &[String], form: &str) {
        let value = lookup(self.document.value(), parts).and_then(Value::as_str).unwrap_or_default();
        let shown = quote(&credentials::redact(parts, value));
        let message = format!("{} cannot be {shown}", self.name(parts));
        self.value(parts, Diagnostic::error(&codes::WRONG_FORM, message), &format!("expected {form}"));
    }

    fn empty(&mut self, parts: &[String]) {
        let message = format!("{} is empty", self.name(parts));
        self.value(parts, Diagnostic::error(&codes::EMPTY, message), "at least one entry is needed");
    }
}

/// A number as a person writes it: `1` for `1.0`.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
        _ => value.to_string(),
    }
}
