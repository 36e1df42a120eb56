//! Bytes of answers.

/// The head of a streamed answer in chunks.
pub(super) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// The end of a body in chunks.
pub(super) const LAST_CHUNK: &str = "0\r\n\r\n";
/// The protocol's own end.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// One content event.
pub(super) fn event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}]}}\n\n")
}

/// The content event with the finish reason.
pub(super) fn last_event(text: &str) -> String {
    event(text).replace("null", "\"length\"")
}

/// Usage, as it follows the last event.
pub(super) fn usage(tokens: usize) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":20,\"completion_tokens\":{tokens}}}}}\n\n")
}

/// A body with two content events, usage and the end.
pub(super) fn body() -> String {
    event(" one") + &last_event(" two") + &usage(2) + DONE
}

pub(super) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Head, body and end of a healthy answer.
pub(super) fn whole() -> String {
    HEAD.to_owned() + &chunk(&body()) + LAST_CHUNK
}

/// An answer with a length.
pub(super) fn with_length(status: &str, headers: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}
