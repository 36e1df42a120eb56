//! How near a point came to what this machine can measure: its own load beside the limits of a calibration.

use super::timeline::Timeline;
use crate::report::model::Headroom;
use crate::units::{NANOS_PER_SEC, Nanos};

/// The limits of a calibration that holds for this machine and this build.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibratedLimits {
    /// Largest p99 error of the loads that passed.
    pub bound_ms: f64,
    /// Content events per second.
    pub events_per_s: Option<f64>,
    /// Streams at the same time.
    pub streams: Option<f64>,
    /// Requests per second.
    pub requests_per_s: Option<f64>,
    /// When it was made, RFC 3339.
    pub calibrated_at: String,
}

/// The busiest second of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// Content events per second.
    pub events_per_s: f64,
    /// Requests in flight, on average over the second.
    pub streams: f64,
    /// Requests sent per second.
    pub requests_per_s: f64,
}

impl CalibratedLimits {
    /// Compares. Absent when the calibration found no limit at all.
    pub fn headroom(&self, peak: Peak) -> Option<Headroom> {
        let shares = [
            self.events_per_s.map(|limit| peak.events_per_s / limit),
            self.streams.map(|limit| peak.streams / limit),
            self.requests_per_s.map(|limit| peak.requests_per_s / limit),
        ];
        let used_share = shares.into_iter().flatten().filter(|share| share.is_finite()).max_by(f64::total_cmp)?;
        Some(Headroom {
            bound_ms: self.bound_ms,
            events_per_s: peak.events_per_s,
            events_limit_per_s: self.events_per_s,
            streams: peak.streams,
            streams_limit: self.streams,
            requests_per_s: peak.requests_per_s,
            requests_limit_per_s: self.requests_per_s,
            used_share,
            calibrated_at: self.calibrated_at.clone(),
            host_matches: true,
        })
    }
}

/// Width of a slice.
const SLICE: Nanos = NANOS_PER_SEC / 10;
/// Slices of the second that is looked at.
const SECOND: usize = 10;
/// What is stamped after a day is not kept: memory grows with the time of a point, but only so far.
const MAX_SLICES: u64 = 24 * 3600 * 10;

/// Load of the client over time, in slices of a tenth of a second. All requests count, whatever their phase and outcome:
/// the client had to handle them.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadSlices(Vec<Slice>);

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    events: u64,
    requests: u64,
    in_flight_ns: Nanos,
}

impl LoadSlices {
    pub(super) fn observe(&mut self, timeline: &Timeline) {
        for event in &timeline.answer.events {
            self.at(event.at, |slice| slice.events += 1);
        }
        let (Some(sent), Some(end)) = (timeline.stamps.sent, timeline.stamps.end) else { return };
        self.at(sent, |slice| slice.requests += 1);
        let mut from = sent;
        while from < end {
            let to = (from / SLICE + 1).saturating_mul(SLICE).min(end);
            if !self.at(from, |slice| slice.in_flight_ns += to - from) {
                return;
            }
            from = to;
        }
    }

    fn at(&mut self, time: Nanos, add: impl FnOnce(&mut Slice)) -> bool {
        let index = time / SLICE;
        if index >= MAX_SLICES {
            return false;
        }
        let index = usize::try_from(index).unwrap_or(0);
        if self.0.len() <= index {
            self.0.resize(index + 1, Slice::default());
        }
        add(&mut self.0[index]);
        true
    }

    /// The busiest second that lies inside the window, for each kind of load by itself; of a shorter window all of it.
    /// Absent for a window without one whole slice.
    #[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
    pub(super) fn peak(&self, start: Nanos, end: Nanos) -> Option<Peak> {
        let index = |at: Nanos| usize::try_from(at).unwrap_or(usize::MAX);
        let (first, last) = (index(start.div_ceil(SLICE)), index(end / SLICE));
        let width = last.checked_sub(first).filter(|width| *width > 0)?.min(SECOND);
        let last = last.min(self.0.len()).max(first.min(self.0.len()));
        let inside = &self.0[first.min(self.0.len())..last];
        let seconds = width as f64 * SLICE as f64 / NANOS_PER_SEC as f64;
        let most = |what: fn(&Slice) -> u64| {
            // What ended before a whole width is one short run of slices.
            let all = inside.chunks(inside.len().max(1)).take(usize::from(inside.len() < width));
            let sums = inside.windows(width).chain(all).map(|run| run.iter().map(what).sum::<u64>());
            sums.max().unwrap_or(0) as f64 / seconds
        };
        Some(Peak {
            events_per_s: most(|slice| slice.events),
            streams: most(|slice| slice.in_flight_ns) / NANOS_PER_SEC as f64,
            requests_per_s: most(|slice| slice.requests),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::timeline::{
        Answer, ConnectionUse, ContentEvent, ContentKind, Outcome, Phase, RequestId, Stamps,
    };

    const MS: Nanos = 1_000_000;

    fn timeline(sent_ms: u64, end_ms: u64, events_ms: &[u64]) -> Timeline {
        let event = |at: &u64| ContentEvent {
            at: at * MS,
            kind: ContentKind::Text,
            tokens: None,
            text: "x".into(),
            coalesced: false,
        };
        Timeline {
            id: RequestId::Open { index: 0 },
            class: 0,
            phase: Phase::Measure,
            stamps: Stamps { sent: Some(sent_ms * MS), end: Some(end_ms * MS), ..Stamps::default() },
            answer: Answer {
                events: events_ms.iter().map(event).collect(),
                ..Answer::none(Outcome::Completed, "", None)
            },
            streamed: true,
            input_tokens_asked: 1,
            input_tokens_counted: None,
            output_tokens_asked: 1,
            expected_number: None,
            connection: ConnectionUse::Reused,
            address: 0,
        }
    }

    fn limits() -> CalibratedLimits {
        CalibratedLimits {
            bound_ms: 0.5,
            events_per_s: Some(50.0),
            streams: Some(8.0),
            requests_per_s: None,
            calibrated_at: "2026-11-22T12:00:00Z".to_owned(),
        }
    }

    #[test]
    fn the_busiest_second_inside_the_window_counts() {
        let mut load = LoadSlices::default();
        // Before the window of 1 s to 4 s: does not count.
        load.observe(&timeline(0, 900, &[100, 200, 300, 400, 500, 600, 700, 800]));
        // Half a second of one request, then three events and two requests between 2.25 s and 3.05 s.
        load.observe(&timeline(1_000, 1_500, &[1_050]));
        load.observe(&timeline(2_250, 3_050, &[2_300, 2_700, 3_020]));
        load.observe(&timeline(2_650, 3_050, &[]));
        let peak = load.peak(1_000 * MS, 4_000 * MS).unwrap();
        assert_eq!(peak.events_per_s, 3.0);
        assert_eq!(peak.requests_per_s, 2.0);
        // In one second 0.8 s of the one and 0.4 s of the other.
        assert!((peak.streams - 1.2).abs() < 1e-9, "{peak:?}");
    }

    #[test]
    fn a_short_window_is_a_whole() {
        let mut load = LoadSlices::default();
        load.observe(&timeline(0, 200, &[50, 150, 180]));
        // 0 to 0.2 s: three events in two slices. Nothing is known beyond, so a longer window is thinner.
        assert_eq!(load.peak(0, 200 * MS).unwrap().events_per_s, 15.0);
        assert_eq!(load.peak(0, 300 * MS).unwrap().events_per_s, 10.0);
        assert_eq!(load.peak(0, 200 * MS).unwrap().streams, 1.0);
        assert_eq!(load.peak(900 * MS, 2_000 * MS).unwrap(), Peak::default());
        assert_eq!(load.peak(10 * MS, 90 * MS), None);
    }

    #[test]
    fn the_largest_share_is_what_is_used() {
        let peak = Peak { events_per_s: 6.0, streams: 2.0, requests_per_s: 1e9 };
        let headroom = limits().headroom(peak).unwrap();
        // 6 of 50 events, 2 of 8 streams; requests were never calibrated.
        assert_eq!(headroom.used_share, 0.25);
        assert_eq!((headroom.events_limit_per_s, headroom.requests_limit_per_s), (Some(50.0), None));
        let events = limits().headroom(Peak { streams: 0.0, ..peak }).unwrap();
        assert_eq!(events.used_share, 0.12);
        let nothing = CalibratedLimits { events_per_s: None, streams: None, ..limits() };
        assert_eq!(nothing.headroom(peak), None);
    }

    #[test]
    fn stamps_without_end_take_no_memory() {
        let mut load = LoadSlices::default();
        load.observe(&timeline(0, u64::MAX / MS, &[u64::MAX / MS]));
        assert!(load.0.len() as u64 <= MAX_SLICES);
    }
}
