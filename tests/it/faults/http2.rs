//! HTTP/2 through whole points, with and without TLS, against hyper's server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use llm_bench::measure::timeline::{ConnectionUse, Outcome};
use llm_bench::report::model::ClockSource;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::answers::{DONE, event, last_event, usage};
use super::tls::Authority;
use crate::apply::harness::{World, scenario};

/// What the server does with the n-th POST, the probe being the first.
type Script = fn(u32) -> Act;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// A whole answer in three frames.
    Answer,
    /// One frame, and then the stream is reset.
    Break,
    /// Status 503.
    Refuse,
}

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    versions: Arc<Mutex<Vec<http::Version>>>,
}

impl Server {
    /// A server on a thread of its own, over TLS where there is a `config`. It ends with the test binary.
    fn start(config: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let (started, address) = std::sync::mpsc::channel();
        let connections = Arc::new(AtomicU32::new(0));
        let versions = Arc::new(Mutex::new(Vec::new()));
        let (counted, seen) = (Arc::clone(&connections), Arc::clone(&versions));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                let posts = Arc::new(AtomicU32::new(0));
                while let Ok((socket, _)) = listener.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let (posts, seen) = (Arc::clone(&posts), Arc::clone(&seen));
                    match &config {
                        None => drop(tokio::spawn(serve(socket, posts, seen, script))),
                        Some(config) => {
                            let acceptor = TlsAcceptor::from(Arc::clone(config));
                            tokio::spawn(async move {
                                if let Ok(socket) = acceptor.accept(socket).await {
                                    serve(socket, posts, seen, script).await;
                                }
                            });
                        }
                    }
                }
            });
        });
        Self { address: address.recv().unwrap(), connections, versions }
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    posts: Arc<AtomicU32>,
    seen: Arc<Mutex<Vec<http::Version>>>,
    script: Script,
) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (posts, seen) = (Arc::clone(&posts), Arc::clone(&seen));
        async move {
            seen.lock().unwrap().push(request.version());
            Ok::<_, Infallible>(answer(request, &posts, script).await)
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // What becomes of a connection that the client drops is no matter of the server.
    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

fn whole(text: &str) -> Body {
    Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed()
}

async fn answer(request: http::Request<Incoming>, posts: &AtomicU32, script: Script) -> Response<Body> {
    if request.method() == http::Method::GET {
        return match request.uri().path() {
            "/v1/models" => Response::new(whole(r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#)),
            _ => Response::builder().status(StatusCode::NOT_FOUND).body(whole("")).unwrap(),
        };
    }
    // All of the request, as a server that means it.
    let _ = request.into_body().collect().await;
    let act = script(posts.fetch_add(1, Ordering::SeqCst));
    let frames: Vec<Result<Frame<Bytes>, std::io::Error>> = match act {
        Act::Refuse => {
            let body = whole(r#"{"error":{"message":"not now"}}"#);
            return Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(body).unwrap();
        }
        Act::Answer => {
            [event("one"), last_event(" two"), usage(2) + DONE].map(|text| Ok(Frame::data(text.into()))).into()
        }
        Act::Break => vec![Ok(Frame::data(event("one").into())), Err(std::io::Error::other("reset"))],
    };
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

const USERS: &str = "[load]\nkind = \"users\"\nusers = 6\n";

fn settings(url: &str) -> String {
    scenario(url, "http = \"2\"", USERS, "{ requests = 60 }", "")
}

#[test]
fn a_point_over_http_2() {
    let server = Server::start(None, |_| Act::Answer);
    let world = World::new(&settings(&format!("http://{}", server.address)));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let point = applied.point();
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (60, 60));
    assert_eq!(point.clock.source, ClockSource::User, "stamps of user space, and the report says so");
    assert_eq!((point.client.connections.failed, point.client.connections.resent), (0, 0));
    let records = world.records();
    assert!(records.iter().all(|record| record.connection == ConnectionUse::Reused), "opened before the clock started");
    assert!(records.iter().all(|record| record.events.as_ref().is_some_and(|events| events.len() == 2)));
    assert!(server.versions.lock().unwrap().iter().all(|version| *version == http::Version::HTTP_2));
    // Pages, the probe, and one connection for all users.
    assert!(server.connections.load(Ordering::SeqCst) <= 3, "{:?}", server.connections);
}

#[test]
fn streams_that_break_leave_the_others_of_their_connection() {
    let server = Server::start(None, |post| match post % 5 {
        3 => Act::Break,
        4 => Act::Refuse,
        _ => Act::Answer,
    });
    let world = World::new(&settings(&format!("http://{}", server.address)));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let outcomes = applied.point().outcomes;
    assert_eq!(outcomes.planned, 60);
    assert_eq!(outcomes.completed + outcomes.truncated + outcomes.server_error, 60, "{outcomes:?}");
    // Of five posts one is broken and one refused, twelve of 60 each; users go on while the last measured requests end, and
    // may take the turns of some. None is sent again.
    let near_twelve = |count| (9..=15).contains(&count);
    assert!(near_twelve(outcomes.truncated) && near_twelve(outcomes.server_error), "{outcomes:?}");
    assert_eq!(applied.point().client.connections.resent, 0);
    for record in world.records() {
        let events = record.events.as_ref().map_or(0, |events| events.len());
        let expected = match record.outcome {
            Outcome::Completed => 2,
            // A reset may overtake the frame before it.
            Outcome::Truncated => events.min(1),
            _ => 0,
        };
        assert_eq!(events, expected, "{record:?}");
    }
}

#[test]
fn a_point_over_http_2_and_tls() {
    let authority = Authority::new();
    let mut config = (*authority.server("localhost")).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Server::start(Some(Arc::new(config)), |_| Act::Answer);
    let world = authority.world(&settings(&format!("https://localhost:{}", server.address.port())));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!((applied.point().outcomes.planned, applied.point().outcomes.completed), (60, 60));
    assert!(server.versions.lock().unwrap().iter().all(|version| *version == http::Version::HTTP_2));
}

#[test]
fn a_server_that_does_not_agree_to_http_2_is_told_before_the_first_point() {
    let authority = Authority::new();
    // No ALPN: it would speak HTTP/1.1.
    let server = Server::start(Some(authority.server("localhost")), |_| Act::Answer);
    let world = authority.world(&settings(&format!("https://localhost:{}", server.address.port())));
    let ran = world.apply(&[]).expect(69);
    assert!(ran.stderr.contains("HTTP/2"), "{}", ran.stderr);
    assert!(world.reports().is_empty());
}
