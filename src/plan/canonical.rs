//! The canonical form of a point: what its digest is the SHA-256 of, and what two points are compared by.
//!
//! It holds everything that changes a number and nothing that only judges or names one. The bytes are
//! plain JSON with sorted keys and no white space, so `sha256sum` of them is the digest.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::assets::AssetDigests;
use crate::scenario::file::{ScenarioFile, TokenizerConfig};
use crate::seed::{GENERATOR_VERSION, Seed, sha256_hex};
use crate::workload::prompt::PromptsConfig;

/// Version of the canonical form itself; part of it.
const FORMAT: &str = "bench.point/1";

/// Characters of a point id: the digest's first 48 bits.
pub const ID_LENGTH: usize = 12;

/// Whole floats up to here (2^53) are written as integers, so that `4` and `4.0` are one number.
const EXACT_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The digest of an input file was not supplied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no digest of the input file `{0}`")]
pub struct MissingDigest(pub String);

/// What names a point: derived from its canonical form alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the canonical form, lower-case hex.
    pub digest: String,
    /// Root of every draw of the point, lower-case hex.
    pub seed: String,
}

impl Identity {
    /// Digest and seed of the point that `canonical` describes.
    ///
    /// The seed hangs on everything but the scenario's own seed, so a point keeps its requests when other
    /// points or axes come and go.
    pub fn of(canonical: &Value, root: u64) -> Self {
        let digest = sha256_hex(to_string(canonical).as_bytes());
        let mut unseeded = canonical.clone();
        if let Value::Object(table) = &mut unseeded {
            table.remove("seed");
        }
        let label = sha256_hex(to_string(&unseeded).as_bytes());
        Self { digest, seed: Seed::root(root).child("point").child(&label).to_hex() }
    }

    /// The short id of the point.
    pub fn id(&self) -> &str {
        &self.digest[..ID_LENGTH]
    }
}

/// The canonical form of a resolved point.
///
/// Only what its traffic uses is in it: an unused backend, workload or tokenizer changes nothing. Input
/// files stand in it by content, not by path or pin.
///
/// # Errors
/// When `inputs` lacks the digest of a file that the point uses.
pub fn canonical(file: &ScenarioFile, inputs: &AssetDigests) -> Result<Value, MissingDigest> {
    // Everything by name: a new table must be sorted into "changes numbers" or "does not" right here.
    let ScenarioFile {
        schema: _,
        name: _,
        description: _,
        seed,
        extends: _,
        labels: _,
        store: _,
        backends,
        tokenizers,
        workloads,
        traffic,
        load,
        phases,
        errors: _,
        validity: _,
        limits: _,
        sweep: _,
        exclude: _,
    } = file;
    let mut used_backends = Map::new();
    let mut used_workloads = Map::new();
    let mut used_tokenizers = Map::new();
    for class in traffic {
        if let Some(backend) = backends.get(&class.backend) {
            let mut value = tree(backend);
            remove(&mut value, "price");
            normalise_except(&mut value, "extra_body");
            used_backends.insert(class.backend.clone(), value);
        }
        let Some(workload) = workloads.get(&class.workload) else { continue };
        let mut value = tree(workload);
        normalise(&mut value);
        if let PromptsConfig::Sharegpt(dataset) = &workload.prompts {
            by_content(&mut value["prompts"], &dataset.path, inputs)?;
        }
        used_workloads.insert(class.workload.clone(), value);
        let tokenizer = match tokenizers.get(&workload.tokenizer) {
            Some(config @ TokenizerConfig::File(tokenizer)) => {
                let mut value = tree(config);
                by_content(&mut value, &tokenizer.path, inputs)?;
                value
            }
            Some(config @ TokenizerConfig::Builtin(_)) => tree(config),
            // `builtin` always exists: written or not, it is the same tokenizer.
            None => json!({ "kind": "builtin" }),
        };
        used_tokenizers.insert(workload.tokenizer.clone(), tokenizer);
    }
    let mut classes = tree(traffic);
    for class in classes.as_array_mut().into_iter().flatten() {
        remove(class, "slo");
    }
    normalise(&mut classes);
    let (mut load, mut phases) = (tree(load), tree(phases));
    normalise(&mut load);
    normalise(&mut phases);
    Ok(json!({
        "backends": used_backends,
        "format": FORMAT,
        "generator_version": GENERATOR_VERSION,
        "load": load,
        "phases": phases,
        "seed": seed,
        "tokenizers": used_tokenizers,
        "traffic": classes,
        "workloads": used_workloads,
    }))
}

/// Compact JSON with sorted keys, whatever order the map type of the build keeps.
pub fn to_string(value: &Value) -> String {
    let mut text = String::with_capacity(2048);
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(table) => {
            let sorted: BTreeMap<&String, &Value> = table.iter().collect();
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// `value` with whole floats as integers, throughout.
pub fn normalised(value: &Value) -> Value {
    let mut value = value.clone();
    normalise(&mut value);
    value
}

/// Whether two values are the same setting: `4` and `4.0` are.
pub fn same_value(a: &Value, b: &Value) -> bool {
    a == b || normalised(a) == normalised(b)
}

/// A typed setting as a JSON tree, exactly as it is stored in a plan.
pub(crate) fn tree<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).expect("scenario types have string keys and finite numbers")
}

fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && float.fract() == 0.0
                && float.abs() <= EXACT_WHOLE
            {
                #[expect(clippy::cast_possible_truncation, reason = "bounded by 2^53 above")]
                let whole = float as i64;
                *number = whole.into();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Object(table) => table.values_mut().for_each(normalise),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// As [`normalise`], but `verbatim` stays: its numbers go onto the wire as they are written.
fn normalise_except(value: &mut Value, verbatim: &str) {
    if let Value::Object(table) = value {
        table.iter_mut().filter(|(key, _)| *key != verbatim).for_each(|(_, value)| normalise(value));
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Value::Object(table) = value {
        table.remove(key);
    }
}

/// Replaces path and pin of an input file by the digest of its content.
fn by_content(value: &mut Value, path: &str, inputs: &AssetDigests) -> Result<(), MissingDigest> {
    let digest = inputs.get(path).ok_or_else(|| MissingDigest(path.to_owned()))?;
    if let Value::Object(table) = value {
        table.remove("path");
        table.insert("sha256".to_owned(), Value::from(digest.as_str()));
    }
    Ok(())
}
