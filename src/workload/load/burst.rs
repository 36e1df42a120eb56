//! Many requests at one instant.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Arrivals, MaxInFlight, Problem, Split};
use crate::units::{HumanDuration, Nanos};

/// Open loop: `size` requests at the same instant, once or every `every`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Requests of one burst.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub size: u32,
    /// Time from one burst to the next; absent: a single burst when the measure phase begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

impl Burst {
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.size == 0 {
            problems.push(Problem::new("size", "a burst has at least 1 request"));
        }
        if self.every.is_some_and(|every| every.nanos() == 0) {
            problems.push(Problem::new("every", "`every` must be longer than 0s; leave it out for a single burst"));
        }
        problems
    }
}

/// Bursts at 0, `every`, 2 `every`, …, warm-up included; or one at the end of warm-up and none before,
/// so that the server is as idle as the scenario says when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Bursts {
    size: u64,
    every: Option<Nanos>,
    warmup_end: Nanos,
}

impl Bursts {
    pub(crate) fn new(config: &Burst, warmup_end: Nanos) -> Self {
        Self { size: u64::from(config.size), every: config.every.map(HumanDuration::nanos), warmup_end }
    }
}

impl Arrivals for Bursts {
    fn next_at(&self, index: u64, _: Nanos, _: &mut ChaCha12Rng) -> Option<Nanos> {
        match self.every {
            Some(every) => (index / self.size).checked_mul(every),
            None => (index < self.size).then_some(self.warmup_end),
        }
    }
}
