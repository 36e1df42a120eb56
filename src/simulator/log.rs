//! The event log: what the server really did with each request, as one JSON object a line.
//!
//! The first line is a header. Times are nanoseconds since the server started; the header gives that
//! moment on `CLOCK_MONOTONIC`, which every process of the machine shares.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// First line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `bench.simulator-log/1`.
    pub format: String,
    /// The text after `sim:`.
    pub profile: String,
    /// Time 0 of this log on `CLOCK_MONOTONIC`.
    pub monotonic_origin_ns: Nanos,
}

/// How a request left the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The whole answer, faults included, was written to the socket.
    Answered,
    /// The server broke the connection, as a fault demanded.
    Broken,
    /// The client went away first, or the server was stopped.
    #[default]
    Disconnected,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub request: u64,
    /// Path of the route.
    pub path: String,
    /// Model that was asked for.
    pub model: Option<String>,
    /// Status of the answer; absent if none was begun.
    pub status: Option<u16>,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Those of them that the prefix cache had.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// When its head had been read.
    pub arrived_ns: Nanos,
    /// When it left the waiting line, if a token came of it.
    pub admitted_ns: Option<Nanos>,
    /// When the engine emitted each token.
    pub tokens_ns: Vec<Nanos>,
    /// When the socket had accepted the bytes of each token. Shorter than `tokens_ns` if a fault or
    /// the client kept tokens back.
    pub written_ns: Vec<Nanos>,
    /// When the request left.
    pub ended_ns: Nanos,
    /// How.
    pub end: End,
    /// `stop` or `length`, if the engine finished.
    pub finish_reason: Option<String>,
    /// Names of the faults that struck.
    pub faults: Vec<String>,
}

/// A log file.
#[derive(Debug)]
pub struct EventLog(Mutex<File>);

impl EventLog {
    /// Creates `path`, or empties it, and writes the header.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, profile: &str, monotonic_origin_ns: Nanos) -> io::Result<Self> {
        let header =
            Header { format: "bench.simulator-log/1".to_owned(), profile: profile.to_owned(), monotonic_origin_ns };
        let log = Self(Mutex::new(File::create(path)?));
        log.line(&header)?;
        Ok(log)
    }

    /// Appends a request, as one write, so that a reader never sees half a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, record: &Record) -> io::Result<()> {
        self.line(record)
    }

    fn line(&self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}
