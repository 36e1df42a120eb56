//! One kernel timer per worker.
//!
//! The runtime's own timer wheel has a granularity of a millisecond and rounds up, which is a whole
//! gap at a thousand arrivals a second. On Linux a `timerfd` armed for an absolute time wakes the
//! worker within tens of microseconds.

use std::io;

use super::clock::PointClock;
use crate::units::Nanos;

/// Sleeps until absolute times of a point.
#[derive(Debug)]
pub struct Pacer {
    clock: PointClock,
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<KernelTimer>,
}

/// The timer as the runtime wants to see a descriptor.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct KernelTimer(nix::sys::timerfd::TimerFd);

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for KernelTimer {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsRawFd for KernelTimer {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

impl Pacer {
    /// The same timer for the times of another clock.
    pub fn of(self, clock: PointClock) -> Self {
        Self { clock, ..self }
    }
}

#[cfg(target_os = "linux")]
impl Pacer {
    /// A pacer of the current runtime.
    ///
    /// # Errors
    /// When the system gives no timer descriptor.
    pub fn new(clock: PointClock) -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        #[expect(deprecated, reason = "its successor is unsafe; `TimerFd` owns its descriptor, so I/O safety holds")]
        let timer = tokio::io::unix::AsyncFd::with_interest(KernelTimer(timer), tokio::io::Interest::READABLE)?;
        Ok(Self { clock, timer })
    }

    /// Returns at `at`, or at once when it has passed. Cancel safe.
    pub async fn sleep_until(&self, at: Nanos) {
        use nix::sys::time::TimeSpec;
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
        if self.clock.until(at) == 0 {
            return;
        }
        let due = self.clock.monotonic_ns_of(at);
        let (secs, nanos) = (due / crate::units::NANOS_PER_SEC, due % crate::units::NANOS_PER_SEC);
        let spec = TimeSpec::new(i64::try_from(secs).unwrap_or(i64::MAX), i64::try_from(nanos).unwrap_or(0));
        let armed = self.timer.get_ref().0.set(Expiration::OneShot(spec), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        if armed.is_err() {
            tokio::time::sleep(std::time::Duration::from_nanos(self.clock.until(at))).await;
            return;
        }
        // A timer that was re-armed keeps the readiness of its earlier expiry: check the clock, not
        // the descriptor alone.
        while self.clock.until(at) > 0 {
            match self.timer.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// A pacer of the current runtime.
    ///
    /// # Errors
    /// Never on this system.
    pub fn new(clock: PointClock) -> io::Result<Self> {
        Ok(Self { clock })
    }

    /// Returns at `at`, or at once when it has passed, with the runtime's granularity of a millisecond.
    pub async fn sleep_until(&self, at: Nanos) {
        let left = self.clock.until(at);
        if left > 0 {
            tokio::time::sleep(std::time::Duration::from_nanos(left)).await;
        }
    }
}
