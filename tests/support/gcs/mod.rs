//! A Google Cloud Storage server, in process: the XML API as far as object stores clients use it, with
//! faults on demand. Qualified by object_store's own integration suite (`it/store/gcs_suite.rs`).
//!
//! Stock emulators speak the JSON API only, which object_store does not use.

mod faults;
mod listing;
mod objects;
mod state;
mod uploads;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use faults::{Body, plain};
pub use faults::{Fault, Op};
use state::State;

/// What the server saw of a request.
#[derive(Debug, Clone)]
pub struct Logged {
    pub method: Method,
    pub path_and_query: String,
    pub authorization: String,
}

/// The server; stops when dropped.
pub struct GcsServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    accept: tokio::task::JoinHandle<()>,
}

/// A parsed request.
struct Request {
    method: Method,
    bucket: String,
    key: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Request {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn op(&self) -> Op {
        let upload = self.query("uploadId").is_some();
        match self.method {
            Method::PUT if upload => Op::Part,
            Method::PUT => Op::Put,
            Method::POST if upload => Op::Complete,
            Method::POST => Op::Initiate,
            Method::DELETE => Op::Delete,
            _ if self.key.is_empty() => Op::List,
            _ => Op::Get,
        }
    }
}

impl GcsServer {
    /// Starts on a free port with one bucket, `bucket`, and no authentication.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::new("bucket")));
        let accept = tokio::spawn(accept_loop(listener, state.clone()));
        Self { address, state, accept }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of kind `op` meet `fault`.
    pub fn inject(&self, op: Op, times: usize, fault: Fault) {
        self.state().faults.extend(std::iter::repeat_n((op, fault), times));
    }

    /// Faults that no request has met yet.
    pub fn faults_left(&self) -> usize {
        self.state().faults.len()
    }

    /// From now on requests need this bearer token.
    pub fn require_token(&self, token: &str) {
        self.state().token = Some(token.to_string());
    }

    /// From now on requests of kind `op` are forbidden.
    pub fn forbid(&self, op: Op) {
        self.state().forbidden.push(op);
    }

    /// From now on a put of an existing object is forbidden, whatever its conditions: creation without
    /// deletion.
    pub fn forbid_overwriting(&self) {
        self.state().forbid_overwriting = true;
    }

    /// From now on conditions of puts are ignored, as some gateways do.
    pub fn ignore_conditions(&self) {
        self.state().ignore_conditions = true;
    }

    /// Lists at most this many objects a page.
    pub fn set_page_size(&self, objects: usize) {
        self.state().page_size = objects;
    }

    pub fn log(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// The current content of an object of `bucket`.
    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.state().current("bucket", key).map(|object| object.data.clone())
    }

    /// How many times the object has been written.
    pub fn generations(&self, key: &str) -> usize {
        self.state().generations("bucket", key)
    }

    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for GcsServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept_loop(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Connections end with the server, as they do when a process dies.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| handle(state.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error drops the connection.
async fn handle(
    state: Arc<Mutex<State>>,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let path = percent_decode(parts.uri.path());
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let request = Request {
        method: parts.method.clone(),
        bucket: bucket.to_string(),
        key: key.to_string(),
        query,
        headers: parts.headers,
    };
    let fault = {
        let mut state = state.lock().unwrap();
        state.log.push(Logged {
            method: parts.method,
            path_and_query: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            authorization: request.header("authorization").unwrap_or_default().to_string(),
        });
        state.take_fault(request.op())
    };
    faults::answer(fault, &state, &request, body).await
}

/// The answer of a healthy server.
fn respond(state: &mut State, request: &Request, body: Bytes) -> Response<Body> {
    let authorized = |token: &String| request.header("authorization") == Some(&format!("Bearer {token}"));
    if !state.token.as_ref().is_none_or(authorized) {
        return error(StatusCode::UNAUTHORIZED, "AuthenticationRequired", request);
    }
    if state.forbidden.contains(&request.op()) {
        return error(StatusCode::FORBIDDEN, "AccessDenied", request);
    }
    if !state.has_bucket(&request.bucket) {
        return error(StatusCode::NOT_FOUND, "NoSuchBucket", request);
    }
    match request.op() {
        Op::List => listing::list(state, request),
        Op::Get => objects::get(state, request),
        Op::Put if request.headers.contains_key("x-goog-copy-source") => objects::copy(state, request),
        Op::Put => objects::put(state, request, body),
        Op::Delete if request.query("uploadId").is_some() => uploads::abort(state, request),
        Op::Delete => objects::delete(state, request),
        Op::Initiate => uploads::initiate(state, request),
        Op::Part => uploads::part(state, request, body),
        Op::Complete => uploads::complete(state, request, &body),
    }
}

/// An XML error. It echoes the request's credentials, as careless servers do: messages must not.
fn error(status: StatusCode, code: &str, request: &Request) -> Response<Body> {
    let echo = escape(request.header("authorization").unwrap_or_default());
    let xml = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>refused</Message><Details>{echo}</Details></Error>"
    );
    let body = if request.method == Method::HEAD { Bytes::new() } else { Bytes::from(xml) };
    Response::builder().status(status).header("content-type", "application/xml").body(plain(body)).unwrap()
}

fn xml(body: String) -> Response<Body> {
    Response::builder().header("content-type", "application/xml").body(plain(body.into())).unwrap()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads a whole body.
async fn collect(body: Incoming) -> Result<Bytes, hyper::Error> {
    Ok(body.collect().await?.to_bytes())
}
