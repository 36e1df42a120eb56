//! Opening a connection: address, TCP, TLS. Each failure has its own word.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::{HttpVersion, NotConnected, stamps};
use crate::engine::clock::PointClock;
use crate::protocol::reason;
use crate::units::Nanos;

/// Longest wait for a connection, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where connections go: what two requests must share to use the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn of(url: &Url) -> Self {
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => url.host_str().unwrap_or_default().to_owned(),
        };
        let tls = url.scheme() == "https";
        Self { tls, host, port: url.port_or_known_default().unwrap_or(if tls { 443 } else { 80 }) }
    }

    /// Whether `url` goes here, without making an [`Origin`] of it.
    pub(crate) fn is_of(&self, url: &Url) -> bool {
        self.tls == (url.scheme() == "https")
            && Some(self.port) == url.port_or_known_default()
            && match url.host() {
                Some(Host::Ipv6(_)) => Self::of(url).host == self.host,
                _ => url.host_str() == Some(self.host.as_str()),
            }
    }
}

/// A connection that stands.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) stream: TcpStream,
    pub(crate) tls: Option<Box<ClientConnection>>,
    pub(crate) times: Times,
}

/// When what was reached. Absent before the clock of the point runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) started: Option<Nanos>,
    pub(crate) connected: Option<Nanos>,
    pub(crate) tls: Option<Nanos>,
}

/// A failure, and when the try began.
#[derive(Debug)]
pub(crate) struct DialError {
    pub(crate) why: NotConnected,
    pub(crate) started: Option<Nanos>,
}

/// Opens connections of one worker.
#[derive(Debug)]
pub(crate) struct Dialer {
    kernel_stamps: bool,
    version: HttpVersion,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    /// A name is looked up once, and again after a failure: the measured path must not wait for a resolver.
    addresses: Mutex<HashMap<Origin, Vec<SocketAddr>>>,
}

impl Dialer {
    pub(crate) fn new(kernel_stamps: bool, version: HttpVersion) -> Self {
        Self { kernel_stamps, version, tls: OnceLock::new(), addresses: Mutex::default() }
    }

    /// A connection to `origin`.
    pub(crate) async fn dial(&self, origin: &Origin, clock: Option<&PointClock>) -> Result<Dialed, DialError> {
        let now = || clock.map(PointClock::now);
        let mut times = Times { started: now(), ..Times::default() };
        let whole = async {
            let stream = self.connect(origin).await?;
            times.connected = now();
            if !origin.tls {
                return Ok::<_, NotConnected>((stream, None));
            }
            let session = self.handshake(&stream, origin).await?;
            times.tls = now();
            Ok((stream, Some(session)))
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, whole).await {
            Ok(Ok((stream, tls))) => {
                if self.kernel_stamps {
                    stamps::enable(&stream);
                }
                Ok(Dialed { stream, tls, times })
            }
            Ok(Err(why)) => {
                // The client's own limits say nothing about an address, and without descriptors no resolver answers:
                // the next failure would look like the server's.
                if !reason::is_clients_own(why.code) {
                    self.forget(origin);
                }
                Err(DialError { why, started: times.started })
            }
            Err(_) => {
                self.forget(origin);
                let detail = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                Err(DialError { why: NotConnected { code: reason::CONNECT_TIMEOUT, detail }, started: times.started })
            }
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<TcpStream, NotConnected> {
        let addresses = self.addresses(origin).await?;
        let (stream, position) =
            connect_any(&addresses, CONNECT_TIMEOUT).await.map_err(|error| not_connected(&error))?;
        if position > 0
            && let Some(known) = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin)
            && known.get(position) == addresses.get(position)
        {
            // The next connection does not wait for the silent ones again.
            known[..=position].rotate_right(1);
        }
        // A request is one write; waiting to fill a segment would only delay it.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, NotConnected> {
        if let Ok(address) = origin.host.parse() {
            return Ok(vec![SocketAddr::new(address, origin.port)]);
        }
        let known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let dns = |detail: String| NotConnected { code: reason::DNS, detail };
        let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| match is_out_of_descriptors(&error) {
                true => NotConnected { code: reason::NO_DESCRIPTORS, detail: error.to_string() },
                false => dns(error.to_string()),
            })?
            .collect();
        if found.is_empty() {
            return Err(dns("the name has no address".to_owned()));
        }
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(origin.clone(), found.clone());
        Ok(found)
    }

    fn forget(&self, origin: &Origin) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
    }

    async fn handshake(&self, stream: &TcpStream, origin: &Origin) -> Result<Box<ClientConnection>, NotConnected> {
        let failed = |detail: String| NotConnected { code: reason::TLS, detail };
        let config = self.tls.get_or_init(|| tls_config(self.version)).clone().map_err(failed)?;
        let name = ServerName::try_from(origin.host.clone()).map_err(|error| failed(error.to_string()))?;
        let mut session = ClientConnection::new(config, name).map_err(|error| failed(error.to_string()))?;
        // A body is handed over whole; its size is the caller's business.
        session.set_buffer_limit(None);
        let mut wire = Wire(stream);
        while session.is_handshaking() || session.wants_write() {
            let step = if session.wants_write() {
                session.write_tls(&mut wire).map(|_| ())
            } else {
                match session.read_tls(&mut wire) {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => session.process_new_packets().map(|_| ()).map_err(|error| {
                        // The alert that tells the server why.
                        let _ = session.write_tls(&mut wire);
                        io::Error::new(io::ErrorKind::InvalidData, error)
                    }),
                    Err(error) => Err(error),
                }
            };
            match step {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = if session.wants_write() { stream.writable().await } else { stream.readable().await };
                    ready.map_err(|error| failed(error.to_string()))?;
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        if self.version == HttpVersion::Http2 && session.alpn_protocol() != Some(b"h2") {
            return Err(failed("the server does not speak HTTP/2".to_owned()));
        }
        Ok(Box::new(session))
    }
}

/// A socket as `rustls` reads and writes it.
pub(crate) struct Wire<'a>(pub(crate) &'a TcpStream);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Trust anchors of the system, read once in a process: it takes tens of milliseconds.
fn tls_config(version: HttpVersion) -> Result<Arc<ClientConfig>, String> {
    static HTTP1: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    static HTTP2: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let (cell, protocol) = match version {
        HttpVersion::Http1 => (&HTTP1, &b"http/1.1"[..]),
        HttpVersion::Http2 => (&HTTP2, &b"h2"[..]),
    };
    let config = cell.get_or_init(|| {
        crate::crypto::install();
        let builder = ClientConfig::builder().with_platform_verifier().map_err(|error| error.to_string())?;
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    });
    config.clone()
}

/// A connection to the first address that takes one, and its position. Each has an equal share of the time that is left, so
/// that one that swallows packets leaves some for those behind it; one that refuses takes none.
async fn connect_any(addresses: &[SocketAddr], within: Duration) -> io::Result<(TcpStream, usize)> {
    let mut left = within;
    let mut failure = io::Error::other("the name has no address");
    for (position, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - position).unwrap_or(u32::MAX);
        let share = left / others;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, position)),
            Ok(Err(error)) => failure = error,
            Err(_) => {
                left -= share;
                let detail = format!("no answer from {address} within {:.0} s", share.as_secs_f64());
                failure = io::Error::new(io::ErrorKind::TimedOut, detail);
            }
        }
    }
    Err(failure)
}

/// Why the system gives no connection.
fn not_connected(error: &io::Error) -> NotConnected {
    NotConnected { code: connect_code(error), detail: error.to_string() }
}

fn connect_code(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => reason::REFUSED,
        io::ErrorKind::TimedOut => reason::CONNECT_TIMEOUT,
        // All ports of the range are taken by connections to the same server.
        io::ErrorKind::AddrNotAvailable => reason::NO_PORTS,
        _ if is_out_of_descriptors(error) => reason::NO_DESCRIPTORS,
        _ => reason::CONNECT_ERROR,
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error.raw_os_error().is_some_and(|code| matches!(Errno::from_raw(code), Errno::EMFILE | Errno::ENFILE))
}

/// The whole chain of causes in one line.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| (*error).source());
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_swallows_packets_leaves_time_for_the_next() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::listen(&silent, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let silent_at = silent.local_addr().unwrap();
        // Nobody accepts: once the queue is full, the kernel drops what asks to get in.
        let mut held = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(Ok(stream)) = tokio::time::timeout(patience, TcpStream::connect(silent_at)).await {
            held.push(stream);
        }
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open_at = open.local_addr().unwrap();
        let (stream, position) = connect_any(&[silent_at, open_at], Duration::from_secs(2)).await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), position), (open_at, 1));
        let error = connect_any(&[silent_at, silent_at], Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert_eq!(not_connected(&error).code, reason::CONNECT_TIMEOUT);
        assert!(error.to_string().contains(&silent_at.to_string()), "{error}");
    }

    #[test]
    fn origins() {
        for (url, tls, host, port) in [
            ("http://example.org/a", false, "example.org", 80),
            ("https://example.org/a?b", true, "example.org", 443),
            ("https://user:pass@example.org:8443/", true, "example.org", 8443),
            ("http://[::1]:8000/", false, "::1", 8000),
            ("http://127.0.0.1:9/", false, "127.0.0.1", 9),
        ] {
            let url = Url::parse(url).unwrap();
            let origin = Origin { tls, host: host.to_owned(), port };
            assert_eq!(Origin::of(&url), origin);
            assert!(origin.is_of(&url));
        }
        let one = Origin::of(&Url::parse("http://example.org/").unwrap());
        for other in ["https://example.org/", "http://example.org:81/", "http://example.com/"] {
            assert!(!one.is_of(&Url::parse(other).unwrap()), "{other}");
        }
    }
}
