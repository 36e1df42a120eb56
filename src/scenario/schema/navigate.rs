//! Walking the schema along a document: which setting a path names, and what may stand there.

use serde_json::Value;

use super::strict;

/// The words that name the choosing key of a tagged table.
const TAGS: [&str; 2] = ["kind", "protocol"];

/// A place in the schema.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) struct Setting<'s> {
    /// The schema as written at the property: docs and default are here.
    site: &'s Value,
    /// The schema it refers to.
    target: &'s Value,
}

/// What a key leads to.
#[derive(Debug)]
pub(in crate::scenario) enum Step<'s> {
    /// A setting with a fixed name.
    Known(Setting<'s>),
    /// An entry of a table whose keys the user chooses.
    Free(Setting<'s>),
    /// No such key; these exist.
    Unknown(Vec<&'s str>),
    /// Not a table with keys at all, or one whose kind is not known.
    Opaque,
}

/// The root of a scenario.
pub(in crate::scenario) fn root() -> Setting<'static> {
    Setting::new(strict())
}

/// The setting at `parts`, chosen by the kinds that `document` has on the way.
pub(in crate::scenario) fn at(document: &Value, parts: &[String]) -> Option<Setting<'static>> {
    let mut setting = root();
    let mut value = Some(document);
    for part in parts {
        setting = setting.item().filter(|_| matches!(value, Some(Value::Array(_)))).or_else(|| {
            match setting.step(value, part) {
                Step::Known(next) | Step::Free(next) => Some(next),
                Step::Unknown(_) | Step::Opaque => None,
            }
        })?;
        value = value.and_then(|value| super::super::keypath::lookup(value, std::slice::from_ref(part)));
    }
    Some(setting)
}

impl<'s> Setting<'s> {
    fn new(site: &'s Value) -> Self {
        Self { site, target: follow(site) }
    }

    /// First paragraph of its documentation.
    pub(in crate::scenario) fn doc(&self) -> Option<String> {
        let text = self.site.get("description").or_else(|| self.target.get("description"))?.as_str()?;
        Some(text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The default, where there is one.
    pub(in crate::scenario) fn default(&self) -> Option<&'s Value> {
        self.site.get("default").or_else(|| self.target.get("default"))
    }

    /// The schema it refers to.
    pub(in crate::scenario) fn target(&self) -> &'s Value {
        self.target
    }

    /// The JSON type it takes; tagged tables are objects; `None` when any value goes.
    pub(in crate::scenario) fn kind(&self) -> Option<&'s str> {
        self.target.get("type").and_then(Value::as_str).or_else(|| self.tag().map(|_| "object"))
    }

    /// The setting of each entry of a list.
    pub(in crate::scenario) fn item(&self) -> Option<Setting<'s>> {
        self.target.get("items").map(Setting::new)
    }

    /// The setting of each entry of a table with free keys.
    pub(in crate::scenario) fn entry(&self) -> Option<Setting<'s>> {
        self.target.get("additionalProperties").filter(|schema| **schema != Value::Bool(false)).map(Setting::new)
    }

    /// The choosing key of a tagged table and the words it takes with their tables.
    pub(in crate::scenario) fn tag(&self) -> Option<(&'static str, Vec<(&'s str, Setting<'s>)>)> {
        let options = self.target.get("oneOf")?.as_array()?;
        let tag = TAGS.into_iter().find(|tag| options.iter().all(|option| word(option, tag).is_some()))?;
        Some((tag, options.iter().filter_map(|option| Some((word(option, tag)?, Setting::new(option)))).collect()))
    }

    /// The table that `value` chooses, for tagged tables; itself otherwise.
    pub(in crate::scenario) fn chosen(&self, value: Option<&Value>) -> Option<Setting<'s>> {
        match self.tag() {
            None => Some(*self),
            Some((tag, options)) => {
                let word = value?.get(tag)?.as_str()?;
                options.into_iter().find(|(name, _)| *name == word).map(|(_, setting)| setting)
            }
        }
    }

    /// The keys of a plain table, in the order of the alphabet.
    pub(in crate::scenario) fn properties(&self) -> Vec<(&'s str, Setting<'s>)> {
        let properties = self.target.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), Setting::new(schema))).collect()
    }

    /// Whether `key` must be there.
    pub(in crate::scenario) fn requires(&self, key: &str) -> bool {
        self.target.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|k| k == key))
    }

    /// Follows `key` inside this setting, whose current value is `value`.
    pub(in crate::scenario) fn step(&self, value: Option<&Value>, key: &str) -> Step<'s> {
        let Some(table) = self.chosen(value) else { return Step::Opaque };
        if let Some(schema) = table.target.get("properties").and_then(|properties| properties.get(key)) {
            return Step::Known(Setting::new(schema));
        }
        if let Some(entry) = table.entry() {
            return Step::Free(entry);
        }
        if table.target == &Value::Bool(true) {
            return Step::Free(table);
        }
        match table.kind() {
            Some("object") => Step::Unknown(table.properties().into_iter().map(|(name, _)| name).collect()),
            _ => Step::Opaque,
        }
    }
}

fn word<'s>(option: &'s Value, tag: &str) -> Option<&'s str> {
    option.get("properties")?.get(tag)?.get("const")?.as_str()
}

/// Through `$ref` and the `allOf` that stands around it in draft 7.
fn follow(mut schema: &Value) -> &Value {
    loop {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/definitions/")) {
            // A reference that does not resolve would be a bug of the generator; the validator would not build.
            match strict_definition(name) {
                Some(target) => schema = target,
                None => return schema,
            }
        } else if let Some([only]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            schema = only;
        } else {
            return schema;
        }
    }
}

fn strict_definition(name: &str) -> Option<&'static Value> {
    strict().get("definitions")?.get(name)
}
