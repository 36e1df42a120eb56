//! The open loop: absolute arrival times that no answer can move.

use std::sync::{Arc, OnceLock};

use rand_chacha::ChaCha12Rng;

use super::Arrival;
use super::load::trace::Replay;
use super::load::{Arrivals, Process};
use super::split::{ClassSplit, SplitCursor};
use super::window::{Window, WindowRule};
use crate::seed::Seed;
use crate::units::Nanos;

/// An open loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenLoop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    streams: Vec<Stream>,
    classes: usize,
    rule: WindowRule,
    window: OnceLock<Window>,
}

/// A process of its own and the classes that share it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) process: Process,
    pub(crate) seed: Seed,
    pub(crate) split: ClassSplit,
    /// The class whose load it is; `None`: the common one.
    pub(crate) own: Option<usize>,
}

impl OpenLoop {
    pub(crate) fn new(streams: Vec<Stream>, classes: usize, rule: WindowRule) -> Self {
        Self(Arc::new(Inner { streams, classes, rule, window: OnceLock::new() }))
    }

    /// All arrivals from the start of the point: warm-up, window and drain are one process. Endless, except for a
    /// single burst.
    pub fn schedule(&self) -> Schedule {
        Schedule { heads: self.0.streams.iter().map(Head::new).collect(), place: 0 }
    }

    /// The measured window. The first call walks the schedule to the window's end, about 20 ns an arrival.
    pub fn window(&self) -> &Window {
        self.0.window.get_or_init(|| find_window(self.schedule(), self.0.rule, self.0.classes))
    }

    /// The part of a trace that the arrivals of a load are, if they are one: of the common load, or that of a class.
    pub(crate) fn replay(&self, own: Option<usize>) -> Option<&Replay> {
        self.0.streams.iter().filter(|stream| stream.own == own).find_map(|stream| match &stream.process {
            Process::Trace(replay) => Some(replay),
            _ => None,
        })
    }

    /// The rule that ends the window.
    pub fn rule(&self) -> WindowRule {
        self.0.rule
    }
}

/// Walks the arrivals of an open loop in order of time; at the same instant those of the earlier stream come first.
/// Cheap to clone; a clone goes on from the same place.
#[derive(Clone, Debug)]
pub struct Schedule {
    heads: Vec<Head>,
    place: u64,
}

/// How far the schedule has got in one stream.
#[derive(Clone, Debug)]
struct Head {
    process: Process,
    gaps: ChaCha12Rng,
    classes: SplitCursor,
    index: u64,
    /// Time of arrival `index`; `None` after the last.
    next: Option<Nanos>,
}

impl Head {
    fn new(stream: &Stream) -> Self {
        let (process, mut gaps) = (stream.process.clone(), stream.seed.rng());
        let next = process.next_at(0, 0, &mut gaps);
        Self { process, gaps, classes: stream.split.from(0), index: 0, next }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let due = |head: &&mut Head| head.next.is_some();
        let head = self.heads.iter_mut().filter(due).min_by_key(|head| head.next)?;
        let (at, index, place) = (head.next?, head.index, self.place);
        let arrival = Arrival { index, place, at, class: head.classes.next_class() };
        head.index += 1;
        head.next = head.process.next_at(head.index, at, &mut head.gaps);
        self.place += 1;
        Some(arrival)
    }
}

fn find_window(schedule: Schedule, rule: WindowRule, classes: usize) -> Window {
    let mut window = Window {
        warmup_end_ns: rule.warmup_end,
        measure_end_ns: 0,
        warmup: 0,
        measured: 0,
        warmup_by_class: vec![0; classes],
        measured_by_class: vec![0; classes],
    };
    let mut last = None;
    for arrival in schedule {
        let class = usize::from(arrival.class);
        if arrival.at < rule.warmup_end {
            window.warmup += 1;
            window.warmup_by_class[class] += 1;
        } else if rule.ended(arrival.at, window.measured) {
            window.measure_end_ns = end_before(&rule, arrival.at, window.measured, last);
            return window;
        } else {
            window.measured += 1;
            window.measured_by_class[class] += 1;
            last = Some(arrival.at);
        }
    }
    // The schedule ended first: time alone ends the window.
    let earliest = after(last, &rule);
    window.measure_end_ns = rule.ends_at(window.measured).unwrap_or(earliest).max(earliest);
    window
}

/// Where the window ended that the arrival at `next` is the first to miss: at the limit of time it
/// crossed, or, when a limit on requests ended it, at `next` itself. Arrivals that share an instant with
/// the last measured one are past the end by index, and the end is just after that instant.
fn end_before(rule: &WindowRule, next: Nanos, measured: u64, last: Option<Nanos>) -> Nanos {
    let soft = (measured >= rule.soft_requests && next >= rule.soft_end).then(|| {
        // An arrival at or after the soft end is measured only while requests are missing.
        if last.is_some_and(|last| last >= rule.soft_end) { next } else { rule.soft_end }
    });
    let hard = rule.hard_end.filter(|end| *end <= next);
    let requests = rule.hard_requests.filter(|limit| measured >= *limit).map(|_| next);
    let end = soft.into_iter().chain(hard).chain(requests).min().unwrap_or(next);
    end.max(after(last, rule))
}

/// The earliest end that has the last measured arrival inside.
fn after(last: Option<Nanos>, rule: &WindowRule) -> Nanos {
    last.map_or(rule.warmup_end, |last| last.saturating_add(1))
}
