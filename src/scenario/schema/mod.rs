//! The JSON schema of a scenario, made from the Rust types: one strict form that resolved documents are
//! held against, and the committed form for editors, which also admits `${…}`.

pub(super) mod errors;
pub(super) mod navigate;
mod reference;
mod transform;

use std::sync::LazyLock;

use jsonschema::{Draft, Keyword, ValidationError, Validator};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::ScenarioFile;

pub use reference::reference_markdown;

/// Where the schema lives in the repository; scenarios name it in their first line.
pub const SCHEMA_PATH: &str = "schema/scenario.v1.json";

/// Keyword that only the strict form has: whole numbers written without a fraction, as serde takes them.
const WHOLE: &str = "x-whole";

/// What resolved documents are held against.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = generate();
    transform::require_whole_numbers(&mut schema, WHOLE);
    schema
});

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_draft(Draft::Draft7)
        .with_keyword(WHOLE, |_, _, _| Ok(Box::new(Whole)))
        .build(&STRICT)
        .expect("the generated schema compiles")
});

/// The schema of the resolved document.
pub(super) fn strict() -> &'static Value {
    &STRICT
}

/// The compiled strict schema.
pub(super) fn validator() -> &'static Validator {
    &VALIDATOR
}

/// The committed schema as text, with a final newline: what `bench schema scenario` prints.
pub fn schema_json() -> String {
    let mut schema = generate();
    transform::admit_variables(&mut schema);
    transform::relax_extending(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a JSON value serialises");
    text.push('\n');
    text
}

fn generate() -> Value {
    let settings = SchemaSettings::draft07();
    let mut schema = settings.into_generator().into_root_schema_for::<ScenarioFile>().to_value();
    transform::strip_null(&mut schema);
    transform::fold_words(&mut schema);
    transform::drop_formats(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "bench scenario, version 1".into());
    }
    schema
}

/// A JSON `4.0` is an integer to JSON schema and none to serde, nor to a reader of TOML.
struct Whole;

impl<'i> Keyword<'i> for Whole {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if Keyword::is_valid(self, instance) { Ok(()) } else { Err(ValidationError::custom("has a fraction")) }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        !instance.is_f64()
    }
}
