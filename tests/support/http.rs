//! Just enough HTTP/1.1 to take a captured answer apart: head, and the body without transfer coding.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A captured answer.
#[derive(Debug)]
pub(crate) struct Captured {
    /// Status of the head.
    pub(crate) status: StatusCode,
    /// Headers of the head.
    pub(crate) headers: HeaderMap,
    /// The body, chunked framing removed.
    pub(crate) body: Vec<u8>,
}

/// Takes the bytes of one complete answer apart; panics on anything else, since captures are complete.
pub(crate) fn take_apart(bytes: &[u8]) -> Captured {
    let head_end = find(bytes, b"\r\n\r\n").expect("a response head");
    let head = std::str::from_utf8(&bytes[..head_end]).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers: HeaderMap = lines
        .map(|line| line.split_once(':').expect("a header line"))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.trim().parse::<HeaderValue>().unwrap()))
        .collect();
    let rest = &bytes[head_end + 4..];
    let body = if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        dechunk(rest)
    } else {
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(rest.len(), length, "the capture has the whole body");
        rest.to_vec()
    };
    Captured { status: status.parse().unwrap(), headers, body }
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line_end = find(rest, b"\r\n").expect("a chunk-size line");
        let size = std::str::from_utf8(&rest[..line_end]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a hexadecimal chunk size");
        rest = &rest[line_end + 2..];
        if size == 0 {
            assert_eq!(rest, b"\r\n", "nothing after the last chunk");
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
