//! Which settings of a point its draws hang on.
//!
//! Each part of a point hangs on what decides it and on nothing else: a class on the point as it would be with that
//! class alone, the common load on `load` and `phases`. So another class, or a setting of another class, moves none of its
//! times, lengths and texts, while a point with another load or workload sends other texts than the points before it.
//! How servers are reached is in none of them.
//!
//! What classes take from one supply they take in turn, so there one moves the other: arrivals of the common load, rows
//! of a dataset, numbers in words, blocks of a trace, and the end of a window of so many requests.

use serde_json::json;

use super::canonical::{FORMAT, MissingDigest, canonical, label, to_string, tree_normalised, tree_of_load};
use crate::assets::AssetDigests;
use crate::scenario::file::ScenarioFile;
use crate::seed::{GENERATOR_VERSION, Seed, sha256_hex};
use crate::workload::PointSeeds;
use crate::workload::load::LoadConfig;

/// The seeds of the point `file`; `point` opens its prompts with `salt = "point"`.
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
    let mut alone = file.clone();
    let classes = file.traffic.iter().map(|class| {
        alone.traffic = vec![class.clone()];
        // The bound of all loads together delays the requests of a class with its own, but moves none.
        alone.load = if class.load.is_some() { LoadConfig::default() } else { file.load.clone() };
        Ok(node("class", &label(&canonical(&alone, inputs)?)))
    });
    Ok(PointSeeds {
        point,
        load: node("load", &sha256_hex(to_string(&load).as_bytes())),
        classes: classes.collect::<Result<_, _>>()?,
    })
}
