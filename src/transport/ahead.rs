//! How fast connections are opened before a point begins: fast enough to be done soon, slow enough that no server drops
//! a SYN, which would cost that connection a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::HttpVersion;

/// So many at once; then the next ones.
const BATCH: u64 = 32;
/// Time between two batches: 2,000 connections a second.
const GAP: Duration = Duration::from_millis(16);
/// A connection that takes this long has most likely lost its first SYN.
const SLOW: Duration = Duration::from_millis(900);

/// Connections that a worker should open ahead.
#[derive(Clone, Debug)]
pub struct Ahead {
    /// Any address of the server.
    pub url: Url,
    /// Version of HTTP.
    pub version: HttpVersion,
    /// How many.
    pub connections: u32,
}

/// The pace that all workers of a point share.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    next: AtomicU64,
    /// Batches that were added to the schedule because connections were slow.
    behind: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), next: AtomicU64::new(0), behind: AtomicU64::new(0) }
    }
}

impl Pace {
    /// Waits for the turn of one connection.
    pub(crate) async fn turn(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let batches = number / BATCH + self.behind.load(Ordering::Relaxed);
        let due = self.began + GAP * u32::try_from(batches).unwrap_or(u32::MAX);
        tokio::time::sleep_until(due).await;
    }

    /// A connection stood after `took`. One that lost its SYN makes the rest wait.
    pub(crate) fn opened(&self, took: Duration) {
        if took >= SLOW {
            self.behind.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_thousand_a_second_and_fewer_after_a_lost_syn() {
        let pace = Pace::default();
        let began = Instant::now();
        for _ in 0..BATCH {
            pace.turn().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in BATCH..2001 {
            pace.turn().await;
        }
        // Number 2,000 is in batch 62 (32 × 62 = 1984): 62 gaps of 16 ms.
        assert_eq!(began.elapsed(), Duration::from_millis(62 * 16));
        pace.opened(Duration::from_millis(20));
        pace.opened(Duration::from_millis(1010));
        pace.turn().await;
        assert_eq!(began.elapsed(), Duration::from_millis(63 * 16));
    }
}
