//! The framer of server-sent events: the grammar, and the same events whatever the reads.

use llm_bench::protocol::sse::Framer;
use proptest::prelude::*;

type Seen = (Vec<u8>, bool);

/// Events of a body that came in these reads; `rest` says whether the body was complete.
fn events<'a>(reads: impl IntoIterator<Item = &'a [u8]>, rest: bool) -> Vec<Seen> {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    for (read, at) in reads.into_iter().zip(1..) {
        framer.feed(read, at, |event| seen.push((event.data.to_vec(), event.is_error))).unwrap();
    }
    if rest {
        framer.rest(|event| seen.push((event.data.to_vec(), event.is_error)));
    }
    seen
}

fn data(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|(data, _)| std::str::from_utf8(data).unwrap()).collect()
}

#[test]
fn grammar() {
    let table: [(&str, &[&str]); 17] = [
        ("data: a\n\ndata: b\n\n", &["a", "b"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        ("data: a\r\rdata: b\r\r", &["a", "b"]),
        ("data: a\r\ndata: b\r\n\r\n", &["a\nb"]), // one line end, not two
        ("data: a\n\r\ndata: b\r\n\n", &["a", "b"]),
        ("data:a\n\n", &["a"]),
        ("data:  a\n\n", &[" a"]),
        ("data: a\ndata: b\ndata:\ndata: c\n\n", &["a\nb\n\nc"]),
        ("data\n\n", &[""]),
        ("\u{feff}data: a\n\n", &["a"]),
        ("data: \u{feff}a\n\n", &["\u{feff}a"]),
        (": ping - 2026-11-22\n\ndata: a\n\n: ping\n\n", &["a"]),
        ("id: 7\nevent: message\nretry: 10\ndata: a\n\n", &["a"]),
        ("event: only a name\n\n", &[]),
        ("\n\n\n", &[]),
        ("unknown: x\ndatax: y\ndata: a\n\n", &["a"]),
        ("data: not finished\n", &[]),
    ];
    for (body, want) in table {
        let whole = events([body.as_bytes()], false);
        assert_eq!(data(&whole), want, "{body:?}");
        for at in 0..=body.len() {
            let split = events([&body.as_bytes()[..at], &body.as_bytes()[at..]], false);
            assert_eq!(split, whole, "{body:?} split at {at}");
        }
        assert_eq!(events(body.as_bytes().chunks(1), false), whole, "{body:?} byte by byte");
    }
}

#[test]
fn events_called_error() {
    let seen = events([&b"event: error\ndata: a\n\ndata: b\n\nerror: c\n\ndata: d\n\n"[..]], false);
    let want = [("a", true), ("b", false), ("c", true), ("d", false)];
    assert_eq!(seen, want.map(|(data, is_error)| (data.as_bytes().to_vec(), is_error)));
}

#[test]
fn the_last_event_of_a_complete_body_needs_no_blank_line() {
    for body in ["data: a\n\ndata: [DONE]", "data: a\n\ndata: [DONE]\n", "data: a\n\ndata: [DONE]\n\n"] {
        for size in 1..body.len() {
            assert_eq!(data(&events(body.as_bytes().chunks(size), true)), ["a", "[DONE]"], "{body:?} by {size}");
        }
    }
}

#[test]
fn an_event_that_ends_in_the_read_of_another_is_coalesced() {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    let reads: [(&[u8], u64); 5] = [
        (b"data: a\n\ndata: b\n\ndata: c", 1), // a alone, b with a
        (b"\n\n", 2),                          // c ends here, first of its read
        (b"data: d\n\n", 3),
        (b"data: e\n\n", 3),           // another piece of the same read
        (b": ping\n\ndata: f\n\n", 4), // a comment is no event
    ];
    for (bytes, at) in reads {
        framer.feed(bytes, at, |event| seen.push((event.data[0], event.coalesced))).unwrap();
    }
    assert_eq!(seen, [(b'a', false), (b'b', true), (b'c', false), (b'd', false), (b'e', true), (b'f', false)]);
}

#[test]
fn a_megabyte_in_one_event() {
    let text = "x".repeat(1 << 20);
    let body = format!("data: {text}\n\n");
    for size in [4096, 65_536, body.len()] {
        assert_eq!(data(&events(body.as_bytes().chunks(size), false)), [text.as_str()]);
    }
}

#[test]
fn an_endless_event_is_an_error_not_an_endless_buffer() {
    let line = [b'x'; 100];
    for reads in [vec![&line[..]; 20], vec![&b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"[..]; 40]] {
        let mut framer = Framer::new(1000);
        let error = reads.iter().zip(1..).find_map(|(read, at)| framer.feed(read, at, |_| {}).err()).unwrap();
        assert_eq!(error.to_string(), "an event is longer than 1000 bytes");
    }
    let mut framer = Framer::new(1000);
    for at in 0..1000 {
        framer.feed(b"data: many short events\n\n", at, |_| {}).unwrap();
    }
}

/// Bodies made of the pieces that matter to the grammar.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data:".to_vec()),
        Just(b"event: error".to_vec()),
        Just(b"error: x".to_vec()),
        Just(b": ping".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just("\u{feff}".as_bytes().to_vec()),
        Just("é漢".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The grammar once more, on the whole body, without any state: what the framer must agree with.
fn reference(body: &[u8]) -> Vec<Seen> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => lines.push(std::mem::take(&mut line)),
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                lines.push(std::mem::take(&mut line));
            }
            _ => line.push(byte),
        }
    }
    if let Some(first) = lines.first_mut()
        && first.starts_with(b"\xEF\xBB\xBF")
    {
        first.drain(..3);
    }
    let mut seen = Vec::new();
    for event in lines.split_inclusive(|line| line.is_empty()).filter(|event| event.last().is_some_and(Vec::is_empty)) {
        let (mut data, mut is_error): (Vec<Vec<u8>>, bool) = (Vec::new(), false);
        for line in event {
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
            match &line[..colon] {
                b"data" => data.push(value),
                b"error" => {
                    is_error = true;
                    data.push(value);
                }
                b"event" => is_error = value == b"error",
                _ => {}
            }
        }
        if !data.is_empty() {
            seen.push((data.join(&b'\n'), is_error));
        }
    }
    seen
}

proptest! {
    #[test]
    fn the_reads_do_not_matter(body in body(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let reads = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
        let want = reference(&body);
        prop_assert_eq!(&events(reads, false), &want);
        prop_assert_eq!(&events([&body[..]], false), &want);
        prop_assert_eq!(&events(body.chunks(1), false), &want);
    }

    #[test]
    fn a_complete_body_has_its_events_whatever_the_reads(body in body(), size in 1_usize..9) {
        prop_assert_eq!(events(body.chunks(size), true), events([&body[..]], true));
    }
}
