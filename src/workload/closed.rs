//! The closed loop: users who each wait for an answer before they ask again.

use super::window::WindowRule;
use crate::units::Nanos;

/// A closed loop. The intended time of a user's first request is its ramp offset, of every later one
/// the end of the answer before plus the think time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// Users at the same time.
    pub users: u32,
    /// Pause between the end of an answer and the user's next request.
    pub think_time_ns: Nanos,
    /// Time over which the users start.
    pub ramp_ns: Nanos,
    /// When the window ends; asked as requests come due.
    pub rule: WindowRule,
}

impl ClosedLoop {
    /// Intended time of the first request of `user`; `None` for a user who never comes.
    pub fn first_due(&self, user: u32) -> Option<Nanos> {
        Some(self.ramp_offset(user))
    }

    /// Intended time of the request after `turn`, whose answer ended at `end`; `None` for a user who has left for good.
    pub fn next_due(&self, _user: u32, _turn: u32, end: Nanos) -> Option<Nanos> {
        Some(end.saturating_add(self.think_time_ns))
    }

    /// Intended time of the first request of `user`: the users start evenly spaced over the ramp.
    pub fn ramp_offset(&self, user: u32) -> Nanos {
        let offset = u128::from(self.ramp_ns) * u128::from(user) / u128::from(self.users.max(1));
        Nanos::try_from(offset).unwrap_or(Nanos::MAX)
    }
}
