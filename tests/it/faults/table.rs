//! What servers do wrong, and what must come of it. `docs/faults.md` is printed from this table; transport and whole
//! points are held against it.

use std::time::Duration;

use llm_bench::measure::timeline::Outcome;

use super::answers::{DONE, HEAD, LAST_CHUNK, body, chunk, event, last_event, usage, whole, with_length};
use crate::support::scripted::Conn;

/// The request timeout that the rows are written for: far above what an answer takes, short enough to wait for.
pub(super) const TIMEOUT: Duration = Duration::from_millis(2000);
/// A stall that is shorter.
pub(super) const SHORT_STALL: Duration = Duration::from_millis(60);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request uses it.
    Kept,
    /// The client has ended it, or seen its end.
    Ended,
    /// It ended without one byte of an answer, which a request on a kept connection survives once.
    Unanswered,
    /// The server ends it behind a whole answer, so the next request may meet the end.
    EndedBehind,
}

/// One row.
pub(super) struct Fault {
    /// What the server does.
    pub(super) does: &'static str,
    /// Answers one request that was read whole. Hands the connection back where it goes on.
    pub(super) script: fn(Conn) -> Option<Conn>,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<&'static str>,
    /// Whether a response head was seen.
    pub(super) head: bool,
    /// Content events that were seen.
    pub(super) events: usize,
    pub(super) after: After,
}

fn on(mut conn: Conn, bytes: impl AsRef<[u8]>) -> Option<Conn> {
    conn.write(bytes);
    Some(conn)
}

fn reset_after(mut conn: Conn, bytes: impl AsRef<[u8]>) -> Option<Conn> {
    conn.write(bytes);
    conn.reset();
    None
}

fn close_after(mut conn: Conn, bytes: impl AsRef<[u8]>) -> Option<Conn> {
    conn.write(bytes);
    conn.close();
    None
}

fn stall_after(mut conn: Conn, bytes: impl AsRef<[u8]>) -> Option<Conn> {
    conn.write(bytes);
    conn.until_closed();
    None
}

fn unended() -> String {
    HEAD.to_owned() + &chunk(&body())
}

fn first_event_and_a_half() -> String {
    let two = event(" one") + &last_event(" two");
    HEAD.to_owned() + &chunk(&two)[..event(" one").len() + 30]
}

const STREAM: &str = "content-type: text/event-stream\r\n";

/// Every row.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        does: "answers (for comparison)",
        script: |conn| on(conn, whole()),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Kept,
    },
    Fault {
        does: "resets the connection instead of an answer",
        script: |conn| reset_after(conn, ""),
        outcome: Outcome::Truncated,
        reason: Some("cut_before_headers"),
        head: false,
        events: 0,
        after: After::Unanswered,
    },
    Fault {
        does: "closes the connection instead of an answer",
        script: |conn| close_after(conn, ""),
        outcome: Outcome::Truncated,
        reason: Some("cut_before_headers"),
        head: false,
        events: 0,
        after: After::Unanswered,
    },
    Fault {
        does: "resets inside the response head",
        script: |conn| reset_after(conn, &HEAD[..30]),
        outcome: Outcome::Truncated,
        reason: Some("cut_before_headers"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "announces an answer (`100 Continue`) and closes before its head",
        script: |conn| close_after(conn, "HTTP/1.1 100 Continue\r\n\r\n"),
        outcome: Outcome::Truncated,
        reason: Some("cut_before_headers"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "resets behind the response head",
        script: |conn| reset_after(conn, HEAD),
        outcome: Outcome::Truncated,
        reason: Some("cut_before_content"),
        head: true,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "resets in the middle of an event",
        script: |conn| reset_after(conn, first_event_and_a_half()),
        outcome: Outcome::Truncated,
        reason: Some("cut_mid_stream"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "sends FIN in the middle of an event and goes on reading",
        script: |mut conn| {
            conn.write(first_event_and_a_half());
            conn.half_close();
            conn.until_closed();
            None
        },
        outcome: Outcome::Truncated,
        reason: Some("cut_mid_stream"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "resets behind `[DONE]`, before the last chunk",
        script: |conn| reset_after(conn, unended()),
        outcome: Outcome::Truncated,
        reason: Some("cut_after_done"),
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "closes behind `[DONE]`, before the last chunk",
        script: |conn| close_after(conn, unended()),
        outcome: Outcome::Truncated,
        reason: Some("cut_after_done"),
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "resets behind the whole answer",
        script: |conn| reset_after(conn, whole()),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::EndedBehind,
    },
    Fault {
        does: "promises to keep the connection and closes it behind the whole answer",
        script: |conn| close_after(conn, whole()),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::EndedBehind,
    },
    Fault {
        does: "sends FIN behind the whole answer and goes on reading",
        script: |mut conn| {
            conn.write(whole());
            conn.half_close();
            conn.until_closed();
            None
        },
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::EndedBehind,
    },
    Fault {
        does: "stalls in the middle of an event, shorter than the timeout",
        script: |mut conn| {
            let bytes = whole();
            let middle = HEAD.len() + 20;
            conn.write(&bytes[..middle]);
            std::thread::sleep(SHORT_STALL);
            on(conn, &bytes[middle..])
        },
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Kept,
    },
    Fault {
        does: "never answers",
        script: |conn| stall_after(conn, ""),
        outcome: Outcome::TimedOut,
        reason: Some("timeout_before_headers"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "stalls behind the response head, longer than the timeout",
        script: |conn| stall_after(conn, HEAD),
        outcome: Outcome::TimedOut,
        reason: Some("timeout_before_content"),
        head: true,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "stalls in the middle of an event, longer than the timeout",
        script: |conn| stall_after(conn, first_event_and_a_half()),
        outcome: Outcome::TimedOut,
        reason: Some("timeout_mid_stream"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "stalls behind `[DONE]`, longer than the timeout",
        script: |conn| stall_after(conn, unended()),
        outcome: Outcome::TimedOut,
        reason: Some("timeout_after_done"),
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "gives a content length that is too short",
        script: |conn| on(conn, with_length("200 OK", STREAM, event(" one").len() + 5, &body())),
        outcome: Outcome::Truncated,
        reason: Some("no_end"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "gives a content length that is too long, and closes",
        script: |conn| close_after(conn, with_length("200 OK", STREAM, body().len() + 1, &body())),
        outcome: Outcome::Truncated,
        reason: Some("cut_after_done"),
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "gives two content lengths",
        script: |conn| on(conn, with_length("200 OK", "content-length: 3\r\n", 4, "abcd")),
        outcome: Outcome::ProtocolError,
        reason: Some("malformed_http"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "sends a chunk that is longer than its size",
        script: |conn| {
            let size = event(" one").len();
            on(conn, format!("{HEAD}{size:x}\r\n{}\r\n{LAST_CHUNK}", body()))
        },
        outcome: Outcome::ProtocolError,
        reason: Some("malformed_http"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "does not speak HTTP",
        script: |conn| on(conn, "SSH-2.0-OpenSSH_9.2\r\n"),
        outcome: Outcome::ProtocolError,
        reason: Some("malformed_http"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "switches protocols unasked (101)",
        script: |conn| on(conn, "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        outcome: Outcome::ProtocolError,
        reason: Some("malformed_http"),
        head: false,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "ends the chunks with a trailer",
        script: |conn| on(conn, format!("{}0\r\nserver-timing: total;dur=1\r\nx: y\r\n\r\n", unended())),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Kept,
    },
    Fault {
        does: "sends 100 Continue and 103 Early Hints before the answer",
        script: |conn| {
            on(conn, format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}", whole()))
        },
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Kept,
    },
    Fault {
        does: "ends an answer without length by closing",
        script: |conn| close_after(conn, format!("HTTP/1.1 200 OK\r\n{STREAM}\r\n{}", body())),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "resets an answer without length behind `[DONE]`",
        script: |conn| reset_after(conn, format!("HTTP/1.1 200 OK\r\n{STREAM}\r\n{}", body())),
        outcome: Outcome::Truncated,
        reason: Some("cut_after_done"),
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "ends an answer without length in the middle of an event by closing",
        script: |conn| {
            let body = body();
            close_after(conn, format!("HTTP/1.1 200 OK\r\n{STREAM}\r\n{}", &body[..event(" one").len() + 30]))
        },
        outcome: Outcome::Truncated,
        reason: Some("no_end"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "sends bytes behind the end of the answer",
        script: |conn| on(conn, whole() + "HTTP/1.1 408 Request Timeout\r\n\r\n"),
        outcome: Outcome::Completed,
        reason: None,
        head: true,
        events: 2,
        after: After::Ended,
    },
    Fault {
        does: "refuses the request because of its load (429 with `Retry-After`)",
        script: |conn| on(conn, with_length("429 Too Many Requests", "retry-after: 7\r\n", 9, "slow down")),
        outcome: Outcome::RateLimited,
        reason: Some("http_429"),
        head: true,
        events: 0,
        after: After::Kept,
    },
    Fault {
        does: "answers 503",
        script: |conn| on(conn, with_length("503 Service Unavailable", "", 4, "down")),
        outcome: Outcome::ServerError,
        reason: Some("http_503"),
        head: true,
        events: 0,
        after: After::Kept,
    },
    Fault {
        does: "answers 503 and resets inside the body",
        script: |conn| reset_after(conn, with_length("503 Service Unavailable", "", 400, "down")),
        outcome: Outcome::ServerError,
        reason: Some("http_503"),
        head: true,
        events: 0,
        after: After::Ended,
    },
    Fault {
        does: "redirects",
        script: |conn| on(conn, with_length("307 Temporary Redirect", "location: /elsewhere?key=1\r\n", 0, "")),
        outcome: Outcome::ProtocolError,
        reason: Some("http_307"),
        head: true,
        events: 0,
        after: After::Kept,
    },
    Fault {
        does: "compresses an answer unasked (`content-encoding: gzip`)",
        script: |conn| {
            on(conn, with_length("200 OK", &format!("{STREAM}content-encoding: gzip\r\n"), 4, "\u{1f}\u{8b}\u{8}"))
        },
        outcome: Outcome::ProtocolError,
        reason: Some("unexpected_content_encoding"),
        head: true,
        events: 0,
        after: After::Kept,
    },
    Fault {
        does: "reports an error inside its 200 and resets",
        script: |conn| {
            let error = "data: {\"error\":{\"message\":\"out of memory\"}}\n\n";
            reset_after(conn, HEAD.to_owned() + &chunk(&(event(" one") + error)))
        },
        outcome: Outcome::ServerError,
        reason: Some("in_band_error"),
        head: true,
        events: 1,
        after: After::Ended,
    },
    Fault {
        does: "sends a thousand events at once and closes",
        script: |conn| close_after(conn, HEAD.to_owned() + &chunk(&event(" more").repeat(1000))),
        outcome: Outcome::Truncated,
        reason: Some("cut_mid_stream"),
        head: true,
        events: 1000,
        after: After::Ended,
    },
    Fault {
        does: "ends a stream properly without any content",
        script: |conn| on(conn, HEAD.to_owned() + &chunk(&(last_event("") + &usage(0) + DONE)) + LAST_CHUNK),
        outcome: Outcome::Empty,
        reason: Some("no_content"),
        head: true,
        events: 0,
        after: After::Kept,
    },
];
