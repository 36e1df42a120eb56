//! Incremental framing of server-sent events: bytes of any split in, whole events out.
//!
//! An event whose lines lie in one read is handed out as a slice of that read; only events that span
//! reads, or that have several `data` lines, are copied. Follows the event-stream grammar of the HTML
//! standard, with two additions that LLM servers need: the last event may lack its blank line when the
//! body is complete ([`Framer::rest`]), and a field called `error` (older llama.cpp) is an event named `error`.

use memchr::{memchr, memchr2};
use thiserror::Error;

use crate::units::Nanos;

/// Most bytes that one event may have before the stream counts as broken.
pub const MAX_EVENT_BYTES: usize = 64 << 20;

/// An event grew beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event is longer than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// One event with at least one `data` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its `data` lines, joined by line feeds.
    pub data: &'a [u8],
    /// Whether it is called `error` (`event: error`, or a field named `error`).
    pub is_error: bool,
    /// Whether its last byte came in the same read as the last byte of an earlier event. Calls of
    /// [`Framer::feed`] with the same stamp are one read.
    pub coalesced: bool,
}

/// Where the `data` of the event under construction is.
#[derive(Clone, Copy)]
enum Pending<'a> {
    /// No `data` line yet.
    Nothing,
    /// One line, inside the bytes being fed.
    Here(&'a [u8]),
    /// In the framer's own buffer.
    Kept,
}

/// State between reads.
#[derive(Debug)]
pub struct Framer {
    /// The unfinished line of earlier reads.
    line: Vec<u8>,
    /// Finished `data` lines of an event that is not finished.
    data: Vec<u8>,
    /// Whether `data` holds a line (which may be empty).
    has_data: bool,
    is_error: bool,
    /// The last byte was CR, so an LF that follows belongs to it.
    after_cr: bool,
    /// No line was finished yet, so a byte order mark may still open the next one.
    at_start: bool,
    read: Option<Nanos>,
    ended_in_read: bool,
    limit: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl Framer {
    /// A framer whose events have at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            is_error: false,
            after_cr: false,
            at_start: true,
            read: None,
            ended_in_read: false,
            limit,
        }
    }

    /// Takes the bytes that a read returned at `at` and hands each event they complete to `sink`.
    ///
    /// # Errors
    /// An event is longer than the limit; the stream cannot be read on.
    pub fn feed(&mut self, mut bytes: &[u8], at: Nanos, mut sink: impl FnMut(Event<'_>)) -> Result<(), EventTooLarge> {
        if self.read != Some(at) {
            self.read = Some(at);
            self.ended_in_read = false;
        }
        let mut pending = if self.has_data { Pending::Kept } else { Pending::Nothing };
        while !bytes.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if bytes[0] == b'\n' {
                    bytes = &bytes[1..];
                    continue;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let (here, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.after_cr = bytes[end] == b'\r';
            bytes = rest;
            if self.line.is_empty() {
                pending = self.take_line(here, pending, &mut sink);
            } else {
                // Taken out so that the line and the rest of the state can be borrowed at once.
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(here);
                self.keep(pending);
                let kept = if self.has_data { Pending::Kept } else { Pending::Nothing };
                match self.take_line(&line, kept, &mut sink) {
                    Pending::Here(data) => {
                        self.keep(Pending::Here(data));
                        pending = Pending::Kept;
                    }
                    Pending::Kept => pending = Pending::Kept,
                    Pending::Nothing => pending = Pending::Nothing,
                }
                line.clear();
                self.line = line;
            }
            self.check_size(pending)?;
        }
        self.keep(pending);
        self.check_size(Pending::Kept)
    }

    /// The event that the end of a *complete* body finishes although its blank line is missing. Handed
    /// out with the stamp of the last read, which brought its bytes.
    pub fn rest(&mut self, mut sink: impl FnMut(Event<'_>)) {
        let line = std::mem::take(&mut self.line);
        let kept = if self.has_data { Pending::Kept } else { Pending::Nothing };
        let pending = if line.is_empty() { kept } else { self.take_line(&line, kept, &mut sink) };
        self.dispatch(pending, &mut sink);
    }

    /// Works on one line without its terminator.
    fn take_line<'a>(&mut self, line: &'a [u8], pending: Pending<'a>, sink: &mut impl FnMut(Event<'_>)) -> Pending<'a> {
        let line = if self.at_start {
            self.at_start = false;
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            self.dispatch(pending, sink);
            return Pending::Nothing;
        }
        let (field, value) = match memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        };
        match field {
            b"data" => self.append(value, pending),
            b"error" => {
                self.is_error = true;
                self.append(value, pending)
            }
            b"event" => {
                self.is_error = value == b"error";
                pending
            }
            // Comments (empty field name), `id`, `retry` and unknown fields say nothing here.
            _ => pending,
        }
    }

    /// Adds a `data` line to the event under construction.
    fn append<'a>(&mut self, value: &'a [u8], pending: Pending<'a>) -> Pending<'a> {
        if matches!(pending, Pending::Nothing) {
            return Pending::Here(value);
        }
        self.keep(pending);
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
        Pending::Kept
    }

    /// Moves data that lies in the bytes being fed into the framer's own buffer.
    fn keep(&mut self, pending: Pending<'_>) {
        if let Pending::Here(data) = pending {
            self.data.clear();
            self.data.extend_from_slice(data);
            self.has_data = true;
        }
    }

    /// A blank line: the event is finished.
    fn dispatch(&mut self, pending: Pending<'_>, sink: &mut impl FnMut(Event<'_>)) {
        let data = match pending {
            Pending::Nothing => None,
            Pending::Here(data) => Some(data),
            Pending::Kept => Some(self.data.as_slice()),
        };
        if let Some(data) = data {
            sink(Event { data, is_error: self.is_error, coalesced: self.ended_in_read });
            self.ended_in_read = true;
        }
        self.data.clear();
        self.has_data = false;
        self.is_error = false;
    }

    fn check_size(&self, pending: Pending<'_>) -> Result<(), EventTooLarge> {
        let held = match pending {
            Pending::Here(data) => data.len(),
            Pending::Nothing | Pending::Kept => self.data.len(),
        };
        if held.saturating_add(self.line.len()) > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        Ok(())
    }
}
