//! What is kept of one traffic class: memory that does not grow with its requests.

use std::collections::BTreeMap;

use super::accumulator::ClassSpec;
use super::derive::{gaps, token_gaps, value};
use super::distribution::Distribution;
use super::lengths::LengthTotals;
use super::metric::{Metric, Unit};
use super::reasons::Reasons;
use super::slo::{Measured, Tally};
use super::timeline::{Outcome, Phase};
use super::window::{Inside, MICRO};
use crate::report::model::{
    ClassReport, MetricReport, Outcomes, Phases, Rates, SessionsReport, Throughput, TokenAttribution, Tokens,
};
use crate::report::requests::{OutputSource, RequestRecord};

/// Sums, histograms and counters of a class; of all classes once merged.
#[derive(Clone, Debug)]
pub(crate) struct ClassTotals {
    pub(crate) outcomes: Outcomes,
    pub(crate) phases: Phases,
    pub(crate) reasons: Reasons,
    /// Of every measured request that a worker took up, completed or not: what judges the client.
    pub(crate) dispatch_lag: Distribution,
    pub(crate) stamps: u64,
    pub(crate) blurred_stamps: u64,
    pub(crate) lengths: LengthTotals,
    metrics: [Distribution; Metric::ALL.len()],
    started: u64,
    tokens: Tokens,
    attribution: Option<TokenAttribution>,
    pub(crate) sessions: SessionsReport,
}

impl ClassTotals {
    pub(crate) fn new() -> Self {
        Self {
            outcomes: Outcomes::default(),
            phases: Phases::default(),
            reasons: Reasons::default(),
            dispatch_lag: Distribution::new(Unit::Time),
            stamps: 0,
            blurred_stamps: 0,
            lengths: LengthTotals::default(),
            metrics: Metric::ALL.map(|metric| Distribution::new(metric.unit())),
            started: 0,
            tokens: Tokens::default(),
            attribution: None,
            sessions: SessionsReport::default(),
        }
    }

    /// Counts a request of a phase that is not measured.
    pub(crate) fn observe_unmeasured(&mut self, phase: Phase, outcome: Outcome) {
        let outcomes = match phase {
            Phase::Warmup => &mut self.phases.warmup.outcomes,
            Phase::Drain => &mut self.phases.drain.outcomes,
            Phase::Measure => return,
        };
        outcomes.planned += 1;
        outcomes.add(outcome);
    }

    /// Counts a measured request.
    pub(crate) fn observe(&mut self, record: &RequestRecord) {
        self.outcomes.add(record.outcome);
        if let Some(turn) = record.id.turn() {
            self.sessions.started += u64::from(turn == 0);
            self.sessions.turns += 1;
            self.sessions.broken += u64::from(record.outcome != Outcome::Completed);
        }
        self.lengths.observe(&record.tokens);
        self.started += u64::from(record.stamps_ns.dispatched.is_some() && record.outcome != Outcome::NotSent);
        if let Some(lag) = value(record, Metric::DispatchLag) {
            self.dispatch_lag.record(lag);
        }
        if let Some(events) = &record.events {
            self.stamps += events.len() as u64;
            self.blurred_stamps += events.blurred.len() as u64;
        }
        if record.outcome == Outcome::Completed {
            self.observe_completed(record);
        } else {
            self.reasons.add(record.outcome, record.reason.as_ref());
        }
    }

    fn observe_completed(&mut self, record: &RequestRecord) {
        for metric in Metric::ALL {
            let distribution = &mut self.metrics[metric.index()];
            match metric {
                Metric::Itl => gaps(record).for_each(|gap| distribution.record(gap)),
                Metric::Tbt => token_gaps(record).iter().for_each(|(gap, n)| distribution.record_n(*gap, *n)),
                _ => {
                    if let Some(value) = value(record, metric) {
                        distribution.record(value);
                    }
                }
            }
        }
        if let Some(events) = &record.events {
            self.attribution = self.attribution.max(Some(events.attribution));
            self.tokens.events += events.len() as u64;
        }
        self.observe_tokens(record);
    }

    fn observe_tokens(&mut self, record: &RequestRecord) {
        let (tokens, totals) = (&record.tokens, &mut self.tokens);
        totals.empty_events += u64::from(record.empty_events);
        totals.input.asked += tokens.input_asked;
        totals.input.cached += tokens.input_cached.unwrap_or(0);
        match (tokens.input_usage, tokens.input_counted) {
            (Some(count), _) => {
                totals.input.by_usage += 1;
                totals.input.measured += count;
            }
            (None, Some(count)) => {
                totals.input.by_tokenizer += 1;
                totals.input.measured += count;
            }
            (None, None) => totals.input.unknown += 1,
        }
        totals.output_asked += tokens.output_asked;
        totals.output += tokens.output.unwrap_or(0);
        *match tokens.output_source {
            Some(OutputSource::Usage) => &mut totals.output_sources.usage,
            Some(OutputSource::Tokenizer) => &mut totals.output_sources.tokenizer,
            Some(OutputSource::Events) => &mut totals.output_sources.events,
            None => &mut totals.output_sources.unknown,
        } += 1;
        if let (Some(OutputSource::Usage), Some(usage), Some(counted)) =
            (tokens.output_source, tokens.output, tokens.output_counted)
        {
            totals.disagreement.compared += 1;
            totals.disagreement.differing += u64::from(usage != counted);
            totals.disagreement.usage += usage;
            totals.disagreement.tokenizer += counted;
        }
    }

    /// Adds another class: the totals of a point are those of its classes together.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.outcomes.merge(&other.outcomes);
        self.sessions.started += other.sessions.started;
        self.sessions.turns += other.sessions.turns;
        self.sessions.broken += other.sessions.broken;
        self.phases.warmup.outcomes.merge(&other.phases.warmup.outcomes);
        self.phases.drain.outcomes.merge(&other.phases.drain.outcomes);
        self.reasons.merge(&other.reasons);
        self.dispatch_lag.merge(&other.dispatch_lag);
        self.stamps += other.stamps;
        self.blurred_stamps += other.blurred_stamps;
        self.metrics.iter_mut().zip(&other.metrics).for_each(|(mine, theirs)| mine.merge(theirs));
        self.started += other.started;
        self.lengths.merge(&other.lengths);
        merge_tokens(&mut self.tokens, &other.tokens);
        self.attribution = self.attribution.max(other.attribution);
    }

    /// The totals as a report holds them. `offered` is false in a closed loop.
    pub(crate) fn report(&self, inside: &Inside, window_s: Option<f64>, offered: bool) -> ClassReport {
        #[allow(clippy::cast_precision_loss)]
        let per_s = |count: u64| window_s.map(|seconds| count as f64 / seconds);
        #[allow(clippy::cast_precision_loss)]
        let output = window_s.map(|seconds| inside.output_micro as f64 / MICRO as f64 / seconds);
        ClassReport {
            outcomes: self.outcomes,
            rates: Rates {
                offered_per_s: per_s(self.outcomes.planned).filter(|_| offered),
                started_per_s: per_s(self.started),
                completed_per_s: per_s(self.outcomes.completed),
            },
            throughput: Throughput {
                requests_per_s: per_s(inside.requests),
                input_tokens_per_s: per_s(inside.input_tokens),
                output_tokens_per_s: output,
            },
            metrics: self.metric_reports(),
            goodput: None,
            slo: Vec::new(),
            token_attribution: self.attribution,
            tokens: self.tokens,
            lengths: self.lengths.report(),
        }
    }

    /// Hands the SLO of the class what it is judged by.
    pub(crate) fn judge(&self, spec: &ClassSpec, tally: &Tally, window_s: Option<f64>, report: &mut ClassReport) {
        let measured = Measured { class: &spec.name, outcomes: &self.outcomes, window_s, metrics: self.by_metric() };
        report.goodput = tally.goodput_report(&measured);
        report.slo = tally.report(&measured);
    }

    fn by_metric(&self) -> BTreeMap<Metric, &Distribution> {
        Metric::ALL.into_iter().zip(&self.metrics).collect()
    }

    fn metric_reports(&self) -> BTreeMap<String, MetricReport> {
        Metric::ALL
            .into_iter()
            .zip(&self.metrics)
            .filter_map(|(metric, distribution)| Some((metric.name().to_owned(), distribution.report()?)))
            .collect()
    }
}

fn merge_tokens(mine: &mut Tokens, theirs: &Tokens) {
    let Tokens { input, output_sources, disagreement, output, output_asked, events, empty_events } = theirs;
    mine.input.asked += input.asked;
    mine.input.measured += input.measured;
    mine.input.by_usage += input.by_usage;
    mine.input.by_tokenizer += input.by_tokenizer;
    mine.input.unknown += input.unknown;
    mine.input.cached += input.cached;
    mine.output_sources.usage += output_sources.usage;
    mine.output_sources.tokenizer += output_sources.tokenizer;
    mine.output_sources.events += output_sources.events;
    mine.output_sources.unknown += output_sources.unknown;
    mine.disagreement.compared += disagreement.compared;
    mine.disagreement.differing += disagreement.differing;
    mine.disagreement.usage += disagreement.usage;
    mine.disagreement.tokenizer += disagreement.tokenizer;
    mine.output += output;
    mine.output_asked += output_asked;
    mine.events += events;
    mine.empty_events += empty_events;
}
