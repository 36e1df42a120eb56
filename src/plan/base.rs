//! The seam between expansion and the document behind a scenario.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::scenario::file::ScenarioFile;

/// Where a patched value was written, so that a diagnostic can point at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisOrigin {
    /// Index in `[[sweep]]`.
    pub axis: usize,
    /// Index in `values`; `None` for a value that a `range` made.
    pub value: Option<usize>,
}

impl AxisOrigin {
    /// JSON pointer of the value in the document.
    pub fn pointer(self) -> String {
        match self.value {
            Some(value) => format!("/sweep/{}/values/{value}", self.axis),
            None => format!("/sweep/{}/range", self.axis),
        }
    }
}

/// One setting of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisPatch<'a> {
    /// JSON pointer into the document, from [`Base::resolve`].
    pub pointer: &'a str,
    /// The value at this point.
    pub value: &'a Value,
    /// Where the value was written.
    pub origin: AxisOrigin,
}

/// A document that can be patched: how expansion sees the scenario.
pub trait Base {
    /// What the document says about a key path or a value that it does not take.
    type Error;

    /// JSON pointer of a key path such as `traffic.base.weight` (array entries by name).
    ///
    /// # Errors
    /// When the key path names nothing that a scenario has.
    fn resolve(&mut self, key_path: &str) -> Result<String, Self::Error>;

    /// The checked scenario, defaults applied, with `patches` set.
    ///
    /// # Errors
    /// When a value does not fit there.
    fn point(&mut self, patches: &[AxisPatch<'_>]) -> Result<ScenarioFile, Self::Error>;
}

/// A [`Base`] over a plain JSON value: types are checked by serde, meaning is not. Rebuilds the points
/// of a saved plan, whose digests then prove that nothing was lost.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueBase {
    value: Value,
}

/// Why a plain value does not take a patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueBaseError {
    /// The key path leads through something that has no keys.
    #[error("`{key_path}` leads nowhere: there is no `{segment}`")]
    NoSuchKey {
        /// The whole key path.
        key_path: String,
        /// The segment that is missing.
        segment: String,
    },
    /// A quotation mark is missing, or a segment is empty.
    #[error("`{0}` is not a key path; write `table.key`, with quotes around a key that has dots")]
    Malformed(String),
    /// The patched value is not a scenario.
    #[error("{0}")]
    NotAScenario(String),
}

impl ValueBase {
    /// The scenario `value`, without `sweep` and `exclude`.
    pub fn new(mut value: Value) -> Self {
        if let Value::Object(table) = &mut value {
            table.remove("sweep");
            table.remove("exclude");
        }
        Self { value }
    }

    /// The value without any patch.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl Base for ValueBase {
    type Error = ValueBaseError;

    fn resolve(&mut self, key_path: &str) -> Result<String, ValueBaseError> {
        resolve_in(&self.value, key_path)
    }

    fn point(&mut self, patches: &[AxisPatch<'_>]) -> Result<ScenarioFile, ValueBaseError> {
        let settings = patches.iter().map(|patch| (patch.pointer, Some(patch.value)));
        with_settings(&mut self.value, settings, |value| {
            ScenarioFile::deserialize(value).map_err(|error| ValueBaseError::NotAScenario(error.to_string()))
        })
        .map_err(|pointer| ValueBaseError::NoSuchKey { key_path: pointer.clone(), segment: pointer })?
    }
}

/// What `read` makes of `value` while `settings` are set in it; afterwards it is as before. Only the top-level
/// tables concerned are copied, because a plan does this ten thousand times.
///
/// # Errors
/// The pointer that leads nowhere.
pub(crate) fn with_settings<'s, R>(
    value: &mut Value,
    settings: impl Iterator<Item = (&'s str, Option<&'s Value>)>,
    read: impl FnOnce(&Value) -> R,
) -> Result<R, String> {
    let mut saved: Vec<(String, Option<Value>)> = Vec::new();
    let mut failed = None;
    for (pointer, setting) in settings {
        let top = unescape(pointer.split('/').nth(1).unwrap_or_default());
        if !saved.iter().any(|(key, _)| *key == top) {
            let before = value.get(&top).cloned();
            saved.push((top, before));
        }
        if !set_at(value, pointer, setting.cloned()) {
            failed = Some(pointer.to_owned());
            break;
        }
    }
    let result = failed.map_or_else(|| Ok(read(value)), Err);
    if let Value::Object(table) = value {
        for (top, before) in saved {
            match before {
                Some(before) => table.insert(top, before),
                None => table.remove(&top),
            };
        }
    }
    result
}

/// Sets (`Some`) or removes (`None`) what `pointer` names, making the tables on the way. False when the
/// way leads through something that is neither a table nor an existing array entry.
pub(crate) fn set_at(value: &mut Value, pointer: &str, new: Option<Value>) -> bool {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
    let key = unescape(key);
    match (parent_at(value, parent), new) {
        (Some(Value::Object(table)), Some(new)) => {
            table.insert(key, new);
            true
        }
        (Some(Value::Object(table)), None) => {
            table.remove(&key);
            true
        }
        (Some(Value::Array(list)), Some(new)) => match key.parse().ok().and_then(|index: usize| list.get_mut(index)) {
            Some(entry) => {
                *entry = new;
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn parent_at<'v>(value: &'v mut Value, pointer: &str) -> Option<&'v mut Value> {
    pointer.split('/').skip(1).try_fold(value, |at, segment| match at {
        Value::Object(table) => Some(table.entry(unescape(segment)).or_insert_with(|| Value::Object(Map::new()))),
        Value::Array(list) => list.get_mut(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// One segment of a JSON pointer, escaped.
pub(crate) fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn resolve_in(value: &Value, key_path: &str) -> Result<String, ValueBaseError> {
    let mut pointer = String::new();
    let mut at = Some(value);
    for segment in split_key_path(key_path)? {
        let missing = || ValueBaseError::NoSuchKey { key_path: key_path.to_owned(), segment: segment.clone() };
        let (step, next) = match at {
            // A key that is absent may still be set: most settings have a default.
            None => (segment.clone(), None),
            Some(Value::Object(table)) => (segment.clone(), table.get(&segment)),
            Some(Value::Array(list)) => {
                let index = list
                    .iter()
                    .position(|entry| entry.get("name").and_then(Value::as_str) == Some(&segment))
                    .ok_or_else(missing)?;
                (index.to_string(), list.get(index))
            }
            Some(_) => return Err(missing()),
        };
        pointer.push('/');
        pointer.push_str(&escape(&step));
        at = next;
    }
    Ok(pointer)
}

/// The segments of a key path; a segment in double quotes may hold dots.
fn split_key_path(key_path: &str) -> Result<Vec<String>, ValueBaseError> {
    let malformed = || ValueBaseError::Malformed(key_path.to_owned());
    let mut segments = Vec::new();
    let mut rest = key_path;
    loop {
        let (segment, tail) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (segment, tail) = quoted.split_once('"').ok_or_else(malformed)?;
                (segment, tail)
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if segment.is_empty() {
            return Err(malformed());
        }
        segments.push(segment.to_owned());
        match tail.strip_prefix('.') {
            Some(next) => rest = next,
            None if tail.is_empty() => return Ok(segments),
            None => return Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_paths_resolve_through_names_quotes_and_absent_keys() {
        let value = json!({ "load": { "rate": 1 }, "traffic": [{ "name": "a" }, { "name": "b" }], "backends": {} });
        let cases = [
            ("load.rate", "/load/rate"),
            ("load.max_in_flight.limit", "/load/max_in_flight/limit"),
            ("traffic.b.weight", "/traffic/1/weight"),
            ("backends.\"my.server/x\".url", "/backends/my.server~1x/url"),
        ];
        for (key_path, pointer) in cases {
            assert_eq!(resolve_in(&value, key_path).unwrap(), pointer);
        }
        assert!(matches!(resolve_in(&value, "traffic.c.weight"), Err(ValueBaseError::NoSuchKey { .. })));
        assert!(matches!(resolve_in(&value, "load.rate.x"), Err(ValueBaseError::NoSuchKey { .. })));
        for malformed in ["", "a..b", "\"a", "\"a\"b", "a."] {
            assert!(matches!(resolve_in(&value, malformed), Err(ValueBaseError::Malformed(_))), "{malformed}");
        }
    }

    #[test]
    fn settings_last_as_long_as_they_are_read() {
        let before = json!({ "a": { "b": 1 }, "c": [1], "d": 1 });
        let mut value = before.clone();
        let two = json!(2);
        let set = [("/a/b", Some(&two)), ("/a/x/y", Some(&two)), ("/new", Some(&two)), ("/d", None)];
        let seen = with_settings(&mut value, set.into_iter(), Value::clone);
        assert_eq!(seen, Ok(json!({ "a": { "b": 2, "x": { "y": 2 } }, "c": [1], "new": 2 })));
        assert_eq!(value, before);
        let dead_end = [("/a/b", Some(&two)), ("/d/x", Some(&two))];
        assert_eq!(with_settings(&mut value, dead_end.into_iter(), Value::clone), Err("/d/x".to_owned()));
        assert_eq!(value, before);
    }

    #[test]
    fn setting_makes_tables_and_refuses_dead_ends() {
        let mut value = json!({ "a": 1, "list": [{}] });
        assert!(set_at(&mut value, "/b/c/d", Some(json!(2))));
        assert!(set_at(&mut value, "/list/0/x", Some(json!(3))));
        assert!(!set_at(&mut value, "/list/7/x", Some(json!(3))));
        assert!(!set_at(&mut value, "/a/x", Some(json!(3))));
        assert!(set_at(&mut value, "/a", None));
        assert_eq!(value, json!({ "b": { "c": { "d": 2 } }, "list": [{ "x": 3 }] }));
    }
}
