//! One connection: bytes in and out, with or without TLS.

use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;
use tokio::net::TcpStream;

use crate::engine::clock::PointClock;
use crate::transport::dial::{Dialed, Wire};
use crate::transport::stamps::Reader;
use crate::units::Nanos;

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Whether it has carried an answer.
    used: bool,
    /// Stamp of the last read that brought bytes.
    last_at: Option<Nanos>,
}

/// Stamps of one stream that are closer than this are one stamp. The kernel's are put on the monotonic clock with an
/// offset that is read anew each time, with a noise of some hundred nanoseconds: the two halves of a segment that did
/// not fit into one read would be told apart by it, and the later one might come out as the earlier.
const RESOLUTION_NS: Nanos = 1_000;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// Bytes, handed to the sink.
    Bytes,
    /// The proper end of the stream.
    End,
}

impl Connection {
    pub(super) fn new(dialed: Dialed) -> Self {
        Self { stream: dialed.stream, tls: dialed.tls, used: false, last_at: None }
    }

    /// Whether it has carried no answer yet.
    pub(super) fn fresh(&self) -> bool {
        !self.used
    }

    /// It has carried an answer.
    pub(super) fn used(&mut self) {
        self.used = true;
    }

    /// Waits for bytes, reads once and hands out what came, stamped.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        clock: &PointClock,
        sink: &mut dyn FnMut(&[u8], Nanos),
    ) -> Poll<io::Result<Got>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.read(reader, clock, sink) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// One read of what is there. `WouldBlock` when nothing is.
    fn read(&mut self, reader: &mut Reader, clock: &PointClock, sink: &mut dyn FnMut(&[u8], Nanos)) -> io::Result<Got> {
        let (bytes, mut at) = reader.read(&self.stream, clock)?;
        if !bytes.is_empty() {
            at = self.last_at.filter(|last| at < last.saturating_add(RESOLUTION_NS)).unwrap_or(at);
            self.last_at = Some(at);
        }
        let Some(tls) = &mut self.tls else {
            if bytes.is_empty() {
                return Ok(Got::End);
            }
            sink(bytes, at);
            return Ok(Got::Bytes);
        };
        if bytes.is_empty() {
            // An end without `close_notify` may be an attack that cuts the answer short.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without a TLS close"));
        }
        let mut cipher = bytes;
        while !cipher.is_empty() {
            tls.read_tls(&mut cipher)?;
            let state = tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            loop {
                let mut plain = tls.reader();
                let length = match plain.fill_buf() {
                    Ok(bytes) if !bytes.is_empty() => {
                        sink(bytes, at);
                        bytes.len()
                    }
                    Ok(_) => return Ok(Got::End),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                plain.consume(length);
            }
            if state.peer_has_closed() {
                return Ok(Got::End);
            }
        }
        // Answers to what the server asked of TLS itself, such as new keys; small, and if the socket is full they go
        // with the next request.
        while tls.wants_write() {
            if tls.write_tls(&mut Wire(&self.stream)).is_err() {
                break;
            }
        }
        Ok(Got::Bytes)
    }

    /// Hands `parts` to TLS, which keeps them until they are written. Without TLS there is nothing to do.
    pub(super) fn seal(&mut self, parts: [&[u8]; 2]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            for part in parts {
                tls.writer().write_all(part)?;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes of `parts`, of which `written` bytes are out. `Ok(true)` when all is out.
    pub(super) fn write(&mut self, parts: [&[u8]; 2], written: &mut usize) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                *written += tls.write_tls(&mut Wire(&self.stream))?;
            }
            return Ok(true);
        }
        let whole = parts[0].len() + parts[1].len();
        while *written < whole {
            let first = parts[0].get(*written..).unwrap_or_default();
            let second = &parts[1][written.saturating_sub(parts[0].len())..];
            let taken = self.stream.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            *written += taken;
        }
        Ok(true)
    }

    /// Waits until the socket takes bytes.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Whether an idle connection still stands: the server has neither closed it nor sent anything unasked.
    pub(super) fn stands(&mut self, reader: &mut Reader, clock: &PointClock) -> bool {
        let mut unasked = false;
        loop {
            // The socket is asked, not the runtime: what the runtime knows is as old as its last turn.
            if self.tls.is_none() || !has_bytes(&self.stream) {
                return !unasked && is_silent(&self.stream);
            }
            // With TLS the server may speak without an answer being due: session tickets.
            match self.read(reader, clock, &mut |_, _| unasked = true) {
                Ok(Got::Bytes) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return !unasked,
                Ok(Got::End) | Err(_) => return false,
            }
        }
    }
}

/// What a look at the socket, without taking anything, finds.
fn peek(stream: &TcpStream) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, recv};
    Ok(recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?)
}

fn has_bytes(stream: &TcpStream) -> bool {
    peek(stream).is_ok_and(|bytes| bytes > 0)
}

fn is_silent(stream: &TcpStream) -> bool {
    peek(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
