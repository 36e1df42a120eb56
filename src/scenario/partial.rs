//! What the rules see: the whole scenario, or the parts of a broken one that can still be judged.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::document::Document;
use super::file::{ExcludeConfig, PhasesConfig, ScenarioFile, SweepConfig, TrafficConfig};
use super::keypath::Pointer;
use crate::workload::load::LoadConfig;

/// Tables whose entries stand on their own.
const MAPS: [&str; 3] = ["backends", "tokenizers", "workloads"];
/// Arrays whose entries stand on their own.
const ARRAYS: [&str; 3] = ["traffic", "sweep", "exclude"];

/// Where the surviving entries of each array stand in the document, and what did not survive.
#[derive(Debug, Default)]
pub(super) struct Places {
    kept: [Vec<usize>; 3],
    dropped: BTreeSet<String>,
}

/// A scenario of which some parts may be missing because they are wrong.
#[derive(Debug)]
pub(super) struct Partial<'f> {
    file: &'f ScenarioFile,
    places: Option<Places>,
}

impl<'f> Partial<'f> {
    /// Everything is there.
    pub(super) fn whole(file: &'f ScenarioFile) -> Self {
        Self { file, places: None }
    }

    pub(super) fn new(file: &'f ScenarioFile, places: Places) -> Self {
        Self { file, places: Some(places) }
    }

    pub(super) fn file(&self) -> &'f ScenarioFile {
        self.file
    }

    /// Whether all of the top-level setting `key` is there and right.
    pub(super) fn has(&self, key: &str) -> bool {
        self.places.as_ref().is_none_or(|places| !places.dropped.contains(key))
    }

    pub(super) fn load(&self) -> Option<&'f LoadConfig> {
        self.has("load").then_some(&self.file.load)
    }

    pub(super) fn phases(&self) -> Option<&'f PhasesConfig> {
        self.has("phases").then_some(&self.file.phases)
    }

    /// Traffic classes with their index in the document.
    pub(super) fn traffic(&self) -> impl Iterator<Item = (usize, &'f TrafficConfig)> {
        self.entries(0, &self.file.traffic)
    }

    /// Axes with their index in the document.
    pub(super) fn sweep(&self) -> impl Iterator<Item = (usize, &'f SweepConfig)> {
        self.entries(1, &self.file.sweep)
    }

    /// Exclusions with their index in the document.
    pub(super) fn exclude(&self) -> impl Iterator<Item = (usize, &'f ExcludeConfig)> {
        self.entries(2, &self.file.exclude)
    }

    fn entries<T>(&self, array: usize, entries: &'f [T]) -> impl Iterator<Item = (usize, &'f T)> {
        let kept: Option<&[usize]> = self.places.as_ref().map(|places| places.kept[array].as_slice());
        entries.iter().enumerate().map(move |(at, entry)| (kept.map_or(at, |kept| kept[at]), entry))
    }
}

/// Cuts the parts that `bad` points into out of the document and reads the rest.
pub(super) fn salvage(document: &Document, bad: &[Pointer]) -> Option<(ScenarioFile, Places)> {
    let mut value = document.value().clone();
    let map = value.as_object_mut()?;
    let mut places = Places::default();
    for (array, key) in ARRAYS.iter().enumerate() {
        let Some(Value::Array(entries)) = map.get_mut(*key) else { continue };
        let spoiled = |index: usize| {
            let index = index.to_string();
            bad.iter().any(|pointer| matches!(pointer.parts(), [top, at, ..] if top == key && *at == index))
        };
        places.kept[array] = (0..entries.len()).filter(|index| !spoiled(*index)).collect();
        let mut index = 0;
        entries.retain(|_| {
            index += 1;
            !spoiled(index - 1)
        });
    }
    for pointer in bad {
        let Some(top) = pointer.parts().first() else { continue };
        places.dropped.insert(top.clone());
        match pointer.parts() {
            [_, entry, ..] if MAPS.contains(&top.as_str()) => {
                if let Some(Value::Object(entries)) = map.get_mut(top) {
                    entries.remove(entry);
                }
            }
            [_, _, ..] if ARRAYS.contains(&top.as_str()) => {}
            _ => {
                map.remove(top);
                if let Some(array) = ARRAYS.iter().position(|key| key == top) {
                    places.kept[array].clear();
                }
            }
        }
    }
    let stand_ins = json!({
        "schema": 1, "name": "x", "backends": {}, "workloads": {}, "traffic": [],
        "load": { "kind": "poisson", "rate_per_s": 1 },
    });
    for (key, stand_in) in stand_ins.as_object().into_iter().flatten() {
        if !map.contains_key(key) {
            places.dropped.insert(key.clone());
            map.insert(key.clone(), stand_in.clone());
        }
    }
    ScenarioFile::deserialize(value).ok().map(|file| (file, places))
}
