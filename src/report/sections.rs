//! What a report says to a person, in order; how it looks is the renderers' business.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Comparison, Delta};
use super::model::{
    Bodies, ClassReport, ClientReport, MetricReport, PointReport, Report, SloReport, Status, ValidityState, Verdict,
    WorkerReport,
};
use super::table::{Cell, Column, Table, Tone};
use super::text::{
    ABSENT, axes, coordinate, doubtful, duration_ms, interval, observed, one_line, percent, point_name, quantile, rate,
    reasons, short, significant, target, verdict_word,
};

/// Rows of the SLO table beyond which those that pass are only counted.
const MAX_SLO_ROWS: usize = 40;

/// A heading and what stands under it.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) body: Body,
    pub(crate) note: Option<String>,
}

/// What stands under a heading.
pub(crate) enum Body {
    Table(Table),
    Lines(Vec<Vec<Cell>>),
}

/// The sections below the headline.
pub(crate) fn sections(report: &Report, before: Option<&Comparison>) -> Vec<Section> {
    let all = [
        Some(points(report)),
        slos(report),
        errors(report),
        sessions(report),
        validity(report),
        super::extent::addresses(report),
        super::extent::lengths(report),
        super::extent::datasets(report),
        client(report),
        warnings(report),
        before.and_then(difference),
    ];
    all.into_iter().flatten().collect()
}

/// The words of the headline: status, verdict, error budget, validity.
pub(crate) fn headline(report: &Report) -> Vec<(&'static str, Cell)> {
    let status = match report.status {
        Status::Complete => Cell::new("complete", Tone::Good),
        Status::Failed => Cell::new("not complete", Tone::Bad),
    };
    let slo = match (report.verdict, report.slo_missed()) {
        (Verdict::None, _) => Cell::new("none", Tone::Dim),
        (Verdict::Pass, _) => Cell::new("pass", Tone::Good),
        (Verdict::Inconclusive, false) => Cell::new("inconclusive", Tone::Warn),
        (Verdict::Inconclusive, true) => Cell::new("missed (inconclusive)", Tone::Bad),
        (Verdict::Fail, _) => Cell::new("fail", Tone::Bad),
    };
    let errors = if report.errors_broken() {
        Cell::new("over budget", Tone::Bad)
    } else {
        Cell::new("within budget", Tone::Good)
    };
    vec![("plan", status), ("SLO", slo), ("errors", errors), ("validity", state_cell(report.validity()))]
}

/// Who measured what: build, servers, models.
pub(crate) fn provenance(report: &Report) -> String {
    let provenance = &report.provenance;
    let build = provenance.bench.as_ref().map(|build| format!("bench {}", build.version));
    let servers = provenance.servers.iter().map(|(backend, server)| {
        let parts = [Some(backend), server.software.as_ref(), server.model.as_ref()];
        let parts: Vec<_> = parts.into_iter().flatten().map(|part| one_line(part)).collect();
        parts.join(" ")
    });
    let plan = Some(format!("plan {}", short(&report.plan.digest)));
    let started = provenance.started_at.as_ref().map(|at| to_the_second(&one_line(at)));
    started.into_iter().chain(plan).chain(build).chain(servers).collect::<Vec<_>>().join(" · ")
}

/// An RFC 3339 time without its fraction: the nanoseconds stay in report.json.
fn to_the_second(time: &str) -> String {
    let Some((whole, rest)) = time.split_once('.') else { return time.to_owned() };
    format!("{whole}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn points(report: &Report) -> Section {
    let axes = axes(report);
    let by_class = report.points.iter().any(|point| point.classes.len() > 1);
    let mut columns: Vec<_> = axes.iter().map(|(_, short)| Column::number(short.clone())).collect();
    if axes.is_empty() {
        columns.push(Column::text("point"));
    }
    columns.extend([
        Column::text("class"),
        Column::number("done").spare(4),
        Column::number("offered/s").spare(3),
        Column::number("req/s").spare(1),
        Column::number("tok/s"),
        Column::number("TTFT p50"),
        Column::number("TTFT p99"),
        Column::number("TPOT p50").spare(2),
        Column::number("E2E p50").spare(6),
        Column::number("E2E p99").spare(5),
        Column::number("goodput"),
        Column::number("errors"),
        Column::text("SLO"),
        // What is not valid is named below the table as well.
        Column::text("validity").spare(2),
    ]);
    let mut rows = Vec::new();
    for point in &report.points {
        let place = place(point, &axes);
        rows.push(place.iter().cloned().chain(point_cells(point)).collect());
        if by_class {
            for (name, class) in &point.classes {
                let blank = place.iter().map(|_| Cell::default());
                rows.push(blank.chain(class_cells(name, class)).collect());
            }
        }
    }
    let table = Table { columns, rows }.without_empty(ABSENT).without_empty("");
    let reused = report.points.iter().filter(|point| point.reused_from.is_some()).count();
    let reused =
        (reused > 0).then(|| format!("{} taken over from earlier runs.", count(reused, "point was", "points were")));
    let notes: Vec<_> = reused.into_iter().chain(headroom(report)).collect();
    let note = (!notes.is_empty()).then(|| notes.join(" "));
    Section { title: "Points".to_owned(), body: Body::Table(table), note }
}

/// How much of what the machine can measure was used, by the point that used most.
fn headroom(report: &Report) -> Option<String> {
    let known = report.points.iter().filter_map(|point| point.client.headroom.as_ref());
    let most = known.max_by(|a, b| a.used_share.total_cmp(&b.used_share))?;
    let who = if report.points.len() == 1 { "This point used" } else { "The points used at most" };
    Some(format!("{who} {} of what this machine can measure within {} ms.", percent(most.used_share), most.bound_ms))
}

pub(super) fn place(point: &PointReport, axes: &[(String, String)]) -> Vec<Cell> {
    if axes.is_empty() {
        return vec![Cell::new(short(&point.id), Tone::Strong)];
    }
    coordinates(&point.coordinates, axes)
}

fn coordinates(values: &BTreeMap<String, Value>, axes: &[(String, String)]) -> Vec<Cell> {
    let value = |path: &String| values.get(path).map_or_else(String::new, coordinate);
    axes.iter().map(|(path, _)| Cell::new(one_line(&value(path)), Tone::Strong)).collect()
}

fn point_cells(point: &PointReport) -> Vec<Cell> {
    let class = ClassReport {
        outcomes: point.outcomes,
        rates: point.rates,
        throughput: point.throughput,
        metrics: point.metrics.clone(),
        goodput: point.goodput.clone(),
        slo: point.slo.clone(),
        token_attribution: point.token_attribution,
        tokens: point.tokens,
        lengths: point.lengths,
    };
    let name = if point.classes.len() > 1 { "all" } else { "" };
    let mut cells = class_cells(name, &class);
    let errors = &mut cells[ERRORS];
    errors.tone = match (point.outcomes.failed(), point.errors.broken) {
        (0, _) => Tone::Dim,
        (_, false) => Tone::Warn,
        (_, true) => Tone::Bad,
    };
    *cells.last_mut().expect("a row ends with its validity") = state_cell(point.validity.state);
    cells
}

/// Position of the error count among the cells of a class.
const ERRORS: usize = 11;

fn class_cells(name: &str, class: &ClassReport) -> Vec<Cell> {
    let metric = |name: &str| class.metrics.get(name);
    let (p50, p99) = (|metric: &MetricReport| metric.quantiles.p50, |metric: &MetricReport| metric.quantiles.p99);
    let outcomes = &class.outcomes;
    let missed = class.slo.iter().any(|slo| slo.missed);
    vec![
        Cell::new(name, Tone::Dim),
        format!("{}/{}", outcomes.completed, outcomes.planned).into(),
        rate(class.rates.offered_per_s).into(),
        rate(class.throughput.requests_per_s).into(),
        rate(class.throughput.output_tokens_per_s).into(),
        quantile(metric("ttft_ms"), p50).into(),
        quantile(metric("ttft_ms"), p99).into(),
        quantile(metric("tpot_ms"), p50).into(),
        quantile(metric("e2e_ms"), p50).into(),
        quantile(metric("e2e_ms"), p99).into(),
        class.goodput.as_ref().map_or_else(|| ABSENT.to_owned(), |goodput| percent(goodput.share)).into(),
        Cell::new(outcomes.failed().to_string(), if outcomes.failed() == 0 { Tone::Dim } else { Tone::Plain }),
        verdict_cell(Verdict::worst(class.slo.iter().map(|slo| slo.verdict)), missed),
        Cell::default(),
    ]
}

fn verdict_cell(verdict: Verdict, missed: bool) -> Cell {
    let tone = match (verdict, missed) {
        (Verdict::None, _) => Tone::Dim,
        (Verdict::Pass, _) => Tone::Good,
        (Verdict::Inconclusive, false) => Tone::Warn,
        (Verdict::Fail, _) | (Verdict::Inconclusive, true) => Tone::Bad,
    };
    Cell::new(verdict_word(verdict, missed), tone)
}

fn state_cell(state: ValidityState) -> Cell {
    let tone = match state {
        ValidityState::Valid => Tone::Good,
        ValidityState::Suspect => Tone::Warn,
        ValidityState::Invalid => Tone::Bad,
    };
    Cell::new(state.name(), tone)
}

fn slos(report: &Report) -> Option<Section> {
    let axes = axes(report);
    let all: Vec<(&PointReport, &SloReport)> =
        report.points.iter().flat_map(|point| point.slo.iter().map(move |slo| (point, slo))).collect();
    if all.is_empty() {
        return None;
    }
    let crowded = all.len() > MAX_SLO_ROWS;
    let shown = |slo: &SloReport| !crowded || slo.verdict != Verdict::Pass;
    let mut columns: Vec<_> = axes.iter().map(|(_, short)| Column::number(short.clone())).collect();
    if axes.is_empty() {
        columns.push(Column::text("point").spare(2));
    }
    columns.extend([
        Column::text("class").spare(1),
        Column::text("target"),
        Column::number("observed"),
        Column::number("within target"),
        Column::number("95 % interval").spare(3),
        Column::text("verdict"),
    ]);
    let row = |(point, slo): &(&PointReport, &SloReport)| {
        let tone = if slo.missed { Tone::Bad } else { Tone::Plain };
        let rest = [
            slo.class.as_str().into(),
            target(slo).into(),
            Cell::new(observed(slo), tone),
            format!("{}/{}", slo.met, slo.judged).into(),
            Cell::new(interval(slo), Tone::Dim),
            verdict_cell(slo.verdict, slo.missed),
        ];
        place(point, &axes).into_iter().chain(rest).collect()
    };
    let mut rows: Vec<Vec<Cell>> = all.iter().filter(|(_, slo)| shown(slo)).map(row).collect();
    let hidden = all.len() - rows.len();
    blank_repeated(&mut rows, axes.len().max(1));
    let uncertain = all.iter().any(|(_, slo)| slo.verdict == Verdict::Inconclusive);
    let notes = [
        (hidden > 0).then(|| format!("{} not shown.", count(hidden, "target that passes is", "targets that pass are"))),
        uncertain.then(|| {
            "met? and missed?: the sample is too small to be sure (the interval reaches to both sides).".to_owned()
        }),
    ];
    let note = notes.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Section {
        title: "SLO".to_owned(),
        body: Body::Table(Table { columns, rows }.without_single("class")),
        note: (!note.is_empty()).then_some(note),
    })
}

/// Shows the place of a point on its first row only, so that the rows of a point read as a group.
pub(super) fn blank_repeated(rows: &mut [Vec<Cell>], place: usize) {
    let mut above: Vec<Cell> = Vec::new();
    for row in rows {
        let here = row[..place].to_vec();
        if here == above {
            row[..place].fill(Cell::default());
        }
        above = here;
    }
}

fn errors(report: &Report) -> Option<Section> {
    let reasons = reasons(report);
    if reasons.is_empty() {
        return None;
    }
    let rows = reasons
        .iter()
        .map(|reason| {
            vec![
                Cell::new(format!("{} ×", reason.count), Tone::Strong),
                Cell::new(reason.outcome.name(), Tone::Bad),
                one_line(&reason.code).into(),
                Cell::new(reason.detail.as_deref().map_or_else(String::new, one_line), Tone::Dim),
            ]
        })
        .collect();
    let columns =
        vec![Column::number(""), Column::text("outcome"), Column::text("reason"), Column::text("first detail")];
    let planned: u64 = report.points.iter().map(|point| point.outcomes.planned).sum();
    let failed: u64 = report.points.iter().map(|point| point.outcomes.failed()).sum();
    let title = format!("Errors: {failed} of {planned} requests");
    Some(Section { title, body: Body::Table(Table { columns, rows }.without_empty("")), note: None })
}

/// Conversations, and how much of their prompts the server had already.
fn sessions(report: &Report) -> Option<Section> {
    if report.points.iter().all(|point| point.sessions.is_none()) {
        return None;
    }
    let axes = axes(report);
    let mut columns: Vec<_> = axes.iter().map(|(_, short)| Column::number(short.clone())).collect();
    if axes.is_empty() {
        columns.push(Column::text("point"));
    }
    let names = ["sessions", "turns", "broken", "input cached"];
    columns.extend(names.map(Column::number));
    let row = |point: &PointReport| {
        let sessions = point.sessions.unwrap_or_default();
        let tokens = point.tokens.input;
        let cached = if tokens.measured > 0 && tokens.cached > 0 {
            percent(tokens.cached as f64 / tokens.measured as f64)
        } else {
            ABSENT.to_owned()
        };
        let broken = if sessions.broken > 0 { Tone::Bad } else { Tone::Plain };
        let counts = [
            sessions.started.to_string().into(),
            sessions.turns.to_string().into(),
            Cell::new(sessions.broken.to_string(), broken),
            cached.into(),
        ];
        place(point, &axes).into_iter().chain(counts).collect()
    };
    let rows = report.points.iter().map(row).collect();
    let dependent = report.points.iter().any(|point| point.bodies == Some(Bodies::ServerDependent));
    let note =
        dependent.then(|| "The history holds the server's answers, so what was sent depends on the server.".to_owned());
    Some(Section {
        title: "Sessions".to_owned(),
        body: Body::Table(Table { columns, rows }.without_empty(ABSENT)),
        note,
    })
}

fn validity(report: &Report) -> Option<Section> {
    let several = report.points.len() > 1;
    let mut lines = Vec::new();
    for point in doubtful(report) {
        for reason in &point.validity.reasons {
            let place = several.then(|| Cell::new(point_name(point), Tone::Strong));
            let head = [state_cell(reason.state), Cell::new(reason.code.clone(), Tone::Plain)];
            let message = Cell::new(one_line(&reason.message), Tone::Plain);
            lines.push(head.into_iter().chain(place).chain([message]).collect());
        }
    }
    let title = "Do not take these numbers as they are".to_owned();
    (!lines.is_empty()).then_some(Section { title, body: Body::Lines(lines), note: None })
}

/// What the client says about itself, the worst of all points: one row, so that a sweep stays short. Reports from
/// before the client watched itself have none.
fn client(report: &Report) -> Option<Section> {
    let clients: Vec<_> = report.points.iter().map(|point| &point.client).collect();
    if clients.iter().all(|client| client.workers.is_empty() && client.descriptors.is_none()) {
        return None;
    }
    let worst = |values: Vec<Option<f64>>| values.into_iter().flatten().max_by(f64::total_cmp);
    let of = |value: &dyn Fn(&ClientReport) -> Option<f64>| worst(clients.iter().map(|client| value(client)).collect());
    let of_worker =
        |value: fn(&WorkerReport) -> Option<f64>| of(&|client| worst(client.workers.iter().map(value).collect()));
    let part = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), percent);
    let lag = |lag: fn(&ClientReport) -> Option<&MetricReport>| {
        of(&|client| lag(client).map(|lag| lag.quantiles.p99)).map_or_else(|| ABSENT.to_owned(), duration_ms)
    };
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let memory = of(&|client| client.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6));
    let row = vec![
        lag(|client| client.dispatch_lag_ms.as_ref()).into(),
        lag(|client| client.loop_lag_ms.as_ref()).into(),
        part(of_worker(|worker| worker.cpu_share)).into(),
        part(of_worker(|worker| worker.peak_cpu_share)).into(),
        part(of_worker(|worker| worker.run_queue_share)).into(),
        memory.map_or_else(|| ABSENT.to_owned(), |mb| format!("{mb:.0} MB")).into(),
        part(of(&|client| client.descriptors.and_then(|open| share(open.open_peak, open.limit)))).into(),
        part(of(&|client| client.ports.and_then(|ports| share(ports.used_bound, ports.range)))).into(),
        part(of(&|client| client.tcp.and_then(|tcp| share(tcp.segments_retransmitted, tcp.segments_sent)))).into(),
    ];
    let columns = vec![
        Column::number("dispatch p99"),
        Column::number("loop p99").spare(2),
        Column::number("worker CPU"),
        Column::number("peak").spare(4),
        Column::number("waiting").spare(1),
        Column::number("memory"),
        Column::number("files"),
        Column::number("ports ≤").spare(3),
        Column::number("TCP resent").spare(5),
    ];
    let title = match clients.len() {
        1 => "Client".to_owned(),
        several => format!("Client (worst of {several} points)"),
    };
    Some(Section { title, body: Body::Table(Table { columns, rows: vec![row] }.without_empty(ABSENT)), note: None })
}

fn warnings(report: &Report) -> Option<Section> {
    let all = report.warnings.iter().chain(report.points.iter().flat_map(|point| &point.warnings));
    let line = |code: &str, message: &str| vec![Cell::new(one_line(code), Tone::Warn), one_line(message).into()];
    let mut lines: Vec<_> = Vec::new();
    for warning in all {
        let line = line(&warning.code, &warning.message);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    (!lines.is_empty()).then_some(Section { title: "Warnings".to_owned(), body: Body::Lines(lines), note: None })
}

/// Columns of the difference table.
const DIFFERENCE: [(&str, &str, u8); 8] = [
    ("throughput.requests_per_s", "req/s", 2),
    ("throughput.output_tokens_per_s", "tok/s", 0),
    ("ttft_ms.p50", "TTFT p50", 0),
    ("ttft_ms.p99", "TTFT p99", 0),
    ("tpot_ms.p50", "TPOT p50", 1),
    ("e2e_ms.p99", "E2E p99", 3),
    ("goodput.share", "goodput", 0),
    ("errors.share", "errors", 0),
];

fn difference(comparison: &Comparison) -> Option<Section> {
    if comparison.pairs.is_empty() {
        return None;
    }
    let paths: Vec<&String> = comparison.pairs[0].coordinates.keys().collect();
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let axes: Vec<_> = paths.into_iter().map(|path| (path.clone(), last(path))).collect();
    let mut columns: Vec<_> = axes.iter().map(|(_, short)| Column::number(short.clone())).collect();
    columns.extend(DIFFERENCE.map(|(_, heading, spare)| Column::number(heading).spare(spare)));
    let rows = comparison.pairs.iter().map(|pair| {
        let delta = |name: &str| pair.deltas.iter().find(|delta| delta.name == name);
        let cells = DIFFERENCE.map(|(name, ..)| delta(name).map_or_else(|| ABSENT.into(), delta_cell));
        coordinates(&pair.coordinates, &axes).into_iter().chain(cells).collect()
    });
    let table = Table { columns, rows: rows.collect() }.without_empty(ABSENT);
    let changed = comparison.pairs.iter().filter(|pair| !pair.same_digest).count();
    let notes = [
        (changed > 0).then(|| format!("{} other requests than before.", count(changed, "point sent", "points sent"))),
        (!comparison.only_new.is_empty())
            .then(|| format!("{} new.", count(comparison.only_new.len(), "point is", "points are"))),
        (!comparison.only_old.is_empty())
            .then(|| format!("{} gone.", count(comparison.only_old.len(), "point is", "points are"))),
    ];
    let note = notes.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Section {
        title: format!("Difference to run {}", one_line(&comparison.old_run_id)),
        body: Body::Table(table),
        note: (!note.is_empty()).then_some(note),
    })
}

/// A change: percent of the old value, for shares percentage points.
fn delta_cell(delta: &Delta) -> Cell {
    let points = (delta.new - delta.old) * 100.0;
    let (text, size) = if delta.name.ends_with(".share") {
        (format!("{points:+.1} pp"), points)
    } else {
        match delta.change() {
            Some(change) => (format!("{:+.1} %", change * 100.0), change * 100.0),
            None if delta.new == delta.old => ("+0.0 %".to_owned(), 0.0),
            None => (format!("{} → {}", plain(delta, delta.old), plain(delta, delta.new)), f64::INFINITY),
        }
    };
    let tone = match (size.abs() < 5.0, delta.is_worse()) {
        (true, _) => Tone::Dim,
        (false, true) => Tone::Bad,
        (false, false) => Tone::Good,
    };
    Cell::new(text, tone)
}

/// `1 point is`, `2 points are`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn plain(delta: &Delta, value: f64) -> String {
    if delta.name.contains("_ms") { duration_ms(value) } else { significant(value) }
}
