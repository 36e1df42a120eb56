//! The canonical form of a point: what its digest is the SHA-256 of, and what two points are compared by.
//!
//! It holds everything that changes a number and nothing that only judges or names one. The bytes are
//! plain JSON with sorted keys and no white space, so `sha256sum` of them is the digest.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::assets::AssetDigests;
use crate::plan::change::{KeyChange, key_changes};
use crate::scenario::file::{ScenarioFile, TokenizerConfig, TrafficConfig};
use crate::seed::{GENERATOR_VERSION, Seed, sha256_hex};
use crate::workload::load::LoadConfig;

/// Version of the canonical form itself; part of it.
pub(crate) const FORMAT: &str = "bench.point/1";

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
    /// Names the point in the seed tree, lower-case hex: with the digest it makes the mark of `salt = "point"`.
    pub seed: String,
}

impl Identity {
    /// Digest and seed of the point that `canonical` describes.
    ///
    /// The seed hangs on everything but the scenario's own seed and how servers are reached: a point
    /// keeps it when other points or axes come and go, and two servers get the same one.
    pub fn of(canonical: &Value, root: u64) -> Self {
        Self {
            digest: sha256_hex(to_string(canonical).as_bytes()),
            seed: Seed::root(root).child("point").child(&label(canonical)).to_hex(),
        }
    }

    /// The short id of the point.
    pub fn id(&self) -> &str {
        &self.digest[..ID_LENGTH]
    }
}

/// Digest of a canonical form without the scenario's seed and how servers are reached: what draws hang on.
pub(crate) fn label(canonical: &Value) -> String {
    let mut unseeded = canonical.clone();
    remove(&mut unseeded, "seed");
    if let Some(backends) = unseeded.get_mut("backends").and_then(Value::as_object_mut) {
        unaddressed(backends);
    }
    if let Some(traffic) = unseeded.get_mut("traffic") {
        unaddressed_traffic(traffic);
    }
    sha256_hex(to_string(&unseeded).as_bytes())
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
        backends: _,
        tokenizers: _,
        workloads: _,
        traffic,
        load,
        phases,
        errors: _,
        validity: _,
        limits: _,
        sweep: _,
        exclude: _,
    } = file;
    let Used { backends, tokenizers, workloads } = Used::by(file, inputs)?;
    Ok(json!({
        "backends": backends,
        "format": FORMAT,
        "generator_version": GENERATOR_VERSION,
        "load": tree_of_load(load, inputs)?,
        "phases": tree_normalised(phases),
        "seed": seed,
        "tokenizers": tokenizers,
        "traffic": tree_of_traffic(traffic, inputs)?,
        "workloads": workloads,
    }))
}

/// The settings that differ between the canonical forms of two points, each with the digests of its inputs.
/// Tables that are equal as they stand are not turned into trees: that is most of them, ten thousand times.
///
/// # Errors
/// When a digest of a used file is missing.
pub fn point_changes(
    (old, old_inputs): (&ScenarioFile, &AssetDigests),
    (new, new_inputs): (&ScenarioFile, &AssetDigests),
) -> Result<Vec<KeyChange>, MissingDigest> {
    let same_traffic = old.backends == new.backends
        && old.tokenizers == new.tokenizers
        && old.workloads == new.workloads
        && old.traffic == new.traffic
        && old_inputs == new_inputs;
    let differing = |file: &ScenarioFile, inputs: &AssetDigests| -> Result<Value, MissingDigest> {
        let mut tables = Map::new();
        if !same_traffic {
            let Used { backends, tokenizers, workloads } = Used::by(file, inputs)?;
            tables.insert("backends".to_owned(), Value::Object(backends));
            tables.insert("tokenizers".to_owned(), Value::Object(tokenizers));
            tables.insert("workloads".to_owned(), Value::Object(workloads));
            tables.insert("traffic".to_owned(), tree_of_traffic(&file.traffic, inputs)?);
        }
        if old.load != new.load || old_inputs != new_inputs {
            tables.insert("load".to_owned(), tree_of_load(&file.load, inputs)?);
        }
        if old.phases != new.phases {
            tables.insert("phases".to_owned(), tree_normalised(&file.phases));
        }
        tables.insert("seed".to_owned(), Value::from(file.seed));
        Ok(Value::Object(tables))
    };
    Ok(key_changes(&differing(old, old_inputs)?, &differing(new, new_inputs)?))
}

/// Takes out of backends how they are reached, which no request body or arrival may hang on.
pub(crate) fn unaddressed(backends: &mut Map<String, Value>) {
    for backend in backends.values_mut() {
        for key in
            ["url", "urls", "url_weights", "http", "api_key", "headers", "secret_headers", "server", "max_tokens_key"]
        {
            remove(backend, key);
        }
    }
}

/// Takes out of traffic classes how their servers are reached.
pub(crate) fn unaddressed_traffic(traffic: &mut Value) {
    for class in traffic.as_array_mut().into_iter().flatten() {
        for key in ["headers", "secret_headers"] {
            remove(class, key);
        }
    }
}

/// The named tables that the traffic of a point uses, by name.
pub(crate) struct Used {
    pub(crate) backends: Map<String, Value>,
    pub(crate) tokenizers: Map<String, Value>,
    pub(crate) workloads: Map<String, Value>,
}

impl Used {
    /// The tables used by the traffic of `file`, with input files by content.
    pub(crate) fn by(file: &ScenarioFile, inputs: &AssetDigests) -> Result<Self, MissingDigest> {
        let mut used = Self { backends: Map::new(), tokenizers: Map::new(), workloads: Map::new() };
        for class in &file.traffic {
            if let Some(backend) = file.backends.get(&class.backend) {
                let mut value = tree(backend);
                remove(&mut value, "price");
                normalise_except(&mut value, "extra_body");
                used.backends.insert(class.backend.clone(), value);
            }
            let Some(workload) = file.workloads.get(&class.workload) else { continue };
            let mut value = tree_normalised(workload);
            if let Some(dataset) = workload.prompts.dataset() {
                by_content(&mut value["prompts"], dataset.path, inputs)?;
            }
            for (keys, named) in workload.length_files() {
                let table = keys.split('.').fold(&mut value, |value, key| &mut value[key]);
                by_content(table, named.path, inputs)?;
            }
            used.workloads.insert(class.workload.clone(), value);
            let tokenizer = match file.tokenizers.get(&workload.tokenizer) {
                Some(config @ TokenizerConfig::File(tokenizer)) => {
                    let mut value = tree(config);
                    by_content(&mut value, &tokenizer.path, inputs)?;
                    if let Some(path) = &tokenizer.chat_template {
                        let digest = inputs.get(path).ok_or_else(|| MissingDigest(path.clone()))?;
                        value["chat_template"] = Value::from(digest.as_str());
                    }
                    value
                }
                Some(config @ TokenizerConfig::Builtin(_)) => tree(config),
                // `builtin` always exists: written or not, it is the same tokenizer.
                None => json!({ "kind": "builtin" }),
            };
            used.tokenizers.insert(workload.tokenizer.clone(), tokenizer);
        }
        Ok(used)
    }
}

/// The traffic classes without what judges them.
///
/// # Errors
/// When the digest of a trace that one of them replays is missing.
pub(crate) fn tree_of_traffic(traffic: &[TrafficConfig], inputs: &AssetDigests) -> Result<Value, MissingDigest> {
    let mut classes = tree(traffic);
    for (class, config) in classes.as_array_mut().into_iter().flatten().zip(traffic) {
        remove(class, "slo");
        normalise_except(class, "extra_body");
        if let Some(LoadConfig::Trace(trace)) = &config.load {
            by_content(&mut class["load"], &trace.path, inputs)?;
        }
    }
    Ok(classes)
}

/// The load with its input file by content.
pub(crate) fn tree_of_load(load: &LoadConfig, inputs: &AssetDigests) -> Result<Value, MissingDigest> {
    let mut value = tree_normalised(load);
    if let LoadConfig::Trace(trace) = load {
        by_content(&mut value, &trace.path, inputs)?;
    }
    Ok(value)
}

/// A typed setting as a JSON tree with whole floats as integers.
pub(crate) fn tree_normalised<T: Serialize>(value: &T) -> Value {
    let mut value = tree(value);
    normalise(&mut value);
    value
}

/// Compact JSON with sorted keys, whatever order the map type of the build keeps.
pub fn to_string(value: &Value) -> String {
    let mut text = String::with_capacity(256);
    write(value, &mut text);
    text
}
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(table) => {
            text.push('{');
            for (index, (key, value)) in sorted(Some(table)).into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_entry(key, value, text);
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
        Value::String(string) => write_string(string, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

fn write_entry(key: &str, value: &Value, text: &mut String) {
    write_string(key, text);
    text.push(':');
    write(value, text);
}

fn write_string(string: &str, text: &mut String) {
    // Names, units and URLs: nothing to escape in nearly all of them.
    if string.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        let _ = write!(text, "{}", Value::from(string));
    }
}

fn sorted(table: Option<&Map<String, Value>>) -> Vec<(&str, &Value)> {
    let mut entries: Vec<(&str, &Value)> =
        table.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
    // Already in order unless a dependency turned `preserve_order` on.
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_plain_json_with_sorted_keys() {
        let value = json!({ "b": [1, 2.5, null, true], "a": { "z": "tab\t\"quoted\" é \\", "k": "" } });
        let text = to_string(&value);
        assert_eq!(text, "{\"a\":{\"k\":\"\",\"z\":\"tab\\t\\\"quoted\\\" é \\\\\"},\"b\":[1,2.5,null,true]}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_seed_of_a_point_hangs_on_all_but_the_seed_in_it_and_addresses() {
        let at = |seed: u64, rate: u64, url: &str| json!({ "rate": rate, "seed": seed, "backends": { "a": { "url": url, "stream": true } } });
        let of = |seed, rate, url, root| Identity::of(&at(seed, rate, url), root);
        // The label is the same for both; root seed and settings make the difference.
        assert_eq!(of(42, 1, "http://a", 5).seed, of(43, 1, "http://a", 5).seed);
        assert_eq!(of(42, 1, "http://a", 5).seed, of(42, 1, "http://b", 5).seed);
        assert_ne!(of(42, 1, "http://a", 5).seed, of(42, 1, "http://a", 6).seed);
        assert_ne!(of(42, 1, "http://a", 5).seed, of(42, 2, "http://a", 5).seed);
        assert_ne!(of(42, 1, "http://a", 5).digest, of(43, 1, "http://a", 5).digest);
        assert_ne!(of(42, 1, "http://a", 5).digest, of(42, 1, "http://b", 5).digest);
    }

    #[test]
    fn whole_numbers_are_one_however_they_are_written() {
        for (a, b, same) in [
            (json!(4), json!(4.0), true),
            (json!([1.0, { "x": -0.0 }]), json!([1, { "x": 0 }]), true),
            (json!(4), json!(4.5), false),
            (json!("4"), json!(4), false),
            (json!(1e300), json!(1e300), true),
        ] {
            assert_eq!(same_value(&a, &b), same, "{a} {b}");
        }
        assert_eq!(normalised(&json!(1e300)), json!(1e300));
    }
}
