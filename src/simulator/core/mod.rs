//! The engine itself: continuous batching with chunked prefill, slots and a KV cache, as a pure loop.
//!
//! Rules, in the order they apply when a step begins:
//! 1. Jobs that have arrived by then join the waiting line in order of arrival.
//! 2. Every sequence whose prompt is computed decodes one token.
//! 3. The step's prefill budget goes to running sequences whose prompt is not yet computed, oldest first.
//! 4. While budget, slots and KV blocks last, waiting jobs are admitted in order; a job that does not fit holds up those
//!    behind it.
//!
//! **Room.** With preemption, a job is admitted when its prompt fits, and its answer takes further blocks as it grows. When
//! there is none, the youngest running sequence is put back at the head of the line and loses its blocks; later its prompt
//! and the tokens it has emitted are computed again. Nobody is admitted in a step that preempted. Without preemption, a job
//! is admitted only when its prompt *and* the whole answer it asked for fit.
//!
//! **Prefix cache.** A block that is full and computed is known by its content at the end of the step. A job that is admitted
//! shares the known blocks its prompt begins with, which are not computed again; at least its last token always is. Blocks
//! that nobody holds stay known until their room is needed, the longest unused first.
//!
//! The step lasts [`Profile::step_ns`] times its jitter. When it ends, each decoding sequence emits a
//! token, a sequence whose prompt is complete emits its first one, and finished sequences leave.
//! Steps follow each other without a gap on an absolute schedule, however late the caller looks.

mod blocks;
mod jitter;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::profile::{BLOCK_TOKENS, Profile};
use crate::seed::Seed;
use crate::units::Nanos;
use blocks::Blocks;
pub use blocks::{BlockHash, BlockHasher};
use jitter::Jitter;

/// Number of a job, chosen by the caller and unique.
pub type JobId = u64;

/// A request as the engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Tokens of the prompt; 0 counts as 1.
    pub input_tokens: u32,
    /// Most tokens of the answer; 0 counts as 1.
    pub max_tokens: u32,
    /// The answer ends by itself after this many tokens, if that is fewer.
    pub stop_after: Option<u32>,
    /// What the full blocks of the prompt, followed by the answer, hold. Blocks beyond the list are shared with nobody.
    pub content: Vec<BlockHash>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

impl FinishReason {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// One token of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emission {
    /// When its step ended.
    pub at: Nanos,
    /// Whose it is.
    pub job: JobId,
    /// Its place in the answer, from 0.
    pub token_index: u32,
    /// Set on the last token.
    pub finish_reason: Option<FinishReason>,
    /// When the job first left the waiting line.
    pub admitted: Nanos,
    /// Tokens of the prompt that were in the prefix cache then.
    pub cached_tokens: u32,
}

impl Emission {
    /// Whether the answer is complete.
    pub const fn last(&self) -> bool {
        self.finish_reason.is_some()
    }
}

/// The job can never be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job needs {needed} KV-cache blocks, the engine has {total}")]
pub struct TooLarge {
    /// Blocks for prompt and answer.
    pub needed: u64,
    /// Blocks there are.
    pub total: u64,
}

/// What a sequence does in the step that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Nothing,
    Prefill(u32),
    Decode,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences that were put back into the line.
    pub preemptions: u64,
    /// Prompt tokens of jobs that were looked up in the prefix cache, each once.
    pub prefix_queries: u64,
    /// Those of them that were there.
    pub prefix_hits: u64,
}

#[derive(Clone, Debug)]
struct Sequence {
    job: Job,
    /// Blocks of prompt and whole answer.
    all_blocks: u64,
    /// Blocks held that are known by content: the first ones.
    shared: usize,
    /// Blocks held beyond those.
    private: u64,
    admitted: Option<Nanos>,
    cached_tokens: u32,
    /// Tokens whose keys and values are there.
    computed: u32,
    emitted: u32,
    part: Part,
}

impl Sequence {
    fn new(job: Job) -> Self {
        let job = Job { input_tokens: job.input_tokens.max(1), max_tokens: job.max_tokens.max(1), ..job };
        let all_blocks = (u64::from(job.input_tokens) + u64::from(job.max_tokens)).div_ceil(BLOCK_TOKENS);
        Self {
            job,
            all_blocks,
            shared: 0,
            private: 0,
            admitted: None,
            cached_tokens: 0,
            computed: 0,
            emitted: 0,
            part: Part::Nothing,
        }
    }

    /// Tokens of prompt and answer so far: what has to be computed before the next token.
    fn tokens(&self) -> u32 {
        self.job.input_tokens.saturating_add(self.emitted)
    }

    /// Whether all but the last emitted token is computed.
    fn decodes(&self) -> bool {
        self.emitted > 0 && self.computed + 1 == self.tokens()
    }

    /// Plans a piece of the prompt (and, after a preemption, of the answer) and returns its length.
    fn prefill(&mut self, budget: u32) -> u32 {
        let chunk = budget.min(self.tokens() - self.computed);
        self.part = if chunk > 0 { Part::Prefill(chunk) } else { Part::Nothing };
        chunk
    }

    /// Does what was planned; `true` if that gives a token.
    fn complete_part(&mut self) -> bool {
        match std::mem::take(&mut self.part) {
            Part::Nothing => return false,
            Part::Prefill(tokens) => {
                self.computed += tokens;
                if self.computed < self.tokens() {
                    return false;
                }
            }
            Part::Decode => self.computed += 1,
        }
        self.emitted += 1;
        true
    }

    /// The next block that is full and computed, if it is not known yet.
    fn next_full(&self) -> Option<BlockHash> {
        let computed = u64::from(self.computed) / BLOCK_TOKENS;
        (computed > self.shared as u64).then(|| self.job.content.get(self.shared).copied()).flatten()
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        if self.job.stop_after.is_some_and(|stop| self.emitted >= stop.max(1)) {
            Some(FinishReason::Stop)
        } else if self.emitted >= self.job.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    start: Nanos,
    end: Nanos,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Nanos,
    length: Nanos,
}

/// The step loop. Deterministic: the same calls give the same tokens at the same nanoseconds.
#[derive(Debug)]
pub struct Core {
    profile: Profile,
    jitter: Option<Jitter>,
    now: Nanos,
    arrivals: BTreeMap<(Nanos, u64), Sequence>,
    submitted: u64,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    blocks: Blocks,
    counts: Counts,
    step: Option<Step>,
    steps: u64,
    pauses: Vec<Pause>,
}

impl Core {
    /// An idle engine at time 0.
    pub fn new(profile: Profile, seed: u64) -> Self {
        let jitter = Jitter::new(profile.jitter, Seed::root(seed).child("simulator/jitter"));
        let blocks = Blocks::new(profile.kv_blocks(), profile.prefix_cache);
        Self {
            profile,
            jitter,
            now: 0,
            arrivals: BTreeMap::new(),
            submitted: 0,
            waiting: VecDeque::new(),
            running: Vec::new(),
            blocks,
            counts: Counts::default(),
            step: None,
            steps: 0,
            pauses: Vec::new(),
        }
    }

    /// Hands in a job that arrives at `at`, which may lie in the future but not before the last
    /// [`advance_to`](Self::advance_to). Jobs with the same arrival keep the order of the calls.
    ///
    /// # Errors
    /// When the job needs more KV blocks than there are.
    pub fn submit(&mut self, at: Nanos, job: Job) -> Result<(), TooLarge> {
        let sequence = Sequence::new(job);
        let total = self.blocks.total();
        if sequence.all_blocks > total {
            return Err(TooLarge { needed: sequence.all_blocks, total });
        }
        self.arrivals.insert((at, self.submitted), sequence);
        self.submitted += 1;
        Ok(())
    }

    /// Takes a job out, whatever it is doing, and frees its slot and blocks at once. The step under way
    /// keeps its length. `false` if the job is not there (any more).
    pub fn cancel(&mut self, id: JobId) -> bool {
        if let Some(index) = self.running.iter().position(|sequence| sequence.job.id == id) {
            let sequence = self.running.remove(index);
            self.blocks.release(&sequence.job.content[..sequence.shared], sequence.private);
            return true;
        }
        if let Some(index) = self.waiting.iter().position(|sequence| sequence.job.id == id) {
            self.waiting.remove(index);
            return true;
        }
        let key = self.arrivals.iter().find(|(_, sequence)| sequence.job.id == id).map(|(key, _)| *key);
        key.is_some_and(|key| self.arrivals.remove(&key).is_some())
    }

    /// The engine stands still for `length` from `from` on: no step begins, and the step under way at
    /// that moment takes so much longer.
    pub fn pause(&mut self, from: Nanos, length: Nanos) {
        if let Some(step) = &mut self.step
            && step.start < from
            && from < step.end
        {
            step.end = step.end.saturating_add(length);
        }
        self.pauses.push(Pause { from, length });
        self.pauses.sort_by_key(|pause| pause.from);
    }

    /// When something happens next, or `None` if nothing will. Begins the step that is due at the
    /// present: jobs that have arrived by now must have been submitted before.
    pub fn next_event_time(&mut self) -> Option<Nanos> {
        if self.step.is_none() {
            let start = self.next_start()?;
            if start > self.now {
                return Some(start);
            }
            self.begin(start);
        }
        self.step.map(|step| step.end)
    }

    /// Lets time pass up to and including `until` and appends the tokens that come, in order of time
    /// and, within a step, of admission.
    pub fn advance_to(&mut self, until: Nanos, emissions: &mut Vec<Emission>) {
        loop {
            if let Some(step) = self.step {
                if step.end > until {
                    return;
                }
                self.finish(step, emissions);
                continue;
            }
            match self.next_start() {
                // A step that is due exactly at `until` begins with the next call, so that jobs that
                // arrive at that very moment still take part.
                Some(start) if start < until => self.begin(start),
                Some(start) if start == until => {
                    self.now = start;
                    return;
                }
                _ => return,
            }
        }
    }

    /// Sequences in the batch.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Jobs that were handed in and are not in the batch.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.arrivals.len()
    }

    /// Share of the KV cache that sequences hold, from 0 to 1. Blocks that are only known do not count: their room can be
    /// had.
    pub fn kv_usage(&self) -> f64 {
        let total = self.blocks.total();
        if total == 0 { 0.0 } else { (total - self.blocks.available()) as f64 / total as f64 }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Steps begun so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn next_start(&self) -> Option<Nanos> {
        let mut start = if self.running.is_empty() && self.waiting.is_empty() {
            self.arrivals.first_key_value()?.0.0.max(self.now)
        } else {
            self.now
        };
        for pause in &self.pauses {
            let until = pause.from.saturating_add(pause.length);
            if pause.from <= start && start < until {
                start = until;
            }
        }
        Some(start)
    }

    fn begin(&mut self, start: Nanos) {
        self.now = start;
        self.take_arrivals(start);
        let preempted = self.profile.preemption && self.make_room();
        let (mut sequences, mut context, mut prefill) = (0_u64, 0_u64, 0_u64);
        let mut budget = self.profile.capacity.prefill_budget_tokens;
        for sequence in &mut self.running {
            if sequence.decodes() {
                sequence.part = Part::Decode;
                sequences += 1;
                context += u64::from(sequence.tokens());
            } else {
                let chunk = sequence.prefill(budget);
                budget -= chunk;
                prefill += u64::from(chunk);
                sequences += u64::from(chunk > 0);
                context += if chunk > 0 { u64::from(sequence.computed) } else { 0 };
            }
        }
        while !preempted
            && budget > 0
            && let Some((chunk, cached)) = self.admit(start, budget)
        {
            budget -= chunk;
            prefill += u64::from(chunk);
            sequences += 1;
            context += u64::from(cached);
        }
        let length = self.profile.step_ns(prefill, sequences, context);
        let length = self.jitter.as_ref().map_or(length, |jitter| jitter.apply(self.steps, length));
        self.steps += 1;
        self.step = Some(Step { start, end: self.end_after_pauses(start, start.saturating_add(length)) });
    }

    fn take_arrivals(&mut self, until: Nanos) {
        let later = self.arrivals.split_off(&(until.saturating_add(1), 0));
        self.waiting.extend(std::mem::replace(&mut self.arrivals, later).into_values());
    }

    /// Gives every decoding sequence the block for its next token, the oldest first, at the cost of the youngest; `true` if
    /// that preempted one.
    fn make_room(&mut self) -> bool {
        let (mut index, mut preempted) = (0, false);
        while index < self.running.len() {
            let sequence = &self.running[index];
            let held = sequence.shared as u64 + sequence.private;
            // Room for a prompt was taken when it was admitted, so one block is all that can be missing.
            let missing = u64::from(u64::from(sequence.tokens()) > held * BLOCK_TOKENS);
            if self.blocks.take(missing) {
                self.running[index].private += missing;
                index += 1;
                continue;
            }
            self.preempt_youngest();
            preempted = true;
        }
        preempted
    }

    /// Puts the youngest sequence back at the head of the line; it keeps what it has emitted and nothing else.
    fn preempt_youngest(&mut self) {
        let Some(mut sequence) = self.running.pop() else { return };
        self.blocks.release(&sequence.job.content[..sequence.shared], sequence.private);
        (sequence.shared, sequence.private, sequence.computed) = (0, 0, 0);
        sequence.part = Part::Nothing;
        self.waiting.push_front(sequence);
        self.counts.preemptions += 1;
    }

    /// Moves the head of the line into the batch if it fits, and plans its first piece of prompt. Gives the length of
    /// that piece and of what the prefix cache had of the prompt.
    fn admit(&mut self, at: Nanos, budget: u32) -> Option<(u32, u32)> {
        let head = self.waiting.front()?;
        if self.running.len() >= self.profile.capacity.slots as usize {
            return None;
        }
        // The last token is computed in any case: the next one comes of it.
        let reusable = ((head.tokens() - 1) as u64 / BLOCK_TOKENS) as usize;
        let reusable = &head.job.content[..reusable.min(head.job.content.len())];
        let hits = self.blocks.hits(reusable);
        let wanted = match self.profile.preemption {
            true => u64::from(head.tokens()).div_ceil(BLOCK_TOKENS),
            false => head.all_blocks,
        };
        let fresh = wanted - hits as u64;
        if !self.blocks.admit(&reusable[..hits], fresh) {
            return None;
        }
        let mut sequence = self.waiting.pop_front()?;
        let cached = u32::try_from(hits as u64 * BLOCK_TOKENS).unwrap_or(u32::MAX);
        (sequence.shared, sequence.private, sequence.computed) = (hits, fresh, cached);
        if sequence.admitted.is_none() {
            sequence.admitted = Some(at);
            sequence.cached_tokens = cached;
            if self.blocks.caching() {
                self.counts.prefix_queries += u64::from(sequence.job.input_tokens);
                self.counts.prefix_hits += u64::from(cached);
            }
        }
        let chunk = sequence.prefill(budget);
        self.running.push(sequence);
        Some((chunk, cached))
    }

    fn end_after_pauses(&self, start: Nanos, mut end: Nanos) -> Nanos {
        for pause in &self.pauses {
            if start < pause.from && pause.from < end {
                end = end.saturating_add(pause.length);
            }
        }
        end
    }

    fn finish(&mut self, step: Step, emissions: &mut Vec<Emission>) {
        self.step = None;
        self.now = step.end;
        let blocks = &mut self.blocks;
        self.running.retain_mut(|sequence| {
            let emits = sequence.complete_part();
            while blocks.caching()
                && let Some(hash) = sequence.next_full()
            {
                blocks.publish(hash);
                sequence.shared += 1;
                sequence.private -= 1;
            }
            if !emits {
                return true;
            }
            let finish_reason = sequence.finish_reason();
            emissions.push(Emission {
                at: step.end,
                job: sequence.job.id,
                token_index: sequence.emitted - 1,
                finish_reason,
                admitted: sequence.admitted.unwrap_or(step.start),
                cached_tokens: sequence.cached_tokens,
            });
            if finish_reason.is_some() {
                blocks.release(&sequence.job.content[..sequence.shared], sequence.private);
            }
            finish_reason.is_none()
        });
    }
}
