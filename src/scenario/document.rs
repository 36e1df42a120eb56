//! The resolved scenario as JSON, with the place every key and value came from.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keypath::{self, Pointer, lookup};
use super::schema::navigate::{self, Setting, Step};
use super::tree::{Item, Node};
use crate::diagnostic::text::{list, quote, suggestion};
use crate::diagnostic::{Diagnostic, Span, codes};

/// A scenario after bases, `--set` and variables, before types. Cheap to patch.
#[derive(Clone, Debug)]
pub struct Document {
    value: Value,
    tree: Arc<Node>,
    patches: Vec<Patch>,
}

/// One changed setting, as an axis makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The setting.
    pub pointer: Pointer,
    /// Its new value.
    pub value: Value,
    /// Where the value is written, for errors about it.
    pub origin: Span,
}

/// Where something in a document was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origin<'d> {
    /// The key, unless it is an array entry or came from an axis.
    pub key: Option<Span>,
    /// The value; of a table its header or braces. For what is absent, the table that lacks it.
    pub value: Span,
    /// Environment variables that are part of it.
    pub variables: &'d [String],
}

/// What kind of value a setting takes, as far as an axis needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A number without fraction.
    WholeNumber,
    /// Any number.
    Number,
    /// A string, boolean, table or array.
    Other,
}

/// Top-level keys that change nothing that is measured.
const NOT_SWEEPABLE: [&str; 11] =
    ["schema", "name", "description", "extends", "labels", "store", "limits", "sweep", "exclude", "errors", "validity"];

impl Document {
    pub(super) fn new(tree: Node) -> Self {
        Self { value: tree.to_value(), tree: Arc::new(tree), patches: Vec::new() }
    }

    /// A document that is known by value only, such as a point of a saved plan; everything in it is `at`
    /// one place.
    pub fn resolved(value: Value, at: Span) -> Self {
        Self { value, tree: Arc::new(Node::new(at, Item::Leaf(Value::Null))), patches: Vec::new() }
    }

    /// The whole document.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value at `pointer`, if it is set.
    pub fn get(&self, pointer: &Pointer) -> Option<&Value> {
        lookup(&self.value, pointer.parts())
    }

    /// Where the value at `pointer` was written, or the nearest table around it.
    pub fn span(&self, pointer: &Pointer) -> Span {
        self.origin(pointer.parts()).value
    }

    /// A key path for people: `/traffic/0/weight` is `traffic.base.weight`.
    pub fn display(&self, pointer: &Pointer) -> String {
        keypath::display(pointer.parts(), &self.value)
    }

    /// This document with some settings changed. Tables on the way are made where they are absent.
    #[must_use]
    pub fn with(&self, patches: &[Patch]) -> Self {
        let mut value = self.value.clone();
        for patch in patches {
            set(&mut value, patch.pointer.parts(), patch.value.clone());
        }
        Self { value, tree: Arc::clone(&self.tree), patches: [self.patches.as_slice(), patches].concat() }
    }

    /// Patches made so far, oldest first.
    pub fn patches(&self) -> &[Patch] {
        &self.patches
    }

    pub(super) fn origin(&self, parts: &[String]) -> Origin<'_> {
        if let Some(patch) = self.patches.iter().rev().find(|patch| parts.starts_with(patch.pointer.parts())) {
            return Origin { key: None, value: patch.origin, variables: &[] };
        }
        let mut node = &*self.tree;
        let mut key = None;
        for part in parts {
            let entry_key = node.table().and_then(|entries| entries.get(part)).map(|entry| entry.key);
            match node.get(part) {
                Some(next) => (node, key) = (next, entry_key),
                None => return Origin { key: None, value: node.span, variables: &[] },
            }
        }
        Origin { key, value: node.span, variables: &node.variables }
    }

    /// The setting that the key path names, set or not: `traffic.base.weight`, `load.max_in_flight.limit`.
    ///
    /// # Errors
    /// When no scenario of these kinds has such a setting; without a place, which the caller knows.
    pub fn resolve(&self, key_path: &str) -> Result<Pointer, Diagnostic> {
        let fail = |message: String| Diagnostic::error(&codes::UNKNOWN_AXIS, message);
        let keys = keypath::split(key_path)
            .map_err(|reason| fail(format!("{} is not a key path: {reason}", quote(key_path))))?;
        let mut setting = navigate::root();
        let mut value = Some(&self.value);
        let mut parts: Vec<String> = Vec::new();
        for (key, _) in keys {
            let (part, next) = self.descend(setting, value, &parts, &key, key_path)?;
            value = value.and_then(|value| lookup(value, std::slice::from_ref(&part)));
            parts.push(part);
            setting = next;
        }
        Ok(Pointer::new(parts))
    }

    /// Whether a table on the way of `key_path` is of an unknown kind: nobody can say what it may hold, and
    /// the kind is a finding of its own.
    pub(super) fn behind_unknown_kind(&self, key_path: &str) -> bool {
        let Ok(keys) = keypath::split(key_path) else { return false };
        let mut setting = navigate::root();
        let mut value = Some(&self.value);
        let mut parts: Vec<String> = Vec::new();
        for (key, _) in keys {
            let word = |tag: &str| value?.get(tag)?.as_str();
            if setting.tag().is_some_and(|(tag, options)| {
                word(tag).is_some_and(|word| options.iter().all(|(known, _)| *known != word))
            }) {
                return true;
            }
            let Ok((part, next)) = self.descend(setting, value, &parts, &key, key_path) else { return false };
            value = value.and_then(|value| lookup(value, std::slice::from_ref(&part)));
            parts.push(part);
            setting = next;
        }
        false
    }

    fn descend<'s>(
        &self,
        setting: Setting<'s>,
        value: Option<&Value>,
        parts: &[String],
        key: &str,
        whole: &str,
    ) -> Result<(String, Setting<'s>), Diagnostic> {
        let place =
            || if parts.is_empty() { String::new() } else { format!(" in `{}`", keypath::display(parts, &self.value)) };
        let fail = |candidates: &[&str], what: &str| {
            let message = format!("{} names no setting: there is no {}{}", quote(whole), quote(key), place());
            let diagnostic = Diagnostic::error(&codes::UNKNOWN_AXIS, message);
            match suggestion(key, candidates, what) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        };
        let other_kinds = |diagnostic: Diagnostic| {
            let Some((tag, options)) = setting.tag() else { return diagnostic };
            let has = |table: &Setting<'_>| table.properties().iter().any(|(name, _)| *name == key);
            let with: Vec<&str> = options.iter().filter(|(_, table)| has(table)).map(|(word, _)| *word).collect();
            match with.as_slice() {
                [] => diagnostic,
                with => diagnostic.note(format!("`{key}` belongs to `{tag}` {}", list(with, "or"))),
            }
        };
        if let (Some(item), Some(Value::Array(entries))) = (setting.item(), value) {
            let names: Vec<&str> = entries.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
            let index = entries.iter().position(|entry| entry.get("name").and_then(Value::as_str) == Some(key));
            return index.map(|index| (index.to_string(), item)).ok_or_else(|| fail(&names, "names here"));
        }
        match setting.step(value, key) {
            Step::Known(next) => Ok((key.to_owned(), next)),
            // Scalars may be added by an axis (`extra_body.temperature`); whole backends may not.
            Step::Free(next) if next.kind() != Some("object") || value.is_some_and(|v| v.get(key).is_some()) => {
                Ok((key.to_owned(), next))
            }
            Step::Free(_) => {
                let names: Vec<&str> =
                    value.and_then(Value::as_object).into_iter().flatten().map(|(n, _)| n.as_str()).collect();
                Err(fail(&names, "names here"))
            }
            Step::Unknown(known) => Err(other_kinds(fail(&known, "keys that may stand here"))),
            Step::Opaque => Err(fail(&[], "")),
        }
    }

    /// Why the setting cannot be an axis, if it cannot.
    pub fn not_sweepable(&self, pointer: &Pointer) -> Option<&'static str> {
        let parts: Vec<&str> = pointer.parts().iter().map(String::as_str).collect();
        match parts.as_slice() {
            [top, ..] if NOT_SWEEPABLE.contains(top) => Some("it changes nothing that is measured"),
            ["traffic", _, "slo", ..] => Some("an SLO judges what was measured; it changes nothing that is measured"),
            ["traffic", _, "name"] => Some("it is what the class is called"),
            ["backends", _, "price", ..] => Some("a price changes nothing that is measured"),
            ["traffic" | "backends" | "workloads" | "tokenizers"] => Some("an axis is one setting inside it"),
            _ => None,
        }
    }

    /// What kind of value the setting takes.
    pub fn setting_kind(&self, pointer: &Pointer) -> SettingKind {
        match navigate::at(&self.value, pointer.parts()).and_then(|setting| setting.kind()) {
            Some("integer") => SettingKind::WholeNumber,
            Some("number") => SettingKind::Number,
            _ => SettingKind::Other,
        }
    }
}

pub(super) fn set(root: &mut Value, parts: &[String], value: Value) {
    let mut at = root;
    for part in parts {
        at = match at {
            Value::Array(array) => match part.parse::<usize>().ok().and_then(|index| array.get_mut(index)) {
                Some(entry) => entry,
                None => return,
            },
            Value::Object(map) => map.entry(part.clone()).or_insert(Value::Object(Map::new())),
            // A plain value on the way: `resolve` gives no such pointer.
            _ => return,
        };
    }
    *at = value;
}
