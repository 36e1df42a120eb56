//! A TCP connection as the server sees it: when bytes were really accepted, and how it breaks on demand.
//!
//! hyper asks its transport to flush only after its own buffer is empty. That moment is therefore when
//! everything the body has yielded is in the socket: written tokens are stamped there, and a cut or
//! reset happens there, exactly behind the last byte that should still get out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::clock::{Clock, KernelClock};
use super::core::Emission;
use super::driver::Driver;
use super::log::{End, EventLog, Record};
use crate::units::Nanos;

/// How the server breaks a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// FIN.
    Close,
    /// RST.
    Reset,
}

/// What happens to the head of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Whole,
    ToCut,
    WasCut,
}

#[derive(Debug, Default)]
struct State {
    record: Option<Record>,
    unwritten_tokens: u32,
    last_write: Nanos,
    busy: bool,
    body_ended: bool,
    head: Head,
    breaking: Option<Break>,
    close_after: bool,
    closed: bool,
}

/// What the handler, the body and the socket of one connection tell each other.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    turned: Notify,
    driver: Arc<Driver<KernelClock>>,
    log: Option<Arc<EventLog>>,
}

impl Link {
    pub(crate) fn new(driver: Arc<Driver<KernelClock>>, log: Option<Arc<EventLog>>) -> Self {
        Self { state: Mutex::default(), turned: Notify::new(), driver, log }
    }

    /// A request has begun. `record` is kept only if there is a log.
    pub(crate) fn begin(&self, record: Record) {
        let mut state = self.lock();
        state.record = self.log.is_some().then_some(record);
        state.busy = true;
        state.body_ended = false;
        drop(state);
        self.turned.notify_one();
    }

    /// Adds to the record of the request under way.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.lock().record {
            change(record);
        }
    }

    /// The engine emitted a token.
    pub(crate) fn emitted(&self, emission: &Emission) {
        self.note(|record| {
            record.tokens_ns.push(emission.at);
            record.admitted_ns = Some(emission.admitted);
            record.cached_tokens = emission.cached_tokens;
            record.finish_reason = emission.finish_reason.map(|reason| reason.name().to_owned());
        });
    }

    /// Bytes that stand for `tokens` tokens are on their way to the socket.
    pub(crate) fn yielded(&self, tokens: u32) {
        self.lock().unwritten_tokens += tokens;
    }

    /// The answer is complete: what is flushed next is its end.
    pub(crate) fn end_body(&self) {
        self.lock().body_ended = true;
    }

    /// Half of the next write gets out, then the connection closes.
    pub(crate) fn cut_head(&self) {
        self.lock().head = Head::ToCut;
    }

    /// The connection breaks behind what has been yielded.
    pub(crate) fn break_off(&self, how: Break) {
        self.lock().breaking = Some(how);
    }

    /// The connection closes after this answer.
    pub(crate) fn close_after(&self) {
        self.lock().close_after = true;
    }

    /// Returns when no request has been under way for `time`.
    pub(crate) async fn idle_for(&self, time: Duration) {
        loop {
            if self.lock().busy {
                self.turned.notified().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(time) => return,
                () = self.turned.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self) {
        let mut state = self.lock();
        if state.record.is_some() {
            state.last_write = self.driver.clock().now();
        }
    }

    /// Everything yielded so far is in the socket.
    fn flushed(&self) -> io::Result<Flushed> {
        let mut state = self.lock();
        let (tokens, at) = (std::mem::take(&mut state.unwritten_tokens), state.last_write);
        if let Some(record) = &mut state.record {
            record.written_ns.extend(std::iter::repeat_n(at, tokens as usize));
        }
        if let Some(how) = state.breaking {
            self.write_record(&mut state, End::Broken)?;
            return Ok(Flushed::Break(how));
        }
        if !std::mem::take(&mut state.body_ended) {
            return Ok(Flushed::Go);
        }
        self.write_record(&mut state, End::Answered)?;
        state.busy = false;
        state.closed = state.close_after;
        let closed = state.closed;
        drop(state);
        self.turned.notify_one();
        Ok(if closed { Flushed::Closed } else { Flushed::Go })
    }

    fn write_record(&self, state: &mut State, end: End) -> io::Result<()> {
        if let (Some(mut record), Some(log)) = (state.record.take(), &self.log) {
            record.end = end;
            record.ended_ns = self.driver.clock().now();
            log.append(&record)?;
        }
        Ok(())
    }
}

enum Flushed {
    Go,
    Closed,
    Break(Break),
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was broken by an injected fault")
}

/// The transport hyper writes to.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TokioIo<TcpStream>,
    link: Arc<Link>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream: TokioIo::new(stream), link }
    }

    fn stream(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.stream)
    }

    /// Writes the first half of `head` and lets the next call fail.
    fn poll_cut(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        let half = &head[..head.len().div_ceil(2)];
        let written = ready!(self.stream().poll_write(cx, half))?;
        self.link.lock().head = Head::WasCut;
        Poll::Ready(Ok(written))
    }

    /// Whether this write is the head that is to be cut.
    ///
    /// # Errors
    /// When the connection is already broken.
    fn cuts(&self) -> io::Result<bool> {
        let mut state = self.link.lock();
        if state.head == Head::WasCut {
            self.link.write_record(&mut state, End::Broken)?;
            return Err(broken());
        }
        Ok(state.head == Head::ToCut)
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.link.lock().closed {
            return Poll::Ready(Ok(()));
        }
        self.stream().poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cuts()? {
            return self.poll_cut(cx, buf);
        }
        let written = ready!(self.stream().poll_write(cx, buf))?;
        self.link.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.cuts()? {
            return self.poll_cut(cx, bufs.first().map_or(&[], |head| head));
        }
        let written = ready!(self.stream().poll_write_vectored(cx, bufs))?;
        self.link.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_flush(cx))?;
        match self.link.flushed()? {
            Flushed::Go => Poll::Ready(Ok(())),
            Flushed::Closed => {
                // The next read says end of file; make sure there is one.
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(()))
            }
            Flushed::Break(how) => {
                if how == Break::Reset {
                    self.stream.inner().set_zero_linger()?;
                }
                Poll::Ready(Err(broken()))
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A request that is still open here was left by the client. A full disk cannot be reported from
        // a destructor; the next request's record will.
        let _ = self.link.write_record(&mut self.link.lock(), End::Disconnected);
    }
}
