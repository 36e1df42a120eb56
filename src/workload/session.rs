//! Sessions: conversations of several requests, each of which begins with all that was said before it.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draw::LengthDraw;
use super::error::Problem;
use super::length::fixed::Fixed;
use super::length::{LengthConfig, Lengths};
use super::prompt::synthetic::{Synthetic, SyntheticSource};
use super::prompt::{Drawn, PromptSource, Who};
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::{Message, Prompt};
use crate::seed::Seed;
use crate::tokens::Tokenizer;
use crate::units::Nanos;

/// Conversations: `input_tokens` is the first message of the user, `output_tokens` each answer, and every request
/// begins with all messages before it. In a closed loop each user holds one session after another; in an open loop each
/// arrival begins a session, whose later requests come due when the answer before has ended and the think time has passed.
/// A request that fails ends its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// Requests of a session. The laws are those of lengths; here they count requests.
    pub turns: LengthConfig,
    /// Pause between the end of an answer and the next request of the session, in milliseconds; absent: none. The laws are
    /// those of lengths; here they count milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time_ms: Option<LengthConfig>,
    /// Whose answers stand in the history.
    pub history: HistoryKind,
    /// Tokens of the user's messages after the first; absent: as the first, `input_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_input_tokens: Option<LengthConfig>,
    /// Tokens of a system message that opens every session of the class and is the same in all of them; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub system_prompt_tokens: u32,
}

/// Whose answers stand in the history of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistoryKind {
    /// What the server answered. A prefix cache that keeps answers finds them, and what is sent depends on the server: the
    /// report says `bodies: "server-dependent"`.
    Server,
    /// Text made by `bench` of the length that was asked for: what is sent is the same in every run.
    Recorded,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SessionConfig {
    /// Its laws by their keys.
    pub fn laws(&self) -> impl Iterator<Item = (&'static str, &LengthConfig)> {
        let laws = [
            ("turns", Some(&self.turns)),
            ("think_time_ms", self.think_time_ms.as_ref()),
            ("next_input_tokens", self.next_input_tokens.as_ref()),
        ];
        laws.into_iter().filter_map(|(key, law)| Some((key, law?)))
    }

    /// What is wrong with the settings, keys relative to `session`.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let check = |(key, law): (&'static str, &LengthConfig)| {
            let file = law.file().map(|_| Problem::new("path", "a law of a session cannot come from a file"));
            law.check().into_iter().chain(file).map(move |problem| problem.inside(key))
        };
        self.laws().flat_map(check).collect()
    }

    /// What the requests of a session are expected to be, from the mean tokens of a first message and of an answer.
    pub fn expected(&self, first_tokens: f64, answer_tokens: f64) -> Expected {
        /// Enough for an estimate: the error of a mean is a hundredth of the spread.
        const DRAWS: u32 = 10_000;
        let mut rng = Seed::root(0).child("expected turns").rng();
        let law = self.turns.without_file();
        /// Turns that are looked at one by one.
        const TURNS: usize = 1000;
        // Turn t comes after t answers and further messages: 0 + 1 + … + (turns - 1) of them in a session.
        let (mut turns, mut earlier, mut later) = (0.0, 0.0, Vec::new());
        for _ in 0..DRAWS {
            let drawn = law.as_ref().map_or(1, |law| law.sample(&mut rng));
            turns += f64::from(drawn);
            earlier += f64::from(drawn) * (f64::from(drawn) - 1.0) / 2.0;
            let further = (drawn as usize).saturating_sub(1).min(TURNS);
            later.resize(further.max(later.len()), 0.0);
            later[..further].iter_mut().for_each(|share| *share += 1.0 / f64::from(DRAWS));
        }
        let next_tokens = self.next_input_tokens.as_ref().and_then(LengthConfig::mean).unwrap_or(first_tokens);
        let opening = f64::from(self.system_prompt_tokens) + first_tokens;
        Expected {
            turns: turns / f64::from(DRAWS),
            later,
            input_tokens: opening + (answer_tokens + next_tokens) * earlier / turns,
            think_time_s: self.think_time_ms.as_ref().and_then(LengthConfig::mean).map_or(0.0, |mean| mean / 1000.0),
        }
    }
}

/// Means over the requests of sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Requests of a session.
    pub turns: f64,
    /// Share of the sessions that have a second request, a third, ….
    pub later: Vec<f64>,
    /// Tokens of a prompt, history included.
    pub input_tokens: f64,
    /// Pause before a later request, in seconds.
    pub think_time_s: f64,
}

/// What was said in one session so far. Held only while the session lasts.
#[derive(Clone, Debug, Default)]
pub struct History {
    messages: Vec<Message>,
    /// Messages of the user among them.
    turns: u32,
    asked: u32,
    counted: u32,
}

/// A later request of the same session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Pause between the end of the answer and it.
    pub think_time_ns: Nanos,
    /// Whether the answer is needed for its body.
    pub needs_answer: bool,
}

/// The prompt of a turn and its lengths.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) prompt: Prompt,
    pub(crate) asked: u32,
    pub(crate) counted: u32,
    pub(crate) output_tokens: u32,
    pub(crate) next: Option<Next>,
}

/// Makes the sessions of one class: functions of who they are, and with the server's answers also of those.
#[derive(Debug)]
pub(crate) struct Sessions {
    turns: Arc<dyn Lengths>,
    think_time_ms: Option<Arc<dyn Lengths>>,
    history: HistoryKind,
    system: Option<Drawn>,
    first: SyntheticSource,
    later: SyntheticSource,
    answers: SyntheticSource,
    tokenizer: Arc<dyn Tokenizer>,
    seed: Seed,
}

/// What sessions of a class are made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a SessionConfig,
    pub(crate) prompts: &'a Synthetic,
    pub(crate) input_tokens: &'a Arc<dyn Lengths>,
    pub(crate) output_tokens: &'a Arc<dyn Lengths>,
    pub(crate) tokenizer: &'a Arc<dyn Tokenizer>,
    pub(crate) class: &'a str,
    /// The point's node for prompts.
    pub(crate) seed: Seed,
    pub(crate) run_salt: Option<&'a str>,
}

impl Sessions {
    pub(crate) fn new(parts: &Parts<'_>) -> Self {
        let &Parts { config, prompts, input_tokens, output_tokens, tokenizer, class, seed, run_salt } = parts;
        let source = |config: &Synthetic, law: &Arc<dyn Lengths>, seed: Seed, salt: Option<&str>| {
            let lengths = LengthDraw::Alone {
                law: Arc::clone(law),
                seed: seed.child("class").child(class).child("input tokens"),
            };
            SyntheticSource::new(config, lengths, Arc::clone(tokenizer), class, seed, salt)
        };
        let without_file = |law: &LengthConfig| law.without_file().expect("checked: laws of sessions have no file");
        let plain = Synthetic { shared_prefix_tokens: 0, ..prompts.clone() };
        let node = seed.child("session");
        let system = (config.system_prompt_tokens > 0).then(|| {
            let length: Arc<dyn Lengths> = Arc::new(Fixed { value: config.system_prompt_tokens });
            let nobody =
                Who { phase: Phase::Measure, id: RequestId::Open { index: 0 }, number: 0, rank: 0, output_tokens: 0 };
            source(&plain, &length, node.child("system"), run_salt).draw(&nobody)
        });
        // What opens a session carries the salt: the system message, if there is one.
        let first_salt = run_salt.filter(|_| system.is_none());
        let next = config.next_input_tokens.as_ref().map_or_else(|| Arc::clone(input_tokens), without_file);
        Self {
            turns: without_file(&config.turns),
            think_time_ms: config.think_time_ms.as_ref().map(without_file),
            history: config.history,
            system,
            first: source(prompts, input_tokens, seed, first_salt),
            later: source(&plain, &next, node.child("later"), None),
            answers: source(&plain, output_tokens, node.child("answers"), None),
            tokenizer: Arc::clone(tokenizer),
            seed: node.child("class").child(class),
        }
    }

    /// Whether what is sent depends on the server.
    pub(crate) fn needs_answers(&self) -> bool {
        self.history == HistoryKind::Server
    }

    /// Requests of the session that `id` belongs to.
    pub(crate) fn turns(&self, id: RequestId) -> u32 {
        self.turns.sample(&mut self.draws("turns", id.with_turn(0)))
    }

    /// The request `id`, of number `number` in the point. `history` is that of its session and is brought up to it; `answer`
    /// is the server's to the turn before, where the history is the server's.
    pub(crate) fn turn(&self, id: RequestId, number: u64, history: &mut History, answer: Option<&str>) -> Turn {
        let wanted = id.turn().unwrap_or(0);
        if history.turns == 0
            && let Some(system) = &self.system
        {
            history.say("system", system.clone());
        }
        while history.turns <= wanted {
            let turn = history.turns;
            let who = |turn| who(id.with_turn(turn), number, turn);
            if turn > 0 {
                let said = match answer.filter(|_| self.needs_answers() && turn == wanted) {
                    Some(text) => self.said(text),
                    None => self.answers.draw(&who(turn - 1)),
                };
                history.say("assistant", said);
            }
            let asks = if turn == 0 { self.first.draw(&who(0)) } else { self.later.draw(&who(turn)) };
            history.say("user", asks);
            history.turns += 1;
        }
        let next = (wanted + 1 < self.turns(id)).then(|| Next {
            think_time_ns: self.think_time_ns(id.with_turn(wanted + 1)),
            needs_answer: self.needs_answers(),
        });
        Turn {
            prompt: Prompt::Messages(history.messages.clone()),
            asked: history.asked,
            counted: history.counted,
            output_tokens: self.answers.length(&who(id, number, wanted)),
            next,
        }
    }

    /// An answer of the server. Its tokens are counted by themselves, not with the whole history once more.
    fn said(&self, text: &str) -> Drawn {
        let tokens = u32::try_from(self.tokenizer.count(text)).unwrap_or(u32::MAX);
        Drawn { prompt: Prompt::Text(text.into()), asked: tokens, counted: tokens, answer: None, expected_number: None }
    }

    fn think_time_ns(&self, id: RequestId) -> Nanos {
        let law = self.think_time_ms.as_ref();
        law.map_or(0, |law| Nanos::from(law.sample(&mut self.draws("think time", id))) * 1_000_000)
    }

    fn draws(&self, what: &str, id: RequestId) -> ChaCha12Rng {
        who(id, 0, 0).seed(self.seed.child(what)).rng()
    }
}

impl History {
    fn say(&mut self, role: &'static str, said: Drawn) {
        self.asked = self.asked.saturating_add(said.asked);
        self.counted = self.counted.saturating_add(said.counted);
        let Prompt::Text(content) = said.prompt else { unreachable!("synthetic prompts are texts") };
        self.messages.push(Message { role, content });
    }
}

/// Sessions never recur, in whatever phase their requests fall: all phases share one seed path, as in a closed loop.
fn who(id: RequestId, number: u64, turn: u32) -> Who {
    Who { phase: Phase::Measure, id, number: number.wrapping_add(u64::from(turn) << 28), rank: 0, output_tokens: 0 }
}
