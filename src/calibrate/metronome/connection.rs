//! One connection: requests in, scheduled bytes out.

use std::io::{ErrorKind, IoSliceMut, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::answer::{self, Pieces, Shape};
use super::request::{self, Ask, Asked};
use crate::calibrate::clock;
use crate::calibrate::truth::{ReceivedBy, TruthRecord};
use crate::units::{NANOS_PER_SEC, Nanos};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ttft: Nanos,
    pub(super) itl: Nanos,
    /// Tokens of an answer where the request does not say, and the most it may ask for.
    pub(super) tokens_max: u32,
    /// Whether requests are logged.
    pub(super) log: bool,
    pub(super) completions: Pieces,
    pub(super) chat: Pieces,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A request.
    Request,
    /// The next event, due at this time.
    Due(Nanos),
    /// Room in the socket: the client does not read.
    Room,
    /// Nothing: it is over.
    Closed,
}

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    /// In order of acceptance; tells a slot's connection from the one before.
    pub(super) number: u64,
    sequence: u32,
    input: Vec<u8>,
    /// When the last read brought bytes.
    read_at: (Nanos, ReceivedBy),
    answer: Option<Answer>,
    /// Whether the socket is watched for room.
    pub(super) blocked: bool,
}

/// An answer under way.
#[derive(Debug)]
struct Answer {
    ask: Ask,
    received: (Nanos, ReceivedBy),
    tokens: u32,
    /// Events written as a whole.
    written: u32,
    /// Bytes of the next event that are written.
    offset: usize,
    last: Vec<u8>,
    /// When each event was written; empty without a log.
    events: Vec<Nanos>,
    blocked: u32,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, number: u64) -> Self {
        let read_at = (0, ReceivedBy::User);
        Self { socket, number, sequence: 0, input: Vec::new(), read_at, answer: None, blocked: false }
    }

    /// Takes what has arrived.
    pub(super) fn read(&mut self, shared: &Shared, scratch: &mut Scratch) -> Next {
        match scratch.read(&self.socket) {
            Ok((0, _)) => Next::Closed,
            Ok((length, read_at)) => {
                self.input.extend_from_slice(&scratch.bytes[..length]);
                self.read_at = read_at;
                if self.answer.is_some() { self.next(shared) } else { self.begin(shared) }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.next(shared),
            Err(_) => Next::Closed,
        }
    }

    /// Begins to answer the request in the buffer, if it is whole.
    pub(super) fn begin(&mut self, shared: &Shared) -> Next {
        loop {
            let (asked, length) = match request::parse(&self.input) {
                Ok(None) => return Next::Request,
                Ok(Some(parsed)) => parsed,
                Err(request::Malformed) => {
                    // The connection ends either way.
                    let _ = self.socket.write(&answer::page("400 Bad Request", "{}"));
                    return Next::Closed;
                }
            };
            self.input.drain(..length);
            match asked {
                Asked::Page { status, body } => {
                    if self.socket.write(&answer::page(status, body)).is_err() {
                        return Next::Closed;
                    }
                }
                Asked::Answer(ask) => {
                    self.answer = Some(Answer::new(ask, self.read_at, shared));
                    return self.next(shared);
                }
            }
        }
    }

    /// What it waits for now.
    pub(super) fn next(&self, shared: &Shared) -> Next {
        match &self.answer {
            None => Next::Request,
            Some(_) if self.blocked => Next::Room,
            Some(answer) => Next::Due(answer.due(shared)),
        }
    }

    /// Writes what is due. A burst gives the others their turn after each write.
    pub(super) fn advance(&mut self, shared: &Shared, log: &mut Vec<TruthRecord>) -> Next {
        let was_blocked = std::mem::take(&mut self.blocked);
        let Some(answer) = &mut self.answer else { return Next::Request };
        loop {
            let before = clock::monotonic();
            if answer.due(shared) > before {
                return Next::Due(answer.due(shared));
            }
            let bytes = answer.bytes(shared);
            match self.socket.write(bytes) {
                Ok(0) => return Next::Closed,
                Ok(length) => {
                    let whole = length == bytes.len();
                    answer.wrote(length, before, shared, was_blocked);
                    if answer.written == answer.tokens {
                        break;
                    }
                    if !whole {
                        self.blocked = true;
                        return Next::Room;
                    }
                    if shared.itl == 0 {
                        return Next::Due(before);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Next::Room;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Closed,
            }
        }
        self.end(shared, log);
        // A client that sends ahead of the answer has its next request here already.
        if self.input.is_empty() { Next::Request } else { self.begin(shared) }
    }

    /// Ends the answer under way, whole or not.
    pub(super) fn end(&mut self, shared: &Shared, log: &mut Vec<TruthRecord>) {
        let Some(answer) = self.answer.take() else { return };
        if shared.log {
            log.push(answer.record(self.number, self.sequence));
        }
        self.sequence += 1;
    }
}

impl Answer {
    fn new(ask: Ask, received: (Nanos, ReceivedBy), shared: &Shared) -> Self {
        let tokens = ask.tokens.unwrap_or(shared.tokens_max).clamp(1, shared.tokens_max);
        let last = answer::last(ask.shape, tokens, ask.usage);
        let whole = matches!(ask.shape, Shape::WholeCompletions | Shape::WholeChat);
        let events = Vec::with_capacity(if shared.log { tokens as usize } else { 0 });
        // A whole answer is written when its last token is due: all the events before it are skipped.
        let written = if whole { tokens - 1 } else { 0 };
        Self { ask, received, tokens, written, offset: 0, last, events, blocked: 0 }
    }

    /// Absolute: no write moves the ones after it.
    fn due(&self, shared: &Shared) -> Nanos {
        self.received.0 + shared.ttft + u64::from(self.written) * shared.itl
    }

    fn pieces<'a>(&self, shared: &'a Shared) -> &'a Pieces {
        if self.ask.shape == Shape::Chat { &shared.chat } else { &shared.completions }
    }

    /// What is left of the next event; in a burst, of as many middle events as one write may hold.
    fn bytes<'a>(&'a self, shared: &'a Shared) -> &'a [u8] {
        let pieces = self.pieces(shared);
        let bytes = if self.written + 1 == self.tokens {
            &self.last
        } else if self.written == 0 {
            &pieces.first
        } else if shared.itl == 0 {
            let left = (self.tokens - 1 - self.written) as usize * pieces.middle.len();
            &pieces.block[..left.min(pieces.block.len())]
        } else {
            &pieces.middle
        };
        &bytes[self.offset..]
    }

    /// Counts `length` written bytes of [`Self::bytes`].
    fn wrote(&mut self, length: usize, before: Nanos, shared: &Shared, was_blocked: bool) {
        self.offset += length;
        let (pieces, edge) = (self.pieces(shared), self.written == 0 || self.written + 1 == self.tokens);
        let size = match edge {
            true if self.written + 1 == self.tokens => self.last.len(),
            true => pieces.first.len(),
            false => pieces.middle.len(),
        };
        let events = self.offset / size;
        self.offset %= size;
        let count = u32::try_from(events).unwrap_or(u32::MAX);
        self.written += count;
        self.blocked += if was_blocked { count } else { 0 };
        if shared.log {
            self.events.extend(std::iter::repeat_n(before, events));
        }
    }

    fn record(self, connection: u64, sequence: u32) -> TruthRecord {
        let gaps = self.events.windows(2).map(|pair| pair[1] - pair[0]).collect();
        TruthRecord {
            connection,
            sequence,
            label: self.ask.label,
            body_sha256: self.ask.body_sha256,
            received_ns: self.received.0,
            received_by: self.received.1,
            tokens: self.tokens,
            complete: self.written == self.tokens,
            blocked: self.blocked,
            first_ns: self.events.first().copied(),
            gaps_ns: gaps,
        }
    }
}

/// Buffers of the reads, which all connections share.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 64 * 1024], control: nix::cmsg_space!(nix::sys::time::TimeSpec) }
    }

    /// One read, and when the packet that it ended with arrived.
    fn read(&mut self, socket: &TcpStream) -> Result<(usize, (Nanos, ReceivedBy)), Errno> {
        let mut parts = [IoSliceMut::new(&mut self.bytes)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut self.control), MsgFlags::MSG_DONTWAIT)?;
        let now = clock::monotonic();
        let stamp = message.cmsgs().ok().into_iter().flatten().find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(clock::nanos(time)),
            _ => None,
        });
        let kernel = stamp.map(|stamp| stamp.saturating_sub(clock::realtime_offset()));
        // A clock that was stepped between the packet and the read gives a time that cannot be.
        let kernel = kernel.filter(|at| *at <= now && now - at < NANOS_PER_SEC);
        Ok((message.bytes, kernel.map_or((now, ReceivedBy::User), |at| (at, ReceivedBy::Kernel))))
    }
}
