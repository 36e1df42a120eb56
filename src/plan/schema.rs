//! The JSON schema of `plan.json`, committed as `schema/plan.v1.json`.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::plan::model::Plan;

/// The schema, in draft 7 as editors understand it. Unknown keys are allowed: readers ignore them.
pub fn plan_schema() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Plan>();
    schema.insert("title".to_owned(), Value::from("bench plan, version 1"));
    schema.to_value()
}
