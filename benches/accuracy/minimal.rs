//! The least a client can be: connections opened beforehand, one epoll set, one `recvmsg` per wake-up, events framed by
//! their blank line, stamps of the kernel or of the moment the read returned. What `bench` is held against.

use std::io::{BufWriter, IoSliceMut, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use memchr::memmem::{Finder, find};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::compare::Seen;

/// First argument by which this program knows that it is the client.
pub(crate) const WORD: &str = "minimal-client";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) address: String,
    pub(crate) streams: u32,
    pub(crate) tokens: u32,
    /// Streams begin evenly over this time.
    pub(crate) ramp_ms: u64,
    /// Requests sent in this window are recorded; no request begins after it.
    pub(crate) window_ms: [u64; 2],
    pub(crate) kernel: bool,
    /// Requests begin at this rate whatever becomes of the earlier ones, each on any idle stream; 0: every stream asks
    /// again when it was answered.
    pub(crate) requests_per_s: u64,
}

/// What it cost, without the opening of connections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) events: u64,
    pub(crate) cpu_us: f64,
    pub(crate) wall_s: f64,
}

struct Stream {
    socket: TcpStream,
    turn: u32,
    intended: u64,
    sent: u64,
    stamps: Vec<u64>,
    rest: Vec<u8>,
    /// Whether `[DONE]` has come; the end of the HTTP body follows it.
    done: bool,
}

fn now(clock: ClockId) -> u64 {
    nanos(clock_gettime(clock).unwrap())
}

fn nanos(time: TimeSpec) -> u64 {
    u64::try_from(time.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap()
}

pub(crate) fn main() {
    let mut arguments = std::env::args().skip(2);
    let (path, ask) = (arguments.next().unwrap(), arguments.next().unwrap());
    let ask: Ask = serde_json::from_str(&ask).unwrap();
    llm_bench::observe::preflight::raise_descriptor_limit();
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let open = |index: u32| {
        let socket = TcpStream::connect(&ask.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimestampns, &ask.kernel).unwrap();
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(index))).unwrap();
        Stream {
            socket,
            turn: 0,
            intended: 0,
            sent: 0,
            stamps: Vec::with_capacity(ask.tokens as usize),
            rest: Vec::new(),
            done: false,
        }
    };
    let streams: Vec<Stream> = (0..ask.streams).map(open).collect();
    let (cpu, began) = (now(ClockId::CLOCK_PROCESS_CPUTIME_ID), now(ClockId::CLOCK_MONOTONIC));
    let (events, seen) = run(&ask, &epoll, streams, began, path != "-");
    let cost = Cost {
        events,
        cpu_us: (now(ClockId::CLOCK_PROCESS_CPUTIME_ID) - cpu) as f64 / 1e3,
        wall_s: (now(ClockId::CLOCK_MONOTONIC) - began) as f64 / 1e9,
    };
    println!("{}", serde_json::to_string(&cost).unwrap());
    if path != "-" {
        let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
        seen.iter().for_each(|seen| writeln!(out, "{}", serde_json::to_string(seen).unwrap()).unwrap());
        out.flush().unwrap();
    }
}

/// The schedule of an open loop.
struct Pace {
    timer: TimerFd,
    next: u64,
    gap: u64,
    idle: Vec<usize>,
}

impl Pace {
    fn new(ask: &Ask, epoll: &Epoll, began: u64, streams: usize) -> Self {
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).unwrap();
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, u64::MAX)).unwrap();
        let gap = 1_000_000_000_u64.checked_div(ask.requests_per_s).unwrap_or(0);
        let mut pace = Self { timer, next: began + gap, gap, idle: (0..streams).collect() };
        pace.arm();
        pace
    }

    fn arm(&mut self) {
        if self.gap > 0 {
            let at = TimeSpec::from_duration(std::time::Duration::from_nanos(self.next));
            self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME).unwrap();
        }
    }

    /// Sends what is due; how many.
    fn send_due(&mut self, ask: &Ask, streams: &mut [Stream], end: u64) -> usize {
        let mut sent = 0;
        while self.gap > 0 && self.next < end && now(ClockId::CLOCK_MONOTONIC) >= self.next {
            let index = self.idle.pop().expect("more requests under way than streams: the machine has no time");
            streams[index].intended = self.next;
            send(&mut streams[index], index, ask);
            self.next += self.gap;
            sent += 1;
        }
        if sent > 0 {
            self.arm();
        }
        sent
    }
}

fn run(ask: &Ask, epoll: &Epoll, mut streams: Vec<Stream>, began: u64, record: bool) -> (u64, Vec<Seen>) {
    let window = ask.window_ms.map(|ms| began + ms * 1_000_000);
    let (frame, content, done) = (Finder::new(b"\n\n"), Finder::new(b"\"text\":\""), Finder::new(b"[DONE]"));
    let (mut buffer, mut control) = (vec![0; 256 * 1024], nix::cmsg_space!(TimeSpec));
    let mut ready = vec![EpollEvent::empty(); 1024];
    let (mut events, mut seen, mut begun, mut active) = (0, Vec::new(), 0, 0_usize);
    let mut pace = Pace::new(ask, epoll, began, streams.len());
    loop {
        let time = now(ClockId::CLOCK_MONOTONIC);
        while ask.requests_per_s == 0
            && begun < streams.len()
            && time < window[1]
            && time >= began + begun as u64 * ask.ramp_ms * 1_000_000 / streams.len() as u64
        {
            send(&mut streams[begun], begun, ask);
            (begun, active) = (begun + 1, active + 1);
        }
        active += pace.send_due(ask, &mut streams, window[1]);
        if active == 0 && (begun == streams.len() || time >= window[1]) {
            return (events, seen);
        }
        let wait = if ask.requests_per_s == 0 && begun < streams.len() {
            EpollTimeout::from(1_u8)
        } else {
            EpollTimeout::from(1000_u16)
        };
        let count = epoll.wait(&mut ready, wait).unwrap_or(0);
        let offset = now(ClockId::CLOCK_REALTIME) - now(ClockId::CLOCK_MONOTONIC);
        for event in &ready[..count] {
            active += pace.send_due(ask, &mut streams, window[1]);
            let index = usize::try_from(event.data()).unwrap();
            let Some(stream) = streams.get_mut(index) else { continue };
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let space = ask.kernel.then_some(&mut control[..]);
            let Ok(message) = recvmsg::<()>(stream.socket.as_raw_fd(), &mut parts, space, MsgFlags::MSG_DONTWAIT)
            else {
                continue;
            };
            assert!(message.bytes > 0, "the server closed a connection");
            let stamp = message.cmsgs().ok().into_iter().flatten().find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(time) => Some(nanos(time) - offset),
                _ => None,
            });
            let (length, at) = (message.bytes, stamp.unwrap_or_else(|| now(ClockId::CLOCK_MONOTONIC)));
            let joined;
            let bytes = if stream.rest.is_empty() {
                &buffer[..length]
            } else {
                joined = [&stream.rest[..], &buffer[..length]].concat();
                &joined
            };
            let mut start = 0;
            while let Some(end) = frame.find(&bytes[start..]) {
                let text = &bytes[start..start + end];
                if content.find(text).is_some() {
                    events += 1;
                    stream.stamps.push(at);
                }
                stream.done |= done.find(text).is_some();
                start += end + 2;
            }
            let rest = bytes[start..].to_vec();
            if !stream.done || find(&rest, b"0\r\n\r\n").is_none() {
                stream.rest = rest;
                continue;
            }
            (stream.rest, stream.done) = (Vec::new(), false);
            if record && (window[0]..window[1]).contains(&stream.sent) {
                seen.push(Seen {
                    label: format!("c{index}.{}", stream.turn),
                    intended_ns: stream.intended,
                    dispatched_ns: stream.sent,
                    sent_ns: stream.sent,
                    first_ns: stream.stamps[0],
                    gaps_ns: stream.stamps.windows(2).map(|pair| pair[1] - pair[0]).collect(),
                });
            }
            stream.turn += 1;
            if ask.requests_per_s > 0 {
                pace.idle.push(index);
                active -= 1;
                continue;
            }
            if now(ClockId::CLOCK_MONOTONIC) < window[1] { send(stream, index, ask) } else { active -= 1 }
        }
    }
}

fn send(stream: &mut Stream, index: usize, ask: &Ask) {
    stream.stamps.clear();
    let body = format!(
        "{{\"model\":\"m\",\"prompt\":\"bench-request c{index}.{} x\",\"max_tokens\":{},\"stream\":true}}",
        stream.turn, ask.tokens
    );
    let request = format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.sent = now(ClockId::CLOCK_MONOTONIC);
    if ask.requests_per_s == 0 {
        stream.intended = stream.sent;
    }
    assert_eq!(stream.socket.write(request.as_bytes()).unwrap(), request.len());
}
