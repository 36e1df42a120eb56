//! Prompts made by `bench`: an exact number of tokens, no two alike.
//!
//! A prompt is a row of pieces (words) that its tokenizer counts as one token each: the salt of the run
//! if asked for, the opening that its class shares if asked for, then words of its own. The own words
//! come from a generator keyed by the SHA-256 path of the request, so the first ones are a hash of who
//! the request is: 16 words of the built-in vocabulary hold 192 bits of it. Prompts too short for that
//! take their words from a numbering of all possible texts instead, where no two requests have the same
//! number until the texts run out.

use std::sync::Arc;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counting::Counter;
use super::pool::{Pool, PrefixPool};
use super::template::{Frame, Template};
use super::{Drawn, PromptSource, SALT_PIECES, Salt, TextSeeds, Who, pick, salt_pieces, salt_text};
use crate::protocol::Prompt;
use crate::seed::Seed;
use crate::tokens::{Pieces, Tokenizer};
use crate::workload::draw::LengthDraw;
use crate::workload::error::Problem;
use crate::workload::permutation::Permutation;

/// Text made by `bench` with the exact number of tokens that `input_tokens` asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Tokens that every prompt of the class begins with, for measuring a prefix cache. 0: no two
    /// prompts share their first 16 tokens.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub shared_prefix_tokens: u32,
    /// Prefixes that the prompts of the class draw from, instead of the one of `shared_prefix_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PrefixPool>,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    #[serde(default)]
    pub salt: Salt,
}

impl Synthetic {
    /// What is wrong with the settings together with the fewest and most tokens a prompt can have, keys relative to
    /// `prompts`.
    pub(crate) fn check(&self, (shortest, longest): (u32, u32)) -> Vec<Problem> {
        if let Some(pool) = &self.pool {
            let mut problems: Vec<Problem> = pool.check().into_iter().map(|problem| problem.inside("pool")).collect();
            problems.extend(self.pool_problem(shortest).map(|message| Problem::new("pool", message)));
            return problems;
        }
        if self.shared_prefix_tokens > 0 && self.shared_prefix_tokens >= longest {
            let message = format!(
                "{} shared tokens leave nothing of a prompt of at most {longest} tokens; all prompts would be the same",
                self.shared_prefix_tokens
            );
            return vec![Problem::new("shared_prefix_tokens", message)];
        }
        Vec::new()
    }

    /// What is wrong with the pool beside prompts of which the shortest has so many tokens.
    pub(crate) fn pool_problem(&self, shortest: u32) -> Option<String> {
        let pool = self.pool.as_ref()?;
        if self.shared_prefix_tokens > 0 {
            return Some(
                "`pool` and `shared_prefix_tokens` exclude each other; a pool of 1 prefix is the same".to_owned(),
            );
        }
        let salt = if self.salt != Salt::None { SALT_PIECES as u32 } else { 0 };
        let (least, tokens) = (pool.tokens.saturating_add(salt), pool.tokens);
        let salted = if salt > 0 { format!(", after a salt of {salt}") } else { String::new() };
        (least >= shortest).then(|| {
            format!(
                "prefixes of {tokens} tokens{salted} leave no word of its own to the shortest prompt, which has {shortest}"
            )
        })
    }
}

/// Below this many different texts their numbers are dealt out one by one; above, hashing them cannot
/// collide in practice (one million prompts among 2^62: 1 in 10 million).
const NUMBERED_TEXTS: u64 = 1 << 62;
/// From this many texts on there is room for class and phase beside the number of the request.
const ROOMY_TEXTS: u64 = 1 << 40;
/// Bits of the number of a text that class and phase have then.
const KIND_BITS: u32 = 16;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
/// Attempts to hit a count with a tokenizer whose counts do not add up.
const REPAIRS: u32 = 16;

/// Makes the synthetic prompts of one class.
#[derive(Debug)]
pub(crate) struct SyntheticSource {
    tokenizer: Arc<dyn Tokenizer>,
    lengths: LengthDraw,
    /// Nodes of the texts of each phase.
    text_seeds: [Seed; 3],
    /// What tells the short texts of each phase of this class from those of others.
    kinds: [u64; 3],
    /// Node that the classes of one load share, for the numbering of short texts.
    short_seed: Seed,
    run_salt: Option<String>,
    /// Piece numbers of the salt; none without a salt.
    salt: Vec<u32>,
    /// Piece numbers of the opening that the class shares.
    shared: Vec<u32>,
    /// The openings that requests draw from.
    pool: Option<Pool>,
    /// Counts whole prompts.
    counter: Counter,
    /// Tokens that are counted beside those of the text.
    around: usize,
    /// With a template: what stands around the words.
    frame: Option<Framed>,
}

/// A template and what it adds to the words in it.
#[derive(Debug)]
struct Framed {
    frame: Frame,
    /// Opens the prompt of a salted run.
    salt: String,
}

impl Framed {
    /// The texts before and after the words, for an answer of so many tokens.
    fn texts(&self, output_tokens: u32) -> (String, String) {
        let (before, after) = self.frame.texts(output_tokens);
        (format!("{}{before}", self.salt), after)
    }
}

impl SyntheticSource {
    /// A source for one class.
    pub(crate) fn new(
        config: &Synthetic,
        lengths: LengthDraw,
        tokenizer: Arc<dyn Tokenizer>,
        seeds: TextSeeds,
        run_salt: Option<&str>,
    ) -> Self {
        let salt = run_salt.map_or_else(Vec::new, |salt| salt_pieces(salt, &*tokenizer));
        let TextSeeds { class: class_seed, shared: all } = seeds;
        let mut rng = class_seed.child("shared prefix").rng();
        // Numbers of `next`; the piece that opens a text is reduced to its list when it is used.
        let choices = tokenizer.pieces().next.len();
        let shared = (0..config.shared_prefix_tokens).map(|_| pick(&mut rng, choices)).collect();
        let short_seed = run_salt.map_or(all.child("short"), |salt| all.child("short").child(salt));
        let text_seeds = ["warmup", "measure", "drain"].map(|phase| class_seed.child("text").child(phase));
        let kinds = text_seeds.map(|seed| seed.child("kind").rng().next_u64() & KIND_MASK);
        let pool = config.pool.as_ref().map(|pool| Pool::new(pool, class_seed.child("prefix pool")));
        let run_salt = run_salt.map(str::to_owned);
        let counter = Counter::content(Arc::clone(&tokenizer));
        Self {
            tokenizer,
            lengths,
            text_seeds,
            kinds,
            short_seed,
            run_salt,
            salt,
            shared,
            pool,
            counter,
            around: 0,
            frame: None,
        }
    }

    /// The same prompts, but as long as `counter` counts.
    ///
    /// # Errors
    /// When what it counts beside the text leaves nothing of the shortest prompt.
    pub(crate) fn counted(mut self, counter: Counter) -> Result<Self, Problem> {
        let word = &self.tokenizer.pieces().first[0];
        self.around = counter.count_text(word).saturating_sub(self.tokenizer.count(word));
        self.counter = counter;
        let (shortest, _) = self.lengths.bounds();
        let shared = self.pool.as_ref().map_or(0, Pool::tokens);
        let salt = if shared > 0 { self.salt.len() } else { 0 };
        let least = self.around + shared + salt + 1;
        if self.around > 0 && least > shortest as usize {
            let message = format!(
                "the shortest prompt has {shortest} tokens, but the chat template, special tokens, prefixes and one word \
                 have {least}; raise its smallest length to at least {least}"
            );
            return Err(Problem::new("input_tokens", message));
        }
        Ok(self)
    }

    /// A source for one class whose prompts are `template` around words.
    ///
    /// # Errors
    /// When the template alone is as long as the shortest prompt. `longest_output` is the most tokens that are asked of
    /// an answer.
    pub(crate) fn framed(
        template: &Template,
        lengths: LengthDraw,
        longest_output: u32,
        counter: Counter,
        seeds: TextSeeds,
        run_salt: Option<&str>,
    ) -> Result<Self, Problem> {
        let tokenizer = Arc::clone(counter.tokenizer());
        let salt = run_salt.map_or_else(String::new, |salt| salt_text(salt, &*tokenizer));
        let (shortest, _) = lengths.bounds();
        // The prompt opens with the salt, so the words need none.
        let plain = Synthetic { shared_prefix_tokens: 0, pool: None, salt: Salt::None };
        let mut source = Self::new(&plain, lengths, tokenizer, seeds, None).counted(counter)?;
        let framed = Framed { frame: template.frame(), salt };
        let (before, after) = framed.texts(longest_output);
        let least = source.counter.count_text(&format!("{before}{}{after}", source.tokenizer.pieces().first[0]));
        if least > shortest as usize {
            return Err(Problem::new(
                "input_tokens",
                format!(
                    "the shortest prompt has {shortest} tokens, but the template and one word have {least}; raise its \
                     smallest length to at least {least}"
                ),
            ));
        }
        source.frame = Some(framed);
        Ok(source)
    }

    /// Tokens asked of the prompt of `who`.
    pub(crate) fn length(&self, who: &Who) -> u32 {
        self.lengths.draw(who)
    }

    /// Piece numbers of a prompt of `length` tokens, with a few to spare.
    fn numbers(&self, who: &Who, length: usize) -> Numbers<'_> {
        let pieces = self.tokenizer.pieces();
        let mut opening = Vec::with_capacity(length);
        // Too short for a salt and words of its own: the salt then keys the words instead.
        let opens_with_salt = length >= 2 * SALT_PIECES + 2;
        if opens_with_salt {
            opening.extend_from_slice(&self.salt);
        }
        let pooled = self.pool.as_ref().and_then(|pool| Some(pool.pieces(pool.prefix(who)?, pieces.next.len())));
        let shared = pooled.as_deref().unwrap_or(&self.shared);
        opening.extend_from_slice(&shared[..shared.len().min(length - opening.len())]);
        if let Some(first) = opening.first_mut() {
            *first %= pieces.first.len() as u32;
        }
        let own = length - opening.len();
        if let Some(texts) = texts(pieces, opening.len(), own) {
            self.push_numbered(who, texts, own, &mut opening);
        }
        let phase_seed = self.text_seeds[who.phase as usize];
        let rng = match &self.run_salt {
            Some(salt) if !opens_with_salt => who.seed(phase_seed.child("salt").child(salt)).rng(),
            _ => who.seed(phase_seed).rng(),
        };
        let mut numbers = Numbers { pieces, numbers: opening, rng };
        numbers.resize(length);
        numbers
    }

    /// Adds the `own` words of the text that this request is dealt among `texts`.
    fn push_numbered(&self, who: &Who, texts: u64, own: usize, numbers: &mut Vec<u32>) {
        let number =
            if texts >= ROOMY_TEXTS { who.number << KIND_BITS | self.kinds[who.phase as usize] } else { who.number };
        let mut text = Permutation::new(texts, self.short_seed.index(own as u64)).at(number % texts);
        for _ in 0..own {
            let choices = self.tokenizer.pieces().at(numbers.len()).len() as u64;
            numbers.push((text % choices) as u32);
            text /= choices;
        }
    }
}

impl PromptSource for SyntheticSource {
    fn draw(&self, who: &Who) -> Drawn {
        let asked = self.length(who);
        let length = asked as usize;
        let (text, counted) = if let Some(framed) = &self.frame {
            let (before, after) = framed.texts(who.output_tokens);
            let around = self.tokenizer.count(&before) + self.tokenizer.count(&after) + self.around;
            let row = self.numbers(who, length.saturating_sub(around).max(1));
            fit(&self.counter, row, (&before, &after), length)
        } else {
            let row = self.numbers(who, length.saturating_sub(self.around).max(1));
            if row.pieces.additive && self.counter.is_content() {
                (row.pieces.text(&row.numbers), length)
            } else {
                fit(&self.counter, row, ("", ""), length)
            }
        };
        let prompt = Prompt::Text(text.into_boxed_str());
        Drawn {
            prompt,
            asked,
            counted: u32::try_from(counted).unwrap_or(u32::MAX),
            answer: None,
            expected_number: None,
        }
    }

    fn longest(&self) -> Option<(u32, Option<u32>)> {
        Some((self.lengths.bounds().1, None))
    }

    fn knows_lengths(&self) -> bool {
        true
    }

    fn lengths(&self, who: &Who) -> (u32, Option<u32>) {
        (self.lengths.draw(who), None)
    }
}

/// Lengthens or shortens the row until its text between two others has `length` tokens in all; else the nearest it found.
pub(super) fn fit(
    counter: &Counter,
    mut row: Numbers<'_>,
    (before, after): (&str, &str),
    length: usize,
) -> (String, usize) {
    let mut best = (usize::MAX, String::new(), 0);
    for _ in 0..REPAIRS {
        let text = row.pieces.text_between(before, &row.numbers, after);
        let counted = counter.count_text(&text);
        if counted == length {
            return (text, counted);
        }
        let size = row.numbers.len();
        if counted.abs_diff(length) < best.0 {
            best = (counted.abs_diff(length), text, counted);
        }
        let wanted = (size + length).saturating_sub(counted).max(1);
        // Stepping back and forth between two sizes: try another last word instead.
        if wanted == size || (counted.abs_diff(length) == 1 && size > 1) {
            row.resize(size - 1);
        }
        row.resize(wanted);
    }
    (best.1, best.2)
}

/// A row of piece numbers that can grow from its own generator.
#[derive(Debug)]
pub(super) struct Numbers<'p> {
    pub(super) pieces: &'p Pieces,
    pub(super) numbers: Vec<u32>,
    pub(super) rng: rand_chacha::ChaCha12Rng,
}

impl Numbers<'_> {
    pub(super) fn resize(&mut self, length: usize) {
        self.numbers.truncate(length);
        while self.numbers.len() < length {
            let choices = self.pieces.at(self.numbers.len()).len();
            self.numbers.push(pick(&mut self.rng, choices));
        }
    }
}

/// How many different texts `own` pieces after `before` others can form, if that is few enough to
/// number them; `None` for no pieces or too many texts.
fn texts(pieces: &Pieces, before: usize, own: usize) -> Option<u64> {
    let texts =
        (0..own).try_fold(1_u64, |texts, position| texts.checked_mul(pieces.at(before + position).len() as u64));
    texts.filter(|texts| own > 0 && *texts <= NUMBERED_TEXTS)
}

/// Different prompts a class can have when its lengths leave it only a few; `None`: more than enough.
pub(crate) fn distinct_prompts(config: &Synthetic, (shortest, longest): (u32, u32), pieces: &Pieces) -> Option<u64> {
    let shared = config.shared_prefix_tokens;
    // Lengths that vary up to more than two words are left to the law of the lengths.
    (shared == 0 && config.pool.is_none() && longest <= 2)
        .then(|| (shortest..=longest).filter_map(|own| texts(pieces, 0, own as usize)).min())?
}
