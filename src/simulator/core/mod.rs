//! The engine itself: continuous batching with chunked prefill, slots and a KV cache, as a pure loop.
//!
//! Rules, in the order they apply when a step begins:
//! 1. Jobs that have arrived by then join the waiting line in order of arrival.
//! 2. Every sequence whose prompt is computed decodes one token.
//! 3. The step's prefill budget goes to running sequences whose prompt is not yet computed, oldest first.
//! 4. While budget, slots and KV blocks last, waiting jobs are admitted in order. A job is admitted only
//!    when its whole prompt *and* the whole answer it asked for fit, so nothing is ever preempted; a job
//!    that does not fit holds up those behind it.
//!
//! The step lasts [`Profile::step_ns`] times its jitter. When it ends, each decoding sequence emits a
//! token, a sequence whose prompt is complete emits its first one, and finished sequences leave.
//! Steps follow each other without a gap on an absolute schedule, however late the caller looks.

mod jitter;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::profile::{BLOCK_TOKENS, Profile};
use crate::seed::Seed;
use crate::units::Nanos;
use jitter::Jitter;

/// Number of a job, chosen by the caller and unique.
pub type JobId = u64;

/// A request as the engine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Tokens of the prompt; 0 counts as 1.
    pub input_tokens: u32,
    /// Most tokens of the answer; 0 counts as 1. KV space is reserved for all of them.
    pub max_tokens: u32,
    /// The answer ends by itself after this many tokens, if that is fewer.
    pub stop_after: Option<u32>,
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
    /// When the job left the waiting line.
    pub admitted: Nanos,
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

#[derive(Clone, Copy, Debug)]
struct Sequence {
    job: Job,
    blocks: u64,
    admitted: Nanos,
    prefilled: u32,
    emitted: u32,
    part: Part,
}

impl Sequence {
    fn new(job: Job) -> Self {
        let job = Job { input_tokens: job.input_tokens.max(1), max_tokens: job.max_tokens.max(1), ..job };
        let tokens = u64::from(job.input_tokens) + u64::from(job.max_tokens);
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        Self { job, blocks, admitted: 0, prefilled: 0, emitted: 0, part: Part::Nothing }
    }

    /// Plans a piece of the prompt and returns its length.
    fn prefill(&mut self, budget: u32) -> u32 {
        let chunk = budget.min(self.job.input_tokens - self.prefilled);
        self.part = if chunk > 0 { Part::Prefill(chunk) } else { Part::Nothing };
        chunk
    }

    /// Does what was planned; `true` if that gives a token.
    fn complete_part(&mut self) -> bool {
        match std::mem::take(&mut self.part) {
            Part::Nothing => return false,
            Part::Prefill(tokens) => {
                self.prefilled += tokens;
                if self.prefilled < self.job.input_tokens {
                    return false;
                }
            }
            Part::Decode => {}
        }
        self.emitted += 1;
        true
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
    free_blocks: u64,
    step: Option<Step>,
    steps: u64,
    pauses: Vec<Pause>,
}

impl Core {
    /// An idle engine at time 0.
    pub fn new(profile: Profile, seed: u64) -> Self {
        let jitter = Jitter::new(profile.jitter, Seed::root(seed).child("simulator/jitter"));
        let free_blocks = profile.kv_blocks();
        Self {
            profile,
            jitter,
            now: 0,
            arrivals: BTreeMap::new(),
            submitted: 0,
            waiting: VecDeque::new(),
            running: Vec::new(),
            free_blocks,
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
        let total = self.profile.kv_blocks();
        if sequence.blocks > total {
            return Err(TooLarge { needed: sequence.blocks, total });
        }
        self.arrivals.insert((at, self.submitted), sequence);
        self.submitted += 1;
        Ok(())
    }

    /// Takes a job out, whatever it is doing, and frees its slot and blocks at once. The step under way
    /// keeps its length. `false` if the job is not there (any more).
    pub fn cancel(&mut self, id: JobId) -> bool {
        if let Some(index) = self.running.iter().position(|sequence| sequence.job.id == id) {
            self.free_blocks += self.running.remove(index).blocks;
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

    /// Share of the KV cache that is reserved, from 0 to 1.
    pub fn kv_usage(&self) -> f64 {
        let total = self.profile.kv_blocks();
        if total == 0 { 0.0 } else { (total - self.free_blocks) as f64 / total as f64 }
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
        let (mut sequences, mut context, mut prefill) = (0_u64, 0_u64, 0_u64);
        let mut budget = self.profile.capacity.prefill_budget_tokens;
        for sequence in &mut self.running {
            if sequence.prefilled == sequence.job.input_tokens {
                sequence.part = Part::Decode;
                sequences += 1;
                context += u64::from(sequence.job.input_tokens) + u64::from(sequence.emitted);
            } else {
                let chunk = sequence.prefill(budget);
                budget -= chunk;
                prefill += u64::from(chunk);
                sequences += u64::from(chunk > 0);
                context += if chunk > 0 { u64::from(sequence.prefilled) } else { 0 };
            }
        }
        while budget > 0
            && let Some(chunk) = self.admit(start, budget)
        {
            budget -= chunk;
            prefill += u64::from(chunk);
            sequences += 1;
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

    /// Moves the head of the line into the batch if it fits, and plans its first piece of prompt.
    fn admit(&mut self, at: Nanos, budget: u32) -> Option<u32> {
        let head = self.waiting.front()?;
        if self.running.len() >= self.profile.capacity.slots as usize || head.blocks > self.free_blocks {
            return None;
        }
        let mut sequence = self.waiting.pop_front()?;
        self.free_blocks -= sequence.blocks;
        sequence.admitted = at;
        let chunk = sequence.prefill(budget);
        self.running.push(sequence);
        Some(chunk)
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
        let mut freed = 0;
        self.running.retain_mut(|sequence| {
            if !sequence.complete_part() {
                return true;
            }
            let finish_reason = sequence.finish_reason();
            emissions.push(Emission {
                at: step.end,
                job: sequence.job.id,
                token_index: sequence.emitted - 1,
                finish_reason,
                admitted: sequence.admitted,
            });
            if finish_reason.is_some() {
                freed += sequence.blocks;
            }
            finish_reason.is_none()
        });
        self.free_blocks += freed;
    }
}
