//! How long requests were, where they came from and how many went to each address: sections of a report for people.

use super::model::{DatasetReport, LengthComparison, LengthReport, Lengths, PointReport, Report};
use super::sections::{Body, Section, blank_repeated, place};
use super::table::{Cell, Column, Table, Tone};
use super::text::{ABSENT, axes, one_line, percent, significant};

/// Requests by address, of backends that have several. Addresses of all points together: they are the same.
pub(super) fn addresses(report: &Report) -> Option<Section> {
    let mut pooled: Vec<(&str, &str, u64, u64)> = Vec::new();
    for address in report.points.iter().flat_map(|point| &point.addresses) {
        let known = pooled.iter_mut().find(|row| (row.0, row.1) == (&address.backend, &address.url));
        let (planned, failed) = (address.outcomes.planned, address.outcomes.failed());
        match known {
            Some(row) => {
                row.2 += planned;
                row.3 += failed;
            }
            None => pooled.push((&address.backend, &address.url, planned, failed)),
        }
    }
    if pooled.is_empty() {
        return None;
    }
    let whole = |backend: &str| pooled.iter().filter(|row| row.0 == backend).map(|row| row.2).sum::<u64>();
    let rows = pooled
        .iter()
        .map(|(backend, url, planned, failed)| {
            let share = *planned as f64 / whole(backend).max(1) as f64;
            let tone = if *failed > 0 { Tone::Bad } else { Tone::Plain };
            vec![
                Cell::new(one_line(backend), Tone::Strong),
                one_line(url).into(),
                planned.to_string().into(),
                percent(share).into(),
                Cell::new(failed.to_string(), tone),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("backend"),
        Column::text("address"),
        Column::number("requests"),
        Column::number("share"),
        Column::number("errors"),
    ];
    let title = match report.points.len() {
        1 => "Addresses".to_owned(),
        several => format!("Addresses ({several} points together)"),
    };
    Some(Section { title, body: Body::Table(Table { columns, rows }), note: None })
}

/// What datasets hold and what was left out of them, each once however many points used it alike.
pub(super) fn datasets(report: &Report) -> Option<Section> {
    let mut known: Vec<&DatasetReport> = Vec::new();
    for dataset in report.points.iter().flat_map(|point| &point.datasets) {
        if !known.contains(&dataset) {
            known.push(dataset);
        }
    }
    if known.is_empty() {
        return None;
    }
    let rows = known
        .iter()
        .map(|dataset| {
            let reasons = dataset.left_out.iter().map(|(reason, rows)| format!("{rows} {reason}"));
            let left_out = reasons.collect::<Vec<_>>().join(", ");
            let number = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), significant);
            vec![
                Cell::new(one_line(&dataset.path), Tone::Strong),
                dataset.rows.to_string().into(),
                dataset.used.to_string().into(),
                if left_out.is_empty() { ABSENT.to_owned().into() } else { one_line(&left_out).into() },
                number(Some(dataset.mean_prompt_tokens)).into(),
                number(dataset.mean_answer_tokens).into(),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("dataset"),
        Column::number("rows"),
        Column::number("can be sent"),
        Column::text("left out"),
        Column::number("mean prompt tokens"),
        Column::number("mean answer tokens"),
    ];
    let table = Table { columns, rows }.without_empty(ABSENT);
    Some(Section { title: "Datasets".to_owned(), body: Body::Table(table), note: None })
}

/// Lengths of prompts and answers by class. Points that draw from the same laws are shown as one.
pub(super) fn lengths(report: &Report) -> Option<Section> {
    let first = report.points.iter().find(|point| point.lengths.is_some())?;
    let together = report.points.iter().all(|point| same_laws(point, first));
    let axes = axes(report);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut differing = (0, 0);
    if together {
        for name in first.classes.keys() {
            let parts = report.points.iter().filter_map(|point| point.classes.get(name)?.lengths.as_ref());
            if let Some(lengths) = parts.copied().reduce(pooled) {
                rows.extend(sides(name, &lengths));
                count_differing(&lengths, &mut differing);
            }
        }
    } else {
        for point in &report.points {
            for (name, lengths) in point.classes.iter().filter_map(|(name, class)| Some((name, class.lengths?))) {
                let at = place(point, &axes);
                rows.extend(sides(name, &lengths).map(|cells| at.iter().cloned().chain(cells).collect::<Vec<Cell>>()));
                count_differing(&lengths, &mut differing);
            }
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    if !together {
        columns.extend(axes.iter().map(|(_, short)| Column::number(short.clone())));
        if axes.is_empty() {
            columns.push(Column::text("point"));
        }
    }
    let fixed = columns.len() + 1;
    columns.extend([
        Column::text("class").spare(1),
        Column::text("tokens"),
        Column::number("law mean"),
        Column::number("drawn mean"),
        Column::number("sd").spare(2),
        Column::number("min").spare(3),
        Column::number("max").spare(3),
        Column::number("server mean"),
        Column::number("other than drawn").spare(1),
    ]);
    blank_repeated(&mut rows, fixed);
    let title = match (report.points.len(), together) {
        (1, _) | (_, false) => "Lengths".to_owned(),
        (several, true) => format!("Lengths ({several} points together)"),
    };
    let note = (differing.0 > 0).then(|| {
        format!(
            "other than drawn: requests whose length the server counts differently ({} of {} prompts); templates add to prompts.",
            differing.0, differing.1
        )
    });
    Some(Section { title, body: Body::Table(Table { columns, rows }.without_empty(ABSENT)), note })
}

fn count_differing(lengths: &Lengths, differing: &mut (u64, u64)) {
    if let Some(server) = lengths.input.server {
        differing.0 += server.differing;
        differing.1 += server.count;
    }
}

/// Whether the classes of two points draw their lengths alike, as far as means tell.
fn same_laws(point: &PointReport, other: &PointReport) -> bool {
    point.classes.len() == other.classes.len()
        && point.classes.iter().all(|(name, class)| {
            let laws = |lengths: &Option<Lengths>| lengths.map(|l| (l.input.law_mean, l.output.law_mean));
            // A class that got no request at this point says nothing else.
            class.lengths.is_none()
                || other.classes.get(name).is_some_and(|other| laws(&other.lengths) == laws(&class.lengths))
        })
}

fn sides(class: &str, lengths: &Lengths) -> [Vec<Cell>; 2] {
    let side = |what: &str, report: &LengthReport| {
        let number = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), significant);
        let server = report.server;
        let differing = server
            .map_or_else(|| ABSENT.to_owned(), |server| percent(server.differing as f64 / server.count.max(1) as f64));
        vec![
            Cell::new(one_line(class), Tone::Strong),
            what.into(),
            Cell::new(number(report.law_mean), Tone::Dim),
            number(Some(report.mean)).into(),
            number(report.sd).into(),
            report.min.to_string().into(),
            report.max.to_string().into(),
            number(server.map(|server| server.mean)).into(),
            differing.into(),
        ]
    };
    [side("input", &lengths.input), side("output", &lengths.output)]
}

fn pooled(a: Lengths, b: Lengths) -> Lengths {
    Lengths { input: pooled_side(a.input, b.input), output: pooled_side(a.output, b.output) }
}

/// Both together: means and spreads as if all requests had been in one point.
fn pooled_side(a: LengthReport, b: LengthReport) -> LengthReport {
    let (m, n) = (a.count as f64, b.count as f64);
    let mean = (a.mean * m + b.mean * n) / (m + n);
    let squares = |part: &LengthReport| {
        let count = part.count as f64;
        part.sd.unwrap_or(0.0).powi(2) * (count - 1.0) + count * (part.mean - mean).powi(2)
    };
    LengthReport {
        count: a.count + b.count,
        law_mean: a.law_mean,
        mean,
        sd: Some(((squares(&a) + squares(&b)) / (m + n - 1.0)).sqrt()),
        min: a.min.min(b.min),
        max: a.max.max(b.max),
        tokenizer: pooled_comparison(a.tokenizer, b.tokenizer),
        server: pooled_comparison(a.server, b.server),
    }
}

fn pooled_comparison(a: Option<LengthComparison>, b: Option<LengthComparison>) -> Option<LengthComparison> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let mean = |x: f64, y: f64| (x * a.count as f64 + y * b.count as f64) / (a.count + b.count).max(1) as f64;
    Some(LengthComparison {
        count: a.count + b.count,
        mean: mean(a.mean, b.mean),
        drawn_mean: mean(a.drawn_mean, b.drawn_mean),
        differing: a.differing + b.differing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_shown_together_are_as_one() {
        // 2, 4 and 6, 12: mean 6, deviations -4, -2, 0, 6: sd √(56 / 3) = 4.3205.
        let part = |mean: f64, sd: f64, min, max, differing| LengthReport {
            count: 2,
            law_mean: Some(6.0),
            mean,
            sd: Some(sd),
            min,
            max,
            tokenizer: None,
            server: Some(LengthComparison { count: 2, mean, drawn_mean: mean, differing }),
        };
        let both = pooled_side(part(3.0, 2.0_f64.sqrt(), 2, 4, 1), part(9.0, 18.0_f64.sqrt(), 6, 12, 0));
        assert_eq!((both.count, both.mean, both.min, both.max), (4, 6.0, 2, 12));
        assert!((both.sd.unwrap() - 4.320_494).abs() < 1e-6, "{both:?}");
        assert_eq!(both.server.unwrap(), LengthComparison { count: 4, mean: 6.0, drawn_mean: 6.0, differing: 1 });
    }
}
