//! Response bodies: one token event a chunk as the engine emits them, or a whole answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::reply::ApiError;
use super::wire::{self, Shape, Usage};
use crate::simulator::clock::KernelClock;
use crate::simulator::connection::{Break, Link};
use crate::simulator::core::{Emission, FinishReason};
use crate::simulator::driver::Tokens;
use crate::simulator::fault::{Affliction, FaultKind};
use crate::simulator::vocabulary::{AnswerText, Vocabulary};

/// The body of any answer.
#[derive(Debug)]
pub(super) enum SimBody {
    Whole(WholeBody),
    Stream(Box<StreamBody>),
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => body.poll(cx),
            Self::Stream(body) => body.poll(cx),
        }
        .map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.length == 0)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.length),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A body that is known from the start.
#[derive(Debug)]
pub(super) struct WholeBody {
    data: Option<Bytes>,
    length: u64,
    tokens: u32,
    broken: Breaking,
    link: Arc<Link>,
}

impl WholeBody {
    /// `data` stands for `tokens` tokens. With `broken`, half of it gets out.
    pub(super) fn new(data: Bytes, tokens: u32, broken: Option<Break>, link: Arc<Link>) -> Self {
        if data.is_empty() {
            link.end_body();
        }
        Self { length: data.len() as u64, data: Some(data), tokens, broken: Breaking::new(broken), link }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(data) = self.data.take() else {
            if self.broken.how.is_some() {
                return self.broken.poll(cx, &self.link);
            }
            return Poll::Ready(None);
        };
        if self.broken.how.is_some() {
            return Poll::Ready(Some(data.slice(..data.len() / 2)));
        }
        self.link.yielded(self.tokens);
        self.link.end_body();
        Poll::Ready(Some(data))
    }
}

/// The end of a body that breaks its connection.
#[derive(Debug)]
struct Breaking {
    how: Option<Break>,
    told: bool,
}

impl Breaking {
    fn new(how: Option<Break>) -> Self {
        Self { how, told: false }
    }

    /// Never ready: the transport fails with the flush that follows.
    fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Option<Bytes>> {
        if let Some(how) = self.how
            && !self.told
        {
            self.told = true;
            link.break_off(how);
            // hyper flushes after the body has nothing to give, but may just have done so.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// What a stream needs to know about its request.
#[derive(Debug)]
pub(super) struct StreamPlan {
    pub(super) shape: Shape,
    pub(super) answer: AnswerText,
    pub(super) input_tokens: u32,
    /// Whether the final usage says what the prefix cache had.
    pub(super) caching: bool,
    /// Tokens the answer will have: faults strike in its middle.
    pub(super) output_tokens: u32,
    pub(super) include_usage: bool,
    pub(super) continuous_usage: bool,
    pub(super) affliction: Affliction,
}

#[derive(Debug)]
enum Stage {
    Emitting,
    Stalled(Pin<Box<Sleep>>, Emission),
    Ending,
    Breaking(Breaking),
}

/// A stream of events.
#[derive(Debug)]
pub(super) struct StreamBody {
    plan: StreamPlan,
    tokens: Option<Tokens<KernelClock>>,
    vocabulary: Arc<Vocabulary>,
    link: Arc<Link>,
    stage: Stage,
    events: VecDeque<(Bytes, u32)>,
    text: String,
    merged: u32,
    cached_tokens: Option<u32>,
    stalled: bool,
}

impl StreamBody {
    pub(super) fn new(
        plan: StreamPlan,
        tokens: Tokens<KernelClock>,
        vocabulary: Arc<Vocabulary>,
        link: Arc<Link>,
    ) -> Self {
        Self {
            plan,
            tokens: Some(tokens),
            vocabulary,
            link,
            stage: Stage::Emitting,
            events: VecDeque::new(),
            text: String::new(),
            merged: 0,
            cached_tokens: None,
            stalled: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some((event, tokens)) = self.events.pop_front() {
                self.link.yielded(tokens);
                return Poll::Ready(Some(event));
            }
            match &mut self.stage {
                Stage::Emitting => match &mut self.tokens {
                    Some(tokens) => match ready!(tokens.poll_next(cx)) {
                        Some(emission) => {
                            self.link.emitted(&emission);
                            self.take(emission);
                        }
                        // The engine is gone: the server is stopping.
                        None => self.stage = Stage::Breaking(Breaking::new(Some(Break::Close))),
                    },
                    None => self.stage = Stage::Ending,
                },
                Stage::Stalled(sleep, emission) => {
                    let emission = *emission;
                    ready!(sleep.as_mut().poll(cx));
                    self.stage = Stage::Emitting;
                    self.take(emission);
                }
                Stage::Ending => {
                    self.link.end_body();
                    return Poll::Ready(None);
                }
                Stage::Breaking(breaking) => return breaking.poll(cx, &self.link),
            }
        }
    }

    /// Turns a token into events, or into whatever the faults make of it.
    fn take(&mut self, emission: Emission) {
        let index = emission.token_index;
        self.cached_tokens = self.plan.caching.then_some(emission.cached_tokens);
        let main = self.plan.affliction.main;
        if index == 0
            && let Some(opening) = self.plan.shape.opening(self.continuous(0))
            && !self.stalled
        {
            self.events.push_back((opening, 0));
        }
        if main == Some(FaultKind::Empty) {
            self.finish(0);
            return;
        }
        if index == self.plan.output_tokens / 2 {
            if let Some(time) = self.plan.affliction.stall
                && !self.stalled
            {
                self.stalled = true;
                self.push_text(None, index);
                self.stage = Stage::Stalled(Box::pin(tokio::time::sleep(time)), emission);
                return;
            }
            if self.strike(main, index) {
                return;
            }
        }
        self.append(emission);
    }

    /// The fault in the middle of the answer; `true` if the answer ends with it.
    fn strike(&mut self, fault: Option<FaultKind>, index: u32) -> bool {
        let stage = match fault {
            Some(FaultKind::InBandError) => {
                self.push_text(None, index);
                self.events.push_back((wire::error_event(&ApiError::in_band().body()), 0));
                self.events.push_back((wire::DONE, 0));
                Stage::Ending
            }
            Some(FaultKind::Cut) => Stage::Breaking(Breaking::new(Some(Break::Close))),
            Some(FaultKind::Reset) => Stage::Breaking(Breaking::new(Some(Break::Reset))),
            Some(FaultKind::Malformed) => {
                self.events.push_back((wire::MALFORMED, 0));
                return false;
            }
            _ => return false,
        };
        self.push_text(None, index);
        self.stage = stage;
        self.tokens = None;
        true
    }

    fn append(&mut self, emission: Emission) {
        let produced = emission.token_index + 1;
        // The token that ends an answer by itself has no text, as with a real end-of-sequence token.
        if emission.finish_reason != Some(FinishReason::Stop) {
            let json = &self.vocabulary.piece(&self.plan.answer, emission.token_index).json;
            self.text.push_str(&json[1..json.len() - 1]);
        }
        self.merged += 1;
        if emission.last() || self.merged >= self.plan.affliction.merge.unwrap_or(1) {
            self.push_text(emission.finish_reason, produced);
        }
        if emission.last() {
            self.finish(produced);
        }
    }

    /// An event of the text that was gathered, if there is any or the answer ends.
    fn push_text(&mut self, finish: Option<FinishReason>, produced: u32) {
        if self.merged > 0 || finish.is_some() {
            let event = self.plan.shape.content(&self.text, finish, self.continuous(produced));
            self.events.push_back((event, self.merged));
            self.text.clear();
            self.merged = 0;
        }
    }

    fn finish(&mut self, output_tokens: u32) {
        if self.plan.include_usage {
            let usage =
                Usage { input_tokens: self.plan.input_tokens, output_tokens, cached_tokens: self.cached_tokens };
            self.events.push_back((self.plan.shape.usage(usage), 0));
        }
        if self.plan.affliction.main != Some(FaultKind::NoDone) {
            self.events.push_back((wire::DONE, 0));
        }
        self.tokens = None;
        self.stage = Stage::Ending;
    }

    fn continuous(&self, output_tokens: u32) -> Option<Usage> {
        (self.plan.include_usage && self.plan.continuous_usage).then_some(Usage {
            input_tokens: self.plan.input_tokens,
            output_tokens,
            cached_tokens: None,
        })
    }
}
