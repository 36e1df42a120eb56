//! A server on raw TCP that does exactly what a script says, byte by byte, and remembers what it saw.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{setsockopt, shutdown, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest wait for anything: a machine that is this slow is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of its connection, from 0.
    pub connection: usize,
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// Something that happens once, for others to wait for.
#[derive(Clone, Debug, Default)]
pub struct Event(Arc<(Mutex<bool>, Condvar)>);

impl Event {
    pub fn set(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    pub fn is_set(&self) -> bool {
        *lock(&self.0.0)
    }

    #[track_caller]
    pub fn wait(&self) {
        let (_guard, waited) =
            self.0.1.wait_timeout_while(lock(&self.0.0), PATIENCE, |set| !*set).unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited in vain");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server saw.
#[derive(Debug, Default)]
struct Log {
    connections: usize,
    /// Connections whose script has not ended.
    live: BTreeSet<usize>,
    seen: Vec<Seen>,
    open: Vec<(usize, TcpStream)>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// One connection in the hands of a script.
pub struct Conn {
    /// From 0.
    pub number: usize,
    /// Pause before each read of up to 64 KiB, in milliseconds.
    pub pause_ms: u64,
    /// A note of the script to itself.
    pub answered: bool,
    wire: Wire,
    unread: Vec<u8>,
    log: Arc<Mutex<Log>>,
    _open: Open,
}

impl Conn {
    fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(self.pause_ms));
        let mut buffer = [0; 64 << 10];
        let length = match &mut self.wire {
            Wire::Plain(stream) => stream.read(&mut buffer)?,
            Wire::Tls(stream) => stream.read(&mut buffer)?,
        };
        self.unread.extend_from_slice(&buffer[..length]);
        Ok(length)
    }

    /// Speaks TLS from here on.
    pub fn tls(self, config: &Arc<ServerConfig>) -> Self {
        let Wire::Plain(stream) = self.wire else { panic!("it speaks TLS already") };
        let session = ServerConnection::new(Arc::clone(config)).unwrap();
        Self { wire: Wire::Tls(Box::new(StreamOwned::new(session, stream))), ..self }
    }

    /// The next request up to the end of its head; the body is left where it is. Nothing at the end.
    pub fn head(&mut self) -> Option<Seen> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.read_some().ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut log = lock(&self.log);
        let seen = Seen { connection: self.number, method, path, head, body: Vec::new() };
        log.seen.push(seen.clone());
        Some(seen)
    }

    /// The next request with its body. Nothing at the end.
    pub fn request(&mut self) -> Option<Seen> {
        let mut seen = self.head()?;
        let length =
            seen.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.unread.len() < length {
            if self.read_some().ok()? == 0 {
                return None;
            }
        }
        seen.body = self.unread.drain(..length).collect();
        let mut log = lock(&self.log);
        let kept = log.seen.iter_mut().rfind(|kept| kept.connection == self.number);
        kept.unwrap().body.clone_from(&seen.body);
        Some(seen)
    }

    /// Changes the keys of TLS: bytes of the server that no request asked for.
    pub fn change_keys(&mut self) {
        let Wire::Tls(stream) = &mut self.wire else { panic!("no TLS") };
        stream.conn.refresh_traffic_keys().unwrap();
        stream.flush().unwrap();
    }

    /// Writes; whether the client took it. With TLS one call is one record, up to its largest size.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes).is_ok(),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()).is_ok(),
        }
    }

    /// Ends with RST.
    pub fn reset(self) {
        linger(self.socket());
    }

    /// Ends with `close_notify`, where there is TLS, and FIN.
    pub fn close(mut self) {
        if let Wire::Tls(stream) = &mut self.wire {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }

    /// Ends with FIN alone.
    pub fn cut(self) {}

    /// Sends FIN and goes on reading.
    pub fn half_close(&mut self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Takes `length` bytes and forgets them.
    pub fn discard(&mut self, length: usize) {
        while self.unread.len() < length && self.read_some().is_ok_and(|length| length > 0) {}
        self.unread.drain(..length.min(self.unread.len()));
    }

    /// Reads and forgets until the client ends the connection.
    pub fn until_closed(mut self) {
        while self.read_some().is_ok_and(|length| length > 0) {
            self.unread.clear();
        }
    }
}

/// Keeps the log's copy of a socket for as long as the script holds the connection: it would hold the socket open.
struct Open {
    number: usize,
    log: Arc<Mutex<Log>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut log = lock(&self.log);
        log.open.retain(|(open, _)| *open != self.number);
        log.live.remove(&self.number);
    }
}

fn linger(stream: &TcpStream) {
    setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

type Script = dyn Fn(Conn) + Send + Sync;

/// The server. Each connection runs the script on a thread of its own.
pub struct Scripted {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    script: Arc<Script>,
    accepting: Option<(Arc<TcpListener>, JoinHandle<()>)>,
}

impl Scripted {
    pub fn start(script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// On an address of its own, for a server that comes back to the same port: no connection of another test can
    /// have taken it meanwhile.
    pub fn at(address: &str, script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, log: Arc::default(), script: Arc::new(script), accepting: None };
        server.accept(listener);
        server
    }

    fn accept(&mut self, listener: TcpListener) {
        let listener = Arc::new(listener);
        let (shared, log, script) = (Arc::clone(&listener), Arc::clone(&self.log), Arc::clone(&self.script));
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = shared.accept() {
                let _ = stream.set_nodelay(true);
                let number = {
                    let mut log = lock(&log);
                    let number = log.connections;
                    log.connections += 1;
                    log.live.insert(number);
                    log.open.push((number, stream.try_clone().unwrap()));
                    number
                };
                let open = Open { number, log: Arc::clone(&log) };
                let wire = Wire::Plain(stream);
                let conn = Conn {
                    number,
                    pause_ms: 0,
                    answered: false,
                    wire,
                    unread: Vec::new(),
                    log: Arc::clone(&log),
                    _open: open,
                };
                let script = Arc::clone(&script);
                thread::Builder::new().stack_size(256 << 10).spawn(move || script(conn)).unwrap();
            }
        });
        self.accepting = Some((listener, thread));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted.
    pub fn connections(&self) -> usize {
        lock(&self.log).connections
    }

    /// Everything that was asked.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.log).seen.clone()
    }

    /// Requests for completions.
    pub fn posts(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == "POST").collect()
    }

    /// Closes the listener: who connects now is refused.
    pub fn stop_listening(&mut self) {
        use std::os::fd::AsRawFd;
        let Some((listener, thread)) = self.accepting.take() else { return };
        // This wakes `accept`.
        let _ = shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        thread.join().unwrap();
    }

    /// Listens again on the same port.
    pub fn listen_again(&mut self) {
        self.accept(TcpListener::bind(self.address).unwrap());
    }

    /// Resets every open connection whose script is reading.
    pub fn reset_all(&self) {
        let open: Vec<_> = lock(&self.log).open.drain(..).collect();
        let began = Instant::now();
        for (number, stream) in open {
            linger(&stream);
            // The script holds the socket too, so dropping this copy sends nothing; a shutdown of the reading side
            // wakes the script, and the last copy to go sends RST.
            let _ = stream.shutdown(Shutdown::Read);
            drop(stream);
            while lock(&self.log).live.contains(&number) {
                assert!(began.elapsed() < PATIENCE, "a script goes on");
                thread::yield_now();
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop_listening();
    }
}
