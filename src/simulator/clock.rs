//! Time for the driver: the kernel's monotonic clock with a timer of its own, or virtual time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};

use crate::units::{NANOS_PER_SEC, Nanos};

/// A clock and an absolute timer on it.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the clock's origin.
    fn now(&self) -> Nanos;
    /// Returns at or after `at`. Only one caller may wait at a time; a wait that is given up leaves
    /// nothing behind.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    fn sleep_until(&self, at: Nanos) -> impl Future<Output = io::Result<()>> + Send;
}

/// The monotonic clock of the machine, with origin at construction.
///
/// The timer is a `timerfd`: tokio's own timer is a millisecond coarse, which is a seventh of a decode
/// step.
#[derive(Debug)]
pub struct KernelClock {
    origin: Nanos,
    timer: timer::Timer,
}

impl KernelClock {
    /// Must be called inside a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// When the kernel gives no clock or timer.
    pub fn new() -> io::Result<Self> {
        Ok(Self { origin: monotonic()?, timer: timer::Timer::new()? })
    }

    /// The origin on `CLOCK_MONOTONIC`, which all processes of the machine share.
    pub fn origin(&self) -> Nanos {
        self.origin
    }
}

fn monotonic() -> io::Result<Nanos> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() as u64 * NANOS_PER_SEC + time.tv_nsec() as u64)
}

impl Clock for KernelClock {
    fn now(&self) -> Nanos {
        monotonic().map_or(0, |now| now.saturating_sub(self.origin))
    }

    async fn sleep_until(&self, at: Nanos) -> io::Result<()> {
        self.timer.wait_until(self.origin.saturating_add(at)).await
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod timer {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use crate::units::{NANOS_PER_SEC, Nanos};

    #[derive(Debug)]
    struct Descriptor(TimerFd);

    impl AsRawFd for Descriptor {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<Descriptor>);

    impl Timer {
        // The replacement is `unsafe`, because a foreign `AsRawFd` may lie; `Descriptor` owns what it names.
        #[expect(deprecated)]
        pub(super) fn new() -> io::Result<Self> {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            Ok(Self(AsyncFd::with_interest(Descriptor(timer), Interest::READABLE)?))
        }

        /// `at` on `CLOCK_MONOTONIC`. Setting the timer anew forgets an earlier wait that was given up.
        pub(super) async fn wait_until(&self, at: Nanos) -> io::Result<()> {
            // Zero would disarm the timer.
            let at = at.max(1);
            let spec = TimeSpec::new((at / NANOS_PER_SEC) as _, (at % NANOS_PER_SEC) as _);
            let timer = &self.0.get_ref().0;
            timer.set(Expiration::OneShot(spec), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            loop {
                let mut ready = self.0.readable().await?;
                if let Ok(result) = ready.try_io(|descriptor| Ok(descriptor.get_ref().0.wait()?)) {
                    return result;
                }
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod timer {
    use std::io;
    use std::time::Duration;

    use crate::units::Nanos;

    /// Systems without `timerfd` get tokio's timer.
    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        #[expect(clippy::unnecessary_wraps, reason = "same signature as where a timer can fail")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn wait_until(&self, at: Nanos) -> io::Result<()> {
            let left = at.saturating_sub(super::monotonic()?);
            tokio::time::sleep(Duration::from_nanos(left)).await;
            Ok(())
        }
    }
}

/// Time that jumps to whatever is waited for: runs the driver as fast as the machine can.
#[derive(Debug, Default)]
pub struct VirtualClock(AtomicU64);

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep_until(&self, at: Nanos) -> io::Result<()> {
        // Everything else that is ready comes first, as it would in real time.
        tokio::task::yield_now().await;
        self.0.fetch_max(at, Ordering::Relaxed);
        Ok(())
    }
}
