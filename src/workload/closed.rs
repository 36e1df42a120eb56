//! The closed loop: users who each wait for an answer before they ask again.

use std::sync::Arc;

use super::load::think::ThinkLaw;
use super::load::users::{Crowd, Users};
use super::window::WindowRule;
use crate::seed::Seed;
use crate::units::Nanos;

/// A closed loop. The intended time of a user's first request is its ramp offset or when it joins, of every later one the
/// end of the answer before plus the think time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// Most users at the same time.
    pub users: u32,
    /// Pause between the end of an answer and the user's next request.
    pub think_time_ns: Nanos,
    /// Time over which the users start.
    pub ramp_ns: Nanos,
    /// When the window ends; asked as requests come due.
    pub rule: WindowRule,
    /// What makes users differ from each other, or the loop from moment to moment.
    pub shape: Option<Arc<ClosedShape>>,
}

/// What a plain closed loop does not have.
#[derive(Debug, PartialEq, Eq)]
pub struct ClosedShape {
    think: Option<ThinkLaw>,
    /// Of the pauses.
    seed: Seed,
    requests_per_user: Option<u32>,
    starting: u32,
    crowd: Crowd,
}

impl ClosedLoop {
    /// The loop of checked settings; pauses are drawn from `seed`.
    pub(crate) fn new(config: &Users, rule: WindowRule, seed: Seed) -> Self {
        let plain = config.user_stages.is_empty() && config.think_law.is_none() && config.requests_per_user.is_none();
        let shape = (!plain).then(|| {
            Arc::new(ClosedShape {
                think: config.think_law.clone(),
                seed: seed.child("think time"),
                requests_per_user: config.requests_per_user,
                starting: config.users,
                crowd: config.crowd(rule.warmup_end),
            })
        });
        Self {
            users: config.most(),
            think_time_ns: config.think_time.nanos(),
            ramp_ns: config.ramp.nanos(),
            rule,
            shape,
        }
    }

    /// Intended time of the first request of `user`; `None` for a user who never comes.
    pub fn first_due(&self, user: u32) -> Option<Nanos> {
        match &self.shape {
            Some(shape) if user < shape.starting => shape.crowd.there(user, self.ramp_offset(user)),
            Some(shape) => shape.crowd.there(user, 0),
            None => Some(self.ramp_offset(user)),
        }
    }

    /// Intended time of the request after `turn`, whose answer ended at `end`; `None` for a user who has left for good.
    pub fn next_due(&self, user: u32, turn: u32, end: Nanos) -> Option<Nanos> {
        let Some(shape) = &self.shape else { return Some(end.saturating_add(self.think_time_ns)) };
        if shape.requests_per_user.is_some_and(|requests| turn.saturating_add(1) >= requests) {
            return None;
        }
        shape.crowd.there(user, end.saturating_add(self.think_ns(user, turn)))
    }

    /// Pause of `user` after `turn`: a function of the two.
    pub fn think_ns(&self, user: u32, turn: u32) -> Nanos {
        let drawn = self.shape.as_ref().and_then(|shape| {
            let law = shape.think.as_ref()?;
            Some(law.draw(shape.seed.index(user.into()).index(turn.into())))
        });
        drawn.unwrap_or(self.think_time_ns)
    }

    /// Intended time of the first request of `user`, of those who are there from the beginning: they start evenly spaced
    /// over the ramp.
    pub fn ramp_offset(&self, user: u32) -> Nanos {
        let starting = self.shape.as_ref().map_or(self.users, |shape| shape.starting);
        let offset = u128::from(self.ramp_ns) * u128::from(user) / u128::from(starting.max(1));
        Nanos::try_from(offset).unwrap_or(Nanos::MAX)
    }
}
