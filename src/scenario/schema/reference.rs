//! The scenario reference for people, generated from the schema: `docs/scenario.md`.

use std::fmt::Write;

use serde_json::Value;

use super::navigate::{self, Setting};
use crate::units::HumanDuration;

/// The whole page as Markdown: every setting with type, unit, default, bounds and documentation.
pub fn reference_markdown() -> String {
    let mut page = Page::default();
    page.text.push_str(
        "# Scenario reference\n\n\
         <!-- Generated from the Rust types: `UPDATE=1 cargo test` rewrites it. -->\n\n\
         A scenario is a TOML file. Every setting has one type; units are in the key (`_ms`, `_per_s`, `_tokens`) or in a\n\
         duration with its unit (`\"10s\"`). A dash: may be absent. `${NAME}`, `${NAME:-default}` and\n\
         `${NAME:?message}` are replaced in string values only, `$${` is a literal `${`. `extends` lays this file over\n\
         another one: tables merge key by key (a table of another `kind` is replaced), `[[traffic]]` merges by `name`,\n\
         other arrays are replaced. `--set key.path=value` changes a setting for one run; entries of `traffic` go by name.\n\n",
    );
    let root = navigate::root();
    page.table("The scenario", "", root);
    while let Some((path, setting)) = page.pending.pop_front() {
        page.section(&path, setting);
    }
    let mut text = page.text;
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[derive(Default)]
struct Page<'s> {
    text: String,
    pending: std::collections::VecDeque<(String, Setting<'s>)>,
    done: Vec<String>,
}

impl<'s> Page<'s> {
    fn section(&mut self, path: &str, setting: Setting<'s>) {
        if let Some((tag, options)) = setting.tag() {
            self.heading(path, setting);
            for (word, table) in options {
                self.table(&format!("`{path}` with `{tag} = \"{word}\"`"), path, table);
            }
        } else {
            self.table(&format!("`{path}`"), path, setting);
        }
    }

    fn heading(&mut self, path: &str, setting: Setting<'s>) {
        let _ = write!(self.text, "## `{path}`\n\n{}\n\n", setting.doc().unwrap_or_default());
    }

    /// One table of settings.
    fn table(&mut self, title: &str, path: &str, table: Setting<'s>) {
        let level = if title.contains(" with ") { "###" } else { "##" };
        let _ = write!(self.text, "{level} {title}\n\n{}\n\n", target_doc(table));
        let tag_only = ["kind", "protocol"];
        let properties: Vec<_> = table
            .properties()
            .into_iter()
            .filter(|(name, s)| !(tag_only.contains(name) && s.target().get("const").is_some()))
            .collect();
        if properties.is_empty() {
            self.text.push_str("It has no further settings.\n\n");
            return;
        }
        self.text.push_str("| key | type | unit | default | bounds | |\n|---|---|---|---|---|---|\n");
        for (name, setting) in properties {
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let default = match setting.default() {
                Some(Value::Object(_)) => "see there".to_owned(),
                Some(value) => format!("`{value}`"),
                None if table.requires(name) => "**required**".to_owned(),
                None => "–".to_owned(),
            };
            let kind = self.kind(&below, setting);
            let doc = setting.doc().unwrap_or_default().replace('|', "\\|");
            let unit = unit(path, name);
            let _ = writeln!(self.text, "| `{name}` | {kind} | {unit} | {default} | {} | {doc} |", bounds(setting));
        }
        self.text.push('\n');
    }

    /// The type in words; tables get a section of their own, once.
    fn kind(&mut self, path: &str, setting: Setting<'s>) -> String {
        let target = setting.target();
        if let Some(words) = target.get("enum").and_then(Value::as_array) {
            return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        }
        if target.get("pattern").is_some_and(|pattern| pattern == HumanDuration::PATTERN) {
            return "duration".to_owned();
        }
        if let Some(item) = setting.item() {
            return match item.kind() {
                Some("object") => self.link(path, "array of tables", item),
                Some(kind) => format!("array of {kind}s"),
                None => "array of any values".to_owned(),
            };
        }
        if let Some(entry) = setting.entry() {
            return match entry.kind() {
                Some("object") => self.link(&format!("{path}.NAME"), "tables by name", entry),
                Some(kind) => format!("{kind}s by name"),
                None => "any values by name".to_owned(),
            };
        }
        match setting.kind() {
            Some("object") => self.link(path, "table", setting),
            Some("integer") => "whole number".to_owned(),
            Some(kind) => kind.to_owned(),
            None => "any value".to_owned(),
        }
    }

    fn link(&mut self, path: &str, words: &str, setting: Setting<'s>) -> String {
        if !self.done.iter().any(|done| done == path) {
            self.done.push(path.to_owned());
            self.pending.push_back((path.to_owned(), setting));
        }
        let anchor: String =
            path.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == '_' || *c == '-').collect();
        format!("[{words}](#{anchor})")
    }
}

fn target_doc(table: Setting<'_>) -> String {
    let text = table.target().get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The unit a key's name says, or that of the table it stands in.
fn unit(path: &str, name: &str) -> &'static str {
    let within = path.rsplit('.').next().unwrap_or_default();
    match name {
        _ if name.ends_with("_per_s") => "1/s",
        _ if name.ends_with("_usd") || name.contains("_usd_") => "US$",
        _ if name.ends_with("_share") => "share",
        "minutes" => "min",
        "tokens" | "total" | "shared_prefix_tokens" => "tokens",
        _ if name.ends_with("_tokens") && (name.starts_with("min_") || name.starts_with("max_")) => "tokens",
        _ if name.starts_with("min_") || name.starts_with("max_") => "",
        "theta" | "cv" | "scramble" | "bins" | "weight" | "path" | "sha256" => "",
        _ if within.ends_with("_ms") => "ms",
        _ if within.ends_with("_tokens") || matches!(within, "bins" | "total") => "tokens",
        "input_tokens" | "output_tokens" if within == "pairs" => "tokens",
        _ => "",
    }
}

fn bounds(setting: Setting<'_>) -> String {
    let target = setting.target();
    let number = |key: &str| target.get(key).map(number_text);
    match (number("minimum"), number("maximum")) {
        (Some(min), Some(max)) if min == max => format!("only {min}"),
        (Some(min), Some(max)) => format!("{min} … {max}"),
        (Some(min), None) => format!("≥ {min}"),
        (None, Some(max)) => format!("≤ {max}"),
        (None, None) if ["minLength", "minItems", "minProperties"].iter().any(|key| target.get(*key).is_some()) => {
            "not empty".to_owned()
        }
        (None, None) => match target.get("pattern").and_then(Value::as_str) {
            Some(pattern) if pattern != HumanDuration::PATTERN => {
                super::errors::form(pattern).map_or_else(|| format!("`{}`", pattern.replace('|', "\\|")), str::to_owned)
            }
            _ => String::new(),
        },
    }
}

/// Whole numbers without a fraction, the rest as they are.
fn number_text(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 => format!("{number:.0}"),
        _ => value.to_string(),
    }
}
