//! The server: accepts connections, routes requests, serves completions from the engine.

mod body;
mod reply;
mod request;
mod wire;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SERVER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::clock::{Clock, KernelClock};
use super::config::{Answers, KeepAlive, SimConfig, UsagePolicy};
use super::connection::{Break, Link, Wire};
use super::core::{BlockHash, BlockHasher, FinishReason, Job};
use super::driver::{Driver, Tokens};
use super::fault::{Affliction, FaultKind};
use super::log::{EventLog, Record};
use super::vocabulary::{AnswerText, Piece, Vocabulary, pieces_of};
use crate::seed::Seed;
use crate::tokens::Tokenizer;
use body::{SimBody, StreamBody, StreamPlan, WholeBody};
use reply::ApiError;
use request::{Ask, Reading, Route};
use wire::{Shape, Usage};

/// Largest request body that is read.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What to serve and where.
#[derive(Debug)]
pub struct ServeOptions {
    /// The simulated server.
    pub config: SimConfig,
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Counts prompts and makes answers.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// Where the event log goes, if it is wanted.
    pub log: Option<PathBuf>,
}

/// Serves until `stop` is ready; then open connections are dropped. `ready` learns the address once
/// connections are accepted.
///
/// # Errors
/// When the address cannot be bound, the log not written, or the tokenizer makes no usable answers.
pub async fn serve(
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let ServeOptions { config, address, tokenizer, log } = options;
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let clock = KernelClock::new()?;
    let log = log.map(|path| EventLog::create(&path, config.source(), clock.origin()).map(Arc::new)).transpose()?;
    let server = Arc::new(Server {
        vocabulary: Arc::new(Vocabulary::new(tokenizer.as_ref(), config.seed)?),
        driver: Arc::new(Driver::new(&config, clock)),
        started_unix_s: unix_s(),
        requests: AtomicU64::new(0),
        tokenizer,
        config,
        log,
    });
    ready(address);
    tokio::select! {
        () = stop => Ok(()),
        accepted = accept(listener, &server) => accepted.map(|never| match never {}),
        played = server.driver.run() => played.map(|never| match never {}),
    }
}

async fn accept(listener: TcpListener, server: &Arc<Server>) -> io::Result<Infallible> {
    // Dropped with this future, which ends all connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Each token leaves at once. Fails only when the client is gone already.
                    if stream.set_nodelay(true).is_ok() {
                        connections.spawn(connection(Arc::clone(server), stream));
                    }
                }
                // The client gave up while it was queued.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptor is free: wait for a connection to end.
                Err(_) if !connections.is_empty() => {
                    connections.join_next().await;
                }
                Err(error) => return Err(error),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end. How it ended is the client's to judge and the event log's to tell.
async fn connection(server: Arc<Server>, stream: TcpStream) {
    let link = Arc::new(Link::new(Arc::clone(&server.driver), server.log.clone()));
    let wire = Wire::new(stream, Arc::clone(&link));
    let service = service_fn(|request| {
        let (server, link) = (Arc::clone(&server), Arc::clone(&link));
        async move { Ok::<_, Infallible>(server.answer(request, link).await) }
    });
    let keepalive = server.config.keepalive;
    let mut connection = pin!(
        http1::Builder::new()
            .keep_alive(keepalive != KeepAlive::Off)
            .header_read_timeout(None)
            .serve_connection(wire, service)
    );
    if let KeepAlive::Idle(time) = keepalive {
        tokio::select! {
            // First what the client sent, then the verdict that it sent nothing.
            biased;
            _ = connection.as_mut() => return,
            () = link.idle_for(time) => connection.as_mut().graceful_shutdown(),
        }
    }
    let _ = connection.await;
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Everything the handlers share.
#[derive(Debug)]
struct Server {
    config: SimConfig,
    driver: Arc<Driver<KernelClock>>,
    vocabulary: Arc<Vocabulary>,
    tokenizer: Arc<dyn Tokenizer>,
    log: Option<Arc<EventLog>>,
    started_unix_s: u64,
    requests: AtomicU64,
}

/// A completion request on its way.
struct Call {
    route: Route,
    ask: Ask,
    affliction: Affliction,
    answer: AnswerText,
    /// Tokens the answer will have.
    output_tokens: u32,
    link: Arc<Link>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, link: Arc<Link>) -> Response<SimBody> {
        let get = request.method() == Method::GET || request.method() == Method::HEAD;
        let post = request.method() == Method::POST;
        let config = &self.config;
        let (status, body) = match request.uri().path() {
            "/v1/chat/completions" if post => return self.complete(Route::Chat, request, link).await,
            "/v1/completions" if post => return self.complete(Route::Completions, request, link).await,
            "/v1/models" if get => {
                (StatusCode::OK, reply::models(&config.models, config.profile.max_model_len, self.started_unix_s))
            }
            "/version" if get => (StatusCode::OK, reply::version(config.profile.name)),
            "/health" if get => return respond(StatusCode::OK, None, Bytes::new(), link),
            "/metrics" if get => {
                let page = self.driver.metrics(&config.models[0], self.requests.load(Ordering::Relaxed));
                let kind = "text/plain; version=1.0.0; charset=utf-8";
                return respond(StatusCode::OK, Some(kind), page.into(), link);
            }
            "/v1/chat/completions" | "/v1/completions" => return not_allowed("POST", link),
            "/v1/models" | "/version" | "/health" | "/metrics" => return not_allowed("GET", link),
            _ => (StatusCode::NOT_FOUND, json!({ "detail": "Not Found" })),
        };
        respond_json(status, &body, link)
    }

    async fn complete(&self, route: Route, request: Request<Incoming>, link: Arc<Link>) -> Response<SimBody> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        link.begin(Record { request: number, path: route.path().to_owned(), ..Record::default() });
        let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await else {
            let error = ApiError::bad_request("the request body is broken or larger than 64 MiB", "body");
            return self.refuse(&error, &link);
        };
        let arrived = self.driver.clock().now();
        link.note(|record| record.arrived_ns = arrived);
        let config = &self.config;
        let (models, room) = (&config.models, config.profile.max_model_len);
        let reading = if config.profile.prefix_cache { Reading::Ids } else { Reading::Count };
        let body = body.to_bytes();
        let ask = match request::read(route, &body, models, room, self.tokenizer.as_ref(), reading) {
            Ok(ask) => ask,
            Err(error) => return self.refuse(&error, &link),
        };
        let affliction = config.faults.of(number, config.seed);
        link.note(|record| {
            record.model = Some(ask.model.clone());
            record.streamed = ask.stream;
            record.input_tokens = ask.input_tokens;
            record.max_tokens = ask.max_tokens;
            record.faults = affliction.names().into_iter().map(str::to_owned).collect();
        });
        let answer = self.vocabulary.answer(number, self.opening(&body, affliction));
        let stop_after = self.stop_after(number, &ask);
        let output_tokens = stop_after.map_or(ask.max_tokens, |stop| stop.min(ask.max_tokens));
        let job = Job {
            id: number,
            input_tokens: ask.input_tokens,
            max_tokens: ask.max_tokens,
            content: self.content(&answer, &ask, output_tokens),
            stop_after,
        };
        let call = Call { route, ask, affliction, answer, output_tokens, link };
        self.serve_call(arrived, job, call).await
    }

    /// What the answer opens with: the number asked for, or the next one if it is to be wrong.
    fn opening(&self, body: &[u8], affliction: Affliction) -> Vec<Piece> {
        let number = (self.config.answers == Answers::Numbers).then(|| request::number(body)).flatten();
        let wrong = u32::from(affliction.main == Some(FaultKind::WrongNumber));
        number.map_or_else(Vec::new, |number| pieces_of(&(number + wrong).to_string(), self.tokenizer.as_ref()))
    }

    async fn serve_call(&self, arrived: u64, job: Job, call: Call) -> Response<SimBody> {
        let affliction = call.affliction;
        match affliction.main {
            Some(FaultKind::Hang) => return pending().await,
            Some(FaultKind::CutHeaders) => call.link.cut_head(),
            Some(fault) => {
                if let Some(error) = ApiError::of_fault(fault) {
                    sleep(affliction.slow_headers).await;
                    return self.refuse(&error, &call.link);
                }
            }
            None => {}
        }
        if affliction.close_after {
            call.link.close_after();
        }
        let tokens = match self.driver.submit(arrived, job) {
            Ok(tokens) => tokens,
            Err(error) => return self.refuse(&ApiError::bad_request(&error.to_string(), "max_tokens"), &call.link),
        };
        call.link.note(|record| record.status = Some(200));
        if call.ask.stream {
            sleep(affliction.slow_headers).await;
            self.stream(call, tokens)
        } else {
            self.whole(call, tokens).await
        }
    }

    /// Where an answer ends by itself: for the share of requests that `eos` says, anywhere from its second
    /// to its last token, so that it has content and then the token that ends it.
    fn stop_after(&self, number: u64, ask: &Ask) -> Option<u32> {
        if ask.ignore_eos || ask.max_tokens < 2 || self.config.eos_share <= 0.0 {
            return None;
        }
        let mut rng = Seed::root(self.config.seed).child("simulator/eos").index(number).rng();
        (rng.random::<f64>() < self.config.eos_share).then(|| rng.random_range(2..=ask.max_tokens))
    }

    /// What the blocks of prompt and answer hold: a later prompt that goes on where this answer ends shares them.
    fn content(&self, answer: &AnswerText, ask: &Ask, output_tokens: u32) -> Vec<BlockHash> {
        if !self.config.profile.prefix_cache {
            return Vec::new();
        }
        let mut hasher = BlockHasher::new(&ask.model);
        ask.prompt.iter().for_each(|token| hasher.push(*token));
        for index in 0..output_tokens {
            hasher.push(self.vocabulary.piece(answer, index).id);
        }
        hasher.finish()
    }

    fn stream(&self, call: Call, tokens: Tokens<KernelClock>) -> Response<SimBody> {
        let answer = call.answer;
        let policy = self.config.usage;
        let plan = StreamPlan {
            shape: Shape::new(call.route, &answer.id(), unix_s(), &call.ask.model),
            answer,
            input_tokens: call.ask.input_tokens,
            caching: self.config.profile.prefix_cache,
            output_tokens: call.output_tokens,
            include_usage: policy == UsagePolicy::Always || policy == UsagePolicy::OnRequest && call.ask.include_usage,
            continuous_usage: call.ask.continuous_usage,
            affliction: call.affliction,
        };
        let body = StreamBody::new(plan, tokens, Arc::clone(&self.vocabulary), call.link);
        let mut response = Response::new(SimBody::Stream(Box::new(body)));
        head(&mut response, Some("text/event-stream; charset=utf-8"));
        response
    }

    async fn whole(&self, call: Call, mut tokens: Tokens<KernelClock>) -> Response<SimBody> {
        let (mut text, mut produced, mut finish) = (String::new(), 0, FinishReason::Length);
        let mut cached_tokens = None;
        while let Some(emission) = tokens.next().await {
            call.link.emitted(&emission);
            if emission.token_index == call.output_tokens / 2 {
                sleep(call.affliction.stall).await;
            }
            produced = emission.token_index + 1;
            cached_tokens = self.config.profile.prefix_cache.then_some(emission.cached_tokens);
            finish = emission.finish_reason.unwrap_or(finish);
            if emission.finish_reason != Some(FinishReason::Stop) {
                text.push_str(&self.vocabulary.piece(&call.answer, emission.token_index).text);
            }
        }
        sleep(call.affliction.slow_headers).await;
        let main = call.affliction.main;
        if main == Some(FaultKind::Empty) {
            text.clear();
            produced = 0;
        }
        let usage = Usage { input_tokens: call.ask.input_tokens, output_tokens: produced, cached_tokens };
        let usage = (self.config.usage != UsagePolicy::Never).then_some(usage);
        let shape = Shape::new(call.route, &call.answer.id(), unix_s(), &call.ask.model);
        let (body, broken) = match main {
            Some(FaultKind::InBandError) => (ApiError::in_band().body().to_string().into_bytes(), None),
            _ => {
                let mut body = shape.whole(&text, finish, usage).to_string().into_bytes();
                if main == Some(FaultKind::Malformed) {
                    body.truncate(body.len() / 2);
                }
                (body, broken_by(main))
            }
        };
        let body = WholeBody::new(body.into(), produced, broken, call.link);
        let mut response = Response::new(SimBody::Whole(body));
        head(&mut response, Some("application/json"));
        response
    }

    fn refuse(&self, error: &ApiError, link: &Arc<Link>) -> Response<SimBody> {
        link.note(|record| record.status = Some(error.status.as_u16()));
        let mut response = respond_json(error.status, &error.body(), Arc::clone(link));
        if error.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(self.config.retry_after_s));
        }
        response
    }
}

fn broken_by(fault: Option<FaultKind>) -> Option<Break> {
    match fault {
        Some(FaultKind::Cut) => Some(Break::Close),
        Some(FaultKind::Reset) => Some(Break::Reset),
        _ => None,
    }
}

async fn sleep(time: Option<Duration>) {
    if let Some(time) = time {
        tokio::time::sleep(time).await;
    }
}

fn not_allowed(allow: &'static str, link: Arc<Link>) -> Response<SimBody> {
    let body = json!({ "detail": "Method Not Allowed" });
    let mut response = respond_json(StatusCode::METHOD_NOT_ALLOWED, &body, link);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn respond_json(status: StatusCode, body: &Value, link: Arc<Link>) -> Response<SimBody> {
    respond(status, Some("application/json"), body.to_string().into(), link)
}

fn respond(status: StatusCode, kind: Option<&'static str>, body: Bytes, link: Arc<Link>) -> Response<SimBody> {
    let mut response = Response::new(SimBody::Whole(WholeBody::new(body, 0, None, link)));
    *response.status_mut() = status;
    head(&mut response, kind);
    response
}

fn head(response: &mut Response<SimBody>, kind: Option<&'static str>) {
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(concat!("bench-simulator/", env!("CARGO_PKG_VERSION"))));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
}
