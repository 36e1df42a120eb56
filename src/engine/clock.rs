//! The clock of a point: nanoseconds since its start on the monotonic clock.

use crate::units::Nanos;

/// Zero of a point's stamps. Copied to every worker, so that all stamps share one origin.
#[derive(Clone, Copy, Debug)]
pub struct PointClock {
    #[cfg(target_os = "linux")]
    origin_ns: u64,
    #[cfg(not(target_os = "linux"))]
    origin: std::time::Instant,
}

#[cfg(target_os = "linux")]
impl PointClock {
    /// A clock whose zero lies `lead` nanoseconds ahead, so that workers are ready before it starts.
    pub fn starting_in(lead: Nanos) -> Self {
        Self { origin_ns: monotonic_ns() + lead }
    }

    /// Nanoseconds since zero; 0 before it.
    pub fn now(&self) -> Nanos {
        monotonic_ns().saturating_sub(self.origin_ns)
    }

    /// Nanoseconds left until `at`; 0 when it has passed.
    pub fn until(&self, at: Nanos) -> Nanos {
        (self.origin_ns + at).saturating_sub(monotonic_ns())
    }

    /// A time of `CLOCK_MONOTONIC` as nanoseconds since zero; 0 before it.
    pub fn at_absolute_ns(&self, monotonic_ns: u64) -> Nanos {
        monotonic_ns.saturating_sub(self.origin_ns)
    }

    /// `at` on `CLOCK_MONOTONIC`, for absolute kernel timers.
    pub fn absolute_ns(&self, at: Nanos) -> u64 {
        self.origin_ns.saturating_add(at)
    }
}

#[cfg(target_os = "linux")]
fn monotonic_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    u64::try_from(now.tv_sec()).unwrap_or(0) * crate::units::NANOS_PER_SEC + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
impl PointClock {
    /// A clock whose zero lies `lead` nanoseconds ahead, so that workers are ready before it starts.
    pub fn starting_in(lead: Nanos) -> Self {
        Self { origin: std::time::Instant::now() + std::time::Duration::from_nanos(lead) }
    }

    /// Nanoseconds since zero; 0 before it.
    pub fn now(&self) -> Nanos {
        let elapsed = std::time::Instant::now().saturating_duration_since(self.origin);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds left until `at`; 0 when it has passed.
    pub fn until(&self, at: Nanos) -> Nanos {
        let due = self.origin + std::time::Duration::from_nanos(at);
        u64::try_from(due.saturating_duration_since(std::time::Instant::now()).as_nanos()).unwrap_or(u64::MAX)
    }
}
