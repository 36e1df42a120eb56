//! What the engine hands over for each request: its stamps, its events and the one way it ended.

use compact_str::CompactString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// Who a request is, whatever worker sent it and whenever it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IdRecord", into = "IdRecord")]
pub enum RequestId {
    /// Open loop: position in the global schedule, warm-up included.
    Open {
        /// Number in its stream: the common load, or the load of its class alone.
        index: u64,
    },
    /// Closed loop: the user's n-th request.
    Closed {
        /// User, from 0.
        user: u32,
        /// Turn of that user, from 0.
        turn: u32,
    },
    /// Open loop: a request of the session that an arrival began.
    OpenSession {
        /// Arrival index.
        index: u64,
        /// Turn of the session, from 0.
        turn: u32,
    },
    /// Closed loop: a request of one of a user's sessions.
    ClosedSession {
        /// User, from 0.
        user: u32,
        /// Session of that user, from 0.
        session: u32,
        /// Turn of the session, from 0.
        turn: u32,
    },
}

impl RequestId {
    /// The turn inside a session; none without sessions.
    pub const fn turn(self) -> Option<u32> {
        match self {
            Self::Open { .. } | Self::Closed { .. } => None,
            Self::OpenSession { turn, .. } | Self::ClosedSession { turn, .. } => Some(turn),
        }
    }

    /// The request of the same session at `turn`; without sessions there is no other.
    #[must_use]
    pub const fn with_turn(self, turn: u32) -> Self {
        match self {
            Self::Open { .. } | Self::Closed { .. } => self,
            Self::OpenSession { index, .. } => Self::OpenSession { index, turn },
            Self::ClosedSession { user, session, .. } => Self::ClosedSession { user, session, turn },
        }
    }

    /// The next request of the same session.
    #[must_use]
    pub const fn after(self) -> Self {
        match self.turn() {
            Some(turn) => self.with_turn(turn + 1),
            None => self,
        }
    }
}

/// Who a request is, as JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IdRecord {
    /// Whether arrivals follow a schedule, or users wait for their answers.
    #[serde(rename = "loop")]
    kind: IdLoop,
    /// Open loop: position in the global schedule, warm-up included; with sessions, of the arrival that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    /// Closed loop: user, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    /// Closed loop with sessions: session of that user, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u32>,
    /// Turn of the session, from 0; in a closed loop without sessions the user's n-th request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum IdLoop {
    /// Arrivals follow a schedule.
    Open,
    /// Users wait for their answers.
    Closed,
}

impl From<RequestId> for IdRecord {
    fn from(id: RequestId) -> Self {
        let (kind, index, user, session) = match id {
            RequestId::Open { index } | RequestId::OpenSession { index, .. } => (IdLoop::Open, Some(index), None, None),
            RequestId::Closed { user, .. } => (IdLoop::Closed, None, Some(user), None),
            RequestId::ClosedSession { user, session, .. } => (IdLoop::Closed, None, Some(user), Some(session)),
        };
        let turn = if let RequestId::Closed { turn, .. } = id { Some(turn) } else { id.turn() };
        Self { kind, index, user, session, turn }
    }
}

impl TryFrom<IdRecord> for RequestId {
    type Error = &'static str;

    fn try_from(record: IdRecord) -> Result<Self, Self::Error> {
        let IdRecord { kind, index, user, session, turn } = record;
        match (kind, index, user, session, turn) {
            (IdLoop::Open, Some(index), None, None, None) => Ok(Self::Open { index }),
            (IdLoop::Open, Some(index), None, None, Some(turn)) => Ok(Self::OpenSession { index, turn }),
            (IdLoop::Closed, None, Some(user), None, Some(turn)) => Ok(Self::Closed { user, turn }),
            (IdLoop::Closed, None, Some(user), Some(session), Some(turn)) => {
                Ok(Self::ClosedSession { user, session, turn })
            }
            _ => Err("an open loop has `index` and, with sessions, `turn`; a closed one `user`, `turn` and, with \
                      sessions, `session`"),
        }
    }
}

impl JsonSchema for RequestId {
    fn inline_schema() -> bool {
        IdRecord::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestId".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        IdRecord::json_schema(generator)
    }
}

/// Part of a point that the intended time of a request falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the window.
    Warmup,
    /// Inside the window: the requests that outcomes and distributions are about.
    Measure,
    /// After the window, while measured requests finish.
    Drain,
}

/// The one way a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Finish reason, `[DONE]` or the protocol's own end, complete HTTP framing, and content.
    Completed,
    /// The answer broke off: cut connection or no proper end.
    Truncated,
    /// The server said that it failed: status 4xx/5xx, or an error object inside a 200 answer.
    ServerError,
    /// Status 429 or an in-band overload error.
    RateLimited,
    /// No end before the request timeout.
    TimedOut,
    /// No connection.
    ConnectFailed,
    /// Bytes that the protocol does not allow.
    ProtocolError,
    /// A proper end without any content.
    Empty,
    /// The answer is not what was asked for.
    Mismatch,
    /// Ended by `bench`: drain limit or a signal.
    Cancelled,
    /// Due, but never sent.
    NotSent,
}

impl Outcome {
    /// All outcomes, in the order reports print them.
    pub const ALL: [Self; 11] = [
        Self::Completed,
        Self::Truncated,
        Self::ServerError,
        Self::RateLimited,
        Self::TimedOut,
        Self::ConnectFailed,
        Self::ProtocolError,
        Self::Empty,
        Self::Mismatch,
        Self::Cancelled,
        Self::NotSent,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::ServerError => "server_error",
            Self::RateLimited => "rate_limited",
            Self::TimedOut => "timed_out",
            Self::ConnectFailed => "connect_failed",
            Self::ProtocolError => "protocol_error",
            Self::Empty => "empty",
            Self::Mismatch => "mismatch",
            Self::Cancelled => "cancelled",
            Self::NotSent => "not_sent",
        }
    }

    /// What it says about a request, one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Completed => "A finish reason or the protocol's own end, complete HTTP framing, and content.",
            Self::Truncated => "The answer broke off: a cut connection, or no proper end.",
            Self::ServerError => {
                "The server said that it failed: a status 4xx or 5xx, or an error inside a 200 answer."
            }
            Self::RateLimited => {
                "The server refused it because of its load: status 429, or such an error inside a 200 answer."
            }
            Self::TimedOut => "No end before the request timeout.",
            Self::ConnectFailed => "There was no connection.",
            Self::ProtocolError => "The server sent bytes that the protocol does not allow.",
            Self::Empty => "A proper end without any content.",
            Self::Mismatch => "The answer is not what was asked for.",
            Self::Cancelled => "`bench` ended it: the drain limit, or a signal.",
            Self::NotSent => "It was due, but never sent.",
        }
    }
}

/// Why a request did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Stable word: `http_500`, `in_band_error`, `cut_mid_stream`, `no_end`, `drain_limit`, …
    pub code: String,
    /// First line of what the server or the system said, at most 300 characters, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a content event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// Text of the answer.
    Text,
    /// Reasoning text.
    Reasoning,
    /// Tool-call arguments.
    ToolCall,
}

/// A piece of the answer: non-empty text, reasoning or tool-call arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentEvent {
    /// When the read that brought its last byte returned.
    pub at: Nanos,
    /// What it carries.
    pub kind: ContentKind,
    /// Tokens as the server said them (continuous usage, token ids, logprobs); tokens of empty
    /// events before it are included.
    pub tokens: Option<u32>,
    /// Its text, for a tokenizer after the request ended. A short one lies in the event itself: the thread that reads
    /// allocates nothing for it.
    pub text: CompactString,
    /// The read that brought its last byte also brought that of an earlier content event, so the gap
    /// between the two is the client's, not the server's.
    pub coalesced: bool,
}

/// Tokens as the server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// Prompt tokens served from a prefix cache.
    pub cached_tokens: Option<u64>,
}

/// What a decoder made of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, unless completed.
    pub reason: Option<Reason>,
    /// Content events in order of arrival. Without streaming: empty.
    pub events: Vec<ContentEvent>,
    /// Text of an answer that was not streamed, for a tokenizer when the server sends no usage.
    pub body_text: Option<Box<str>>,
    /// Deltas without content (role, empty string, null), which give no stamp.
    pub empty_events: u32,
    /// The server's counts.
    pub usage: Option<Usage>,
    /// `stop`, `length`, …
    pub finish_reason: Option<String>,
    /// The model the server says answered.
    pub model: Option<String>,
    /// Seconds of a `Retry-After` header.
    pub retry_after_s: Option<u64>,
}

/// Whether a connection was opened for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionUse {
    /// The transport cannot tell, or none was reached.
    #[default]
    Unknown,
    /// Opened for this request.
    Opened,
    /// Kept alive from an earlier one.
    Reused,
}

/// Stamps of a request in nanoseconds since the start of the point. What could not be stamped is
/// absent, never guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// When the request was due.
    pub intended: Nanos,
    /// When a worker took it up.
    pub dispatched: Option<Nanos>,
    /// When `max_in_flight` admitted it.
    pub slot: Option<Nanos>,
    /// When a connection was begun for it.
    pub connect_start: Option<Nanos>,
    /// When that connection stood.
    pub connected: Option<Nanos>,
    /// When its TLS handshake ended.
    pub tls: Option<Nanos>,
    /// When the socket accepted the first byte.
    pub sent: Option<Nanos>,
    /// When the response head arrived.
    pub headers: Option<Nanos>,
    /// When the last byte arrived, or the request was given up.
    pub end: Option<Nanos>,
}

/// Everything the engine knows about one request: one message through the bounded channel.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Who it is.
    pub id: RequestId,
    /// Index of its traffic class.
    pub class: u16,
    /// Phase of its intended time.
    pub phase: Phase,
    /// Its stamps.
    pub stamps: Stamps,
    /// What the decoder made of the answer; for a request without one, an `Answer` that has only
    /// outcome and reason.
    pub answer: Answer,
    /// Whether the answer was asked as a stream.
    pub streamed: bool,
    /// Prompt tokens asked of the workload.
    pub input_tokens_asked: u32,
    /// Prompt tokens the tokenizer counted in the text that was sent.
    pub input_tokens_counted: Option<u32>,
    /// Output tokens asked of the server (`max_tokens`).
    pub output_tokens_asked: u32,
    /// A number that a right answer contains, where the prompt has such an answer.
    pub expected_number: Option<u32>,
    /// Connection opened or reused.
    pub connection: ConnectionUse,
    /// Which of the addresses of its backend it went to.
    pub address: u16,
}

impl Answer {
    /// An answer that never came: only outcome and reason.
    pub fn none(outcome: Outcome, code: &str, detail: Option<String>) -> Self {
        Self {
            outcome,
            reason: Some(Reason { code: code.to_owned(), detail }),
            events: Vec::new(),
            body_text: None,
            empty_events: 0,
            usage: None,
            finish_reason: None,
            model: None,
            retry_after_s: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_request_is_survives_json() {
        for (id, json) in [
            (RequestId::Open { index: 7 }, r#"{"loop":"open","index":7}"#),
            (RequestId::OpenSession { index: 7, turn: 0 }, r#"{"loop":"open","index":7,"turn":0}"#),
            (RequestId::Closed { user: 3, turn: 4 }, r#"{"loop":"closed","user":3,"turn":4}"#),
            (
                RequestId::ClosedSession { user: 3, session: 1, turn: 4 },
                r#"{"loop":"closed","user":3,"session":1,"turn":4}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(serde_json::from_str::<RequestId>(json).unwrap(), id);
        }
        assert!(serde_json::from_str::<RequestId>(r#"{"loop":"open","user":1,"turn":2}"#).is_err());
    }
}
