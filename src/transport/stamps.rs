//! Receive stamps: when bytes arrived, as the kernel saw it.
//!
//! A stamp that user space takes after a read holds the time the bytes waited for the worker: its queue of
//! other sockets, its share of the processor. On Linux the kernel notes when a segment arrived
//! (`SO_TIMESTAMPNS`) and hands that out with the read. Four facts shape this file:
//!
//! * A read that joined several segments carries the stamp of the last one. Decoders mark the events of such a read
//!   (`coalesced`), and validity counts them.
//! * The kernel begins to stamp some time after the first socket of the whole system asked for it. One socket
//!   with the option lives as long as the process ([`hold_open`]); a read without a stamp falls back to user time and is counted.
//! * Stamps are on the wall clock, everything else is on the monotonic clock. The offset between the two is read again at
//!   each wake-up, and stamps around a jump of the wall clock are discarded ([`Translator`]).
//! * With TLS the stamp is that of the read that completed the record.

use std::fmt::Debug;

use crate::measure::distribution::Distribution;
use crate::measure::metric::Unit;

/// What a worker knows about its own stamps.
#[derive(Clone, Debug)]
pub struct StampFacts {
    /// Reads that brought bytes.
    pub reads: u64,
    /// Those whose stamp is the kernel's.
    pub kernel: u64,
    /// Reads for which the kernel gave no stamp, although it was asked.
    pub missing: u64,
    /// Stamps of the kernel that were discarded around a jump of the wall clock.
    pub discarded: u64,
    /// User time minus kernel time of each read that has both: the client's own lag.
    pub lag: Distribution,
}

impl Default for StampFacts {
    fn default() -> Self {
        Self { reads: 0, kernel: 0, missing: 0, discarded: 0, lag: Distribution::new(Unit::Time) }
    }
}

impl StampFacts {
    /// Adds what another worker knows.
    pub fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.kernel += other.kernel;
        self.missing += other.missing;
        self.discarded += other.discarded;
        self.lag.merge(&other.lag);
    }

    /// Counts one read.
    fn count(&mut self, stamp: Stamp, asked: bool) {
        self.reads += 1;
        match stamp.source {
            Source::Kernel => {
                self.kernel += 1;
                self.lag.record(stamp.now.saturating_sub(stamp.at));
            }
            Source::Absent => self.missing += u64::from(asked),
            Source::Discarded => self.discarded += 1,
        }
    }
}

/// Both clocks of the system. A trait, so that a test can step one of them.
pub(crate) trait Clocks: Debug {
    /// The wall clock (`CLOCK_REALTIME`), nanoseconds.
    fn realtime_ns(&self) -> u64;
    /// The monotonic clock, nanoseconds.
    fn monotonic_ns(&self) -> u64;
}

/// Where a stamp comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kernel.
    Kernel,
    /// User space: the kernel gave none.
    Absent,
    /// User space: the kernel's cannot be trusted.
    Discarded,
}

/// When a read's bytes arrived, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Arrival, as well as it is known.
    pub(crate) at: u64,
    /// User space, after the read returned.
    pub(crate) now: u64,
    /// Where `at` comes from.
    pub(crate) source: Source,
}

/// A step of the wall clock is told from the noise of reading two clocks one after the other by this much.
const STEP_NS: u64 = 20_000;
/// Two readings of the monotonic clock this close enclose a reading of the wall clock tightly enough.
const TIGHT_NS: u64 = 2_000;
/// After a jump was seen, what waits unread in some socket may still carry a stamp from before it.
const QUARANTINE_NS: u64 = 100_000_000;

/// Puts the kernel's stamps on the monotonic clock.
#[derive(Debug)]
pub(crate) struct Translator<C> {
    clocks: C,
    /// Wall clock minus monotonic clock at the last wake-up.
    offset: Option<i128>,
    distrust_until: u64,
}

impl<C: Clocks> Translator<C> {
    pub(crate) fn new(clocks: C) -> Self {
        Self { clocks, offset: None, distrust_until: 0 }
    }

    /// To be called right after a read, with the stamp that came with it.
    pub(crate) fn stamp(&mut self, kernel_realtime_ns: Option<u64>) -> Stamp {
        let Some(kernel) = kernel_realtime_ns else {
            let now = self.clocks.monotonic_ns();
            return Stamp { at: now, now, source: Source::Absent };
        };
        let (now, offset) = self.offset();
        if self.offset.is_some_and(|before| offset.abs_diff(before) > u128::from(STEP_NS)) {
            self.distrust_until = now.saturating_add(QUARANTINE_NS);
        }
        self.offset = Some(offset);
        let discarded = Stamp { at: now, now, source: Source::Discarded };
        if now < self.distrust_until {
            return discarded;
        }
        match u64::try_from(i128::from(kernel) - offset) {
            Ok(at) if at <= now => Stamp { at, now, source: Source::Kernel },
            // Bytes cannot arrive after they were read, but for the noise of two clocks.
            Ok(at) if at - now <= TIGHT_NS => Stamp { at: now, now, source: Source::Kernel },
            _ => discarded,
        }
    }

    /// The monotonic clock now, and the wall clock minus it.
    fn offset(&self) -> (u64, i128) {
        let mut best: Option<(u64, u64, i128)> = None;
        for _ in 0..4 {
            let before = self.clocks.monotonic_ns();
            let real = self.clocks.realtime_ns();
            let after = self.clocks.monotonic_ns();
            let gap = after.saturating_sub(before);
            let offset = i128::from(real) - i128::from(before + gap / 2);
            if best.is_none_or(|(_, least, _)| gap < least) {
                best = Some((after, gap, offset));
            }
            if gap <= TIGHT_NS {
                break;
            }
        }
        let (now, gap, offset) = best.expect("the loop ran");
        match self.offset {
            // The thread was taken off the processor between the readings, again and again: this says nothing.
            Some(known) if gap > STEP_NS => (now, known),
            _ => (now, offset),
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{Reader, enable, hold_open};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{Reader, enable, hold_open};

/// Bytes that one read brings at most. A burst of small events fits; what fits is handed out without a copy.
pub(crate) const READ_BYTES: usize = 64 << 10;

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSliceMut};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::sync::OnceLock;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
    use nix::time::{ClockId, clock_gettime};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    use super::{Clocks, READ_BYTES, StampFacts, Translator};
    use crate::engine::clock::{PointClock, monotonic_ns};
    use crate::units::{NANOS_PER_SEC, Nanos};

    /// The clocks of this system.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct SystemClocks;

    impl Clocks for SystemClocks {
        fn realtime_ns(&self) -> u64 {
            clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, nanos)
        }

        fn monotonic_ns(&self) -> u64 {
            monotonic_ns()
        }
    }

    fn nanos(time: nix::sys::time::TimeSpec) -> u64 {
        u64::try_from(time.tv_sec()).unwrap_or(0) * NANOS_PER_SEC + u64::try_from(time.tv_nsec()).unwrap_or(0)
    }

    /// Asks the kernel to stamp what a socket receives. A system that cannot leaves user stamps.
    pub(crate) fn enable(stream: &TcpStream) {
        let _ = setsockopt(stream, sockopt::ReceiveTimestampns, &true);
    }

    /// Keeps the kernel stamping from now to the end of the process, whatever connections come and go.
    pub(crate) fn hold_open() {
        static ANCHOR: OnceLock<Option<UdpSocket>> = OnceLock::new();
        ANCHOR.get_or_init(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true).ok()?;
            Some(socket)
        });
    }

    /// Reads the sockets of one worker into one buffer.
    #[derive(Debug)]
    pub(crate) struct Reader {
        buffer: Box<[u8]>,
        control: Vec<u8>,
        translator: Translator<SystemClocks>,
        kernel: bool,
        facts: StampFacts,
    }

    impl Reader {
        /// With the kernel's stamps, or with those of user space alone.
        pub(crate) fn new(kernel: bool) -> Self {
            Self {
                buffer: vec![0; READ_BYTES].into_boxed_slice(),
                control: nix::cmsg_space!(nix::sys::time::TimeSpec),
                translator: Translator::new(SystemClocks),
                kernel,
                facts: StampFacts::default(),
            }
        }

        pub(crate) fn facts(&self) -> &StampFacts {
            &self.facts
        }

        /// One read of what has arrived, with its stamp; empty at the end of the stream. `WouldBlock` when nothing
        /// has arrived, and then the runtime tells when something does.
        pub(crate) fn read(&mut self, stream: &TcpStream, clock: &PointClock) -> io::Result<(&[u8], Nanos)> {
            let mut received = None;
            let outcome = stream.try_io(Interest::READABLE, || {
                let (length, stamp) = receive(stream, &mut self.buffer, &mut self.control)?;
                received = Some((length, stamp));
                // A read that did not fill the buffer emptied the socket: said here, it saves the read that would
                // find nothing. Bytes that came since make the runtime ready again, and an end is never forgotten.
                if length > 0 && length < READ_BYTES { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            let Some((length, stamp)) = received else {
                return Err(outcome.err().unwrap_or_else(|| io::ErrorKind::WouldBlock.into()));
            };
            if length == 0 {
                return Ok((&[], clock.now()));
            }
            let stamp = self.translator.stamp(stamp.filter(|_| self.kernel));
            self.facts.count(stamp, self.kernel);
            Ok((&self.buffer[..length], clock.at_monotonic_ns(stamp.at)))
        }
    }

    /// `recvmsg`: the number of bytes, and the kernel's stamp on the wall clock.
    fn receive(stream: &TcpStream, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let stamp = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(at) => Some(nanos(at)),
                _ => None,
            })
        });
        Ok((message.bytes, stamp))
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;

    use tokio::net::TcpStream;

    use super::{READ_BYTES, Source, Stamp, StampFacts};
    use crate::engine::clock::PointClock;
    use crate::units::Nanos;

    /// This system has no receive stamps that `bench` knows.
    pub(crate) fn enable(_: &TcpStream) {}

    /// Nothing to keep alive.
    pub(crate) fn hold_open() {}

    /// Reads the sockets of one worker into one buffer.
    #[derive(Debug)]
    pub(crate) struct Reader {
        buffer: Box<[u8]>,
        facts: StampFacts,
    }

    impl Reader {
        /// Stamps are those of user space.
        pub(crate) fn new(_: bool) -> Self {
            Self { buffer: vec![0; READ_BYTES].into_boxed_slice(), facts: StampFacts::default() }
        }

        pub(crate) fn facts(&self) -> &StampFacts {
            &self.facts
        }

        /// One read of what has arrived, stamped after it returned; empty at the end of the stream.
        pub(crate) fn read(&mut self, stream: &TcpStream, clock: &PointClock) -> io::Result<(&[u8], Nanos)> {
            let length = stream.try_read(&mut self.buffer)?;
            let now = clock.now();
            if length > 0 {
                self.facts.count(Stamp { at: now, now, source: Source::Absent }, false);
            }
            Ok((&self.buffer[..length], now))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Two clocks that tick 25 ns at each reading; the test moves them.
    #[derive(Clone, Debug, Default)]
    struct Scripted {
        monotonic: Rc<Cell<u64>>,
        wall_ahead: Rc<Cell<i64>>,
        /// Further nanoseconds that pass at the next readings: the thread is off the processor.
        held_up: Rc<Cell<u64>>,
    }

    impl Scripted {
        fn pass(&self, nanos: u64) {
            self.monotonic.set(self.monotonic.get() + nanos);
        }

        fn step(&self, nanos: i64) {
            self.wall_ahead.set(self.wall_ahead.get() + nanos);
        }

        /// The stamp of bytes that arrive now.
        fn arrive(&self) -> Option<u64> {
            Some(self.monotonic.get().wrapping_add_signed(self.wall_ahead.get()))
        }
    }

    impl Clocks for Scripted {
        fn realtime_ns(&self) -> u64 {
            self.pass(25 + self.held_up.get());
            self.arrive().unwrap()
        }

        fn monotonic_ns(&self) -> u64 {
            self.pass(25);
            self.monotonic.get()
        }
    }

    fn started() -> (Scripted, Translator<Scripted>) {
        let clocks = Scripted::default();
        clocks.pass(1_000_000_000);
        clocks.step(1_700_000_000_000_000_000);
        let mut translator = Translator::new(clocks.clone());
        let first = clocks.arrive();
        clocks.pass(5_000);
        assert_eq!(translator.stamp(first).source, Source::Kernel);
        (clocks, translator)
    }

    #[test]
    fn a_stamp_is_the_arrival_on_the_monotonic_clock() {
        let (clocks, mut translator) = started();
        let (arrived, stamp) = (clocks.monotonic.get(), clocks.arrive());
        clocks.pass(700_000);
        let read = translator.stamp(stamp);
        // Monotonic reads at +25 and +75, wall at +50: the offset is exact to half of the 50 between.
        assert_eq!((read.source, read.at.abs_diff(arrived) <= 25), (Source::Kernel, true), "{read:?} {arrived}");
        assert_eq!(read.now, arrived + 700_075);
    }

    #[test]
    fn no_stamp_is_user_time() {
        let (clocks, mut translator) = started();
        let before = clocks.monotonic.get();
        assert_eq!(translator.stamp(None), Stamp { at: before + 25, now: before + 25, source: Source::Absent });
    }

    #[test]
    fn stamps_around_a_step_are_discarded_whichever_way_it_goes() {
        for step in [-3_600_000_000_000, -50_000, 50_000, 3_600_000_000_000] {
            let (clocks, mut translator) = started();
            let before_the_step = clocks.arrive();
            clocks.pass(1_000);
            clocks.step(step);
            let read = translator.stamp(before_the_step);
            assert_eq!((read.source, read.at), (Source::Discarded, read.now), "step {step}");
            // Another socket still holds bytes from before the step.
            clocks.pass(50_000_000);
            assert_eq!(translator.stamp(before_the_step).source, Source::Discarded, "step {step}");
            // Then the new offset is trusted.
            clocks.pass(60_000_000);
            let (arrived, stamp) = (clocks.monotonic.get(), clocks.arrive());
            clocks.pass(9_000);
            let read = translator.stamp(stamp);
            assert_eq!((read.source, read.at.abs_diff(arrived) <= 25), (Source::Kernel, true), "step {step}");
        }
    }

    #[test]
    fn being_off_the_processor_between_two_clocks_is_no_step() {
        let (clocks, mut translator) = started();
        let (arrived, stamp) = (clocks.monotonic.get(), clocks.arrive());
        // Each reading of the wall clock takes 4 ms, so no offset can be told.
        clocks.held_up.set(4_000_000);
        let read = translator.stamp(stamp);
        assert_eq!((read.source, read.at.abs_diff(arrived) <= 50), (Source::Kernel, true), "{read:?}");
        clocks.held_up.set(0);
        assert_eq!(translator.stamp(clocks.arrive()).source, Source::Kernel);
    }

    #[test]
    fn a_stamp_from_the_future_is_discarded() {
        let (clocks, mut translator) = started();
        let future = clocks.arrive().map(|at| at + 10_000_000);
        assert_eq!(translator.stamp(future).source, Source::Discarded);
    }

    #[test]
    fn facts_count_each_read_once() {
        let mut facts = StampFacts::default();
        facts.count(Stamp { at: 10, now: 60_010, source: Source::Kernel }, true);
        facts.count(Stamp { at: 10, now: 10, source: Source::Absent }, true);
        facts.count(Stamp { at: 10, now: 10, source: Source::Absent }, false);
        facts.count(Stamp { at: 10, now: 10, source: Source::Discarded }, true);
        let mut both = StampFacts::default();
        both.add(&facts);
        both.add(&facts);
        assert_eq!((both.reads, both.kernel, both.missing, both.discarded), (8, 2, 2, 2));
        let lag = both.lag.report().unwrap();
        // 60,010 − 10 ns, twice.
        assert_eq!((lag.count, lag.min, lag.max), (2, 0.06, 0.06));
    }
}
