//! Requests that a model cannot hold, found before anything is sent.

use std::fmt;

use super::prompt::Who;
use super::session::History;
use super::traffic::Traffic;
use crate::measure::timeline::{Phase, RequestId};

/// Requests of a point that are looked at, in their order, where the laws do not say that all fit.
const LOOKED_AT: u64 = 1_000_000;
/// The same where their texts have to be made for it.
const MADE: u64 = 20_000;
/// Requests of each user of a closed loop that are looked at: how many there will be, the answers decide.
const TURNS: u64 = 20;
/// At least so many of a closed loop.
const FEWEST: u64 = 1000;

/// Requests of one class that ask for more tokens than the model of its server can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The class.
    pub class: String,
    /// Its backend.
    pub backend: String,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: u64,
    /// The first such request: tokens of its prompt and tokens asked of its answer.
    pub first: (u32, u32),
    /// The row of a file that it was made of.
    pub origin: Option<String>,
    /// Such requests.
    pub count: u64,
    /// Requests of the class that were looked at.
    pub of: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, backend, context_tokens, first: (input, output), origin, count, of } = self;
        let origin = origin.as_ref().map_or_else(String::new, |origin| format!(" ({origin})"));
        let more = match count - 1 {
            0 => String::new(),
            1 => format!("; 1 more of the first {of} requests is too long"),
            more => format!("; {more} more of the first {of} requests are too long"),
        };
        write!(
            f,
            "traffic.{class}: a request of {input} + {output} tokens{origin} does not fit into the {context_tokens} tokens of \
             context of `backends.{backend}`{more}"
        )
    }
}

impl Traffic {
    /// The requests of a class among the first of the point that do not fit into `context_tokens`, prompt and asked answer
    /// together. Later requests of a session count only where they do not hang on what the server answers.
    ///
    /// # Panics
    /// When `class` is not one of [`Traffic::classes`].
    pub fn too_long(&self, class: u16, context_tokens: u64) -> Option<TooLong> {
        if self.most_tokens(class).is_some_and(|most| most <= context_tokens) {
            return None;
        }
        let info = &self.classes()[usize::from(class)];
        let mut found: Option<TooLong> = None;
        let mut of = 0;
        let mut look = |phase, id| {
            of += 1;
            let lengths = self.longest(phase, id, class);
            if u64::from(lengths.0) + u64::from(lengths.1) > context_tokens {
                let found = found.get_or_insert_with(|| TooLong {
                    class: info.name.clone(),
                    backend: info.backend.clone(),
                    context_tokens,
                    first: lengths,
                    origin: self.origin(phase, id, class),
                    count: 0,
                    of: 0,
                });
                found.count += 1;
            }
        };
        let most = if self.knows_lengths(class) { LOOKED_AT } else { MADE };
        if let Some(open) = self.open() {
            let window = open.window();
            let planned = window.warmup.saturating_add(window.measured).min(most);
            let arrivals = open.schedule().take_while(|arrival| arrival.place < planned);
            for arrival in arrivals.filter(|arrival| arrival.class == class) {
                look(window.phase(arrival.place), RequestId::Open { index: arrival.index });
            }
        } else if let Some(closed) = self.closed() {
            let users = u64::from(closed.users.max(1));
            let rule = closed.rule;
            let exact = (rule.soft_end == 0 && rule.soft_requests > 0).then_some(rule.soft_requests);
            let likely = exact.or(rule.hard_requests).unwrap_or((users * TURNS).max(FEWEST));
            for number in 0..likely.min(most) {
                let (user, turn) = ((number % users) as u32, (number / users) as u32);
                if self.class_of_turn(user, turn) == class {
                    look(Phase::Measure, RequestId::Closed { user, turn });
                }
            }
        }
        found.map(|found| TooLong { of, ..found })
    }

    /// The longest prompt and answer of a request, or of the session that it opens.
    fn longest(&self, phase: Phase, id: RequestId, class: u16) -> (u32, u32) {
        if !self.has_sessions(class) || self.is_server_dependent() {
            return self.lengths(phase, id, class);
        }
        let mut id = match id {
            RequestId::Open { index } => RequestId::OpenSession { index, turn: 0 },
            RequestId::Closed { user, turn } => RequestId::ClosedSession { user, session: turn, turn: 0 },
            other => other,
        };
        let (mut history, mut longest) = (History::default(), (0, 0));
        loop {
            let (content, next) = self.turn(id, class, &mut history, None);
            let lengths = (content.input_tokens_asked, content.output_tokens_asked);
            if u64::from(lengths.0) + u64::from(lengths.1) > u64::from(longest.0) + u64::from(longest.1) {
                longest = lengths;
            }
            if next.is_none() {
                return longest;
            }
            id = id.after();
        }
    }

    /// The row of a file that the prompt of a request is made of.
    fn origin(&self, phase: Phase, id: RequestId, class: u16) -> Option<String> {
        let (who, prompts): (Who, _) = self.who(phase, id, class);
        prompts.origin(&who)
    }
}
