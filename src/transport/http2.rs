//! HTTP/2 for what is measured: many streams share a connection, so received bytes have no stamp of the kernel that a
//! stream could call its own. Stamps are those of user space, where the connection's task read from the socket; frames of one
//! read share one stamp, as the events of one read do over HTTP/1.1.
//!
//! `sent` is when the request was handed to its connection, whose task writes it in the same turn of the worker's loop: a
//! little too early, so no answer looks quicker than it was.

use std::error::Error as StdError;
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConnection;
use tokio::net::TcpStream;

use super::ahead::{Ahead, Pace};
use super::dial::{self, DialError, Dialed, Dialer, Origin, Times, Wire};
use super::facts::TransportFacts;
use super::{
    AheadFuture, Cancel, ClockSource, Exchange, ExchangeFuture, HttpVersion, NotConnected, Outgoing, Transport,
};
use crate::engine::clock::{PointClock, monotonic_ns};
use crate::measure::timeline::ConnectionUse;
use crate::protocol::{BodyEnd, Decoder, reason};
use crate::units::Nanos;

/// Streams that a connection carries before another one is opened. Servers allow 100 or more.
const STREAMS: u32 = 100;
/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// The HTTP/2 transport of one worker.
#[derive(Debug)]
pub struct Http2 {
    dialer: Dialer,
    /// Only the worker's own thread comes here, so this lock is never waited for.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    origins: Vec<(Origin, Vec<Connection>)>,
    reads: Arc<AtomicU64>,
    opened_ahead: u64,
    failed_ahead: u64,
}

/// A connection that stands.
#[derive(Clone, Debug)]
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    streams: Arc<AtomicU32>,
    read_at: Arc<AtomicU64>,
}

/// A place on a connection; dropping it frees the place.
#[derive(Debug)]
struct Stream {
    connection: Connection,
    times: Times,
    reused: bool,
}

impl Stream {
    fn on(connection: Connection, times: Times, reused: bool) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self { connection, times, reused }
    }

    /// When the connection's task last read something.
    fn read_at(&self, clock: &PointClock) -> Nanos {
        clock.at_monotonic_ns(self.connection.read_at.load(Ordering::Relaxed))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How one try went.
struct Attempt {
    times: Times,
    sent: Option<Nanos>,
    headers: Option<Nanos>,
    end: Nanos,
    reused: bool,
    closed_unanswered: bool,
    ended: Result<BodyEnd, NotConnected>,
}

impl Http2 {
    /// A transport with connections of its own.
    pub fn new() -> Self {
        Self { dialer: Dialer::new(false, HttpVersion::Http2), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `url` with the fewest streams, if one has room.
    fn standing(&self, url: &url::Url) -> Option<Connection> {
        let mut inner = self.inner();
        let (_, connections) = inner.origins.iter_mut().find(|(origin, _)| origin.is_of(url))?;
        connections.retain(|connection| !connection.requests.is_closed());
        let freest = connections.iter().min_by_key(|connection| connection.streams.load(Ordering::Relaxed))?;
        (freest.streams.load(Ordering::Relaxed) < STREAMS).then(|| freest.clone())
    }

    fn keep(&self, origin: &Origin, connection: &Connection) {
        let mut inner = self.inner();
        match inner.origins.iter_mut().find(|(known, _)| known == origin) {
            Some((_, connections)) => connections.push(connection.clone()),
            None => inner.origins.push((origin.clone(), vec![connection.clone()])),
        }
    }

    async fn open(&self, origin: &Origin, clock: Option<&PointClock>) -> Result<(Connection, Times), DialError> {
        let Dialed { stream, tls, times } = self.dialer.dial(origin, clock).await?;
        let read_at = Arc::new(AtomicU64::new(monotonic_ns()));
        let reads = Arc::clone(&self.inner().reads);
        let socket = Socket {
            stream,
            tls,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            read_at: Arc::clone(&read_at),
            reads,
        };
        let (requests, driver) = http2::handshake(TokioExecutor::new(), socket).await.map_err(|error| DialError {
            why: NotConnected { code: reason::CONNECT_ERROR, detail: dial::describe(&error) },
            started: times.started,
        })?;
        // How the connection ends is told to each of its streams.
        tokio::spawn(async move { drop(driver.await) });
        let connection = Connection { requests, streams: Arc::default(), read_at };
        self.keep(origin, &connection);
        Ok((connection, times))
    }

    async fn stream(&self, request: &Outgoing, clock: &PointClock, again: bool) -> Result<Stream, DialError> {
        if !again && let Some(connection) = self.standing(&request.url) {
            return Ok(Stream::on(connection, Times::default(), true));
        }
        let (connection, times) = self.open(&Origin::of(&request.url), Some(clock)).await?;
        Ok(Stream::on(connection, times, false))
    }

    async fn attempt(
        &self,
        request: &Outgoing,
        decoder: &mut dyn Decoder,
        clock: &PointClock,
        cancel: &Cancel,
        again: bool,
    ) -> Attempt {
        let mut attempt = Attempt {
            times: Times::default(),
            sent: None,
            headers: None,
            end: 0,
            reused: false,
            closed_unanswered: false,
            ended: Ok(BodyEnd::Cut("no end was seen".to_owned())),
        };
        let cancelled = cancel.cancelled();
        tokio::pin!(cancelled);
        let stream = tokio::select! {
            biased;
            stream = self.stream(request, clock, again) => stream,
            why = &mut cancelled => {
                attempt.ended = Ok(BodyEnd::Cancelled(why));
                attempt.end = clock.now();
                return attempt;
            }
        };
        match stream {
            Ok(mut stream) => {
                (attempt.times, attempt.reused) = (stream.times, stream.reused);
                let end = tokio::select! {
                    biased;
                    end = talk(&mut stream, request, decoder, clock, &mut attempt) => end,
                    why = &mut cancelled => End::Of(BodyEnd::Cancelled(why)),
                };
                attempt.end = match &end {
                    End::Of(BodyEnd::Complete) => stream.read_at(clock),
                    _ => clock.now(),
                };
                attempt.closed_unanswered = matches!(end, End::Unanswered(_)) && stream.reused;
                attempt.ended = Ok(match end {
                    End::Of(end) => end,
                    End::Unanswered(detail) => BodyEnd::Cut(detail),
                });
            }
            Err(DialError { why, started }) => {
                attempt.times.started = started;
                attempt.ended = Err(why);
                attempt.end = clock.now();
            }
        }
        attempt
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self::new()
    }
}

/// How an answer ended.
enum End {
    Of(BodyEnd),
    /// The connection ended before any of the answer came.
    Unanswered(String),
}

async fn talk(
    stream: &mut Stream,
    request: &Outgoing,
    decoder: &mut dyn Decoder,
    clock: &PointClock,
    attempt: &mut Attempt,
) -> End {
    // A connection whose server allows fewer streams makes this one wait: for a connection, not for an answer.
    if let Err(error) = stream.connection.requests.ready().await {
        return End::Unanswered(dial::describe(&error));
    }
    attempt.sent = Some(clock.now());
    let answer = async {
        let response = match stream.connection.requests.send_request(message(request)).await {
            Ok(response) => response,
            Err(error) => return broken(&error, true),
        };
        attempt.headers = Some(stream.read_at(clock));
        decoder.head(response.status(), response.headers());
        let mut body = response.into_body();
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        decoder.data(&bytes, stream.read_at(clock));
                    }
                }
                Some(Err(error)) => return broken(&error, false),
                None => return End::Of(BodyEnd::Complete),
            }
        }
    };
    match tokio::time::timeout(request.timeout, answer).await {
        Ok(end) => end,
        Err(_) => End::Of(BodyEnd::TimedOut),
    }
}

/// The request as `hyper` takes it.
fn message(request: &Outgoing) -> Request<Full<Bytes>> {
    let mut message = Request::new(Full::new(request.body.clone()));
    *message.method_mut() = Method::POST;
    *message.version_mut() = Version::HTTP_2;
    // An address that is no URI cannot be: the scenario was checked, and the engine got a `Url`.
    *message.uri_mut() = request.url.as_str().split('#').next().unwrap_or_default().parse().unwrap_or_default();
    *message.headers_mut() = request.headers.clone();
    message.headers_mut().remove(http::header::HOST);
    message.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    message
}

/// What an error of the connection or the stream means.
fn broken(error: &hyper::Error, unanswered: bool) -> End {
    let causes =
        std::iter::successors(Some(error as &(dyn StdError + 'static)), |error: &&(dyn StdError + 'static)| {
            (*error).source()
        });
    let cause = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).last();
    // What this side found wrong with the server's frames.
    let rule = cause.is_some_and(|error| error.is_library() && !error.is_io());
    // A server that ends one stream has taken its request, unless it says that it has not. Only a connection that ends leaves
    // that open.
    let refused = cause.is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM));
    let taken = cause.is_some_and(|error| error.is_reset() && error.is_remote()) && !refused;
    let detail = dial::describe(error);
    match (rule, unanswered && !taken) {
        (true, _) => End::Of(BodyEnd::Malformed(detail)),
        (false, true) => End::Unanswered(detail),
        (false, false) => End::Of(BodyEnd::Cut(detail)),
    }
}

impl Transport for Http2 {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            let mut attempt = self.attempt(request, decoder, clock, cancel, false).await;
            let resent = attempt.closed_unanswered;
            if resent {
                attempt = self.attempt(request, decoder, clock, cancel, true).await;
            }
            Exchange {
                connect_start: attempt.times.started,
                connected: attempt.times.connected,
                tls: attempt.times.tls,
                sent: attempt.sent,
                headers: attempt.headers,
                end: attempt.end,
                connection: match (attempt.reused, attempt.sent) {
                    (true, _) => ConnectionUse::Reused,
                    (false, Some(_)) => ConnectionUse::Opened,
                    (false, None) => ConnectionUse::Unknown,
                },
                resent,
                ended: attempt.ended,
            }
        })
    }

    fn open_ahead<'a>(&'a self, wanted: &'a [Ahead], pace: &'a Pace, cancel: &'a Cancel) -> AheadFuture<'a> {
        Box::pin(async move {
            for ahead in wanted {
                let origin = Origin::of(&ahead.url);
                for _ in 0..ahead.connections.div_ceil(STREAMS) {
                    pace.turn().await;
                    let opened = tokio::select! {
                        biased;
                        _ = cancel.cancelled() => return,
                        opened = self.open(&origin, None) => opened,
                    };
                    let mut inner = self.inner();
                    if opened.is_err() {
                        inner.failed_ahead += 1;
                        break;
                    }
                    inner.opened_ahead += 1;
                }
            }
        })
    }

    fn clock_source(&self) -> ClockSource {
        ClockSource::User
    }

    fn facts(&self) -> TransportFacts {
        let inner = self.inner();
        let mut facts = TransportFacts {
            opened_ahead: inner.opened_ahead,
            failed_ahead: inner.failed_ahead,
            ..TransportFacts::default()
        };
        facts.stamps.reads = inner.reads.load(Ordering::Relaxed);
        facts
    }
}

/// A socket as `hyper` reads and writes it; each read that brings bytes is stamped.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    buffer: Box<[u8]>,
    read_at: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

impl Socket {
    /// One read of the socket into the buffer, of at most `most` bytes.
    fn poll_receive(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let most = most.min(self.buffer.len());
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(&mut self.buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(length) => {
                    if length > 0 {
                        self.read_at.store(monotonic_ns(), Ordering::Relaxed);
                        self.reads.fetch_add(1, Ordering::Relaxed);
                    }
                    return Poll::Ready(Ok(length));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes what TLS holds.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.wants_write() {
            match tls.write_tls(&mut Wire(&self.stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        loop {
            if let Some(tls) = &mut socket.tls {
                let most = cursor.remaining().min(socket.buffer.len());
                match tls.reader().read(&mut socket.buffer[..most]) {
                    Ok(length) => {
                        cursor.put_slice(&socket.buffer[..length]);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                let length = ready!(socket.poll_receive(cx, READ_BYTES))?;
                let Some(tls) = &mut socket.tls else { continue };
                let mut cipher = &socket.buffer[..length];
                // An empty read tells TLS that the connection has ended.
                loop {
                    tls.read_tls(&mut cipher)?;
                    tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    if cipher.is_empty() {
                        break;
                    }
                }
                continue;
            }
            let length = ready!(socket.poll_receive(cx, cursor.remaining()))?;
            cursor.put_slice(&socket.buffer[..length]);
            return Poll::Ready(Ok(()));
        }
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = &mut *self;
        if socket.tls.is_some() {
            // What was sealed before goes first, so that TLS never holds more than one write.
            ready!(socket.poll_send(cx))?;
            let Some(tls) = &mut socket.tls else { return Poll::Ready(Ok(0)) };
            let taken = tls.writer().write(bytes)?;
            // Sealed is taken; what the socket does not take now goes with the flush.
            if let Poll::Ready(Err(error)) = socket.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(taken));
        }
        loop {
            ready!(socket.stream.poll_write_ready(cx))?;
            match socket.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http::{HeaderMap, Response, StatusCode};
    use http_body_util::StreamBody;
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;
    use tokio::sync::{Notify, mpsc};
    use url::Url;

    use super::*;
    use crate::measure::timeline::{Answer, Outcome};

    #[derive(Debug, Default)]
    struct Kept {
        status: Option<StatusCode>,
        pieces: Vec<(Vec<u8>, Nanos)>,
        /// Told 60 ms after the first piece came.
        after_first: Option<Arc<Notify>>,
    }

    impl Decoder for Kept {
        fn head(&mut self, status: StatusCode, _: &HeaderMap) {
            self.status = Some(status);
        }
        fn data(&mut self, bytes: &[u8], at: Nanos) {
            self.pieces.push((bytes.to_vec(), at));
            if let Some(go) = self.after_first.take() {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    go.notify_one();
                });
            }
        }
        fn finish(&mut self, _: BodyEnd) -> Answer {
            Answer::none(Outcome::Completed, "", None)
        }
    }

    /// What the server does with a request.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Script {
        /// Two pieces of body, the second after the test said so.
        TwoPieces,
        /// Nothing, until the test said so.
        Wait,
        /// One piece, and then the stream is reset.
        Break,
    }

    struct Server {
        url: Url,
        /// One message per connection.
        connections: mpsc::UnboundedReceiver<tokio::task::AbortHandle>,
        go: Arc<Notify>,
        requests: Arc<AtomicU32>,
    }

    impl Server {
        async fn start(script: Script) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/v1/x?y=1", listener.local_addr().unwrap())).unwrap();
            let (accepted, connections) = mpsc::unbounded_channel();
            let (go, requests) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
            let (their_go, their_requests) = (Arc::clone(&go), Arc::clone(&requests));
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let (go, requests) = (Arc::clone(&their_go), Arc::clone(&their_requests));
                    let service = service_fn(move |request: Request<Incoming>| {
                        let go = Arc::clone(&go);
                        requests.fetch_add(1, Ordering::SeqCst);
                        async move { Ok::<_, Infallible>(answer(script, request, go).await) }
                    });
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service);
                    let task = tokio::spawn(async move { drop(serving.await) });
                    if accepted.send(task.abort_handle()).is_err() {
                        return;
                    }
                }
            });
            Self { url, connections, go, requests }
        }

        fn request(&self, timeout: Duration) -> Outgoing {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            let body = Bytes::from_static(b"{\"a\":1}");
            Outgoing { url: self.url.clone(), headers, body, timeout, version: HttpVersion::Http2 }
        }
    }

    type Pieces = http_body_util::combinators::BoxBody<Bytes, io::Error>;

    async fn answer(script: Script, request: Request<Incoming>, go: Arc<Notify>) -> Response<Pieces> {
        let seen = format!("{} {} {}", request.method(), request.uri().path(), request.uri().query().unwrap_or("-"));
        let whole = request.into_body().collect().await.unwrap().to_bytes();
        if script == Script::Wait {
            go.notified().await;
        }
        let (pieces, body) = mpsc::unbounded_channel();
        let send = move |piece: Result<Bytes, io::Error>| drop(pieces.send(piece.map(Frame::data)));
        tokio::spawn(async move {
            match script {
                Script::TwoPieces => {
                    send(Ok(Bytes::from(format!("{seen} {}", whole.len()))));
                    go.notified().await;
                    send(Ok(Bytes::from_static(b"second")));
                }
                Script::Wait => {}
                Script::Break => {
                    send(Ok(Bytes::from_static(b"first")));
                    go.notified().await;
                    send(Err(io::Error::other("broken")));
                }
            }
        });
        let stream =
            futures_util::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
        Response::new(BodyExt::boxed(StreamBody::new(stream)))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_stream_is_stamped_piece_by_piece_and_its_connection_is_used_again() {
        let server = Server::start(Script::TwoPieces).await;
        let (transport, clock, cancel) = (Http2::new(), PointClock::starting_in(0), Cancel::default());
        for turn in 0..2 {
            let mut kept = Kept { after_first: Some(Arc::clone(&server.go)), ..Kept::default() };
            let request = server.request(LONG);
            let exchange = transport.exchange(&request, &mut kept, &clock, &cancel).await;
            assert_eq!(exchange.ended, Ok(BodyEnd::Complete));
            assert_eq!(kept.status, Some(StatusCode::OK));
            let texts: Vec<_> = kept.pieces.iter().map(|(bytes, _)| bytes.as_slice()).collect();
            assert_eq!(texts, [&b"POST /v1/x y=1 7"[..], b"second"]);
            let gap = kept.pieces[1].1 - kept.pieces[0].1;
            assert!(gap >= 60_000_000, "the pause of the server is between the stamps: {gap}");
            let (sent, headers) = (exchange.sent.unwrap(), exchange.headers.unwrap());
            assert!(sent <= headers && headers <= kept.pieces[0].1 && kept.pieces[1].1 <= exchange.end);
            let expected = if turn == 0 { ConnectionUse::Opened } else { ConnectionUse::Reused };
            assert_eq!((exchange.connection, exchange.resent), (expected, false));
            assert_eq!(exchange.connected.is_some(), turn == 0);
        }
        assert_eq!(transport.clock_source(), ClockSource::User);
        assert!(transport.facts().stamps.reads > 0);
    }

    #[tokio::test]
    async fn connections_are_opened_as_streams_need_them() {
        let mut server = Server::start(Script::Wait).await;
        let (transport, clock, cancel) = (Arc::new(Http2::new()), PointClock::starting_in(0), Cancel::default());
        let ahead = [Ahead { url: server.url.clone(), version: HttpVersion::Http2, connections: 101 }];
        transport.open_ahead(&ahead, &Pace::default(), &cancel).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..201 {
            let (transport, request, cancel) = (Arc::clone(&transport), server.request(LONG), cancel.clone());
            tasks.spawn(async move {
                let mut kept = Kept::default();
                transport.exchange(&request, &mut kept, &clock, &cancel).await
            });
        }
        while server.requests.load(Ordering::SeqCst) < 201 {
            tokio::task::yield_now().await;
        }
        for _ in 0..201 {
            server.go.notify_one();
            tokio::task::yield_now().await;
        }
        cancel.cancel("over");
        let ends = tasks.join_all().await;
        assert_eq!(ends.len(), 201);
        // ⌈101 / 100⌉ = 2 ahead, and a third for the 201st stream.
        assert_eq!(transport.facts().opened_ahead, 2);
        let opened = ends.iter().filter(|end| end.connection == ConnectionUse::Opened).count();
        assert_eq!(opened, 1);
        let mut connections = 0;
        while server.connections.try_recv().is_ok() {
            connections += 1;
        }
        assert_eq!(connections, 3);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_is_cut_and_one_that_waits_times_out() {
        let server = Server::start(Script::Break).await;
        let (transport, clock, cancel) = (Http2::new(), PointClock::starting_in(0), Cancel::default());
        server.go.notify_one();
        let (request, mut kept) = (server.request(LONG), Kept::default());
        let exchange = transport.exchange(&request, &mut kept, &clock, &cancel).await;
        assert!(matches!(exchange.ended, Ok(BodyEnd::Cut(_))), "{exchange:?}");
        assert!(!exchange.resent, "an answer had begun");
        let (request, mut kept) = (server.request(Duration::from_millis(50)), Kept::default());
        let exchange = transport.exchange(&request, &mut kept, &clock, &cancel).await;
        assert_eq!(exchange.ended, Ok(BodyEnd::TimedOut));
        assert!(exchange.end - exchange.sent.unwrap() >= 50_000_000);
    }

    #[tokio::test]
    async fn a_connection_that_ends_unanswered_is_sent_again_once() {
        let mut server = Server::start(Script::Wait).await;
        let (transport, clock, cancel) = (Http2::new(), PointClock::starting_in(0), Cancel::default());
        let ahead = [Ahead { url: server.url.clone(), version: HttpVersion::Http2, connections: 1 }];
        transport.open_ahead(&ahead, &Pace::default(), &cancel).await;
        let first = server.connections.recv().await.unwrap();
        let requests = Arc::clone(&server.requests);
        let killer = async {
            while requests.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            first.abort();
            // And so does the one that it is sent on again.
            let second = server.connections.recv().await.unwrap();
            while requests.load(Ordering::SeqCst) == 1 {
                tokio::task::yield_now().await;
            }
            second.abort();
        };
        let request = request_of(&server.url);
        let mut kept = Kept::default();
        let (exchange, ()) = tokio::join!(transport.exchange(&request, &mut kept, &clock, &cancel), killer);
        assert!(exchange.resent);
        assert!(matches!(exchange.ended, Ok(BodyEnd::Cut(_))), "{exchange:?}");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }

    fn request_of(url: &Url) -> Outgoing {
        Outgoing {
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
            timeout: LONG,
            version: HttpVersion::Http2,
        }
    }

    #[tokio::test]
    async fn a_server_of_another_version_is_an_error_and_no_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming().take(2) {
                let mut socket = socket.unwrap();
                let _ = socket.read(&mut [0; 1024]);
                let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        let (transport, clock, cancel) = (Http2::new(), PointClock::starting_in(0), Cancel::default());
        let mut kept = Kept::default();
        let exchange = transport.exchange(&request_of(&url), &mut kept, &clock, &cancel).await;
        assert!(matches!(exchange.ended, Ok(BodyEnd::Malformed(_) | BodyEnd::Cut(_)) | Err(_)), "{exchange:?}");
        assert_eq!(kept.status, None);
    }
}
