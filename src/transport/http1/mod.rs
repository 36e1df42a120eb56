//! HTTP/1.1 for what is measured: the socket read by the worker itself, with the kernel's receive stamps.
//!
//! One request owns its connection from the first byte to the end of the answer; nothing crosses a channel or a second task
//! between the read and the decoder. The read buffer belongs to the worker, so an open stream costs no buffer.

mod connection;
mod pool;
mod request;
mod response;

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use self::connection::{Connection, Got};
use self::pool::{Place, Pool};
use self::response::{Response, Step};
use super::ahead::{Ahead, Pace};
use super::dial::{DialError, Dialer, Times};
use super::facts::TransportFacts;
use super::stamps::{self, Reader};
use super::{
    AheadFuture, Cancel, ClockSource, Exchange, ExchangeFuture, HttpVersion, NotConnected, Outgoing, Stamping,
    Transport,
};
use crate::engine::clock::{PointClock, monotonic_ns};
use crate::measure::timeline::ConnectionUse;
use crate::protocol::{BodyEnd, Decoder};
use crate::units::Nanos;

/// Reads of one stream in a row before other streams of the worker get their turn.
const READS_IN_A_ROW: u32 = 8;
/// Failures in a row after which no more connections are opened ahead: the requests will tell.
const GIVE_UP_AHEAD: u32 = 3;

/// The HTTP/1.1 transport of one worker.
#[derive(Debug)]
pub struct Http1 {
    dialer: Dialer,
    /// Only the worker's own thread comes here, so this lock is never waited for.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    reader: Reader,
    pool: Pool,
    opened_ahead: u64,
    failed_ahead: u64,
}

/// How one try went.
#[derive(Debug)]
struct Attempt {
    times: Times,
    sent: Option<Nanos>,
    headers: Option<Nanos>,
    end: Nanos,
    connection: ConnectionUse,
    /// The server had closed a connection that stood before, and not one byte of an answer came.
    closed_unanswered: bool,
    ended: Result<BodyEnd, NotConnected>,
}

impl Http1 {
    /// A transport with connections of its own.
    pub fn new(stamping: Stamping) -> Self {
        let kernel = stamping == Stamping::Kernel;
        if kernel {
            stamps::hold_open();
        }
        Self {
            dialer: Dialer::new(kernel, HttpVersion::Http1),
            inner: Mutex::new(Inner {
                reader: Reader::new(kernel),
                pool: Pool::default(),
                opened_ahead: 0,
                failed_ahead: 0,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The youngest idle connection that still stands.
    fn idle(&self, place: Place, clock: &PointClock) -> Option<Connection> {
        let mut inner = self.inner();
        let Inner { reader, pool, .. } = &mut *inner;
        while let Some(mut connection) = pool.take(place) {
            if connection.stands(reader, clock) {
                return Some(connection);
            }
            if !connection.fresh() {
                pool.was_closed(place);
            }
        }
        None
    }

    async fn attempt(
        &self,
        place: Place,
        request: &Outgoing,
        decoder: &mut dyn Decoder,
        clock: &PointClock,
        cancel: &Cancel,
        before: Option<&Attempt>,
    ) -> Attempt {
        let mut times = Times::default();
        let first_sent = before.and_then(|attempt| attempt.sent);
        // What is sent again never meets a connection that may be as stale as the first.
        let idle = if before.is_some() { None } else { self.idle(place, clock) };
        let reused = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let origin = self.inner().pool.origin(place);
                // Opening a connection has a limit of its own, unless the request was on its way before.
                let overdue = async {
                    match first_sent {
                        Some(at) => tokio::time::sleep(left(request.timeout, at, clock)).await,
                        None => std::future::pending().await,
                    }
                };
                let dialed = tokio::select! {
                    biased;
                    dialed = self.dialer.dial(&origin, Some(clock)) => dialed,
                    why = cancel.cancelled() => return Attempt::unsent(times, clock, Ok(BodyEnd::Cancelled(why))),
                    () = overdue => return Attempt::unsent(times, clock, Ok(BodyEnd::TimedOut)),
                };
                match dialed {
                    Ok(dialed) => {
                        times = dialed.times;
                        Connection::new(dialed)
                    }
                    Err(DialError { why, started }) => {
                        times.started = started;
                        return Attempt::unsent(times, clock, Err(why));
                    }
                }
            }
        };
        let fresh = connection.fresh();
        let head = request::head(request);
        let mut talk = Talk {
            transport: self,
            connection,
            parts: [&head, &request.body],
            written: 0,
            all_written: false,
            write_error: None,
            sent: None,
            response: Response::new(),
            end: None,
            clock,
        };
        let timeout = first_sent.map_or(request.timeout, |at| left(request.timeout, at, clock));
        let ended = talk.run(timeout, decoder, cancel).await;
        let request_is_out = talk.all_written && talk.write_error.is_none();
        let Talk { mut connection, sent, response, end, .. } = talk;
        let closed = matches!(ended, Ok(BodyEnd::Cut(_)) | Err(_));
        let attempt = Attempt {
            times,
            sent,
            headers: response.headers_at(),
            // An answer that is whole ended with its last byte; any other end is noticed now.
            end: end.filter(|_| matches!(ended, Ok(BodyEnd::Complete))).unwrap_or_else(|| clock.now()),
            connection: match (reused, sent) {
                (true, _) => ConnectionUse::Reused,
                (false, Some(_)) => ConnectionUse::Opened,
                (false, None) => ConnectionUse::Unknown,
            },
            closed_unanswered: reused && closed && !response.any(),
            ended: ended.or_else(|error| Ok(BodyEnd::Cut(error.to_string()))),
        };
        let mut inner = self.inner();
        if !fresh && response.any() {
            inner.pool.was_kept(place);
        }
        if attempt.closed_unanswered && !fresh {
            inner.pool.was_closed(place);
        }
        // Behind a request that is not out, the server would take the next one for the rest of its body.
        if request_is_out && response.reusable() && matches!(attempt.ended, Ok(BodyEnd::Complete)) {
            connection.used();
            inner.pool.put(place, connection);
        }
        attempt
    }
}

impl Attempt {
    /// No byte of the request left.
    fn unsent(times: Times, clock: &PointClock, ended: Result<BodyEnd, NotConnected>) -> Self {
        let connection = ConnectionUse::Unknown;
        Self { times, sent: None, headers: None, end: clock.now(), connection, closed_unanswered: false, ended }
    }
}

/// What is left of a timeout that runs from `at`.
fn left(timeout: Duration, at: Nanos, clock: &PointClock) -> Duration {
    timeout.saturating_sub(Duration::from_nanos(clock.now().saturating_sub(at)))
}

/// One request and its answer on one connection.
struct Talk<'a> {
    transport: &'a Http1,
    connection: Connection,
    parts: [&'a [u8]; 2],
    written: usize,
    all_written: bool,
    /// The server may refuse a request and close before it has read it all: its answer still counts.
    write_error: Option<io::Error>,
    sent: Option<Nanos>,
    response: Response,
    end: Option<Nanos>,
    clock: &'a PointClock,
}

impl Talk<'_> {
    async fn run(&mut self, timeout: Duration, decoder: &mut dyn Decoder, cancel: &Cancel) -> io::Result<BodyEnd> {
        self.connection.seal(self.parts)?;
        self.write();
        let deadline = tokio::time::sleep(timeout);
        let cancelled = cancel.cancelled();
        tokio::pin!(deadline, cancelled);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx, decoder) {
                return Poll::Ready(end);
            }
            if let Poll::Ready(why) = cancelled.as_mut().poll(cx) {
                return Poll::Ready(Ok(BodyEnd::Cancelled(why)));
            }
            self.poll_deadline(cx, deadline.as_mut(), timeout)
        })
        .await
    }

    /// The request timeout runs from the first byte sent, so it stands still until then.
    fn poll_deadline(
        &self,
        cx: &mut Context<'_>,
        mut deadline: Pin<&mut Sleep>,
        timeout: Duration,
    ) -> Poll<io::Result<BodyEnd>> {
        if deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ran = self.sent.map_or(Duration::ZERO, |sent| Duration::from_nanos(self.clock.now().saturating_sub(sent)));
        let left = timeout.saturating_sub(ran);
        // A timer may fire a moment early, measured by another clock.
        if left < Duration::from_millis(1) {
            return Poll::Ready(Ok(BodyEnd::TimedOut));
        }
        let until = deadline.deadline() + left;
        deadline.as_mut().reset(until);
        deadline.poll(cx).map(|()| Ok(BodyEnd::TimedOut))
    }

    /// Writes what the socket takes.
    fn write(&mut self) {
        // Taken before the call: on its way back from the kernel the thread may be held up, and a stamp that is
        // too late would make the answer look quicker than it was.
        let before = self.clock.now();
        let from = self.written;
        match self.connection.write(self.parts, &mut self.written) {
            Ok(all) => self.all_written = all,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.write_error = Some(error),
        }
        if self.written > from && self.sent.is_none() {
            self.sent = Some(before);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, decoder: &mut dyn Decoder) -> Poll<io::Result<BodyEnd>> {
        while !self.all_written && self.write_error.is_none() {
            match self.connection.poll_writable(cx) {
                Poll::Ready(Ok(())) => self.write(),
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => break,
            }
        }
        for _ in 0..READS_IN_A_ROW {
            let Poll::Ready(step) = self.poll_read(cx, decoder) else {
                return Poll::Pending;
            };
            if let Some(end) = step {
                return Poll::Ready(end);
            }
        }
        // More may be waiting; so may other streams.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read. Ready with nothing when the answer goes on.
    fn poll_read(&mut self, cx: &mut Context<'_>, decoder: &mut dyn Decoder) -> Poll<Option<io::Result<BodyEnd>>> {
        let mut inner = self.transport.inner();
        let (response, end) = (&mut self.response, &mut self.end);
        let mut state = Ok(Step::More);
        let got = self.connection.poll_read(cx, &mut inner.reader, self.clock, &mut |bytes, at| {
            if state.is_ok() {
                state = response.feed(bytes, at, decoder);
            }
            *end = Some(at);
        });
        drop(inner);
        let got = match got {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(got) => got,
        };
        Poll::Ready(match (state, got) {
            (Err(malformed), _) => Some(Ok(BodyEnd::Malformed(malformed))),
            (Ok(Step::Done), _) => Some(Ok(BodyEnd::Complete)),
            (Ok(Step::More), Ok(Got::Bytes)) => None,
            (Ok(Step::More), Ok(Got::End)) => {
                *end = None;
                let refused = self.write_error.take().map(|error| error.to_string());
                Some(Ok(response.closed(refused)))
            }
            (Ok(Step::More), Err(error)) => Some(Ok(response.closed(Some(error.to_string())))),
        })
    }
}

impl Transport for Http1 {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            let place = self.inner().pool.place(&request.url);
            let mut attempt = self.attempt(place, request, decoder, clock, cancel, None).await;
            let mut resent = false;
            if attempt.closed_unanswered {
                let mut second = self.attempt(place, request, decoder, clock, cancel, Some(&attempt)).await;
                resent = attempt.sent.is_some() && second.sent.is_some();
                // Both tries are one request: its time, and its timeout, run from the first byte that left. A server
                // that holds a request and then drops it must not look quicker for it.
                second.sent = attempt.sent.or(second.sent);
                attempt = second;
            }
            Exchange {
                connect_start: attempt.times.started,
                connected: attempt.times.connected,
                tls: attempt.times.tls,
                sent: attempt.sent,
                headers: attempt.headers,
                end: attempt.end,
                connection: attempt.connection,
                resent,
                ended: attempt.ended,
            }
        })
    }

    fn open_ahead<'a>(&'a self, wanted: &'a [Ahead], pace: &'a Pace, cancel: &'a Cancel) -> AheadFuture<'a> {
        Box::pin(async move {
            for ahead in wanted {
                let place = self.inner().pool.place(&ahead.url);
                let origin = self.inner().pool.origin(place);
                let mut failures = 0;
                let mut left = ahead.connections;
                while left > 0 && failures < GIVE_UP_AHEAD {
                    let batch = left.min(32);
                    left -= batch;
                    let dials = (0..batch).map(|_| async {
                        pace.turn().await;
                        let began = monotonic_ns();
                        let dialed = self.dialer.dial(&origin, None).await;
                        pace.opened(Duration::from_nanos(monotonic_ns() - began));
                        dialed
                    });
                    let dialed = tokio::select! {
                        biased;
                        _ = cancel.cancelled() => return,
                        dialed = futures_util::future::join_all(dials) => dialed,
                    };
                    let mut inner = self.inner();
                    for dialed in dialed {
                        match dialed {
                            Ok(dialed) => {
                                inner.opened_ahead += 1;
                                inner.pool.add(place, Connection::new(dialed));
                            }
                            Err(_) => {
                                inner.failed_ahead += 1;
                                failures += 1;
                            }
                        }
                    }
                }
            }
        })
    }

    fn clock_source(&self) -> ClockSource {
        // What happened, not what was asked: a system that stamps nothing has user stamps.
        if self.inner().reader.facts().kernel > 0 { ClockSource::Kernel } else { ClockSource::User }
    }

    fn facts(&self) -> TransportFacts {
        let inner = self.inner();
        TransportFacts {
            stamps: inner.reader.facts().clone(),
            opened_ahead: inner.opened_ahead,
            failed_ahead: inner.failed_ahead,
        }
    }
}
