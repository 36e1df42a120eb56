//! Key paths as people write them (`traffic.base.weight`) and as JSON writes them (`/traffic/0/weight`).

use std::fmt;
use std::ops::Range;

use serde_json::Value;

/// A place in a document: keys and array indices from the root. It displays as a JSON pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// From its parts, each a key or an index in decimal.
    pub fn new(parts: Vec<String>) -> Self {
        Self(parts)
    }

    /// Keys and indices from the root.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Reads RFC 6901. The pointers made here start with `/` or are empty; anything else is taken as one.
    pub(super) fn from_json(text: &str) -> Self {
        let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
        Self(text.split('/').skip(1).map(unescape).collect())
    }

    /// Whether `self` is `other` or a place inside it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

/// The value at `parts` of `value`.
pub(super) fn lookup<'v>(value: &'v Value, parts: &[String]) -> Option<&'v Value> {
    parts.iter().try_fold(value, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(array) => array.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A part of a written key path and the bytes it stands at.
pub(super) type Part = (String, Range<usize>);

/// Splits `a.b."c.d"` at its dots.
pub(super) fn split(path: &str) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let rest = &path[at..];
        let (key, len) = if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let end = rest[1..].find(quote).ok_or("a quote is not closed")?;
            (rest[1..=end].to_owned(), end + 2)
        } else {
            let len = rest.find('.').unwrap_or(rest.len());
            (rest[..len].trim().to_owned(), len)
        };
        if key.is_empty() && len < 2 {
            return Err("a part of the path is empty");
        }
        parts.push((key, at..at + len));
        at += len;
        match path[at..].chars().next() {
            None => return Ok(parts),
            Some('.') => at += 1,
            Some(_) => return Err("after a quoted part comes a dot"),
        }
    }
}

/// A key path for people: array entries by name, odd keys in quotes.
pub(super) fn display(parts: &[String], root: &Value) -> String {
    let mut value = Some(root);
    let mut shown: Vec<String> = Vec::new();
    for part in parts {
        let within_array = matches!(value, Some(Value::Array(_)));
        value = value.and_then(|value| lookup(value, std::slice::from_ref(part)));
        let name = value.and_then(|value| value.get("name")).and_then(Value::as_str).filter(|_| within_array);
        match name {
            Some(name) => shown.push(quoted_if_odd(name)),
            None if within_array => match shown.last_mut() {
                Some(last) => last.push_str(&format!("[{part}]")),
                None => shown.push(format!("[{part}]")),
            },
            None => shown.push(quoted_if_odd(part)),
        }
    }
    shown.join(".")
}

fn quoted_if_odd(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_dots_outside_quotes() {
        let keys = |path: &str| split(path).map(|parts| parts.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        assert_eq!(keys("a.b-c.d_1").unwrap(), ["a", "b-c", "d_1"]);
        assert_eq!(keys("labels.\"a.b\".c").unwrap(), ["labels", "a.b", "c"]);
        assert_eq!(split("ab.'c'").unwrap()[1], ("c".to_owned(), 3..6));
        for bad in ["", "a.", ".a", "a..b", "\"a", "\"a\"b"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pointers_escape() {
        let pointer = Pointer::new(vec!["a/b".into(), "c~d".into()]);
        assert_eq!(pointer.to_string(), "/a~1b/c~0d");
        assert_eq!(Pointer::from_json("/a~1b/c~0d"), pointer);
        assert_eq!(Pointer::from_json("//x").parts(), ["", "x"]);
    }

    #[test]
    fn entries_show_by_name() {
        let value =
            serde_json::json!({"traffic": [{"name": "base"}], "sweep": [{"values": [1]}], "labels": {"a.b": "x"}});
        let show = |parts: &[&str]| display(&parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), &value);
        assert_eq!(show(&["traffic", "0", "weight"]), "traffic.base.weight");
        assert_eq!(show(&["sweep", "0", "values", "0"]), "sweep[0].values[0]");
        assert_eq!(show(&["labels", "a.b"]), "labels.\"a.b\"");
    }
}
