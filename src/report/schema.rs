//! JSON schemas of what `bench` writes, in the dialect editors understand (draft-07).

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;

use super::model::Report;
use super::requests::RequestRecord;

/// Schema of `report.json`, as committed in `schema/report.v1.json`.
pub fn report_schema() -> Value {
    schema_of::<Report>()
}

/// Schema of one line of `requests.jsonl.gz`, as committed in `schema/requests.v1.json`.
pub fn requests_schema() -> Value {
    schema_of::<RequestRecord>()
}

/// Indented text with a final newline: the bytes of a committed schema.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// Schema of a type whose optional keys are absent and never `null`.
pub fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema.to_value()
}

/// Absent is absent: an optional key may be missing, but never `null`.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    let [only] = choices.as_slice() else { return };
    let only = only.clone();
    schema.remove("anyOf");
    // draft-07 ignores what stands beside a `$ref`, so the description would be lost without `allOf`.
    schema.insert("allOf".to_owned(), Value::Array(vec![only]));
}
