//! Sessions: conversations of several requests, each of which begins with all that was said before it.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draw::LengthDraw;
use super::error::Problem;
use super::length::fixed::Fixed;
use super::length::{LengthConfig, Lengths};
use super::prompt::dataset::Dataset;
use super::prompt::order::RowOrder;
use super::prompt::synthetic::{Synthetic, SyntheticSource};
use super::prompt::{Drawn, PromptSource, PromptsConfig, TextSeeds, Who, salt_text};
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::{Message, Prompt};
use crate::seed::Seed;
use crate::tokens::Tokenizer;
use crate::units::Nanos;

/// Conversations: every request begins with all messages before it. With synthetic prompts `input_tokens` is the first
/// message of the user and `output_tokens` each answer. With `sharegpt` or `messages` each row is a session: its turns
/// are those of the row, answers are as long as the recorded ones unless `output_tokens` says otherwise,
/// `min_input_tokens` and `max_input_tokens` are about the whole conversation, and `min_answer_tokens` and
/// `max_answer_tokens` about its last answer. In a closed loop each user holds one session after another; in an open loop
/// each arrival begins a session, whose later requests come due when the answer before has ended and the think time has
/// passed.
/// A request that fails ends its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// Requests of a session; required for synthetic prompts. With a dataset: the most that are made of a row; absent: as
    /// many as it has. The laws are those of lengths; here they count requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<LengthConfig>,
    /// Pause between the end of an answer and the next request of the session, in milliseconds; absent: none. The laws are
    /// those of lengths; here they count milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time_ms: Option<LengthConfig>,
    /// Whose answers stand in the history.
    pub history: HistoryKind,
    /// Tokens of the user's messages after the first, of synthetic prompts; absent: as the first, `input_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_input_tokens: Option<LengthConfig>,
    /// Tokens of a system message that opens every session of the class and is the same in all of them, with synthetic
    /// prompts; 0: none.
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
    /// Text made by `bench` of the length that was asked for, or what the dataset has: what is sent is the same in every
    /// run.
    Recorded,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SessionConfig {
    /// Its laws by their keys.
    pub fn laws(&self) -> impl Iterator<Item = (&'static str, &LengthConfig)> {
        let laws = [
            ("turns", self.turns.as_ref()),
            ("think_time_ms", self.think_time_ms.as_ref()),
            ("next_input_tokens", self.next_input_tokens.as_ref()),
        ];
        laws.into_iter().filter_map(|(key, law)| Some((key, law?)))
    }

    /// What is wrong with the settings, keys relative to `session`.
    pub(crate) fn check(&self, prompts: &PromptsConfig) -> Vec<Problem> {
        let misfits = self.misfits(prompts).into_iter().map(|(key, message)| Problem::new(key, message));
        self.law_problems().into_iter().chain(misfits).collect()
    }

    /// What is wrong with its laws.
    pub(crate) fn law_problems(&self) -> Vec<Problem> {
        let check = |(key, law): (&'static str, &LengthConfig)| {
            let file = law.file().map(|_| Problem::new("path", "a law of a session cannot come from a file"));
            law.check().into_iter().chain(file).map(move |problem| problem.inside(key))
        };
        self.laws().flat_map(check).collect()
    }

    /// Settings that do not go with `prompts`, and what is wrong with them.
    pub(crate) fn misfits(&self, prompts: &PromptsConfig) -> Vec<(&'static str, &'static str)> {
        match prompts {
            PromptsConfig::Synthetic(_) if self.turns.is_none() => {
                vec![("", "sessions of synthetic prompts need `turns`")]
            }
            PromptsConfig::Synthetic(_) => Vec::new(),
            PromptsConfig::Sharegpt(_) | PromptsConfig::Messages(_) => {
                let set = [
                    (self.next_input_tokens.is_some(), "next_input_tokens"),
                    (self.system_prompt_tokens > 0, "system_prompt_tokens"),
                ];
                let message = "the messages come from a dataset, which says how long they are";
                set.into_iter().filter(|(set, _)| *set).map(|(_, key)| (key, message)).collect()
            }
            _ => vec![("", "sessions need prompts of the kind `synthetic`, `sharegpt` or `messages`")],
        }
    }

    /// What the requests of sessions from a dataset are expected to be, from the mean turns and tokens of its rows.
    pub fn expected_of_rows(&self, turns: f64, tokens: f64) -> Expected {
        let most = self.turns.as_ref().and_then(LengthConfig::mean);
        let turns = most.map_or(turns, |most| most.min(turns)).max(1.0);
        let whole = turns.floor();
        let mut later = vec![1.0; (whole as usize - 1).min(TURNS)];
        if turns > whole {
            later.push(turns - whole);
        }
        Expected {
            turns,
            later,
            // Turns of equal length: the mean of 1/T, 2/T, … of the conversation.
            input_tokens: tokens * (turns + 1.0) / (2.0 * turns),
            think_time_s: self.mean_think_time_s(),
        }
    }

    fn mean_think_time_s(&self) -> f64 {
        self.think_time_ms.as_ref().and_then(LengthConfig::mean).map_or(0.0, |mean| mean / 1000.0)
    }

    /// What the requests of a session are expected to be, from the mean tokens of a first message and of an answer.
    pub fn expected(&self, first_tokens: f64, answer_tokens: f64) -> Expected {
        /// Enough for an estimate: the error of a mean is a hundredth of the spread.
        const DRAWS: u32 = 10_000;
        let mut rng = Seed::root(0).child("expected turns").rng();
        let law = self.turns.as_ref().and_then(LengthConfig::without_file);
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
            think_time_s: self.mean_think_time_s(),
        }
    }
}

/// Turns that an estimate looks at one by one.
const TURNS: usize = 1000;

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
    turns: Option<Arc<dyn Lengths>>,
    think_time_ms: Option<Arc<dyn Lengths>>,
    history: HistoryKind,
    script: Script,
    tokenizer: Arc<dyn Tokenizer>,
    seed: Seed,
}

/// Where the messages of sessions come from.
#[derive(Debug)]
enum Script {
    /// Made by `bench`.
    Made(Box<Made>),
    /// The rows of a dataset.
    Recorded(Dialogues),
}

/// Messages made by `bench`.
#[derive(Debug)]
struct Made {
    system: Option<(Box<str>, u32, u32)>,
    first: SyntheticSource,
    later: SyntheticSource,
    answers: SyntheticSource,
}

/// What sessions of a class are made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a SessionConfig,
    pub(crate) tokenizer: &'a Arc<dyn Tokenizer>,
    pub(crate) seeds: TextSeeds,
    pub(crate) run_salt: Option<&'a str>,
}

impl Sessions {
    /// Sessions whose messages `bench` makes, first ones and answers of these lengths.
    pub(crate) fn made(
        parts: &Parts<'_>,
        prompts: &Synthetic,
        input_tokens: &Arc<dyn Lengths>,
        output_tokens: &Arc<dyn Lengths>,
    ) -> Self {
        let &Parts { config, tokenizer, seeds, run_salt } = parts;
        let source = |config: &Synthetic, law: &Arc<dyn Lengths>, seeds: TextSeeds, salt: Option<&str>| {
            let lengths = LengthDraw::Alone { law: Arc::clone(law), seed: seeds.class.child("input tokens") };
            SyntheticSource::new(config, lengths, Arc::clone(tokenizer), seeds, salt)
        };
        let plain = Synthetic { shared_prefix_tokens: 0, pool: None, ..prompts.clone() };
        let node = seeds.child("session");
        let system = (config.system_prompt_tokens > 0).then(|| {
            let length: Arc<dyn Lengths> = Arc::new(Fixed { value: config.system_prompt_tokens });
            let nobody = who(RequestId::Open { index: 0 }, 0, 0, 0);
            text_of(source(&plain, &length, node.child("system"), run_salt).draw(&nobody))
        });
        // What opens a session carries the salt: the system message, if there is one.
        let first_salt = run_salt.filter(|_| system.is_none());
        let next = config.next_input_tokens.as_ref().map_or_else(|| Arc::clone(input_tokens), without_file);
        let made = Made {
            system,
            first: source(prompts, input_tokens, seeds, first_salt),
            later: source(&plain, &next, node.child("later"), None),
            answers: source(&plain, output_tokens, node.child("answers"), None),
        };
        Self::new(parts, Script::Made(Box::new(made)))
    }

    /// Sessions that are the rows of a dataset; `output` says how long answers are, where not the recorded ones do.
    pub(crate) fn recorded(
        parts: &Parts<'_>,
        dataset: Arc<Dataset>,
        order: RowOrder,
        output: Option<Arc<dyn Lengths>>,
    ) -> Self {
        let salt = parts.run_salt.map(|salt| salt_text(salt, &**parts.tokenizer));
        Self::new(parts, Script::Recorded(Dialogues { dataset, order, output, salt }))
    }

    fn new(parts: &Parts<'_>, script: Script) -> Self {
        let &Parts { config, tokenizer, seeds, .. } = parts;
        Self {
            turns: config.turns.as_ref().map(without_file),
            think_time_ms: config.think_time_ms.as_ref().map(without_file),
            history: config.history,
            script,
            tokenizer: Arc::clone(tokenizer),
            seed: seeds.class.child("session").child("draws"),
        }
    }

    /// Whether what is sent depends on the server.
    pub(crate) fn needs_answers(&self) -> bool {
        self.history == HistoryKind::Server
    }

    /// Requests of the session that `id` belongs to, as far as the law says.
    fn drawn_turns(&self, id: RequestId) -> Option<u32> {
        Some(self.turns.as_ref()?.sample(&mut self.draws("turns", id.with_turn(0))))
    }

    /// The request `id`, of number `number` in the point, before whose session `rank` others drew from the same dataset.
    /// `history` is that of its session and is brought up to it; `answer` is the server's to the turn before, where the
    /// history is the server's.
    pub(crate) fn turn(
        &self,
        id: RequestId,
        (number, rank): (u64, u64),
        history: &mut History,
        answer: Option<&str>,
    ) -> Turn {
        let wanted = id.turn().unwrap_or(0);
        let who = |turn| who(id.with_turn(turn), number, rank, turn);
        let answer = answer.filter(|_| self.needs_answers());
        let (turns, output_tokens) = match &self.script {
            Script::Made(made) => {
                if history.turns == 0
                    && let Some((text, asked, counted)) = &made.system
                {
                    history.say("system", (text.clone(), *asked, *counted));
                }
                while history.turns <= wanted {
                    let turn = history.turns;
                    if turn > 0 {
                        let recorded = || text_of(made.answers.draw(&who(turn - 1)));
                        let said = answer.filter(|_| turn == wanted).map(|text| self.counted(text));
                        history.say("assistant", said.unwrap_or_else(recorded));
                    }
                    let source = if turn == 0 { &made.first } else { &made.later };
                    history.say("user", text_of(source.draw(&who(turn))));
                    history.turns += 1;
                }
                (self.drawn_turns(id).unwrap_or(1), made.answers.length(&who(wanted)))
            }
            Script::Recorded(dialogues) => {
                let exchanges = dialogues.row(&who(0));
                while history.turns <= wanted {
                    let turn = history.turns;
                    if turn > 0 {
                        let recorded = exchanges.get(turn as usize - 1).and_then(|exchange| exchange.answer.as_deref());
                        let said = answer.filter(|_| turn == wanted).or(recorded);
                        history.say("assistant", self.counted(said.unwrap_or_default()));
                    }
                    for ask in exchanges.get(turn as usize).map(|exchange| &*exchange.asks).unwrap_or_default() {
                        history.say(ask.role, self.counted(&ask.content));
                    }
                    history.turns += 1;
                }
                let recorded = exchanges.get(wanted as usize).and_then(|exchange| exchange.answer.as_deref());
                let law = dialogues.output.as_ref();
                let drawn = law.map(|law| law.sample(&mut self.draws("output tokens", id)));
                let output_tokens = drawn.or_else(|| recorded.map(|text| self.counted(text).2)).unwrap_or(1).max(1);
                let turns = u32::try_from(exchanges.len()).unwrap_or(u32::MAX);
                (self.drawn_turns(id).unwrap_or(turns).min(turns), output_tokens)
            }
        };
        let next = (wanted + 1 < turns).then(|| Next {
            think_time_ns: self.think_time_ns(id.with_turn(wanted + 1)),
            needs_answer: self.needs_answers(),
        });
        Turn {
            prompt: Prompt::Messages(history.messages.clone()),
            asked: history.asked,
            counted: history.counted,
            output_tokens,
            next,
        }
    }

    /// A text with its tokens, counted by themselves, not with the whole history once more.
    fn counted(&self, text: &str) -> (Box<str>, u32, u32) {
        let tokens = u32::try_from(self.tokenizer.count(text)).unwrap_or(u32::MAX);
        (text.into(), tokens, tokens)
    }

    fn think_time_ns(&self, id: RequestId) -> Nanos {
        let law = self.think_time_ms.as_ref();
        law.map_or(0, |law| Nanos::from(law.sample(&mut self.draws("think time", id))) * 1_000_000)
    }

    fn draws(&self, what: &str, id: RequestId) -> ChaCha12Rng {
        who(id, 0, 0, 0).seed(self.seed.child(what)).rng()
    }
}

/// The law of a setting of sessions.
fn without_file(law: &LengthConfig) -> Arc<dyn Lengths> {
    law.without_file().expect("checked: laws of sessions have no file")
}

impl History {
    fn say(&mut self, role: &'static str, (content, asked, counted): (Box<str>, u32, u32)) {
        self.asked = self.asked.saturating_add(asked);
        self.counted = self.counted.saturating_add(counted);
        self.messages.push(Message { role, content });
    }
}

/// The text of a made message, tokens asked and counted.
fn text_of(drawn: Drawn) -> (Box<str>, u32, u32) {
    let text = match drawn.prompt {
        Prompt::Text(text) => text,
        Prompt::Messages(messages) => {
            messages.into_iter().map(|message| String::from(message.content)).collect::<String>().into()
        }
    };
    (text, drawn.asked, drawn.counted)
}

/// Sessions never recur, in whatever phase their requests fall: all phases share one seed path, as in a closed loop.
fn who(id: RequestId, number: u64, rank: u64, turn: u32) -> Who {
    let number = number.wrapping_add(u64::from(turn) << 28);
    Who { phase: Phase::Measure, id, number, rank, output_tokens: 0 }
}

/// The conversations of a dataset.
#[derive(Debug)]
struct Dialogues {
    dataset: Arc<Dataset>,
    order: RowOrder,
    /// Tokens of the answers, unless those of the recorded ones.
    output: Option<Arc<dyn Lengths>>,
    /// Opens every session of a salted run.
    salt: Option<String>,
}

/// What is asked in a turn, and what was answered.
#[derive(Debug)]
struct Exchange {
    asks: Vec<Message>,
    answer: Option<String>,
}

impl Dialogues {
    /// The turns of the session that `who` opens.
    fn row(&self, who: &Who) -> Vec<Exchange> {
        let messages = match self.dataset.row(self.order.row(who)).prompt {
            Prompt::Messages(messages) => messages,
            Prompt::Text(content) => vec![Message { role: "user", content }],
        };
        let mut exchanges = exchanges(messages);
        // A turn whose answer nobody recorded has no length.
        if self.output.is_none() && exchanges.last().is_some_and(|last| last.answer.is_none()) {
            exchanges.pop();
        }
        if let Some(salt) = &self.salt
            && let Some(first) = exchanges.first_mut().and_then(|exchange| exchange.asks.first_mut())
        {
            first.content = format!("{salt}{}", first.content).into();
        }
        exchanges
    }
}

/// A conversation by turns: what is said before an answer, and the answer. What the assistant says before
/// the user does belongs to what is asked; what comes after the last exchange and asks nothing is left out.
fn exchanges(messages: Vec<Message>) -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    for message in messages {
        match (message.role, all.last_mut()) {
            ("assistant", Some(Exchange { answer: Some(answer), .. })) => {
                answer.push_str("\n\n");
                answer.push_str(&message.content);
            }
            ("assistant", Some(last)) if last.asks_something() => last.answer = Some(message.content.into()),
            (_, Some(Exchange { asks, answer: None })) => asks.push(message),
            _ => all.push(Exchange { asks: vec![message], answer: None }),
        }
    }
    if all.last().is_some_and(|last| !last.asks_something()) {
        all.pop();
    }
    all
}

impl Exchange {
    fn asks_something(&self) -> bool {
        self.asks.iter().any(|message| message.role == "user")
    }
}

/// Turns of a conversation; `answered`: those with a recorded answer.
pub(crate) fn turns_of(messages: &[Message], answered: bool) -> u64 {
    exchanges(messages.to_vec()).iter().filter(|exchange| !answered || exchange.answer.is_some()).count() as u64
}
