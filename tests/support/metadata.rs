//! A metadata server as machines and pods with a workload identity have one: it hands out one token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// The server; stops when dropped.
pub struct MetadataServer {
    pub address: SocketAddr,
    tokens: Arc<AtomicUsize>,
    accept: tokio::task::JoinHandle<()>,
}

impl MetadataServer {
    /// Starts on a free port; `None` has no service account to give a token of.
    pub async fn start(token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(AtomicUsize::new(0));
        let counted = tokens.clone();
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = counted.clone();
                let service = service_fn(move |request| {
                    let counted = counted.clone();
                    async move { Ok::<_, std::convert::Infallible>(answer(&request, token, &counted)) }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, tokens, accept }
    }

    /// How many tokens were given.
    pub fn tokens_given(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }
}

impl Drop for MetadataServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn answer(request: &http::Request<Incoming>, token: Option<&str>, given: &AtomicUsize) -> Response<Full<Bytes>> {
    let asked_properly = request.headers().get("metadata-flavor").is_some_and(|flavor| flavor == "Google");
    let reply = Response::builder().header("metadata-flavor", "Google").header("content-type", "application/json");
    match token {
        _ if !asked_properly => reply.status(StatusCode::FORBIDDEN).body(Full::default()).unwrap(),
        Some(token) if request.uri().path() == TOKEN_PATH => {
            given.fetch_add(1, Ordering::SeqCst);
            let json = serde_json::json!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" });
            reply.body(Full::from(json.to_string())).unwrap()
        }
        _ => reply.status(StatusCode::NOT_FOUND).body(Full::default()).unwrap(),
    }
}
