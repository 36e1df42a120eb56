//! The clock of the truth: `CLOCK_MONOTONIC`, which every process of a machine shares.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::units::{NANOS_PER_SEC, Nanos};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn monotonic() -> Nanos {
    read(ClockId::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME` − `CLOCK_MONOTONIC` at this moment: the kernel's stamps of received packets are on the
/// former, and it may be stepped at any time.
pub(super) fn realtime_offset() -> Nanos {
    let before = monotonic();
    let real = read(ClockId::CLOCK_REALTIME);
    let after = monotonic();
    real.saturating_sub(before + after.saturating_sub(before) / 2)
}

/// CPU time of this process, user and system.
pub(super) fn process_cpu() -> Nanos {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// A time of the system in nanoseconds.
pub(super) fn nanos(time: TimeSpec) -> Nanos {
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec()) * NANOS_PER_SEC + part(time.tv_nsec())
}

fn read(clock: ClockId) -> Nanos {
    nanos(clock_gettime(clock).expect("the clocks of POSIX exist on every Linux"))
}
