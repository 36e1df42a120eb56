//! What a transport knows about itself at the end of a point.

use super::stamps::StampFacts;

/// Facts of one worker's transport.
#[derive(Clone, Debug, Default)]
pub struct TransportFacts {
    /// The stamps it took.
    pub stamps: StampFacts,
    /// Connections opened before the clock of the point started.
    pub opened_ahead: u64,
    /// Connections that should have been, and failed.
    pub failed_ahead: u64,
}

impl TransportFacts {
    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        self.stamps.add(&other.stamps);
        self.opened_ahead += other.opened_ahead;
        self.failed_ahead += other.failed_ahead;
    }
}
