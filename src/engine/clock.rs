//! The clock of a point: nanoseconds since its start on the monotonic clock.

use crate::units::Nanos;

/// Zero of a point's stamps. Copied to every worker, so that all stamps share one origin.
#[derive(Clone, Copy, Debug)]
pub struct PointClock {
    origin_ns: u64,
}

impl PointClock {
    /// A clock whose zero lies `lead` nanoseconds ahead, so that workers are ready before it starts.
    pub fn starting_in(lead: Nanos) -> Self {
        Self { origin_ns: monotonic_ns().saturating_add(lead) }
    }

    /// Nanoseconds since zero; 0 before it.
    pub fn now(&self) -> Nanos {
        self.at_monotonic_ns(monotonic_ns())
    }

    /// Nanoseconds left until `at`; 0 when it has passed.
    pub fn until(&self, at: Nanos) -> Nanos {
        self.monotonic_ns_of(at).saturating_sub(monotonic_ns())
    }

    /// A reading of [`monotonic_ns`] as nanoseconds since zero; 0 before it.
    pub fn at_monotonic_ns(&self, monotonic_ns: u64) -> Nanos {
        monotonic_ns.saturating_sub(self.origin_ns)
    }

    /// `at` on the monotonic clock, for absolute kernel timers.
    pub fn monotonic_ns_of(&self, at: Nanos) -> u64 {
        self.origin_ns.saturating_add(at)
    }
}

/// The monotonic clock.
#[cfg(target_os = "linux")]
pub fn monotonic_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    u64::try_from(now.tv_sec()).unwrap_or(0) * crate::units::NANOS_PER_SEC + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

/// The monotonic clock, since it was first read.
#[cfg(not(target_os = "linux"))]
pub fn monotonic_ns() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(FIRST.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
