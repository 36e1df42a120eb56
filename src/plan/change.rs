//! Which settings differ between two trees, by key path.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChange {
    /// Key path, array entries by name.
    pub key_path: String,
    /// The value before; absent: it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// The value after; absent: it is not set any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// The settings that differ between two trees, sorted by key path. Lists of named tables (traffic classes)
/// are compared by name, other lists as a whole.
pub fn key_changes(old: &Value, new: &Value) -> Vec<KeyChange> {
    let mut changes = Vec::new();
    collect("", Some(old), Some(new), &mut changes);
    changes.sort_by(|a, b| a.key_path.cmp(&b.key_path));
    changes
}

fn collect(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<KeyChange>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(new @ Value::Object(_))) => {
            let new = new.as_object().into_iter().flatten();
            let mut pairs: BTreeMap<&str, (Option<&Value>, Option<&Value>)> =
                old.iter().map(|(key, value)| (key.as_str(), (Some(value), None))).collect();
            for (key, value) in new {
                pairs.entry(key).or_default().1 = Some(value);
            }
            for (key, (old, new)) in pairs {
                collect(&join(path, key), old, new, changes);
            }
        }
        (Some(old_value @ Value::Array(_)), Some(new_value @ Value::Array(_))) => {
            match (named(old_value), named(new_value)) {
                (Some(old), Some(new)) => collect_named(path, &old, &new, changes),
                _ => push(path, Some(old_value), Some(new_value), changes),
            }
        }
        _ => push(path, old, new, changes),
    }
}

/// Entries that are in both lists are compared; a list with other entries or another order is a change
/// itself, because the order of classes is part of the experiment.
fn collect_named(path: &str, old: &[(&str, &Value)], new: &[(&str, &Value)], changes: &mut Vec<KeyChange>) {
    let names = |list: &[(&str, &Value)]| -> Vec<String> { list.iter().map(|(name, _)| (*name).to_owned()).collect() };
    if names(old) != names(new) {
        push(path, Some(&Value::from(names(old))), Some(&Value::from(names(new))), changes);
    }
    for (name, value) in old {
        if let Some((_, other)) = new.iter().find(|(candidate, _)| candidate == name) {
            collect(&join(path, name), Some(value), Some(other), changes);
        }
    }
}

fn named(list: &Value) -> Option<Vec<(&str, &Value)>> {
    let entries: Vec<(&str, &Value)> =
        list.as_array()?.iter().map(|entry| Some((entry.get("name")?.as_str()?, entry))).collect::<Option<_>>()?;
    let mut names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    (names.len() == entries.len()).then_some(entries)
}

fn push(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<KeyChange>) {
    changes.push(KeyChange { key_path: path.to_owned(), old: old.cloned(), new: new.cloned() });
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let key = if bare { key.to_owned() } else { Value::from(key).to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(key_path: &str, old: Value, new: Value) -> KeyChange {
        let some = |value: Value| (!value.is_null()).then_some(value);
        KeyChange { key_path: key_path.to_owned(), old: some(old), new: some(new) }
    }

    #[test]
    fn changes_are_named_by_key_path() {
        let old = json!({
            "load": { "kind": "poisson", "rate": 1, "cap": 5 },
            "traffic": [{ "name": "a", "weight": 1 }, { "name": "b", "weight": 1 }],
            "list": [1, 2],
            "backends": { "my.server": { "url": "x" } },
        });
        let new = json!({
            "load": { "kind": "poisson", "rate": 2, "extra": true },
            "traffic": [{ "name": "a", "weight": 1 }, { "name": "b", "weight": 3 }],
            "list": [1, 3],
            "backends": { "my.server": { "url": "y" } },
        });
        assert_eq!(
            key_changes(&old, &new),
            [
                change("backends.\"my.server\".url", json!("x"), json!("y")),
                change("list", json!([1, 2]), json!([1, 3])),
                change("load.cap", json!(5), Value::Null),
                change("load.extra", Value::Null, json!(true)),
                change("load.rate", json!(1), json!(2)),
                change("traffic.b.weight", json!(1), json!(3)),
            ]
        );
        assert_eq!(key_changes(&old, &old), []);
    }

    #[test]
    fn the_order_of_named_entries_is_a_change_of_its_own() {
        let old = json!({ "traffic": [{ "name": "a", "w": 1 }, { "name": "b" }] });
        let new = json!({ "traffic": [{ "name": "b" }, { "name": "a", "w": 2 }] });
        assert_eq!(
            key_changes(&old, &new),
            [change("traffic", json!(["a", "b"]), json!(["b", "a"])), change("traffic.a.w", json!(1), json!(2)),]
        );
    }
}
