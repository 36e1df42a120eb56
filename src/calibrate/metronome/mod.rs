//! The metronome: a server that writes events on an exact schedule and logs when it really wrote them.
//!
//! It is a measuring instrument, not a model of an LLM server: it has no capacity, no queue and no batch, it never gets
//! slower, and nothing about a real server can be learned from it. The [simulator](crate::simulator) is the model. What
//! the metronome is for is to say by how much a *client* is wrong.
//!
//! It speaks the two OpenAI protocols over HTTP/1.1. The first event of an answer is due `ttft` after the last byte of the
//! request arrived (the kernel's stamp of that packet), each further one `itl` later, on an absolute schedule that no late
//! write moves. One thread, one epoll set, one kernel timer; bytes of events are made beforehand and written to the
//! socket when due, so that one core writes 100,000 events a second, each with its own write. `itl` = 0 is a burst:
//! as fast as connections take it, many events a write.
//!
//! It is not built on the runtime that the client uses: the tool must not be measured with itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::Pid;

use super::clock;
use super::truth::{FORMAT, Truth, TruthHeader, TruthRecord};
use crate::units::{NANOS_PER_SEC, Nanos};
use answer::{Pieces, Shape};
use connection::{Connection, Next, Scratch, Shared};

mod answer;
mod connection;
mod request;

/// How to run a metronome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetronomeOptions {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// From the receipt of a request to its first event.
    pub ttft_ns: Nanos,
    /// From each event to the next; 0: as fast as connections take it.
    pub itl_ns: Nanos,
    /// Events of an answer whose request does not say, and the most it may ask for.
    pub tokens_max: u32,
    /// Where the log goes in the end; without one nothing is kept.
    pub log: Option<PathBuf>,
    /// The core to stay on.
    pub cpu: Option<usize>,
}

/// What ends a metronome.
#[derive(Debug)]
pub enum StopOn {
    /// Anything to read, or the end of file: a signal, a pipe.
    Readable(OwnedFd),
    /// The end of file alone: the standard input of a child, which its parent holds open.
    Eof(OwnedFd),
}

/// A wait shorter than this is spent looking at the clock: a timer would wake the thread later.
const SPIN_NS: Nanos = 30_000;
/// Writes between two looks at the sockets.
const WRITES_PER_TURN: usize = 256;

const LISTENER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const STOP: u64 = u64::MAX - 1024;

/// Binds the calling thread, and threads that it starts later, to `cpus`.
///
/// # Errors
/// When the system refuses.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The cores that the calling thread may use.
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Serves on the calling thread until one of `stops` says so, then writes the log.
///
/// # Errors
/// When the address is taken, the system gives no descriptors, or the log cannot be written.
pub fn serve(options: &MetronomeOptions, stops: Vec<StopOn>, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    if let Some(cpu) = options.cpu {
        pin(&[cpu])?;
    }
    let listener = listen_on(options.port)?;
    let address = listener.local_addr()?;
    let mut server = Server::new(options, listener, stops)?;
    ready(address);
    server.run()?;
    let Some(path) = &options.log else { return Ok(()) };
    let header = TruthHeader {
        format: FORMAT.to_owned(),
        ttft_ns: options.ttft_ns,
        itl_ns: options.itl_ns,
        cpu: options.cpu,
        cpu_ns: clock::process_cpu(),
    };
    Truth { header, requests: server.finish() }.write(path)
}

/// A listener with the longest queue the system allows: thousands of clients connect at once.
fn listen_on(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    // A second call only changes the length of the queue.
    listen(&listener, Backlog::MAXCONN)?;
    // Before any connection: what is accepted inherits it, and it takes the system a moment to begin.
    setsockopt(&listener, sockopt::ReceiveTimestampns, &true)?;
    Ok(listener)
}

struct Server {
    shared: Shared,
    listener: TcpListener,
    stops: Vec<StopOn>,
    epoll: Epoll,
    timer: TimerFd,
    armed: Nanos,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    accepted: u64,
    /// (due, slot, number of the connection): an entry for each answer that is not blocked.
    due: BinaryHeap<Reverse<(Nanos, usize, u64)>>,
    scratch: Scratch,
    log: Vec<TruthRecord>,
}

impl Server {
    fn new(options: &MetronomeOptions, listener: TcpListener, stops: Vec<StopOn>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        for (index, stop) in (STOP..).zip(&stops) {
            let (StopOn::Readable(fd) | StopOn::Eof(fd)) = stop;
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        }
        Ok(Self {
            shared: Shared {
                ttft: options.ttft_ns,
                itl: options.itl_ns,
                tokens_max: options.tokens_max.max(1),
                log: options.log.is_some(),
                completions: Pieces::new(Shape::Completions),
                chat: Pieces::new(Shape::Chat),
            },
            listener,
            stops,
            epoll,
            timer,
            armed: 0,
            connections: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            due: BinaryHeap::new(),
            scratch: Scratch::new(),
            log: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); 1024];
        loop {
            self.write_due()?;
            let timeout = self.sleep()?;
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    TIMER => {
                        self.armed = 0;
                        // Empties it; that it may be empty already is no error.
                        let mut expirations = [0; 8];
                        let _ = nix::unistd::read(self.timer.as_fd(), &mut expirations);
                    }
                    stop @ STOP.. => {
                        if self.stops(stop - STOP) {
                            return Ok(());
                        }
                    }
                    slot => self.on_socket(usize::try_from(slot).unwrap_or(usize::MAX), event.events())?,
                }
            }
        }
    }

    /// Ends what is under way and hands the log over.
    fn finish(mut self) -> Vec<TruthRecord> {
        for connection in self.connections.iter_mut().flatten() {
            connection.end(&self.shared, &mut self.log);
        }
        self.log
    }

    fn write_due(&mut self) -> io::Result<()> {
        for _ in 0..WRITES_PER_TURN {
            let Some(Reverse((at, slot, number))) = self.due.peek().copied() else { return Ok(()) };
            if at > clock::monotonic() {
                return Ok(());
            }
            self.due.pop();
            let Some(connection) = self.connections[slot].as_mut().filter(|found| found.number == number) else {
                continue;
            };
            let next = connection.advance(&self.shared, &mut self.log);
            self.wait_for(slot, next, false)?;
        }
        Ok(())
    }

    /// Arms the timer for the next event and says how long to wait for sockets.
    fn sleep(&mut self) -> io::Result<EpollTimeout> {
        let Some(Reverse((at, ..))) = self.due.peek().copied() else { return Ok(EpollTimeout::NONE) };
        if at <= clock::monotonic() + SPIN_NS {
            return Ok(EpollTimeout::ZERO);
        }
        if self.armed != at {
            let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let time = TimeSpec::new(part(at / NANOS_PER_SEC), part(at % NANOS_PER_SEC));
            self.timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.armed = at;
        }
        Ok(EpollTimeout::NONE)
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // A client that is gone again, or no descriptor left: the others go on.
                Err(_) => return Ok(()),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
            self.connections[slot] = Some(Connection::new(socket, self.accepted));
            self.accepted += 1;
        }
    }

    /// Whether this descriptor ends it.
    fn stops(&self, index: u64) -> bool {
        match self.stops.get(usize::try_from(index).unwrap_or(usize::MAX)) {
            Some(StopOn::Readable(_)) | None => true,
            Some(StopOn::Eof(fd)) => !matches!(nix::unistd::read(fd, &mut [0; 64]), Ok(1..)),
        }
    }

    fn on_socket(&mut self, slot: usize, events: EpollFlags) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        if events.contains(EpollFlags::EPOLLOUT) && connection.blocked {
            let next = connection.advance(&self.shared, &mut self.log);
            self.wait_for(slot, next, true)?;
            return Ok(());
        }
        let had_answer = connection.next(&self.shared) != Next::Request;
        let next = connection.read(&self.shared, &mut self.scratch);
        // An answer under way has its entry in the heap already.
        if had_answer && next != Next::Closed { Ok(()) } else { self.wait_for(slot, next, false) }
    }

    fn wait_for(&mut self, slot: usize, next: Next, was_blocked: bool) -> io::Result<()> {
        let Some(connection) = self.connections[slot].as_mut() else { return Ok(()) };
        let watch = |flags: EpollFlags| {
            self.epoll.modify(&connection.socket, &mut EpollEvent::new(EpollFlags::EPOLLIN | flags, slot as u64))
        };
        match next {
            Next::Room if !was_blocked => watch(EpollFlags::EPOLLOUT)?,
            Next::Room => {}
            Next::Request | Next::Due(_) if was_blocked => watch(EpollFlags::empty())?,
            Next::Request | Next::Due(_) => {}
            Next::Closed => {
                connection.end(&self.shared, &mut self.log);
                self.connections[slot] = None;
                self.free.push(slot);
                return Ok(());
            }
        }
        if let Next::Due(at) = next {
            self.due.push(Reverse((at, slot, connection.number)));
        }
        Ok(())
    }
}
