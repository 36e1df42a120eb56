//! An HTTP/1.1 response, read as it comes: bytes of any split in, body bytes and an end out.
//!
//! Holds no body bytes; an event that lies in one read reaches the decoder as a slice of that read. Follows RFC 9112 and
//! is strict where a lenient reading could turn a broken answer into a whole one.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use memchr::memchr;

use crate::protocol::{BodyEnd, Decoder};
use crate::units::Nanos;

/// Longest response head, and longest trailer.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most header fields.
const MAX_FIELDS: usize = 128;
/// Longest line with the size of a chunk and its extensions.
const MAX_CHUNK_LINE_BYTES: usize = 4 << 10;

/// How far the response is.
#[derive(Debug)]
enum State {
    /// Before the end of the (final) head.
    Head,
    /// Inside a body of this many more bytes.
    Length(u64),
    /// Before a chunk, in the line with its size.
    ChunkSize,
    /// Inside a chunk of this many more bytes.
    Chunk(u64),
    /// Behind a chunk: CR LF. The number says how many of the two are still missing.
    ChunkEnd(u8),
    /// Behind the last chunk.
    Trailer,
    /// Inside a body that the end of the connection ends.
    UntilClose,
    /// Complete.
    Done,
}

/// Whether more bytes are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The response goes on.
    More,
    /// The response is complete.
    Done,
}

/// One response.
#[derive(Debug)]
pub(super) struct Response {
    state: State,
    /// The unfinished head, chunk line or trailer line of earlier reads.
    held: Vec<u8>,
    trailer_bytes: usize,
    headers_at: Option<Nanos>,
    any: bool,
    keeps: bool,
    excess: bool,
}

impl Response {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            held: Vec::new(),
            trailer_bytes: 0,
            headers_at: None,
            any: false,
            keeps: false,
            excess: false,
        }
    }

    /// When the head was complete.
    pub(super) fn headers_at(&self) -> Option<Nanos> {
        self.headers_at
    }

    /// Whether a byte of it has come.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether the connection can carry another request: the response is complete, both sides keep it, and nothing
    /// came behind the end.
    pub(super) fn reusable(&self) -> bool {
        matches!(self.state, State::Done) && self.keeps && !self.excess
    }

    /// Takes the bytes of one read, stamped `at`.
    ///
    /// # Errors
    /// One sentence when this is not HTTP.
    pub(super) fn feed(&mut self, mut bytes: &[u8], at: Nanos, decoder: &mut dyn Decoder) -> Result<Step, String> {
        self.any |= !bytes.is_empty();
        loop {
            if matches!(self.state, State::Done) {
                self.excess |= !bytes.is_empty();
                return Ok(Step::Done);
            }
            if bytes.is_empty() {
                return Ok(Step::More);
            }
            bytes = match self.state {
                State::Head => match self.head(bytes, at, decoder)? {
                    Some(rest) => rest,
                    None => return Ok(Step::More),
                },
                State::Length(left) => {
                    let (body, rest) = split(bytes, left);
                    decoder.data(body, at);
                    let left = left - body.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    rest
                }
                State::ChunkSize
                    if self.held.is_empty()
                        && let Some((size, rest)) = plain_chunk_size(bytes) =>
                {
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                    rest
                }
                State::ChunkSize => match self.line(bytes, MAX_CHUNK_LINE_BYTES, "the size of a chunk")? {
                    Some(rest) => {
                        let size = chunk_size(&self.held)?;
                        self.held.clear();
                        self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                        rest
                    }
                    None => return Ok(Step::More),
                },
                State::Chunk(left) => {
                    let (body, rest) = split(bytes, left);
                    decoder.data(body, at);
                    let left = left - body.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd(2) } else { State::Chunk(left) };
                    rest
                }
                State::ChunkEnd(missing) => {
                    let expected = if missing == 2 { b'\r' } else { b'\n' };
                    if bytes[0] != expected {
                        return Err("a chunk is longer than its size".to_owned());
                    }
                    self.state = if missing == 2 { State::ChunkEnd(1) } else { State::ChunkSize };
                    &bytes[1..]
                }
                State::Trailer => match self.line(bytes, MAX_HEAD_BYTES, "the trailer")? {
                    Some(rest) => {
                        self.trailer_bytes += self.held.len();
                        if self.trailer_bytes > MAX_HEAD_BYTES {
                            return Err(too_long("the trailer"));
                        }
                        if self.held.is_empty() {
                            self.state = State::Done;
                        }
                        self.held.clear();
                        rest
                    }
                    None => return Ok(Step::More),
                },
                State::UntilClose => {
                    decoder.data(bytes, at);
                    &[]
                }
                State::Done => bytes,
            };
        }
    }

    /// What the end of the connection means. `detail` says how it ended when it was not a proper end.
    pub(super) fn closed(&mut self, detail: Option<String>) -> BodyEnd {
        let place = match self.state {
            State::Done => return BodyEnd::Complete,
            State::UntilClose if detail.is_none() => {
                self.state = State::Done;
                return BodyEnd::Complete;
            }
            State::Head if !self.any => "before the response",
            State::Head => "inside the response head",
            State::Length(_) | State::Chunk(_) | State::ChunkEnd(_) | State::ChunkSize | State::UntilClose => {
                "inside the response body"
            }
            State::Trailer => "inside the trailer",
        };
        let how = detail.unwrap_or_else(|| "the server closed the connection".to_owned());
        BodyEnd::Cut(format!("{how} {place}"))
    }

    /// Collects a head. Returns what follows it.
    fn head<'a>(&mut self, bytes: &'a [u8], at: Nanos, decoder: &mut dyn Decoder) -> Result<Option<&'a [u8]>, String> {
        if self.held.is_empty() {
            // The usual case: the head lies in one read and is never copied.
            return match self.parse_head(bytes, at, decoder)? {
                Some(used) => Ok(Some(&bytes[used..])),
                None => {
                    self.held.extend_from_slice(bytes);
                    Ok(None)
                }
            };
        }
        let before = self.held.len();
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        match self.parse_head(&held, at, decoder)? {
            // What was held was no whole head, so the head ends inside the new bytes.
            Some(used) => Ok(Some(&bytes[used.saturating_sub(before)..])),
            None => {
                self.held = held;
                Ok(None)
            }
        }
    }

    /// Parses the head at the start of `bytes`. Returns its length when it is whole.
    fn parse_head(&mut self, bytes: &[u8], at: Nanos, decoder: &mut dyn Decoder) -> Result<Option<usize>, String> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let used = match head.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(too_long("the response head")),
            Err(error) => return Err(format!("the response head is not HTTP/1.1: {error}")),
        };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| "the response has no valid status".to_owned())?;
        if status.is_informational() {
            // 100 and 103 announce the response that follows. Nobody asked to switch protocols.
            return if status == StatusCode::SWITCHING_PROTOCOLS {
                Err("the server switched protocols, which was not asked for".to_owned())
            } else {
                Ok(Some(used))
            };
        }
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for field in head.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(format!("the header `{}` is not valid", field.name));
            };
            headers.append(name, value);
        }
        self.state = framing(status, &headers)?;
        let (close, keep_alive) = connection_options(&headers);
        self.keeps = !close
            && (head.version == Some(1) || keep_alive)
            && !matches!(self.state, State::UntilClose)
            // RFC 9112, 6.1: both fields at once may be an attempt to confuse; the connection is not used again.
            && !(headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH));
        self.headers_at = Some(at);
        decoder.head(status, &headers);
        Ok(Some(used))
    }

    /// Collects a line that CR LF ends into `held`, without them. Returns what follows it.
    fn line<'a>(&mut self, bytes: &'a [u8], limit: usize, what: &str) -> Result<Option<&'a [u8]>, String> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.held.extend_from_slice(bytes);
            return if self.held.len() > limit { Err(too_long(what)) } else { Ok(None) };
        };
        self.held.extend_from_slice(&bytes[..end]);
        if self.held.pop() != Some(b'\r') {
            return Err(format!("{what} does not end with CR LF"));
        }
        if self.held.len() > limit {
            return Err(too_long(what));
        }
        Ok(Some(&bytes[end + 1..]))
    }
}

fn too_long(what: &str) -> String {
    format!("{what} is too long")
}

/// The first `most` bytes and the rest.
fn split(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len()))
}

/// The size of a chunk and what follows its line, if the line is what it nearly always is: a few digits and CR LF, all of it
/// here. Anything else goes the long way.
fn plain_chunk_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0;
    for (position, byte) in bytes.iter().enumerate().take(9) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if position > 0 => {
                return (bytes.get(position + 1) == Some(&b'\n')).then(|| (size, &bytes[position + 2..]));
            }
            _ => return None,
        };
        size = size << 4 | u64::from(digit);
    }
    None
}

/// The size at the start of a chunk line; extensions behind `;` say nothing.
fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    size.ok_or_else(|| "the size of a chunk is not a hexadecimal number".to_owned())
}

/// Where the body ends (RFC 9112, 6.3).
fn framing(status: StatusCode, headers: &HeaderMap) -> Result<State, String> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(State::Done);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
        let last = last.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
        let chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        return Ok(if chunked { State::ChunkSize } else { State::UntilClose });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for item in value.as_bytes().split(|byte| *byte == b',') {
            let text = std::str::from_utf8(item.trim_ascii()).unwrap_or_default();
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = plain.then(|| text.parse::<u64>().ok()).flatten();
            let number = number.ok_or_else(|| "the content length is not a number".to_owned())?;
            if length.is_some_and(|length| length != number) {
                return Err("the response has two content lengths".to_owned());
            }
            length = Some(number);
        }
    }
    Ok(match length {
        Some(0) => State::Done,
        Some(length) => State::Length(length),
        None => State::UntilClose,
    })
}

/// Whether `Connection` says `close`, and whether it says `keep-alive`.
fn connection_options(headers: &HeaderMap) -> (bool, bool) {
    let has = |option: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(option))
    };
    (has("close"), has("keep-alive"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::timeline::{Answer, Outcome};

    /// Keeps what it is given.
    #[derive(Debug, Default)]
    struct Kept {
        status: Option<StatusCode>,
        heads: u32,
        body: Vec<u8>,
    }

    impl Decoder for Kept {
        fn head(&mut self, status: StatusCode, _: &HeaderMap) {
            self.status = Some(status);
            self.heads += 1;
        }
        fn data(&mut self, bytes: &[u8], _: Nanos) {
            self.body.extend_from_slice(bytes);
        }
        fn finish(&mut self, _: BodyEnd) -> Answer {
            Answer::none(Outcome::Completed, "", None)
        }
    }

    fn whole(bytes: &str) -> (Response, Kept, Result<Step, String>) {
        let (mut response, mut kept) = (Response::new(), Kept::default());
        let step = response.feed(bytes.as_bytes(), 7, &mut kept);
        (response, kept, step)
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n\
                           5\r\nhello\r\n00A;name=\"v\"\r\n, \r\nworld!\r\n0\r\nTrailer: 1\r\nOther: 2\r\n\r\n";

    #[test]
    fn chunks_with_extensions_and_a_trailer() {
        let (response, kept, step) = whole(CHUNKED);
        assert_eq!(step, Ok(Step::Done));
        assert_eq!(kept.body, b"hello, \r\nworld!");
        assert_eq!((kept.status, kept.heads), (Some(StatusCode::OK), 1));
        assert!(response.reusable());
        assert_eq!(response.headers_at(), Some(7));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in proptest::collection::vec(0..CHUNKED.len(), 0..12), early: bool) {
            let early = if early { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" } else { "" };
            let text = format!("{early}{CHUNKED}");
            let mut cuts = cuts;
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let (mut response, mut kept) = (Response::new(), Kept::default());
            let mut last = Ok(Step::More);
            for pair in cuts.windows(2) {
                prop_assert_eq!(&last, &Ok(Step::More));
                last = response.feed(&text.as_bytes()[pair[0]..pair[1]], 1, &mut kept);
            }
            prop_assert_eq!(last, Ok(Step::Done));
            prop_assert_eq!(&kept.body[..], b"hello, \r\nworld!");
            prop_assert_eq!(kept.heads, 1);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), head: bool) {
            let (mut response, mut kept) = (Response::new(), Kept::default());
            if head {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                prop_assert_eq!(response.feed(head, 1, &mut kept), Ok(Step::More));
            }
            let _ = response.feed(&bytes, 2, &mut kept);
            let _ = response.closed(None);
        }
    }

    #[test]
    fn the_short_way_to_a_chunk_size_is_the_long_way() {
        for (line, size) in [("0\r\n", 0), ("f3\r\nx", 0xf3), ("00A\r\n", 10), ("FfFfFfFf\r\n", 0xffff_ffff)] {
            assert_eq!(plain_chunk_size(line.as_bytes()).map(|(size, _)| size), Some(size), "{line:?}");
            assert_eq!(chunk_size(line.trim_end_matches(['\r', '\n', 'x']).as_bytes()), Ok(size), "{line:?}");
        }
        assert_eq!(plain_chunk_size(b"1\r\nrest").map(|(_, rest)| rest), Some(&b"rest"[..]));
        for line in
            ["", "\r\n", "1", "1\r", "1;x\r\n", " 1\r\n", "1 \r\n", "-1\r\n", "+1\r\n", "1\n", "fffffffff\r\n", "g\r\n"]
        {
            assert_eq!(plain_chunk_size(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn a_byte_at_a_time() {
        let (mut response, mut kept) = (Response::new(), Kept::default());
        let (last, before) = CHUNKED.as_bytes().split_last().unwrap();
        for byte in before {
            assert_eq!(response.feed(&[*byte], 1, &mut kept), Ok(Step::More));
        }
        assert_eq!(response.feed(&[*last], 1, &mut kept), Ok(Step::Done));
        assert_eq!(kept.body, b"hello, \r\nworld!");
    }

    #[test]
    fn a_content_length_ends_the_body() {
        let (response, kept, step) = whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!((step, kept.body.as_slice(), response.reusable()), (Ok(Step::Done), &b"abc"[..], true));
        let (response, kept, step) = whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((step, kept.body.as_slice(), response.reusable()), (Ok(Step::Done), &b""[..], true));
    }

    #[test]
    fn bytes_behind_the_end_spoil_the_connection_and_not_the_answer() {
        let (response, kept, step) = whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd");
        assert_eq!((step, kept.body.as_slice(), response.reusable()), (Ok(Step::Done), &b"abc"[..], false));
    }

    #[test]
    fn too_few_bytes_are_cut_wherever_they_end() {
        let cuts = [
            ("", "before the response"),
            ("HTTP/1.1 200", "inside the response head"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "inside the response body"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "inside the response body"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc", "inside the response body"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "inside the trailer"),
        ];
        for (bytes, place) in cuts {
            let (mut response, _, step) = whole(bytes);
            assert_eq!(step, Ok(Step::More), "{bytes:?}");
            assert_eq!(response.closed(None), BodyEnd::Cut(format!("the server closed the connection {place}")));
            assert!(!response.reusable());
        }
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_ends_the_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
        let (mut response, kept, step) = whole(text);
        assert_eq!((step, kept.body.as_slice()), (Ok(Step::More), &b"data: x\n\n"[..]));
        assert_eq!(response.closed(None), BodyEnd::Complete);
        assert!(!response.reusable());
        let (mut response, ..) = whole(text);
        let reset = response.closed(Some("connection reset".to_owned()));
        assert_eq!(reset, BodyEnd::Cut("connection reset inside the response body".to_owned()));
    }

    #[test]
    fn who_keeps_the_connection() {
        for (head, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
        ] {
            let (response, _, step) = whole(head);
            assert_eq!((step, response.reusable()), (Ok(Step::Done), keeps), "{head:?}");
        }
    }

    #[test]
    fn what_is_not_http_says_why() {
        for (bytes, why) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "two content lengths"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n", "not a number"),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "switched protocols"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not a hexadecimal number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "not a hexadecimal number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "not a hexadecimal number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", "not a hexadecimal number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than its size"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\n", "CR LF"),
        ] {
            let error = whole(bytes).2.unwrap_err();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(MAX_HEAD_BYTES));
        assert!(whole(&endless).2.unwrap_err().contains("too long"));
    }
}
