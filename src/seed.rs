//! The seed tree: the only source of randomness in the project.
//!
//! Every draw belongs to a path (`workload/base/prompt/17`), never to a position in a stream that
//! others share. Adding a class, a point or a worker therefore moves nobody else's numbers.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// Raised whenever the bytes a seed leads to change: bodies, lengths, arrival times, class draws.
/// Part of every point digest.
pub const GENERATOR_VERSION: u32 = 1;

/// A node of the seed tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root of a scenario's tree.
    pub fn root(seed: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"bench seed tree\0");
        hasher.update(seed.to_le_bytes());
        Self(hasher.finalize().into())
    }

    /// The child named `label`.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(b"s");
        hasher.update(label.as_bytes());
        Self(hasher.finalize().into())
    }

    /// The child numbered `index`.
    #[must_use]
    pub fn index(&self, index: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(b"n");
        hasher.update(index.to_le_bytes());
        Self(hasher.finalize().into())
    }

    /// A generator with this node's stream. `ChaCha12` is named, not `StdRng`, because the stream is a
    /// promise across releases.
    pub fn rng(&self) -> ChaCha12Rng {
        ChaCha12Rng::from_seed(self.0)
    }

    /// Lower-case hex, as plans and reports print it.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seed({})", &self.to_hex()[..12])
    }
}

/// Lower-case hex of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of `bytes` as lower-case hex: the form every digest has in plans, reports and the store.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
