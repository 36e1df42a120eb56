//! What really happened: the log that the [metronome](super::metronome) writes and a client is compared with.
//!
//! Text, one JSON object a line: a [`TruthHeader`], then one [`TruthRecord`] a request. All times are nanoseconds of
//! `CLOCK_MONOTONIC`.
//!
//! The time of an event is read just *before* the write that carried its last byte. No client can have had the byte
//! earlier, so the error of a client that is right is never negative, and the write's own time (some microseconds) is
//! charged to the client. Taken after the write it would flatter: on the loopback device the receiver is served, and
//! may be running on another core, before the write returns.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// The format word of a log.
pub const FORMAT: &str = "bench.truth/1";

/// What stands before the label of a request in its prompt. A client that wants to be matched request by request puts
/// it there; the label is what follows, up to the first byte that is not a letter, a digit, `.`, `_`, `-` or `/`.
pub const LABEL_MARK: &str = "bench-request ";

/// First line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthHeader {
    /// `bench.truth/1`.
    pub format: String,
    /// From the receipt of a request to its first event.
    pub ttft_ns: Nanos,
    /// From each event to the next; 0: as fast as the connection takes them.
    pub itl_ns: Nanos,
    /// The core that the server was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<usize>,
    /// CPU time that the server used.
    pub cpu_ns: Nanos,
}

/// Where the time of receipt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceivedBy {
    /// The kernel's stamp of the packet that completed the request.
    Kernel,
    /// Read when the server had been woken: late by that wake-up.
    User,
}

/// One request as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// Connection, in order of acceptance.
    pub connection: u64,
    /// Request of that connection, from 0.
    pub sequence: u32,
    /// What followed [`LABEL_MARK`] in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// First 16 hex digits of the SHA-256 of the body.
    pub body_sha256: String,
    /// When its last byte arrived.
    pub received_ns: Nanos,
    /// Who says so.
    pub received_by: ReceivedBy,
    /// Events that were to be written.
    pub tokens: u32,
    /// Whether the whole answer was written.
    pub complete: bool,
    /// Events that could not be written when they were due because the client had not read the earlier ones.
    pub blocked: u32,
    /// When the first event was written, just before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<Nanos>,
    /// Gap from each event to the next.
    pub gaps_ns: Vec<Nanos>,
}

impl TruthRecord {
    /// When each event was written.
    pub fn events(&self) -> impl Iterator<Item = Nanos> {
        let first = self.first_ns;
        let later = self.gaps_ns.iter().scan(first.unwrap_or(0), |at, gap| {
            *at += gap;
            Some(*at)
        });
        first.into_iter().chain(later)
    }

    /// True time to the first event.
    pub fn ttft_ns(&self) -> Option<Nanos> {
        self.first_ns?.checked_sub(self.received_ns)
    }
}

/// A whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// How the server was set.
    pub header: TruthHeader,
    /// Its requests in order of their end.
    pub requests: Vec<TruthRecord>,
}

impl Truth {
    /// Reads a log.
    ///
    /// # Errors
    /// When it cannot be read, is of another format or was cut.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut lines = BufReader::new(std::fs::File::open(path)?).lines();
        let first = lines.next().ok_or_else(|| io::Error::other("the log is empty"))??;
        let header: TruthHeader = serde_json::from_str(&first)?;
        if header.format != FORMAT {
            return Err(io::Error::other(format!("format `{}` is not `{FORMAT}`", header.format)));
        }
        let requests = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<io::Result<_>>()?;
        Ok(Self { header, requests })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        serde_json::to_writer(&mut out, &self.header)?;
        for request in &self.requests {
            out.write_all(b"\n")?;
            serde_json::to_writer(&mut out, request)?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }

    /// How late each event was written, against the schedule that began with the receipt of its request.
    pub fn lateness(&self) -> Vec<Nanos> {
        let late = |request: &TruthRecord| {
            let zero = request.received_ns + self.header.ttft_ns;
            let due = move |index: usize| zero + index as Nanos * self.header.itl_ns;
            request.events().enumerate().map(|(index, at)| at.saturating_sub(due(index))).collect::<Vec<_>>()
        };
        self.requests.iter().flat_map(late).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_was_written_and_says_how_late_it_was() {
        let record = TruthRecord {
            connection: 3,
            sequence: 1,
            label: Some("c1.2".to_owned()),
            body_sha256: "0123456789abcdef".to_owned(),
            received_ns: 1_000,
            received_by: ReceivedBy::Kernel,
            tokens: 3,
            complete: true,
            blocked: 0,
            // Due at 1 100, 1 150 and 1 200.
            first_ns: Some(1_107),
            gaps_ns: vec![43, 70],
        };
        let header = TruthHeader { format: FORMAT.to_owned(), ttft_ns: 100, itl_ns: 50, cpu: None, cpu_ns: 7 };
        let truth = Truth { header, requests: vec![record.clone(), record] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        truth.write(&path).unwrap();
        assert_eq!(Truth::read(&path).unwrap(), truth);
        assert_eq!(truth.lateness(), [7, 0, 20, 7, 0, 20]);
        assert_eq!(truth.requests[0].events().collect::<Vec<_>>(), [1_107, 1_150, 1_220]);
        assert_eq!(truth.requests[0].ttft_ns(), Some(107));
    }

    #[test]
    fn another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let header = TruthHeader { format: "bench.truth/2".to_owned(), ttft_ns: 0, itl_ns: 0, cpu: None, cpu_ns: 0 };
        Truth { header, requests: Vec::new() }.write(&path).unwrap();
        assert!(Truth::read(&path).unwrap_err().to_string().contains("bench.truth/2"));
        std::fs::write(&path, "").unwrap();
        assert!(Truth::read(&path).is_err());
    }
}
