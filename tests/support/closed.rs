//! An address at which nobody answers.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port that refuses connections: bound, so that no other test gets it, and never listened on.
pub struct ClosedPort {
    pub address: SocketAddr,
    _bound: TcpSocket,
}

impl ClosedPort {
    pub fn new() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { address: bound.local_addr().unwrap(), _bound: bound }
    }
}
