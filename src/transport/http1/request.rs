//! The bytes of a request head.

use http::header::{ACCEPT, CONTENT_LENGTH, HOST};
use url::{Position, Url};

use crate::transport::Outgoing;

/// Method, path and headers of a request whose body follows.
pub(super) fn head(request: &Outgoing) -> Vec<u8> {
    let target = &request.url[Position::BeforePath..Position::AfterQuery];
    let mut head = Vec::with_capacity(256 + target.len());
    let mut line = |parts: &[&[u8]]| {
        for part in parts {
            head.extend_from_slice(part);
        }
        head.extend_from_slice(b"\r\n");
    };
    line(&[b"POST ", target.as_bytes(), b" HTTP/1.1"]);
    if !request.headers.contains_key(HOST) {
        line(&[b"host: ", authority(&request.url).as_bytes()]);
    }
    if !request.headers.contains_key(ACCEPT) {
        line(&[b"accept: */*"]);
    }
    for (name, value) in &request.headers {
        // The length is that of the bytes that follow, whatever a scenario says.
        if name != CONTENT_LENGTH {
            line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
        }
    }
    line(&[b"content-length: ", request.body.len().to_string().as_bytes()]);
    line(&[]);
    head
}

/// Host, and port where it is not the scheme's own.
pub(crate) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::transport::HttpVersion;

    fn head_of(url: &str, headers: HeaderMap) -> String {
        let request = Outgoing {
            url: Url::parse(url).unwrap(),
            headers,
            body: Bytes::from_static(b"{\"a\":1}"),
            timeout: Duration::from_secs(1),
            version: HttpVersion::Http1,
        };
        String::from_utf8(head(&request)).unwrap()
    }

    #[test]
    fn a_head_is_what_the_server_gets() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        assert_eq!(
            head_of("http://example.org:8000/v1/completions?x=1#f", headers),
            "POST /v1/completions?x=1 HTTP/1.1\r\nhost: example.org:8000\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: 7\r\n\r\n"
        );
    }

    #[test]
    fn a_default_port_is_not_named_and_an_address_keeps_its_brackets() {
        assert!(head_of("https://example.org:443/", HeaderMap::new()).contains("host: example.org\r\n"));
        assert!(head_of("http://u:p@[::1]:8000/", HeaderMap::new()).contains("host: [::1]:8000\r\n"));
    }

    #[test]
    fn headers_of_the_scenario_replace_its_own_but_not_the_length() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("other"));
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        headers.insert("content-length", HeaderValue::from_static("1"));
        assert_eq!(
            head_of("http://example.org/", headers),
            "POST / HTTP/1.1\r\nhost: other\r\naccept: text/event-stream\r\ncontent-length: 7\r\n\r\n"
        );
    }
}
