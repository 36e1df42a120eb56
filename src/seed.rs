//! The seed tree: the only source of randomness in the project.
//!
//! Every draw belongs to a path (`workload/base/prompt/17`), never to a position in a stream that
//! others share. Adding a class, a point or a worker therefore moves nobody else's numbers.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// Raised whenever the bytes a seed leads to change: bodies, lengths, arrival times, class draws.
/// Part of every point digest.
pub const GENERATOR_VERSION: u32 = 2;

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

    /// The node that [`Seed::to_hex`] printed, as a plan stores it.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_the_rest() {
        let seed = Seed::root(42).child("point").index(7);
        assert_eq!(Seed::from_hex(&seed.to_hex()), Some(seed));
        for text in ["", "0", &seed.to_hex()[..62], &seed.to_hex().replace(|c: char| c.is_ascii_digit(), "G")] {
            assert_eq!(Seed::from_hex(text), None, "{text}");
        }
        assert_eq!(Seed::from_hex(&"A".repeat(64)), None);
    }
}
