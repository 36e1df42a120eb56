//! The KV cache in blocks: those of one sequence, those whose content several may share, and those that nobody holds
//! any more but whose content is still there.

use std::collections::{BTreeMap, HashMap};

use crate::simulator::profile::BLOCK_TOKENS;
use crate::simulator::vocabulary::splitmix64;

/// What a full block and everything before it holds: equal hashes stand for equal tokens from the beginning on.
pub type BlockHash = u64;

/// Chains the tokens of a sequence into one hash a full block.
#[derive(Clone, Debug)]
pub struct BlockHasher {
    state: u64,
    tokens: u64,
    blocks: Vec<BlockHash>,
}

impl BlockHasher {
    /// Sequences with different `salt` share nothing: keys and values of one model are of no use to another.
    pub fn new(salt: &str) -> Self {
        let state = salt.bytes().fold(0, |state, byte| splitmix64(state ^ u64::from(byte)));
        Self { state, tokens: 0, blocks: Vec::new() }
    }

    /// The next token.
    pub fn push(&mut self, token: u32) {
        self.state = splitmix64(self.state.rotate_left(23) ^ u64::from(token));
        self.tokens += 1;
        if self.tokens.is_multiple_of(BLOCK_TOKENS) {
            self.blocks.push(self.state);
        }
    }

    /// The hashes of all full blocks, in order.
    pub fn finish(self) -> Vec<BlockHash> {
        self.blocks
    }
}

/// A full block whose content is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    holders: u32,
    /// Its place in the line of blocks to be given up, if nobody holds it.
    idle: u64,
}

/// Who has which blocks. Of the total, a block is either private to a sequence, known (held or idle), or empty.
#[derive(Debug)]
pub(super) struct Blocks {
    total: u64,
    caching: bool,
    private: u64,
    known: HashMap<BlockHash, Known>,
    /// Known blocks that nobody holds, the first to be given up first.
    idle: BTreeMap<u64, BlockHash>,
    released: u64,
}

impl Blocks {
    pub(super) fn new(total: u64, caching: bool) -> Self {
        Self { total, caching, private: 0, known: HashMap::new(), idle: BTreeMap::new(), released: 0 }
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether full blocks are kept for others.
    pub(super) const fn caching(&self) -> bool {
        self.caching
    }

    /// Blocks that can be had: empty ones and idle ones.
    pub(super) fn available(&self) -> u64 {
        self.total - self.private - (self.known.len() - self.idle.len()) as u64
    }

    /// How many of `content`, from the beginning on, are here.
    pub(super) fn hits(&self, content: &[BlockHash]) -> usize {
        content.iter().take_while(|hash| self.known.contains_key(*hash)).count()
    }

    /// Takes hold of the known blocks `shared` and of `fresh` private ones, or of nothing if there is no room.
    pub(super) fn admit(&mut self, shared: &[BlockHash], fresh: u64) -> bool {
        let woken = shared.iter().filter(|hash| self.known.get(*hash).is_some_and(|known| known.holders == 0)).count();
        if self.available() < fresh + woken as u64 {
            return false;
        }
        for hash in shared {
            self.hold(*hash);
        }
        self.take(fresh)
    }

    /// Takes `count` private blocks, giving up idle ones if need be, or nothing if there is no room.
    pub(super) fn take(&mut self, count: u64) -> bool {
        if self.available() < count {
            return false;
        }
        while self.total - self.private - (self.known.len() as u64) < count {
            let Some((_, hash)) = self.idle.pop_first() else { return false };
            self.known.remove(&hash);
        }
        self.private += count;
        true
    }

    /// A private block has become full of `hash`: it is known from now on. If there is such a block already, that one is
    /// held instead and the private one is empty again.
    pub(super) fn publish(&mut self, hash: BlockHash) {
        self.private -= 1;
        self.hold(hash);
    }

    /// Lets go of known and private blocks. The last block of a sequence is the first to be given up: without those
    /// before it, it is worth nothing.
    pub(super) fn release(&mut self, shared: &[BlockHash], private: u64) {
        self.private -= private;
        for hash in shared.iter().rev() {
            let Some(known) = self.known.get_mut(hash) else { continue };
            known.holders -= 1;
            if known.holders == 0 {
                known.idle = self.released;
                self.idle.insert(self.released, *hash);
                self.released += 1;
            }
        }
    }

    /// Whether the books agree with what sequences say they hold: known blocks, and the number of private ones.
    #[cfg(test)]
    pub(super) fn agrees<'a>(&self, known: impl Iterator<Item = &'a BlockHash>, private: u64) -> bool {
        let mut holders: HashMap<BlockHash, u32> = HashMap::new();
        known.for_each(|hash| *holders.entry(*hash).or_default() += 1);
        let held = self.known.iter().filter(|(_, known)| known.holders > 0);
        self.private == private
            && holders == held.map(|(hash, known)| (*hash, known.holders)).collect()
            && self.idle.len() + holders.len() == self.known.len()
            && self.idle.values().all(|hash| self.known.get(hash).is_some_and(|known| known.holders == 0))
            && self.private + self.known.len() as u64 <= self.total
    }

    fn hold(&mut self, hash: BlockHash) {
        let known = self.known.entry(hash).or_insert(Known { holders: 0, idle: u64::MAX });
        if known.holders == 0 {
            self.idle.remove(&known.idle);
        }
        known.holders += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_tell_prefixes_apart_and_need_full_blocks() {
        let hashes = |salt, tokens: &[u32]| {
            let mut hasher = BlockHasher::new(salt);
            tokens.iter().for_each(|token| hasher.push(*token));
            hasher.finish()
        };
        let tokens: Vec<u32> = (0..40).collect();
        let all = hashes("m", &tokens);
        assert_eq!((all.len(), hashes("m", &tokens[..31]).len(), hashes("m", &tokens[..15]).len()), (2, 1, 0));
        assert_eq!(hashes("m", &tokens[..32]), all);
        assert_ne!(hashes("n", &tokens), all);
        // The second block is the same, the first is not: neither is shared.
        let mut other = tokens.clone();
        other[0] = 99;
        let other = hashes("m", &other);
        assert!(other[0] != all[0] && other[1] != all[1]);
        // Order matters.
        let mut swapped = tokens;
        swapped.swap(3, 4);
        assert_ne!(hashes("m", &swapped)[0], all[0]);
    }

    #[test]
    fn idle_blocks_are_given_up_in_the_order_they_were_left_the_tail_first() {
        let mut blocks = Blocks::new(4, true);
        assert!(blocks.admit(&[], 3));
        for hash in [1, 2, 3] {
            blocks.publish(hash);
        }
        assert_eq!(blocks.available(), 1);
        blocks.release(&[1, 2, 3], 0);
        assert_eq!((blocks.available(), blocks.hits(&[1, 2, 3])), (4, 3));
        // One empty block is there, so the second costs the block left first: 3, the tail.
        assert!(blocks.take(2));
        assert_eq!((blocks.available(), blocks.hits(&[1, 2, 3])), (2, 2));
        // Two blocks could be had, but they are the two that would be shared.
        assert!(!blocks.admit(&[1, 2], 1));
        assert_eq!(blocks.available(), 2);
        assert!(blocks.admit(&[1, 2], 0));
        assert!(blocks.admit(&[1, 2], 0), "a block has any number of holders");
        blocks.release(&[1, 2], 0);
        assert_eq!(blocks.available(), 0, "the other holder still has them");
        blocks.release(&[1, 2], 2);
        assert_eq!(blocks.available(), 4);
    }

    #[test]
    fn a_block_that_exists_already_is_shared_and_the_copy_is_empty_again() {
        let mut blocks = Blocks::new(2, true);
        assert!(blocks.take(2));
        blocks.publish(7);
        assert_eq!(blocks.available(), 0);
        blocks.publish(7);
        assert_eq!((blocks.available(), blocks.hits(&[7])), (1, 1));
    }
}
