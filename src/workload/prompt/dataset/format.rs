//! The formats of datasets: how rows stand in a file. What a row says is in the file of its kind.

use super::config::Columns;
use super::row::{Bad, Usable};
use super::{jsonl, list, messages, sharegpt};

/// How rows stand in a file, with what is needed to read them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Sharegpt,
    /// The same, all turns of a row.
    SharegptSessions,
    Messages,
    /// The same, all turns of a row.
    MessagesSessions,
    Jsonl(Columns),
    List,
    Lines,
    Csv(Columns),
}

/// What holds the rows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A JSON array of rows, or one JSON value a line that begins with this byte.
    Json(u8),
    /// A text a line.
    Lines,
    /// Values under a line of names.
    Csv,
}

impl Format {
    /// The same file read for sessions: whole conversations.
    pub(crate) fn sessions(&self) -> Self {
        match self {
            Self::Sharegpt => Self::SharegptSessions,
            Self::Messages => Self::MessagesSessions,
            other => other.clone(),
        }
    }

    /// Whether rows are conversations.
    pub(super) fn is_conversation(&self) -> bool {
        self.is_session() || *self == Self::Messages
    }

    /// Whether rows are conversations to the end, answers included.
    pub(super) fn is_session(&self) -> bool {
        matches!(self, Self::SharegptSessions | Self::MessagesSessions)
    }

    pub(super) fn layout(&self) -> Layout {
        match self {
            Self::Sharegpt | Self::SharegptSessions | Self::Messages | Self::MessagesSessions | Self::Jsonl(_) => {
                Layout::Json(b'{')
            }
            Self::List => Layout::Json(b'"'),
            Self::Lines => Layout::Lines,
            Self::Csv(_) => Layout::Csv,
        }
    }

    /// Name for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sharegpt | Self::SharegptSessions => "ShareGPT file",
            Self::Messages | Self::MessagesSessions => "file of messages",
            Self::Jsonl(_) => "file of JSON lines",
            Self::List => "list of prompts",
            Self::Lines => "file of lines",
            Self::Csv(_) => "CSV file",
        }
    }

    /// What a file of this format looks like.
    pub(super) fn looks(&self) -> String {
        match self {
            Self::Sharegpt | Self::SharegptSessions => {
                "a JSON array, or one object a line, of { \"conversations\": [ … ] }".to_owned()
            }
            Self::Messages | Self::MessagesSessions => {
                "one object a line, or a JSON array, of { \"messages\": [ … ] }".to_owned()
            }
            Self::Jsonl(columns) => {
                format!("one object a line, or a JSON array, of {{ {:?}: \"…\", … }}", columns.prompt)
            }
            Self::List => "a JSON array of strings, or one JSON string a line".to_owned(),
            Self::Lines => "a prompt a line".to_owned(),
            Self::Csv(columns) => format!("a line of column names with `{}` among them, then rows", columns.prompt),
        }
    }

    /// Whether rows can hold recorded answers.
    pub(super) fn has_answers(&self) -> bool {
        !matches!(self, Self::List | Self::Lines)
    }

    /// Reads one row of a JSON layout.
    ///
    /// # Errors
    /// The field that is missing or of the wrong type.
    pub(super) fn read_row(&self, json: &str) -> Result<Usable, Bad> {
        match self {
            Self::Sharegpt => sharegpt::read_row(json),
            Self::SharegptSessions => sharegpt::read_session(json),
            Self::Messages => messages::read_row(json),
            Self::MessagesSessions => messages::read_session(json),
            Self::Jsonl(columns) => jsonl::read_row(json, columns),
            Self::List => list::read_row(json),
            Self::Lines | Self::Csv(_) => unreachable!("no JSON in these"),
        }
    }
}
