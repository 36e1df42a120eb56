//! Stages of shutdown: first signal stops arrivals and drains, second cancels, third gives up.

use std::sync::Arc;
use tokio::sync::watch;

/// How urgently to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// Go on.
    #[default]
    Run,
    /// No new arrivals; what is in flight may finish within the grace period.
    Drain,
    /// Cancel what is in flight and report.
    Cancel,
    /// Leave what is stored.
    Abandon,
}

/// A stop that can only become more urgent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop {
    level: Arc<watch::Sender<StopLevel>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { level: Arc::new(watch::Sender::new(StopLevel::Run)) }
    }
}

impl Stop {
    /// The level now.
    pub fn level(&self) -> StopLevel {
        *self.level.borrow()
    }

    /// Makes the stop at least as urgent as `level`.
    pub fn raise(&self, level: StopLevel) {
        self.level.send_if_modified(|current| {
            let raised = level > *current;
            if raised {
                *current = level;
            }
            raised
        });
    }

    /// One level up, as each further signal does. Returns the new level.
    pub fn escalate(&self) -> StopLevel {
        let next = match self.level() {
            StopLevel::Run => StopLevel::Drain,
            StopLevel::Drain => StopLevel::Cancel,
            StopLevel::Cancel | StopLevel::Abandon => StopLevel::Abandon,
        };
        self.raise(next);
        next
    }

    /// Waits until the stop is at least as urgent as `level`.
    pub async fn reached(&self, level: StopLevel) {
        let mut watcher = self.level.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = watcher.wait_for(|now| *now >= level).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_becomes_more_urgent() {
        let stop = Stop::default();
        assert_eq!(stop.escalate(), StopLevel::Drain);
        stop.reached(StopLevel::Drain).await;
        stop.raise(StopLevel::Run);
        assert_eq!(stop.level(), StopLevel::Drain);
        assert_eq!(stop.escalate(), StopLevel::Cancel);
        assert_eq!(stop.escalate(), StopLevel::Abandon);
        assert_eq!(stop.escalate(), StopLevel::Abandon);
    }
}
