//! `${NAME}`, `${NAME:-default}`, `${NAME:?message}` in string values, `$${` for a literal `${`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::credentials;
use super::keypath::Pointer;
use super::tree::{Item, Node};
use crate::diagnostic::text::{nearest, quote};
use crate::diagnostic::{Diagnostic, Diagnostics, Span, codes};

/// A text after replacement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replaced {
    pub(super) text: String,
    /// Name and value of each variable, in order of use.
    pub(super) used: Vec<(String, String)>,
    /// Whether some variable could not be replaced; then `text` means nothing.
    pub(super) broken: bool,
}

/// Replaces every variable of `text`, which stands at `span`; `None` when there is nothing to replace.
pub(super) fn replace(
    text: &str,
    span: Span,
    env: &BTreeMap<String, String>,
    found: &mut Diagnostics,
) -> Option<Replaced> {
    if !text.contains("${") {
        return None;
    }
    let mut out = Replaced::default();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.text.push_str(&rest[..at - 1]);
            out.text.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.text.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(close) = inner.find('}') else {
            found.push(malformed(span, "`${` without `}`"));
            out.broken = true;
            return Some(out);
        };
        rest = &inner[close + 1..];
        match variable(&inner[..close], env) {
            Ok((name, value)) => {
                out.text.push_str(&value);
                out.used.push((name, value));
            }
            Err(diagnostic) => {
                found.push(diagnostic.at_if_missing(span));
                out.broken = true;
            }
        }
    }
    out.text.push_str(rest);
    Some(out)
}

fn variable(body: &str, env: &BTreeMap<String, String>) -> Result<(String, String), Diagnostic> {
    let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
    let (name, form) = body.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(malformed_variable(&format!("{} has no valid name", quote(&format!("${{{body}}}")))));
    }
    if credentials::secret_name(name) {
        let message = format!("`${{{name}}}` looks like a secret, which may not become part of a scenario");
        return Err(Diagnostic::error(&codes::SECRET_VARIABLE, message)
            .note("values of `${…}` are stored in plans and reports")
            .help(format!("refer to it: `api_key = {{ env = \"{name}\" }}`, or an entry of `secret_headers`")));
    }
    let value = env.get(name).filter(|value| !value.is_empty());
    if let Some(default) = form.strip_prefix(":-") {
        return Ok((name.to_owned(), value.map_or(default, String::as_str).to_owned()));
    }
    if let Some(message) = form.strip_prefix(":?") {
        return value.map(|value| (name.to_owned(), value.clone())).ok_or_else(|| {
            let said = if message.is_empty() { "is required".to_owned() } else { message.to_owned() };
            Diagnostic::error(&codes::NOT_SET, format!("the variable `{name}` is not set: {}", plain(&said)))
        });
    }
    if !form.is_empty() {
        return Err(malformed_variable(&format!("{} has an unknown form", quote(&format!("${{{body}}}")))));
    }
    // Set but empty is a value here: only the forms with a colon treat it as absent.
    env.get(name).map(|value| (name.to_owned(), value.clone())).ok_or_else(|| {
        let mut diagnostic = Diagnostic::error(&codes::NOT_SET, format!("the variable `{name}` is not set"));
        let names: Vec<&String> = env.keys().filter(|other| !credentials::secret_name(other)).collect();
        if let Some(similar) = nearest(name, &names) {
            diagnostic = diagnostic.help(format!("did you mean {}?", quote(similar)));
        }
        diagnostic.help(format!("set it, or give a default: `${{{name}:-…}}`"))
    })
}

fn plain(text: &str) -> String {
    quote(text).trim_matches('`').to_owned()
}

fn malformed(span: Span, message: &str) -> Diagnostic {
    malformed_variable(message).at_if_missing(span)
}

fn malformed_variable(message: &str) -> Diagnostic {
    Diagnostic::error(&codes::BAD_VARIABLE, message)
        .help("the forms are `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; a literal `${` is `$${`")
}

impl Diagnostic {
    fn at_if_missing(self, span: Span) -> Self {
        if self.primary.is_some() { self } else { self.at(span, "") }
    }
}

/// Replaces `${…}` in every string; what could not be replaced is added to `spoiled`.
pub(super) fn replace_all(
    tree: &mut Node,
    env: &BTreeMap<String, String>,
    spoiled: &mut Vec<Pointer>,
    found: &mut Diagnostics,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    tree.each_leaf(&mut Vec::new(), &mut |path, leaf| {
        let Some(text) = leaf.text().map(str::to_owned) else { return };
        let mut errors = Diagnostics::new();
        let Some(replaced) = replace(&text, leaf.span, env, &mut errors) else { return };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sources;

    fn run(text: &str) -> (Option<Replaced>, Vec<&'static str>) {
        let env = [("A", "one"), ("EMPTY", ""), ("API_KEY", "canary")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let source = Sources::new().add_file("t", text);
        let mut found = Diagnostics::new();
        let replaced = replace(text, Span { source, start: 0, end: text.len() }, &env.into(), &mut found);
        (replaced, found.iter().map(|d| d.code.id).collect())
    }

    fn text(text: &str) -> String {
        let (replaced, found) = run(text);
        assert_eq!(found, Vec::<&str>::new());
        replaced.map_or(text.to_owned(), |replaced| replaced.text)
    }

    #[test]
    fn every_form() {
        assert_eq!(text("no variable $A {A}"), "no variable $A {A}");
        assert_eq!(text("${A}/${A}"), "one/one");
        assert_eq!(text("${NO:-x:y}"), "x:y");
        assert_eq!(text("${EMPTY:-x}"), "x");
        assert_eq!(text("${EMPTY}"), "");
        assert_eq!(text("${A:?must}"), "one");
        assert_eq!(text("$${A} ${A}"), "${A} one");
        assert_eq!(text("${NO:-}"), "");
    }

    #[test]
    fn every_fault() {
        assert_eq!(run("${NO}").1, ["B0501"]);
        assert_eq!(run("${EMPTY:?say}").1, ["B0501"]);
        assert_eq!(run("${A").1, ["B0502"]);
        assert_eq!(run("${}").1, ["B0502"]);
        assert_eq!(run("${1A}").1, ["B0502"]);
        assert_eq!(run("${A-x}").1, ["B0502"]);
        assert_eq!(run("${API_KEY}").1, ["B0503"]);
        assert_eq!(run("${API_KEY:-x}").1, ["B0503"]);
        assert_eq!(run("${NO} ${ALSO_NO}").1, ["B0501", "B0501"]);
    }
}
