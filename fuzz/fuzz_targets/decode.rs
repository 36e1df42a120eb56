//! Decoders of both OpenAI protocols never panic, agree whatever the reads, and complete only with a reason's
//! absence. The first byte chooses protocol, stream and content type, the second the size of a read.
#![no_main]

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use llm_bench::measure::timeline::{Answer, Outcome};
use llm_bench::protocol::openai::chat::OpenaiChat;
use llm_bench::protocol::openai::completions::OpenaiCompletions;
use llm_bench::protocol::{BodyEnd, BodyOptions, Protocol};

fn decode<'a>(protocol: &dyn Protocol, media: &'static str, reads: impl Iterator<Item = &'a [u8]>) -> Answer {
    let headers: HeaderMap = [(CONTENT_TYPE, HeaderValue::from_static(media))].into_iter().collect();
    let mut decoder = protocol.decoder();
    decoder.head(StatusCode::OK, &headers);
    for (read, at) in reads.zip(1..) {
        decoder.data(read, at);
    }
    let mut answer = decoder.finish(BodyEnd::Complete);
    for event in &mut answer.events {
        event.at = 0;
        event.coalesced = false;
    }
    answer
}

fuzz_target!(|input: &[u8]| {
    let [choice, size, body @ ..] = input else { return };
    let options = BodyOptions { stream: choice & 2 == 0, ..BodyOptions::default() };
    let (chat, completions) = (OpenaiChat::new(&options), OpenaiCompletions::new(&options));
    let protocol: &dyn Protocol = if choice & 1 == 0 { &chat } else { &completions };
    let media = if choice & 4 == 0 { "text/event-stream" } else { "application/json" };
    let whole = decode(protocol, media, std::iter::once(body));
    assert_eq!(whole.outcome == Outcome::Completed, whole.reason.is_none());
    assert_eq!(decode(protocol, media, body.chunks(usize::from(*size).max(1))), whole);
});
