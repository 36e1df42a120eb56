//! `max_in_flight`: who may be in flight, and the count of those who are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::workload::load::{MaxInFlight, WhenFull};

/// Admits the requests of one class over all workers. Without a bound only the atomic count is touched.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    in_flight: Arc<AtomicU64>,
    /// Of the class alone.
    own: Option<Slots>,
    /// Of all classes.
    common: Option<Slots>,
}

/// The slots of one bound.
#[derive(Clone, Debug)]
struct Slots {
    free: Arc<Semaphore>,
    drops: bool,
}

impl Slots {
    fn new(bound: &MaxInFlight) -> Self {
        Self { free: Arc::new(Semaphore::new(bound.limit as usize)), drops: bound.when_full == WhenFull::Drop }
    }

    /// A slot: at once, after waiting in order of arrival, or none where full means drop.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.free);
        if self.drops { free.try_acquire_owned().ok() } else { free.acquire_owned().await.ok() }
    }
}

/// A request in flight; dropping it frees its slots.
#[derive(Debug)]
pub(super) struct Admitted {
    in_flight: Arc<AtomicU64>,
    _slots: [Option<OwnedSemaphorePermit>; 2],
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// The gates of all classes, each with the bound of its own, if it has one, before that of all.
    pub(super) fn all(
        own: impl Iterator<Item = Option<MaxInFlight>>,
        common: Option<&MaxInFlight>,
        in_flight: &Arc<AtomicU64>,
    ) -> Arc<[Self]> {
        let common = common.map(Slots::new);
        let gate = |own: Option<MaxInFlight>| Self {
            in_flight: Arc::clone(in_flight),
            own: own.as_ref().map(Slots::new),
            common: common.clone(),
        };
        own.map(gate).collect()
    }

    /// A slot of each bound, or none where one that is full drops.
    pub(super) async fn admit(&self) -> Option<Admitted> {
        let mut slots = [None, None];
        for (slot, bound) in slots.iter_mut().zip([&self.own, &self.common]) {
            if let Some(bound) = bound {
                *slot = Some(bound.take().await?);
            }
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { in_flight: Arc::clone(&self.in_flight), _slots: slots })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn bound(limit: u32, when_full: WhenFull) -> Option<MaxInFlight> {
        Some(MaxInFlight { limit, when_full })
    }

    #[tokio::test(start_paused = true)]
    async fn a_class_has_slots_of_its_own_among_those_of_all() {
        let in_flight = Arc::new(AtomicU64::new(0));
        let common = bound(3, WhenFull::Wait);
        let gates = Gate::all([bound(2, WhenFull::Drop), None].into_iter(), common.as_ref(), &in_flight);
        let first = [gates[0].admit().await.unwrap(), gates[0].admit().await.unwrap()];
        assert!(gates[0].admit().await.is_none(), "its own bound drops");
        let second = gates[1].admit().await.unwrap();
        let second_later = Duration::from_secs(1);
        assert!(timeout(second_later, gates[1].admit()).await.is_err(), "that of all makes wait");
        assert_eq!(in_flight.load(Ordering::Relaxed), 3);
        drop(second);
        // What waited in vain for the common slot gives its own one back.
        drop(first);
        let all = [gates[0].admit().await.unwrap(), gates[0].admit().await.unwrap(), gates[1].admit().await.unwrap()];
        assert_eq!(in_flight.load(Ordering::Relaxed), 3);
        drop(all);
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }
}
