//! Closed loop: users who wait for their answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::think::ThinkLaw;
use super::{MaxInFlight, Problem, Split};
use crate::units::{HumanDuration, NANOS_PER_SEC, Nanos};

/// Closed loop: each user sends the next request when the previous one ended and the think time has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Users at the same time; with `user_stages`, before the first of them.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub users: u32,
    /// Pause between the end of an answer and the next request of the same user.
    #[serde(default)]
    pub think_time: HumanDuration,
    /// The pause as a law instead, drawn for each user and turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_law: Option<ThinkLaw>,
    /// Time over which the users start, evenly spaced; `0s`: all at once.
    #[serde(default)]
    pub ramp: HumanDuration,
    /// How the number of users changes from the beginning of the measured window on, one stage after the other; absent:
    /// not at all. After the last one it stays. A user who leaves finishes the request that is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_stages: Vec<UserStage>,
    /// Requests (with sessions: sessions) after which a user leaves for good, warm-up included; absent: none. When all
    /// users have left, the window ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_user: Option<u32>,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

/// A part of a closed loop during which the number of users follows one rule. It begins at the number at which the stage
/// before it ended, the first one at `users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum UserStage {
    /// Users come or go evenly over the stage.
    Linear(ToUsers),
    /// Users come or go at once.
    Step(ToUsers),
    /// The number stays what it is.
    Hold(HoldUsers),
}

/// Another number of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToUsers {
    /// Users at the end of the stage.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub to_users: u32,
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// The same number of users for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldUsers {
    /// Length of the stage.
    pub duration: HumanDuration,
}

impl UserStage {
    fn duration(&self) -> HumanDuration {
        match self {
            Self::Linear(stage) | Self::Step(stage) => stage.duration,
            Self::Hold(stage) => stage.duration,
        }
    }

    /// Users at the beginning and at the end of the stage, after one that ended with `users`.
    fn ends(&self, users: u32) -> (u32, u32) {
        match self {
            Self::Linear(stage) => (users, stage.to_users),
            Self::Step(stage) => (stage.to_users, stage.to_users),
            Self::Hold(_) => (users, users),
        }
    }
}

impl Users {
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.users == 0 {
            problems.push(Problem::new("users", "a closed loop has at least 1 user"));
        }
        if let Some(law) = &self.think_law {
            problems.extend(law.check().into_iter().map(|problem| problem.inside("think_law")));
            if self.think_time.nanos() > 0 {
                problems.push(Problem::new("think_law", "`think_time` and `think_law` exclude each other"));
            }
        }
        for (index, stage) in self.user_stages.iter().enumerate() {
            if stage.duration().nanos() == 0 {
                let message = "a stage must be longer than 0s";
                problems.push(Problem::new(format!("user_stages.{index}.duration"), message));
            }
        }
        if self.crowd(0).last == 0 && self.users > 0 {
            let message = "no user is left after the last stage, and load has to go on while the last requests finish";
            problems.push(Problem::new(format!("user_stages.{}", self.user_stages.len() - 1), message));
        }
        problems
    }

    /// Most users that there ever are.
    pub fn most(&self) -> u32 {
        self.crowd(0).pieces.iter().map(|piece| piece.from.max(piece.to)).fold(self.users, u32::max)
    }

    /// Mean pause between an answer and the next request, in seconds.
    pub fn mean_think_s(&self) -> f64 {
        self.think_law.as_ref().map_or(self.think_time.get().as_secs_f64(), ThinkLaw::mean_s)
    }

    /// The number of users over time, with the stages beginning at `start`.
    pub(crate) fn crowd(&self, start: Nanos) -> Crowd {
        let (mut users, mut at) = (self.users, start);
        let pieces = self.user_stages.iter().map(|stage| {
            let (from, to) = stage.ends(users);
            let piece = CrowdPiece { start: at, length: stage.duration().nanos(), from, to };
            at = at.saturating_add(piece.length);
            users = to;
            piece
        });
        let pieces = pieces.collect();
        Crowd { first: self.users, pieces, last: users }
    }
}

/// The number of users over time: user u is there while it is above u.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    first: u32,
    pieces: Vec<CrowdPiece>,
    last: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CrowdPiece {
    start: Nanos,
    length: Nanos,
    from: u32,
    to: u32,
}

impl CrowdPiece {
    fn end(&self) -> Nanos {
        self.start.saturating_add(self.length)
    }

    /// The earliest offset from `since` on at which there are more than `user` users; it may lie at the end or beyond.
    fn joins(&self, user: u32, since: Nanos) -> Option<Nanos> {
        let (from, to, wanted) = (i128::from(self.from), i128::from(self.to), i128::from(user) + 1);
        let length = i128::from(self.length);
        let here = from * length + (to - from) * i128::from(since);
        if here >= wanted * length {
            return Some(since);
        }
        if to <= from || to < wanted {
            return None;
        }
        // The offset at which a rising line passes `wanted`, rounded up.
        let offset = ((wanted - from) * length + (to - from) - 1) / (to - from);
        Nanos::try_from(offset).ok()
    }
}

impl Crowd {
    /// The earliest time from `at` on at which `user` is there; `None` when that is never again.
    pub(crate) fn there(&self, user: u32, at: Nanos) -> Option<Nanos> {
        let Some(begin) = self.pieces.first().map(|piece| piece.start) else {
            return (self.first > user).then_some(at);
        };
        if at < begin && self.first > user {
            return Some(at);
        }
        let at = at.max(begin);
        for piece in self.pieces.iter().filter(|piece| piece.end() > at) {
            let since = at.saturating_sub(piece.start);
            if let Some(offset) = piece.joins(user, since).filter(|offset| *offset < piece.length) {
                return Some(piece.start + offset);
            }
        }
        let end = self.pieces.last().map_or(at, CrowdPiece::end);
        (self.last > user).then_some(at.max(end))
    }

    /// Users times seconds between two times.
    pub(crate) fn user_seconds(&self, from: Nanos, to: Nanos) -> f64 {
        let seconds = |nanos: Nanos| nanos as f64 / NANOS_PER_SEC as f64;
        let begin = self.pieces.first().map_or(Nanos::MAX, |piece| piece.start);
        let end = self.pieces.last().map_or(Nanos::MAX, CrowdPiece::end);
        let before = seconds(to.min(begin).saturating_sub(from));
        let after = seconds(to.saturating_sub(from.max(end)));
        let within = self.pieces.iter().map(|piece| {
            let (low, high) = (from.clamp(piece.start, piece.end()), to.clamp(piece.start, piece.end()));
            let users = |at: Nanos| {
                let share = (at - piece.start) as f64 / piece.length.max(1) as f64;
                f64::from(piece.from) + (f64::from(piece.to) - f64::from(piece.from)) * share
            };
            f64::midpoint(users(low), users(high)) * seconds(high.saturating_sub(low))
        });
        f64::from(self.first) * before + within.sum::<f64>() + f64::from(self.last) * after
    }
}
