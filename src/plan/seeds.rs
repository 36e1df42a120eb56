//! Which settings of a point its draws hang on.
//!
//! Each part of a point hangs on what decides it and on nothing else: a class on the point as it would be with that
//! class alone, the common load on `load` and `phases`. So another class, or a setting of another class, moves none of its
//! times, lengths and texts, while a point with another load or workload sends other texts than the points before it.
//! How servers are reached is in none of them.

use serde_json::json;

use super::canonical::{FORMAT, MissingDigest, canonical, label, to_string, tree_normalised, tree_of_load};
use crate::assets::AssetDigests;
use crate::scenario::file::ScenarioFile;
use crate::seed::{GENERATOR_VERSION, Seed, sha256_hex};
use crate::workload::PointSeeds;
use crate::workload::load::LoadConfig;

/// The seeds of the point `file`, which is called `point`.
///
/// # Errors
/// When `inputs` lacks the digest of a file that the point uses.
pub fn point_seeds(file: &ScenarioFile, point: Seed, inputs: &AssetDigests) -> Result<PointSeeds, MissingDigest> {
    let root = Seed::root(file.seed);
    let node = |kind: &str, label: &str| root.child(kind).child(label);
    let load = json!({
        "format": FORMAT,
        "generator_version": GENERATOR_VERSION,
        "load": tree_of_load(&file.load, inputs)?,
        "phases": tree_normalised(&file.phases),
    });
    let classes = file.traffic.iter().map(|class| {
        let mut alone = ScenarioFile { traffic: vec![class.clone()], ..file.clone() };
        if class.load.is_some() {
            // The bound of all loads together delays its requests, but moves none.
            alone.load = LoadConfig::default();
        }
        Ok(node("class", &label(&canonical(&alone, inputs)?)))
    });
    Ok(PointSeeds {
        point,
        load: node("load", &sha256_hex(to_string(&load).as_bytes())),
        classes: classes.collect::<Result<_, _>>()?,
    })
}
