//! What the server remembers.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use jiff::Timestamp;

use super::{Fault, Logged, Op};

/// One generation of an object.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) data: Bytes,
    pub(super) etag: String,
    pub(super) generation: u64,
    pub(super) modified: Timestamp,
    /// Content type and metadata.
    pub(super) headers: Vec<(String, String)>,
}

/// An upload in parts that was not completed yet.
pub(super) struct Upload {
    pub(super) headers: Vec<(String, String)>,
    pub(super) parts: BTreeMap<usize, Bytes>,
}

/// All generations of one key; a deleted one keeps its history.
#[derive(Default)]
pub(super) struct Versions {
    pub(super) generations: Vec<Object>,
    pub(super) deleted: bool,
}

pub(super) struct State {
    buckets: HashMap<String, BTreeMap<String, Versions>>,
    pub(super) uploads: HashMap<String, Upload>,
    pub(super) faults: VecDeque<(Op, Fault)>,
    pub(super) token: Option<String>,
    pub(super) forbidden: Vec<Op>,
    pub(super) ignore_conditions: bool,
    pub(super) forbid_overwriting: bool,
    pub(super) page_size: usize,
    pub(super) log: Vec<Logged>,
    last_number: u64,
}

impl State {
    pub(super) fn new(bucket: &str) -> Self {
        Self {
            buckets: HashMap::from([(bucket.to_string(), BTreeMap::new())]),
            uploads: HashMap::new(),
            faults: VecDeque::new(),
            token: None,
            forbidden: Vec::new(),
            ignore_conditions: false,
            forbid_overwriting: false,
            page_size: 1000,
            log: Vec::new(),
            last_number: 1_700_000_000_000_000,
        }
    }

    /// Generations and upload ids are never given twice.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A tag that no other content has. (The service derives it from the content; nobody may rely on that.)
    pub(super) fn new_etag(&mut self) -> String {
        format!("\"{:x}\"", self.next_number())
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.buckets.contains_key(bucket)
    }

    pub(super) fn keys(&self, bucket: &str) -> impl Iterator<Item = (&str, &Object)> {
        self.buckets[bucket]
            .iter()
            .filter(|(_, versions)| !versions.deleted)
            .filter_map(|(key, versions)| versions.generations.last().map(|object| (key.as_str(), object)))
    }

    pub(super) fn current(&self, bucket: &str, key: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key).filter(|versions| !versions.deleted)?.generations.last()
    }

    pub(super) fn generation(&self, bucket: &str, key: &str, generation: u64) -> Option<&Object> {
        self.buckets.get(bucket)?.get(key)?.generations.iter().find(|object| object.generation == generation)
    }

    pub(super) fn generations(&self, bucket: &str, key: &str) -> usize {
        self.buckets.get(bucket).and_then(|keys| keys.get(key)).map_or(0, |versions| versions.generations.len())
    }

    pub(super) fn versions(&mut self, bucket: &str, key: &str) -> &mut Versions {
        self.buckets.get_mut(bucket).unwrap().entry(key.to_string()).or_default()
    }

    /// The first fault meant for this kind of request.
    pub(super) fn take_fault(&mut self, op: Op) -> Option<Fault> {
        let at = self.faults.iter().position(|(kind, _)| *kind == op)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }
}
