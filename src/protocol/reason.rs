//! The closed list of reasons why a request did not complete, one sentence each, whoever gives them: decoders,
//! transports or the engine. Reports and docs print from it.

use crate::measure::timeline::Outcome;

/// A reason code and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCode {
    /// Stable word in reports.
    pub code: &'static str,
    /// The outcome it belongs to.
    pub outcome: Outcome,
    /// One sentence for users.
    pub meaning: &'static str,
}

/// Declares the constants and the list that holds them all.
macro_rules! reasons {
    ($($name:ident = $code:literal, $outcome:ident, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*

        /// Every code, `http_NNN` apart (see [`explain`]).
        pub const ALL: &[ReasonCode] = &[
            $(ReasonCode { code: $code, outcome: Outcome::$outcome, meaning: $meaning },)*
        ];
    };
}

reasons! {
    IN_BAND_ERROR = "in_band_error", ServerError, "The server answered 200 and then reported an error inside the answer.";
    FINISH_ERROR = "finish_error", ServerError, "The finish reason itself says that the server gave up (`error` or `abort`).";
    IN_BAND_OVERLOAD = "in_band_overload", RateLimited, "The server answered 200 and then said inside the answer that it is overloaded.";
    CUT_BEFORE_HEADERS = "cut_before_headers", Truncated, "The connection ended before the response head.";
    CUT_BEFORE_CONTENT = "cut_before_content", Truncated, "The connection ended after the response head, before any content.";
    CUT_MID_STREAM = "cut_mid_stream", Truncated, "The connection ended between content and the end of the stream.";
    CUT_AFTER_DONE = "cut_after_done", Truncated, "The stream said that it was finished, but the HTTP body was never completed.";
    CUT_MID_BODY = "cut_mid_body", Truncated, "The connection ended before the answer, which was not streamed, was complete.";
    NO_END = "no_end", Truncated, "The HTTP body is complete, but there was neither a finish reason nor `[DONE]`.";
    NO_CONTENT = "no_content", Empty, "The answer ended properly without any text, reasoning or tool-call arguments.";
    TIMEOUT_BEFORE_HEADERS = "timeout_before_headers", TimedOut, "The request timeout struck before the response head.";
    TIMEOUT_BEFORE_CONTENT = "timeout_before_content", TimedOut, "The request timeout struck after the response head, before any content.";
    TIMEOUT_MID_STREAM = "timeout_mid_stream", TimedOut, "The request timeout struck between content and the end of the stream.";
    TIMEOUT_AFTER_DONE = "timeout_after_done", TimedOut, "The stream said that it was finished, but the HTTP body was not completed before the request timeout.";
    TIMEOUT_MID_BODY = "timeout_mid_body", TimedOut, "The request timeout struck before the answer, which was not streamed, was complete.";
    MALFORMED_HTTP = "malformed_http", ProtocolError, "The server's HTTP could not be understood.";
    MALFORMED_EVENT = "malformed_event", ProtocolError, "An event of the stream is not the JSON the protocol asks for.";
    MALFORMED_BODY = "malformed_body", ProtocolError, "The answer is not the JSON the protocol asks for.";
    INVALID_UTF8 = "invalid_utf8", ProtocolError, "The answer is not UTF-8.";
    EVENT_TOO_LARGE = "event_too_large", ProtocolError, "One event of the stream is longer than 64 MiB.";
    BODY_TOO_LARGE = "body_too_large", ProtocolError, "The answer is longer than 64 MiB.";
    NOT_STREAMED = "not_streamed", ProtocolError, "A stream was asked for, but the answer came whole, so nothing in it can be timed.";
    STREAMED_UNASKED = "streamed_unasked", ProtocolError, "A whole answer was asked for, but a stream came.";
    UNEXPECTED_CONTENT_TYPE = "unexpected_content_type", ProtocolError, "The answer is neither an event stream nor JSON.";
    UNEXPECTED_CONTENT_ENCODING = "unexpected_content_encoding", ProtocolError, "The answer is compressed, which was not asked for.";
    WRONG_NUMBER = "wrong_number", Mismatch, "The prompt asks for a number, and the answer, complete as it is, does not contain it.";
    DRAIN_LIMIT = "drain_limit", Cancelled, "`bench` gave the request up because `phases.drain.max` had passed.";
    INTERRUPTED = "interrupted", Cancelled, "`bench` gave the request up because it was told to stop.";
    WINDOW_OVER = "window_over", Cancelled, "Load of the drain that nobody waits for: every measured request had ended.";
    REFUSED = "refused", ConnectFailed, "Nothing listens at the address, or a firewall says so.";
    DNS = "dns", ConnectFailed, "The host name has no address.";
    TLS = "tls", ConnectFailed, "The TLS handshake failed, most often because of the certificate.";
    CONNECT_TIMEOUT = "connect_timeout", ConnectFailed, "No connection stood within ten seconds.";
    NO_DESCRIPTORS = "no_descriptors", ConnectFailed, "The client may open no more files (`ulimit -n`); counts against the client (`validity`).";
    NO_PORTS = "no_ports", ConnectFailed, "All local ports to this server are taken (`net.ipv4.ip_local_port_range`); counts against the client (`validity`).";
    CONNECT_ERROR = "connect_error", ConnectFailed, "The connection failed in another way; the detail line has the words of the system.";
    IN_FLIGHT_LIMIT = "in_flight_limit", NotSent, "`max_in_flight` was reached, and the scenario drops what does not fit (`when_full = \"drop\"`).";
    CLIENT_LATE = "client_late", NotSent, "The client was too slow to send the request before the point ended; counts against the client (`validity`).";
}

/// Whether a request did not start through the client's own fault.
pub fn is_clients_own(code: &str) -> bool {
    [CLIENT_LATE, NO_DESCRIPTORS, NO_PORTS].contains(&code)
}

/// The code of an HTTP status that is not a success, such as `http_500`.
pub fn http_code(status: http::StatusCode) -> String {
    format!("http_{}", status.as_u16())
}

/// What a code means, `http_NNN` included; nothing for a word that no report holds.
pub fn explain(code: &str) -> Option<&'static str> {
    if let Some(reason) = ALL.iter().find(|reason| reason.code == code) {
        return Some(reason.meaning);
    }
    let status: u16 = code.strip_prefix("http_")?.parse().ok()?;
    match status {
        429 => Some("The server refused the request because of its rate limit or load (HTTP 429)."),
        400..=499 => Some("The server refused the request with this HTTP status."),
        500..=599 => Some("The server failed with this HTTP status."),
        300..=399 => Some("The server redirected the request; set `url` to the final address."),
        100..=299 => Some("The server answered with an HTTP status that carries no answer."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_lower_case_words_with_a_sentence() {
        for (i, reason) in ALL.iter().enumerate() {
            assert!(reason.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()));
            assert!(reason.meaning.ends_with('.'), "{}", reason.code);
            assert!(!ALL[..i].iter().any(|other| other.code == reason.code), "{}", reason.code);
        }
    }

    #[test]
    fn http_codes_are_explained_by_class() {
        assert!(explain("http_503").unwrap().contains("failed"));
        assert!(explain("http_429").unwrap().contains("rate limit"));
        assert!(explain("http_302").unwrap().contains("redirected"));
        assert_eq!(explain("http_999"), None);
        assert_eq!(explain("no_such_code"), None);
        assert_eq!(explain("no_end"), Some(ALL.iter().find(|r| r.code == NO_END).unwrap().meaning));
    }
}
