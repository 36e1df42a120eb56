//! Why a trace cannot be used: file, line, column, value, and what was expected.

use std::io;

use super::TraceFormat;

/// Why a trace cannot be used. A trace with one bad row is not used at all: what is left would be another one.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file fails.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The path as the user spells it.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not the one that was pinned.
    #[error(
        "`{path}` has sha256 `{found}`, but the scenario pins `{expected}`; run `bench validate --pin` if it was changed on purpose"
    )]
    Pin {
        /// The path as the user spells it.
        path: String,
        /// The pinned digest.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// Packed data that breaks off or is damaged.
    #[error(
        "`{path}` breaks off: its {packing} data is cut short or damaged after line {line} ({why}); get the whole file again"
    )]
    Cut {
        /// The path as the user spells it.
        path: String,
        /// `gzip` or `zstd`.
        packing: &'static str,
        /// Last whole line before the break.
        line: u64,
        /// What the decoder said.
        why: String,
    },
    /// No line of the file tells its format, or it has none.
    #[error("`{path}` is no trace that is known here: {why}; {}", known())]
    Unknown {
        /// The path as the user spells it.
        path: String,
        /// What stands there instead.
        why: String,
    },
    /// The head of the file is not that of its format.
    #[error("`{path}`, line {line}{}: found {value}, expected {expected}", at(.field))]
    Head {
        /// The path as the user spells it.
        path: String,
        /// Its line, from 1.
        line: u64,
        /// The column or key; empty for the line itself.
        field: String,
        /// What stands there, cut short.
        value: String,
        /// What should.
        expected: String,
    },
    /// Rows that are not what the format says.
    #[error("`{path}`, line {line}{}: found {value}, expected {expected}{}", at(.field), others(*.more))]
    Rows {
        /// The path as the user spells it.
        path: String,
        /// Line of the first such row, from 1.
        line: u64,
        /// The column or key; empty for the row itself.
        field: String,
        /// What stands there, cut short.
        value: String,
        /// What should.
        expected: String,
        /// Further bad rows.
        more: u64,
    },
    /// A trace without a request.
    #[error("`{path}` has no request: it ends after its head; expected at least one row")]
    Empty {
        /// The path as the user spells it.
        path: String,
    },
    /// Fewer or more requests than the head promises.
    #[error("`{path}` has {found} requests, but its head promises {expected}; get the whole file again")]
    Count {
        /// The path as the user spells it.
        path: String,
        /// What the head says.
        expected: u64,
        /// What was found.
        found: u64,
    },
    /// A trace that lacks what it is used for.
    #[error("`{path}` has no {what}: {} {}", .format.title(), .format.lacks())]
    Lacks {
        /// The path as the user spells it.
        path: String,
        /// Its format.
        format: TraceFormat,
        /// What is missing, such as `arrival times`.
        what: &'static str,
    },
}

fn known() -> String {
    let heads: Vec<String> =
        TraceFormat::ALL.iter().map(|format| format!("`{}` ({})", format.name(), format.head())).collect();
    format!("expected {}", heads.join(", "))
}

fn at(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(", `{field}`") }
}

fn others(more: u64) -> String {
    match more {
        0 => String::new(),
        1 => "; 1 more row is wrong".to_owned(),
        more => format!("; {more} more rows are wrong"),
    }
}

/// A row, or the head of a file, that is not what its format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) field: String,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl Bad {
    pub(crate) fn new(field: impl Into<String>, value: &str, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: excerpt(value), expected: expected.into() }
    }

    /// A column or key that is not there.
    pub(crate) fn missing(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: "nothing".to_owned(), expected: expected.into() }
    }

    /// The same of the head of the file `path`.
    pub(crate) fn of_head(self, path: &str, line: u64) -> TraceError {
        let Self { field, value, expected } = self;
        TraceError::Head { path: path.to_owned(), line, field, value, expected }
    }
}

/// A value as an error shows it: one line of at most 60 characters.
fn excerpt(value: &str) -> String {
    let value = value.trim();
    if value.is_empty() {
        return "nothing".to_owned();
    }
    let mut line: String = value.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < value.len() {
        line.push('…');
    }
    format!("`{line}`")
}
