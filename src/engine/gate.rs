//! `max_in_flight`: who may be in flight, and the count of those who are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Admits requests over all workers. Without a bound only the atomic count is touched.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    in_flight: Arc<AtomicU64>,
    slots: Option<Arc<Semaphore>>,
    drops: bool,
}

/// A request in flight; dropping it frees its slot.
#[derive(Debug)]
pub(super) struct Admitted {
    in_flight: Arc<AtomicU64>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(super) fn new(limit: Option<u32>, drops: bool, in_flight: Arc<AtomicU64>) -> Self {
        Self { in_flight, slots: limit.map(|limit| Arc::new(Semaphore::new(limit as usize))), drops }
    }

    /// A slot: at once, after waiting in order of arrival, or none where full means drop.
    pub(super) async fn admit(&self) -> Option<Admitted> {
        let slot = match &self.slots {
            None => None,
            Some(slots) if self.drops => Some(Arc::clone(slots).try_acquire_owned().ok()?),
            Some(slots) => Some(Arc::clone(slots).acquire_owned().await.ok()?),
        };
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { in_flight: Arc::clone(&self.in_flight), _slot: slot })
    }
}
