//! From what schemars writes to what TOML and editors need.

use serde_json::{Map, Value, json};

/// Visits every object of a schema, children first.
fn walk(value: &mut Value, visit: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                // Defaults and examples are data, not schemas.
                if key != "default" && key != "examples" {
                    walk(child, visit);
                }
            }
            visit(map);
        }
        Value::Array(array) => array.iter_mut().for_each(|child| walk(child, visit)),
        _ => {}
    }
}

/// TOML has no null: an optional setting is one that may be absent.
pub(super) fn strip_null(schema: &mut Value) {
    walk(schema, &mut |map| {
        if let Some(Value::Array(types)) = map.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                map.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(options)) = map.get_mut("anyOf") {
            options.retain(|option| option != &json!({ "type": "null" }));
            if options.len() == 1 {
                let only = map.remove("anyOf").expect("just seen");
                map.insert("allOf".into(), only);
            }
        }
        if map.get("default").is_some_and(Value::is_null) {
            map.remove("default");
        }
    });
}

/// `oneOf` over single words becomes an `enum`, which editors complete and messages list.
pub(super) fn fold_words(schema: &mut Value) {
    walk(schema, &mut |map| {
        let Some(Value::Array(options)) = map.get("oneOf") else { return };
        let words: Option<Vec<Value>> = options
            .iter()
            .map(|option| option.get("const").filter(|_| option.get("properties").is_none()).cloned())
            .collect();
        let Some(words) = words else { return };
        let docs: Vec<Value> =
            options.iter().map(|option| option.get("description").cloned().unwrap_or("".into())).collect();
        map.remove("oneOf");
        map.insert("type".into(), "string".into());
        map.insert("enum".into(), words.into());
        map.insert("x-taplo".into(), json!({ "docs": { "enumValues": docs } }));
    });
}

/// `uint32` and the like mean nothing to JSON schema; the bounds say it.
pub(super) fn drop_formats(schema: &mut Value) {
    walk(schema, &mut |map| {
        if map.contains_key("type") && map.get("format").is_some_and(Value::is_string) {
            map.remove("format");
        }
    });
}

/// Adds the keyword `name` wherever a whole number is asked for.
pub(super) fn require_whole_numbers(schema: &mut Value, name: &str) {
    walk(schema, &mut |map| {
        if map.get("type").is_some_and(|kind| kind == "integer") {
            map.insert(name.into(), true.into());
        }
    });
}

/// What marks a variable in a string.
const VARIABLE: &str = r"\$\{";

/// Every rule on a string also admits one with `${`; `kind` and `protocol` are no such strings, since
/// they decide what the rest of the table means.
pub(super) fn admit_variables(schema: &mut Value) {
    walk(schema, &mut |map| {
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str).map(str::to_owned) {
            map.insert("pattern".into(), format!("({pattern})|{VARIABLE}").into());
        }
        if map.get("type").is_some_and(|kind| kind == "string")
            && let Some(words) = map.remove("enum")
        {
            map.insert("anyOf".into(), json!([{ "enum": words }, { "pattern": VARIABLE }]));
        }
    });
}

/// A scenario that extends another may leave everything but its version to the base.
pub(super) fn relax_extending(schema: &mut Value) {
    let Some(root) = schema.as_object_mut() else { return };
    if let Some(required) = root.insert("required".into(), json!(["schema"])) {
        root.insert("if".into(), json!({ "not": { "required": ["extends"] } }));
        root.insert("then".into(), json!({ "required": required }));
    }
}
