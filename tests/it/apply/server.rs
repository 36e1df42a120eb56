//! A small HTTP server that keeps every request and answers as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::harness::wait_until;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the server says.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string() }
    }

    /// A stream of two tokens, properly ended, with usage.
    pub(super) fn stream() -> Self {
        let chunk = |text: &str, finish: Option<&str>| {
            let choice = serde_json::json!({ "index": 0, "text": text, "finish_reason": finish });
            format!("data: {}\n\n", serde_json::json!({ "id": "c", "model": "m", "choices": [choice] }))
        };
        let usage = serde_json::json!({ "prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22 });
        let last = serde_json::json!({ "id": "c", "model": "m", "choices": [], "usage": usage });
        let body = format!("{}{}data: {last}\n\ndata: [DONE]\n\n", chunk(" one", None), chunk(" two", Some("length")));
        Self { status: 200, content_type: "text/event-stream", body }
    }

    pub(super) fn models(names: &[&str]) -> Self {
        let list: Vec<_> = names.iter().map(|name| serde_json::json!({ "id": name, "object": "model" })).collect();
        Self::json(200, &serde_json::json!({ "object": "list", "data": list }))
    }
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server; it lives as long as the test binary.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that were accepted and have not ended.
    open: Arc<AtomicUsize>,
}

/// Holds answers back until it is opened.
#[derive(Default)]
pub(super) struct Gate {
    opened: Mutex<bool>,
    changed: Condvar,
    held: AtomicUsize,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.opened.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until a request is held.
    pub(super) fn wait_for_one(&self) {
        wait_until("a request that is held back", || self.held.load(Ordering::SeqCst) > 0);
    }

    fn pass(&self) {
        let opened = self.opened.lock().unwrap();
        if !*opened {
            self.held.fetch_add(1, Ordering::SeqCst);
            drop(self.changed.wait_while(opened, |opened| !*opened).unwrap());
        }
    }
}

impl Server {
    /// Starts on a free port.
    pub(super) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (answer, shared, counted): (Arc<Answer>, _, _) = (Arc::new(answer), Arc::clone(&seen), Arc::clone(&open));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (answer, seen, open) = (Arc::clone(&answer), Arc::clone(&shared), Arc::clone(&counted));
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    serve(&stream, answer.as_ref(), &seen);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, open }
    }

    /// A healthy one that holds requests for answers of `tokens` tokens back at the gate, but for the first `free`. How
    /// many requests a point sends in all depends on how long it drains, so points are told apart by what they ask for.
    pub(super) fn gated(tokens: u32, free: usize) -> (Self, Arc<Gate>) {
        let (gate, asked) = (Arc::new(Gate::default()), AtomicUsize::new(0));
        let shared = Arc::clone(&gate);
        let server = Self::start(move |seen| {
            let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            if body["max_tokens"] == tokens && asked.fetch_add(1, Ordering::SeqCst) >= free {
                shared.pass();
            }
            healthy(seen)
        });
        (server, gate)
    }

    /// Waits until all that was sent by clients that have gone has been read: a request that was cancelled may still
    /// lie in its connection. Connections are accepted in order, so one more comes after all of theirs.
    pub(super) fn settle(&self) {
        let mut last = TcpStream::connect(self.address).unwrap();
        last.write_all(b"GET /settled HTTP/1.1\r\n\r\n").unwrap();
        BufReader::new(&last).read_line(&mut String::new()).unwrap();
        drop(last);
        wait_until("the connections to end", || self.open.load(Ordering::SeqCst) == 0);
    }

    /// One that works: model `m`, streams of two tokens.
    pub(super) fn healthy() -> Self {
        Self::start(healthy)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bodies of the requests for completions.
    pub(super) fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen().into_iter().filter(|seen| seen.method == "POST").map(|seen| seen.body).collect()
    }
}

/// Model `m`, streams of two tokens.
pub(super) fn healthy(seen: &Seen) -> Reply {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/v1/models") => Reply::models(&["m"]),
        ("POST", "/v1/completions") => Reply::stream(),
        _ => Reply::json(404, &serde_json::json!({ "error": { "message": "not here" } })),
    }
}

/// Requests of one connection, until it ends.
fn serve(stream: &TcpStream, answer: &Answer, seen: &Mutex<Vec<Seen>>) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = answer(&request);
        seen.lock().unwrap().push(request);
        let head = format!(
            "HTTP/1.1 {} Said\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            reply.status,
            reply.content_type,
            reply.body.len()
        );
        let mut out = stream;
        if out.write_all((head + &reply.body).as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, path, headers, body: Vec::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
