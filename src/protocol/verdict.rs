//! How an answer ended, by one set of rules for every protocol.
//!
//! A decoder reports what it sees (head, content, end marker, failures); [`Verdict::settle`] joins that with
//! what the transport saw. The first thing that went wrong decides: an error the server reported stays
//! a server error although the connection broke, or the timeout struck, afterwards.

use http::header::{CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::{BodyEnd, message, reason};
use crate::measure::timeline::{Outcome, Reason};

/// Most bytes of an error body that are kept for its message.
const MAX_ERROR_BODY: usize = 64 << 10;

/// What is known about an answer so far.
#[derive(Debug, Default)]
pub struct Verdict {
    head: Option<StatusCode>,
    failure: Option<(Outcome, Reason)>,
    location: Option<String>,
    error_body: Vec<u8>,
    retry_after_s: Option<u64>,
    whole: bool,
    content: bool,
    done: bool,
}

impl Verdict {
    /// Rules for an answer that comes as one body instead of a stream.
    pub fn whole() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// The response head.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.head = Some(status);
        if self.refused() {
            self.retry_after_s = retry_after_s(headers);
            let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
            // A query may hold a signature.
            self.location = location.map(|at| at.split(['?', '#']).next().unwrap_or_default().to_owned());
        }
    }

    /// Whether the status says that the body is no answer; it then belongs to [`Self::error_data`].
    pub fn refused(&self) -> bool {
        self.head.is_some_and(|status| !matches!(status.as_u16(), 200..=203))
    }

    /// Body bytes of a refused request.
    pub fn error_data(&mut self, bytes: &[u8]) {
        let room = MAX_ERROR_BODY.saturating_sub(self.error_body.len());
        self.error_body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Something went wrong inside the answer. Only the first failure counts.
    pub fn fail(&mut self, outcome: Outcome, code: &str, detail: Option<String>) {
        if self.failure.is_none() {
            let detail = detail.as_deref().and_then(message::first_line);
            self.failure = Some((outcome, Reason { code: code.to_owned(), detail }));
        }
    }

    /// An error that the server reported inside an answer of status 200.
    pub fn fail_in_band(&mut self, error: message::InBandError) {
        if error.overloaded {
            self.fail(Outcome::RateLimited, reason::IN_BAND_OVERLOAD, error.message);
        } else {
            self.fail(Outcome::ServerError, reason::IN_BAND_ERROR, error.message);
        }
    }

    /// Content was seen.
    pub fn content(&mut self) {
        self.content = true;
    }

    /// The protocol's own end was seen: a finish reason, `[DONE]`, a last event.
    pub fn done(&mut self) {
        self.done = true;
    }

    /// Seconds of `Retry-After` on a refused request.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The outcome, given how the transport saw the answer end; the reason is absent when it completed.
    pub fn settle(&mut self, end: BodyEnd) -> (Outcome, Option<Reason>) {
        if let Some(status) = self.head.filter(|_| self.refused()) {
            let (outcome, reason) = self.refusal(status);
            return (outcome, Some(reason));
        }
        if let Some((outcome, reason)) = self.failure.take() {
            return (outcome, Some(reason));
        }
        let (outcome, code, detail) = match end {
            BodyEnd::Complete if self.done && self.content => return (Outcome::Completed, None),
            BodyEnd::Complete if self.done => (Outcome::Empty, reason::NO_CONTENT, None),
            BodyEnd::Complete => (Outcome::Truncated, reason::NO_END, None),
            BodyEnd::Cut(detail) => (Outcome::Truncated, self.cut_code(), Some(detail)),
            BodyEnd::Malformed(detail) => (Outcome::ProtocolError, reason::MALFORMED_HTTP, Some(detail)),
            BodyEnd::TimedOut => (Outcome::TimedOut, self.timeout_code(), None),
            BodyEnd::Cancelled(word) => (Outcome::Cancelled, word, None),
        };
        let detail = detail.as_deref().and_then(message::first_line);
        (outcome, Some(Reason { code: code.to_owned(), detail }))
    }

    fn refusal(&self, status: StatusCode) -> (Outcome, Reason) {
        let outcome = match status.as_u16() {
            429 => Outcome::RateLimited,
            400.. => Outcome::ServerError,
            _ => Outcome::ProtocolError,
        };
        let detail = if status.is_redirection() {
            self.location.as_deref().and_then(message::first_line).map(|to| format!("redirected to `{to}`"))
        } else {
            message::of_body(&self.error_body)
        };
        (outcome, Reason { code: reason::http_code(status), detail })
    }

    fn cut_code(&self) -> &'static str {
        match self.progress() {
            Progress::Nothing => reason::CUT_BEFORE_HEADERS,
            Progress::Body => reason::CUT_MID_BODY,
            Progress::Head => reason::CUT_BEFORE_CONTENT,
            Progress::Content => reason::CUT_MID_STREAM,
            Progress::Done => reason::CUT_AFTER_DONE,
        }
    }

    fn timeout_code(&self) -> &'static str {
        match self.progress() {
            Progress::Nothing => reason::TIMEOUT_BEFORE_HEADERS,
            Progress::Body => reason::TIMEOUT_MID_BODY,
            Progress::Head => reason::TIMEOUT_BEFORE_CONTENT,
            Progress::Content => reason::TIMEOUT_MID_STREAM,
            Progress::Done => reason::TIMEOUT_AFTER_DONE,
        }
    }

    fn progress(&self) -> Progress {
        match (self.head, self.whole, self.done, self.content) {
            (None, ..) => Progress::Nothing,
            (_, true, ..) => Progress::Body,
            (_, _, true, _) => Progress::Done,
            (_, _, _, true) => Progress::Content,
            _ => Progress::Head,
        }
    }
}

/// How far an answer came.
enum Progress {
    Nothing,
    Head,
    Content,
    Done,
    /// Past the head of an answer that is not streamed.
    Body,
}

/// Media type of `Content-Type`, lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// `Retry-After` in seconds. A date is taken relative to the answer's own `Date`, so no clock is needed;
/// milliseconds (`retry-after-ms`, hosted APIs) are rounded up.
fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(value) = text(&RETRY_AFTER) {
        if let Ok(seconds) = value.parse() {
            return Some(seconds);
        }
        let until = jiff::fmt::rfc2822::parse(value).ok()?;
        let now = jiff::fmt::rfc2822::parse(text(&DATE)?).ok()?;
        let seconds = until.timestamp().as_second() - now.timestamp().as_second();
        return u64::try_from(seconds.max(0)).ok();
    }
    let millis: u64 = text(&HeaderName::from_static("retry-after-ms"))?.parse().ok()?;
    Some(millis.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// A verdict after `steps`: `h` head 200, `c` content, `d` end marker.
    fn after(steps: &str) -> Verdict {
        let mut verdict = Verdict::default();
        for step in steps.chars() {
            match step {
                'h' => verdict.head(StatusCode::OK, &HeaderMap::new()),
                'c' => verdict.content(),
                _ => verdict.done(),
            }
        }
        verdict
    }

    #[test]
    fn every_end_after_every_step() {
        let cut = || BodyEnd::Cut("reset".into());
        let table = [
            ("hcd", BodyEnd::Complete, Outcome::Completed, ""),
            ("hd", BodyEnd::Complete, Outcome::Empty, "no_content"),
            ("hc", BodyEnd::Complete, Outcome::Truncated, "no_end"),
            ("h", BodyEnd::Complete, Outcome::Truncated, "no_end"),
            ("", cut(), Outcome::Truncated, "cut_before_headers"),
            ("h", cut(), Outcome::Truncated, "cut_before_content"),
            ("hc", cut(), Outcome::Truncated, "cut_mid_stream"),
            ("hcd", cut(), Outcome::Truncated, "cut_after_done"),
            ("", BodyEnd::TimedOut, Outcome::TimedOut, "timeout_before_headers"),
            ("h", BodyEnd::TimedOut, Outcome::TimedOut, "timeout_before_content"),
            ("hc", BodyEnd::TimedOut, Outcome::TimedOut, "timeout_mid_stream"),
            ("hcd", BodyEnd::TimedOut, Outcome::TimedOut, "timeout_after_done"),
            ("hc", BodyEnd::Cancelled("drain_limit"), Outcome::Cancelled, "drain_limit"),
            ("hcd", BodyEnd::Malformed("bad chunk".into()), Outcome::ProtocolError, "malformed_http"),
        ];
        for (steps, end, outcome, code) in table {
            let (got, reason) = after(steps).settle(end.clone());
            assert_eq!(got, outcome, "{steps} {end:?}");
            assert_eq!(reason.map_or(String::new(), |reason| reason.code), code, "{steps} {end:?}");
            assert!(code.is_empty() || reason::ALL.iter().any(|known| known.code == code && known.outcome == outcome));
        }
    }

    #[test]
    fn a_reported_error_wins_over_every_end() {
        let ends = [
            BodyEnd::Complete,
            BodyEnd::Cut(String::new()),
            BodyEnd::TimedOut,
            BodyEnd::Cancelled("interrupted"),
            BodyEnd::Malformed(String::new()),
        ];
        for end in ends {
            let mut verdict = after("hcd");
            verdict.fail_in_band(message::InBandError { message: Some("boom".into()), overloaded: false });
            verdict.fail(Outcome::ProtocolError, reason::MALFORMED_EVENT, None);
            let (outcome, reason) = verdict.settle(end);
            assert_eq!(outcome, Outcome::ServerError);
            assert_eq!(reason.unwrap().detail.as_deref(), Some("boom"));
        }
    }

    #[test]
    fn statuses() {
        let table = [
            (500, "Internal Server Error", Outcome::ServerError, Some("Internal Server Error")),
            (404, "", Outcome::ServerError, None),
            (429, r#"{"error":{"message":"slow down"}}"#, Outcome::RateLimited, Some("slow down")),
            (302, "", Outcome::ProtocolError, Some("redirected to `https://host/v1`")),
            (204, "", Outcome::ProtocolError, None),
        ];
        for (status, body, outcome, detail) in table {
            let mut verdict = Verdict::default();
            verdict.head(StatusCode::from_u16(status).unwrap(), &headers(&[("location", "https://host/v1?sig=x")]));
            assert!(verdict.refused());
            verdict.error_data(body.as_bytes());
            let (got, reason) = verdict.settle(BodyEnd::TimedOut);
            let reason = reason.unwrap();
            assert_eq!((got, reason.code), (outcome, format!("http_{status}")));
            assert_eq!(reason.detail.as_deref(), detail);
        }
    }

    #[test]
    fn retry_after_in_seconds_as_date_and_in_milliseconds() {
        type Row = (&'static [(&'static str, &'static str)], Option<u64>);
        let table: [Row; 6] = [
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", "Sun, 22 Nov 2026 07:40:42 GMT"), ("date", "Sun, 22 Nov 2026 07:40:32 GMT")], Some(10)),
            (&[("retry-after", "Sun, 22 Nov 2026 07:40:00 GMT"), ("date", "Sun, 22 Nov 2026 07:40:32 GMT")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after-ms", "1500")], Some(2)),
            (&[], None),
        ];
        for (pairs, want) in table {
            assert_eq!(retry_after_s(&headers(pairs)), want, "{pairs:?}");
        }
    }
}
