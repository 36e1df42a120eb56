//! Requests as the metronome reads them: just enough of HTTP/1.1 for clients that send a length.

use memchr::memmem;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::answer::Shape;
use crate::calibrate::truth::LABEL_MARK;

/// Longest head of a request.
const HEAD_MAX: usize = 64 * 1024;
/// Longest label.
const LABEL_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A generation.
    Answer(Ask),
    /// A page that needs no body.
    Page {
        /// Status line.
        status: &'static str,
        /// Its body.
        body: &'static str,
    },
}

/// A generation that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) shape: Shape,
    pub(super) tokens: Option<u32>,
    pub(super) usage: bool,
    pub(super) label: Option<String>,
    pub(super) body_sha256: String,
}

/// Why the bytes are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The keys of a body that matter here.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

const MODELS: &str =
    "{\"object\":\"list\",\"data\":[{\"id\":\"metronome\",\"object\":\"model\",\"created\":0,\"owned_by\":\"bench\"}]}";

/// The first whole request of `input` and its length; `None` while bytes are missing.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Asked, usize)>, Malformed> {
    let Some(head_end) = memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > HEAD_MAX { Err(Malformed) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&input[..head_end]).map_err(|_| Malformed)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().ok_or(Malformed)?);
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| Malformed)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Malformed);
        }
    }
    let body_start = head_end + 4;
    let whole = body_start.checked_add(length).ok_or(Malformed)?;
    if input.len() < whole {
        return Ok(None);
    }
    Ok(Some((asked(method, target, &input[body_start..whole])?, whole)))
}

fn asked(method: &str, target: &str, body: &[u8]) -> Result<Asked, Malformed> {
    let path = target.split('?').next().unwrap_or_default();
    let chat = path.ends_with("/chat/completions");
    if method == "POST" && (chat || path.ends_with("/completions")) {
        return answer(chat, body).map(Asked::Answer);
    }
    Ok(match (method, path) {
        ("GET", "/health" | "/ping") => Asked::Page { status: "200 OK", body: "{}" },
        ("GET", path) if path.ends_with("/models") => Asked::Page { status: "200 OK", body: MODELS },
        _ => Asked::Page { status: "404 Not Found", body: "{\"error\":{\"message\":\"no such page\"}}" },
    })
}

fn answer(chat: bool, bytes: &[u8]) -> Result<Ask, Malformed> {
    let body: Body = serde_json::from_slice(bytes).map_err(|_| Malformed)?;
    let shape = match (chat, body.stream) {
        (true, true) => Shape::Chat,
        (true, false) => Shape::WholeChat,
        (false, true) => Shape::Completions,
        (false, false) => Shape::WholeCompletions,
    };
    let digest = Sha256::digest(bytes);
    Ok(Ask {
        shape,
        tokens: body.max_completion_tokens.or(body.max_tokens),
        usage: body.stream_options.unwrap_or_default().include_usage,
        label: label(bytes),
        body_sha256: digest[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// What follows the mark.
fn label(body: &[u8]) -> Option<String> {
    let start = memmem::find(body, LABEL_MARK.as_bytes())? + LABEL_MARK.len();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let label: String =
        body[start..].iter().take(LABEL_MAX).take_while(|byte| part(byte)).map(|byte| char::from(*byte)).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "{\"model\":\"m\",\"prompt\":\"bench-request c1.20 and more\",\"max_tokens\":7,\"stream\":true,\
        \"stream_options\":{\"include_usage\":true}}";

    fn request(target: &str, body: &str) -> Vec<u8> {
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH:  {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let mut bytes = request("/v1/completions", BODY);
        let length = bytes.len();
        for cut in 0..length {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        bytes.extend_from_slice(b"GET /health");
        let Ok(Some((Asked::Answer(ask), read))) = parse(&bytes) else { panic!("no request") };
        assert_eq!(read, length);
        assert_eq!((ask.shape, ask.tokens, ask.usage), (Shape::Completions, Some(7), true));
        assert_eq!(ask.label.as_deref(), Some("c1.20"));
    }

    #[test]
    fn chat_whole_answers_and_pages() {
        let ask = |target: &str, body: &str| match parse(&request(target, body)).unwrap().unwrap().0 {
            Asked::Answer(ask) => ask,
            Asked::Page { status, .. } => panic!("{status}"),
        };
        let chat = ask("/v1/chat/completions?x=1", "{\"stream\":true,\"max_completion_tokens\":3}");
        assert_eq!((chat.shape, chat.tokens, chat.usage, chat.label), (Shape::Chat, Some(3), false, None));
        let whole = ask("/v1/completions", "{}");
        assert_eq!(whole.shape, Shape::WholeCompletions);
        // `printf '{}' | sha256sum`
        assert_eq!(whole.body_sha256, "44136fa355b3678a");
        let status = |text: &[u8]| match parse(text).unwrap().unwrap().0 {
            Asked::Page { status, .. } => status,
            Asked::Answer(_) => panic!("an answer"),
        };
        assert_eq!(status(b"GET /health HTTP/1.1\r\n\r\n"), "200 OK");
        assert_eq!(status(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"), "200 OK");
        assert_eq!(status(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), "404 Not Found");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b"POST /v1/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n"[..],
            b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nContent-Length: 4\r\n\r\nnope",
            b"nonsense\r\n\r\n",
        ] {
            assert_eq!(parse(bytes), Err(Malformed), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
