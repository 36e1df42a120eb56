//! Many requests at one instant.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Arrivals, MaxInFlight, Problem, Split};
use crate::units::{HumanDuration, Nanos};

/// Open loop: `size` requests at the same instant, once or every `every`, each burst larger than the one before by
/// `grow_by`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Requests of one burst; of the first one when they grow.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub size: u32,
    /// Time from one burst to the next; absent: a single burst when the measure phase begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// Requests that each burst has more than the one before; absent: none. With `size = 1` and `grow_by = 1` the
    /// bursts have 1, 2, 3, … requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub grow_by: Option<u32>,
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
        if self.grow_by.is_some() && self.every.is_none() {
            problems.push(Problem::new("grow_by", "a single burst cannot grow; repeat it with `every`"));
        }
        problems
    }

    /// Requests of the first `bursts` bursts together.
    pub fn in_first(&self, bursts: u64) -> u64 {
        total(u64::from(self.size), u64::from(self.grow_by.unwrap_or(0)), bursts)
    }

    /// Bursts before the one that holds the request `index`.
    pub fn before(&self, index: u64) -> u64 {
        bursts_before(u64::from(self.size), u64::from(self.grow_by.unwrap_or(0)), index)
    }
}

/// n bursts of s, s + g, s + 2g, …: ns + g n(n-1)/2.
fn total(size: u64, grow_by: u64, bursts: u64) -> u64 {
    let (size, grow_by, bursts) = (u128::from(size), u128::from(grow_by), u128::from(bursts));
    let all = bursts * size + grow_by * (bursts * bursts.saturating_sub(1) / 2);
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// The largest n whose total is at most `index`.
fn bursts_before(size: u64, grow_by: u64, index: u64) -> u64 {
    if grow_by == 0 {
        return index / size;
    }
    // At most index / size bursts hold that many requests, since none is smaller than the first.
    let (mut low, mut high) = (0, index / size);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if total(size, grow_by, middle) <= index { low = middle } else { high = middle - 1 }
    }
    low
}

/// Bursts at 0, `every`, 2 `every`, …, warm-up included; or one at the end of warm-up and none before,
/// so that the server is as idle as the scenario says when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Bursts {
    size: u64,
    grow_by: u64,
    every: Option<Nanos>,
    warmup_end: Nanos,
}

impl Bursts {
    pub(crate) fn new(config: &Burst, warmup_end: Nanos) -> Self {
        Self {
            size: u64::from(config.size),
            grow_by: u64::from(config.grow_by.unwrap_or(0)),
            every: config.every.map(HumanDuration::nanos),
            warmup_end,
        }
    }
}

impl Arrivals for Bursts {
    fn next_at(&self, index: u64, _: Nanos, _: &mut ChaCha12Rng) -> Option<Nanos> {
        match self.every {
            Some(every) => bursts_before(self.size, self.grow_by, index).checked_mul(every),
            None => (index < self.size).then_some(self.warmup_end),
        }
    }
}
