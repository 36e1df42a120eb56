//! A TCP proxy that breaks connections, to stand before real servers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one exchange (the requests that begin with a given word).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The request goes through, the answer is awaited, and the client is reset without seeing any of it.
    LostAcknowledgement,
    /// The client is reset after this many bytes of the request; the server sees it end there.
    RequestAfter(usize),
    /// The client is reset after this many bytes of the answer.
    AnswerAfter(usize),
    /// The answer is held back this long.
    Delay(Duration),
}

/// A planned break and the beginning of the request that it waits for, such as `PUT `.
type Planned = (&'static str, Break);

/// The proxy; stops when dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    plan: Arc<Mutex<VecDeque<Planned>>>,
    accept: tokio::task::JoinHandle<()>,
}

impl FaultProxy {
    /// Starts on a free port before `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Mutex::new(VecDeque::new()));
        let shared = plan.clone();
        let accept = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let plan = shared.clone();
                connections.spawn(async move {
                    let _ = carry(client, target, &plan).await;
                });
            }
        });
        Self { address, plan, accept }
    }

    /// The next `times` requests that begin with `verb` meet `fault`.
    pub fn inject(&self, verb: &'static str, times: usize, fault: Break) {
        self.plan.lock().unwrap().extend(std::iter::repeat_n((verb, fault), times));
    }

    /// Faults that no request has met yet.
    pub fn faults_left(&self) -> usize {
        self.plan.lock().unwrap().len()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Carries one connection. Each read from the client that begins with a planned verb starts an exchange.
async fn carry(mut client: TcpStream, target: SocketAddr, plan: &Mutex<VecDeque<Planned>>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut fault: Option<Break> = None;
    let (mut sent, mut received) = (0, 0);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let n = read?;
                if n == 0 { return server.shutdown().await; }
                if let Some(found) = take(plan, &up[..n]) {
                    (fault, sent, received) = (Some(found), 0, 0);
                }
                sent += n;
                if let Some(Break::RequestAfter(limit)) = fault && sent >= limit {
                    let rest = n - (sent - limit);
                    server.write_all(&up[..rest]).await?;
                    return reset(client);
                }
                server.write_all(&up[..n]).await?;
            }
            read = server.read(&mut down) => {
                let n = read?;
                if n == 0 { return client.shutdown().await; }
                received += n;
                match fault {
                    // The server speaks once it has the whole request, so it is carried out.
                    Some(Break::LostAcknowledgement) if !is_continue(&down[..n]) => return reset(client),
                    Some(Break::AnswerAfter(limit)) if received >= limit => {
                        let rest = n - (received - limit);
                        client.write_all(&down[..rest]).await?;
                        return reset(client);
                    }
                    Some(Break::Delay(pause)) => {
                        fault = None;
                        tokio::time::sleep(pause).await;
                    }
                    _ => {}
                }
                client.write_all(&down[..n]).await?;
            }
        }
    }
}

fn take(plan: &Mutex<VecDeque<Planned>>, head: &[u8]) -> Option<Break> {
    let mut plan = plan.lock().unwrap();
    let at = plan.iter().position(|(verb, _)| head.starts_with(verb.as_bytes()))?;
    plan.remove(at).map(|(_, fault)| fault)
}

fn is_continue(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 100")
}

/// Closes with RST instead of FIN.
fn reset(client: TcpStream) -> std::io::Result<()> {
    client.set_zero_linger()
}
