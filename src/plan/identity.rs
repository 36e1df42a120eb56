//! Digest and seed of many points of one plan, without making their canonical forms again and again.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::assets::AssetDigests;
use crate::plan::canonical::{
    FORMAT, Identity, MissingDigest, Used, to_string, tree_normalised, tree_of_load, tree_of_traffic, unaddressed,
    unaddressed_traffic,
};
use crate::scenario::file::ScenarioFile;
use crate::seed::{GENERATOR_VERSION, Seed, hex};

/// Names points. Neighbours in a plan differ in one or two tables; the text of the others is kept, so ten
/// thousand points cost about as much as ten thousand hashes.
///
/// The result is that of [`Identity::of`] the canonical form; a test holds the two together.
#[derive(Debug, Default)]
pub struct Identifier {
    last: Option<ScenarioFile>,
    backends: String,
    /// `backends` without how they are reached.
    unaddressed: String,
    tokenizers: String,
    workloads: String,
    traffic: String,
    /// `traffic` without how its servers are reached.
    unaddressed_traffic: String,
    load: String,
    phases: String,
}

impl Identifier {
    /// Digest and seed of the point `file`. `inputs` may grow from call to call, but never change.
    ///
    /// # Errors
    /// When `inputs` lacks the digest of a file that the point uses.
    pub fn identify(&mut self, file: ScenarioFile, inputs: &AssetDigests) -> Result<Identity, MissingDigest> {
        let last = self.last.take();
        let changed = |same: &dyn Fn(&ScenarioFile) -> bool| !last.as_ref().is_some_and(same);
        if changed(&|last| {
            last.backends == file.backends
                && last.tokenizers == file.tokenizers
                && last.workloads == file.workloads
                && last.traffic == file.traffic
        }) {
            let Used { mut backends, tokenizers, workloads } = Used::by(&file, inputs)?;
            self.backends = to_string(&Value::Object(backends.clone()));
            unaddressed(&mut backends);
            self.unaddressed = to_string(&Value::Object(backends));
            self.tokenizers = to_string(&Value::Object(tokenizers));
            self.workloads = to_string(&Value::Object(workloads));
            let mut traffic = tree_of_traffic(&file.traffic, inputs)?;
            self.traffic = to_string(&traffic);
            unaddressed_traffic(&mut traffic);
            self.unaddressed_traffic = to_string(&traffic);
        }
        if changed(&|last| last.load == file.load) {
            self.load = to_string(&tree_of_load(&file.load, inputs)?);
        }
        if changed(&|last| last.phases == file.phases) {
            self.phases = to_string(&tree_normalised(&file.phases));
        }
        let identity = self.hash(file.seed);
        self.last = Some(file);
        Ok(identity)
    }

    /// Hashes the tables in the order of their keys, for the digest and for the seed.
    fn hash(&self, seed: u64) -> Identity {
        let Self { last: _, backends, unaddressed, tokenizers, workloads, traffic, unaddressed_traffic, load, phases } =
            self;
        let middle =
            format!(r#","format":"{FORMAT}","generator_version":{GENERATOR_VERSION},"load":{load},"phases":{phases}"#);
        let after =
            |traffic: &str| format!(r#","tokenizers":{tokenizers},"traffic":{traffic},"workloads":{workloads}}}"#);
        let mut whole = Sha256::new_with_prefix(format!(r#"{{"backends":{backends}{middle},"seed":{seed}"#));
        whole.update(after(traffic));
        let mut unseeded = Sha256::new_with_prefix(format!(r#"{{"backends":{unaddressed}{middle}"#));
        unseeded.update(after(unaddressed_traffic));
        let label = hex(&unseeded.finalize());
        Identity { digest: hex(&whole.finalize()), seed: Seed::root(seed).child("point").child(&label).to_hex() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::canonical::canonical;

    /// Changes one table after the other, and back: a table kept too long would show.
    #[test]
    fn identities_are_those_of_the_canonical_form() {
        let document = json!({
            "schema": 1, "name": "x", "seed": 42,
            "backends": {
                "a": { "protocol": "openai-chat", "url": "http://a" },
                "b": { "protocol": "openai-chat", "url": "http://b" },
            },
            "tokenizers": { "t": { "kind": "file", "path": "t.json" } },
            "workloads": { "w": {
                "tokenizer": "t", "prompts": { "kind": "synthetic" },
                "input_tokens": { "kind": "fixed", "value": 5 }, "output_tokens": { "kind": "fixed", "value": 5 },
            } },
            "traffic": [{ "name": "c", "backend": "a", "workload": "w" }],
            "load": { "kind": "poisson", "rate_per_s": 1.5 },
        });
        let edits = [
            ("/name", json!("y")),
            ("/seed", json!(43)),
            ("/load/rate_per_s", json!(2.0)),
            ("/load", json!({ "kind": "trace", "path": "a.csv", "at_end": "stop" })),
            ("/traffic/0/load", json!({ "kind": "burst", "size": 3 })),
            ("/phases", json!({ "warmup": "1s" })),
            ("/backends/a/url", json!("http://c")),
            ("/traffic/0/backend", json!("b")),
            ("/traffic/0/weight", json!(2)),
            ("/traffic/0/headers", json!({ "x-team": "a" })),
            ("/traffic/0/extra_body", json!({ "x": 2.0 })),
            ("/backends/a/urls", json!(["http://d"])),
            ("/tokenizers/t/path", json!("u.json")),
            ("/workloads/w/tokenizer", json!("builtin")),
        ];
        let inputs: AssetDigests =
            [("t.json", "11"), ("u.json", "22"), ("a.csv", "33")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let mut identifier = Identifier::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut check = |value: &Value| {
            let file: ScenarioFile = serde_json::from_value(value.clone()).unwrap();
            let expected = Identity::of(&canonical(&file, &inputs).unwrap(), file.seed);
            assert_eq!(identifier.identify(file, &inputs).unwrap(), expected);
            seen.insert(expected.digest);
        };
        for (pointer, new) in edits {
            let mut edited = document.clone();
            assert!(crate::plan::base::set_at(&mut edited, pointer, Some(new)));
            check(&document);
            check(&edited);
        }
        // Every edit but the name is another point.
        assert_eq!(seen.len(), 14);
        let file: ScenarioFile = serde_json::from_value(document).unwrap();
        let missing = Identifier::default().identify(file, &AssetDigests::new());
        assert_eq!(missing, Err(MissingDigest("t.json".to_owned())));
    }
}
