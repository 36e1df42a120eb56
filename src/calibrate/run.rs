//! A calibration: loads that rise until the error passes the bound, then bisection; or the loads that were asked for.

use super::cell::{self, Cell, CellError, CellLoad, CellSetup};
use super::climb::Climb;
use super::stored::{Limit, LimitedBy, Limits};

/// Smallest share of the asked load that must really have been made.
const MADE_SHARE: f64 = 0.9;
/// Events per second of each stream where many events are looked for, and where many streams are.
const MANY_EVENTS: f64 = 100.0;
const MANY_STREAMS: f64 = 2.0;

/// What to try.
#[derive(Clone, Debug, PartialEq)]
pub enum Tries {
    /// Rising loads, then bisection, on each of three axes.
    Search {
        /// Streams at the same time that descriptors and ports allow.
        streams_max: u32,
    },
    /// These.
    Listed(Vec<CellLoad>),
}

/// How a cell went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The error is within the bound.
    Pass,
    /// It is not, or requests failed: the client's limit.
    Client,
    /// The server did not make the load, and it was not held up by the client.
    Server,
}

/// Judges a cell.
pub fn judge(cell: &Cell, bound_ms: f64) -> Verdict {
    let found = &cell.comparison;
    let unmatched = found.matched < found.requests || found.requests == 0;
    if found.failed > 0 || unmatched || found.error_p99_ms() > bound_ms {
        return Verdict::Client;
    }
    if cell.events_per_s >= MADE_SHARE * cell.asked_events_per_s {
        return Verdict::Pass;
    }
    // The client was right about what it saw, and yet less happened than asked. A server that wrote late by itself
    // made less; otherwise requests were late in coming.
    if found.server_late_p99_ms > bound_ms && found.server_blocked == 0 { Verdict::Server } else { Verdict::Client }
}

/// Tries loads, tells `observer` of each cell as it ends, and says what the machine can do.
///
/// # Errors
/// When a cell cannot run at all.
pub async fn calibrate(
    tries: &Tries,
    bound_ms: f64,
    setup: &CellSetup,
    observer: &mut dyn FnMut(&Cell, Verdict),
) -> Result<(Limits, Vec<Cell>), CellError> {
    let mut cells = Vec::new();
    match tries {
        Tries::Listed(loads) => {
            for load in loads {
                let cell = cell::run(*load, setup).await?;
                observer(&cell, judge(&cell, bound_ms));
                cells.push(cell);
            }
        }
        Tries::Search { streams_max } => {
            let events = |streams| CellLoad::Streams { streams, events_per_s_each: MANY_EVENTS };
            let streams = |streams| CellLoad::Streams { streams, events_per_s_each: MANY_STREAMS };
            let requests = |requests_per_s| CellLoad::Requests { requests_per_s };
            let axes: [(Climb, &dyn Fn(u32) -> CellLoad); 3] = [
                (Climb::new(50, (*streams_max).min(5_000)), &events),
                (Climb::new(500, *streams_max), &streams),
                (Climb::new(500, 50_000), &requests),
            ];
            for (mut climb, load) in axes {
                while let Some(value) = climb.next() {
                    let cell = cell::run(load(value), setup).await?;
                    let verdict = judge(&cell, bound_ms);
                    observer(&cell, verdict);
                    climb.tried(value, verdict == Verdict::Pass);
                    cells.push(cell);
                }
            }
        }
    }
    Ok((limits(&cells, bound_ms), cells))
}

/// The largest loads that passed.
pub fn limits(cells: &[Cell], bound_ms: f64) -> Limits {
    let streams = |cell: &&Cell| matches!(cell.load, CellLoad::Streams { .. });
    let requests = |cell: &&Cell| matches!(cell.load, CellLoad::Requests { .. });
    let count = |cell: &Cell| match cell.load {
        CellLoad::Streams { streams, .. } => f64::from(streams),
        CellLoad::Requests { .. } => 0.0,
    };
    Limits {
        events_per_s: limit(cells.iter().filter(streams), |cell| cell.events_per_s, bound_ms),
        streams: limit(cells.iter().filter(streams), count, bound_ms),
        requests_per_s: limit(cells.iter().filter(requests), |cell| cell.requests_per_s, bound_ms),
    }
}

/// The largest `size` that passed, and what went wrong with the next larger one.
fn limit<'a>(cells: impl Iterator<Item = &'a Cell>, size: impl Fn(&Cell) -> f64, bound_ms: f64) -> Option<Limit> {
    let judged: Vec<_> = cells.map(|cell| (size(cell), cell, judge(cell, bound_ms))).collect();
    let (value, best, _) =
        judged.iter().filter(|(.., verdict)| *verdict == Verdict::Pass).max_by(|a, b| a.0.total_cmp(&b.0))?;
    // A cell of the same kind that asked for more.
    let larger = |cell: &Cell| match (cell.load, best.load) {
        (
            CellLoad::Streams { streams, events_per_s_each },
            CellLoad::Streams { streams: best, events_per_s_each: each },
        ) => events_per_s_each == each && streams > best,
        (CellLoad::Requests { requests_per_s }, CellLoad::Requests { requests_per_s: best }) => requests_per_s > best,
        _ => false,
    };
    let next = judged
        .iter()
        .filter(|(_, cell, verdict)| *verdict != Verdict::Pass && larger(cell))
        .min_by(|a, b| a.1.asked_events_per_s.total_cmp(&b.1.asked_events_per_s));
    let limited_by = match next.map(|(.., verdict)| *verdict) {
        Some(Verdict::Client) => LimitedBy::Client,
        Some(Verdict::Server) => LimitedBy::Server,
        Some(Verdict::Pass) | None => LimitedBy::Nothing,
    };
    Some(Limit { value: *value, limited_by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::compare::{Comparison, Spread};
    use crate::report::model::ClockSource;

    fn cell(load: CellLoad, made_share: f64, error_ms: f64) -> Cell {
        let asked = match load {
            CellLoad::Streams { streams, events_per_s_each } => f64::from(streams) * events_per_s_each,
            CellLoad::Requests { requests_per_s } => f64::from(requests_per_s),
        };
        Cell {
            load,
            events_per_s: asked * made_share,
            requests_per_s: asked * made_share,
            asked_events_per_s: asked,
            comparison: Comparison {
                requests: 10,
                matched: 10,
                ttft: Spread { p99_ms: error_ms, ..Spread::default() },
                ..Comparison::default()
            },
            clock_source: ClockSource::User,
            blurred_stamps: 0,
            client_cpu_us_per_event: 1.0,
            client_core_share: None,
            client_peak_rss_bytes: None,
            server_cpu_us_per_event: 1.0,
        }
    }

    fn streams(streams: u32, each: f64, made_share: f64, error_ms: f64) -> Cell {
        cell(CellLoad::Streams { streams, events_per_s_each: each }, made_share, error_ms)
    }

    fn requests(rate: u32, error_ms: f64) -> Cell {
        cell(CellLoad::Requests { requests_per_s: rate }, 1.0, error_ms)
    }

    #[test]
    fn a_cell_passes_by_its_error_and_its_load() {
        assert_eq!(judge(&streams(10, 100.0, 1.0, 0.5), 0.5), Verdict::Pass);
        assert_eq!(judge(&streams(10, 100.0, 1.0, 0.501), 0.5), Verdict::Client);
        assert_eq!(judge(&streams(10, 100.0, 0.8, 0.1), 0.5), Verdict::Client);
        let mut late = streams(10, 100.0, 0.8, 0.1);
        late.comparison.server_late_p99_ms = 40.0;
        assert_eq!(judge(&late, 0.5), Verdict::Server, "the server was late by itself");
        late.comparison.server_blocked = 1;
        assert_eq!(judge(&late, 0.5), Verdict::Client, "the client had not read");
        let spoil: [fn(&mut Comparison); 3] = [|it| it.failed = 1, |it| it.matched = 9, |it| it.requests = 0];
        for spoil in spoil {
            let mut cell = streams(10, 100.0, 1.0, 0.1);
            spoil(&mut cell.comparison);
            assert_eq!(judge(&cell, 0.5), Verdict::Client);
        }
    }

    #[test]
    fn limits_are_the_largest_that_passed() {
        let mut server = streams(4000, 100.0, 0.5, 0.1);
        server.comparison.server_late_p99_ms = 9.0;
        let cells = [
            streams(100, 100.0, 1.0, 0.1),
            streams(200, 100.0, 0.95, 0.2),
            streams(400, 100.0, 1.0, 3.0),
            server,
            streams(5000, 2.0, 1.0, 0.1),
            requests(500, 0.1),
            requests(1000, 7.0),
        ];
        let limits = limits(&cells, 0.5);
        assert_eq!(limits.events_per_s, Some(Limit { value: 19_000.0, limited_by: LimitedBy::Client }));
        assert_eq!(limits.streams, Some(Limit { value: 5000.0, limited_by: LimitedBy::Nothing }));
        assert_eq!(limits.requests_per_s, Some(Limit { value: 500.0, limited_by: LimitedBy::Client }));
        assert_eq!(super::limits(&cells[2..3], 0.5), Limits::default());
        assert_eq!(
            super::limits(&[streams(100, 100.0, 1.0, 0.1), cells[3].clone()], 0.5).events_per_s,
            Some(Limit { value: 10_000.0, limited_by: LimitedBy::Server })
        );
    }
}
