//! Reports as others read them: contract, schemas, renderers, comparison.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use llm_bench::measure::timeline::{
    Answer, ConnectionUse, ContentEvent, ContentKind, Outcome, Phase, Reason, RequestId, Stamps, Timeline, Usage,
};
use llm_bench::measure::{Accumulator, Addresses, ClassSpec, ClientFacts, EngineFacts, MeasureSpec, Metric};
use llm_bench::observe::provenance::BuildFacts;
use llm_bench::observe::server::ServerFacts;
use llm_bench::report::compare::compare;
use llm_bench::report::model::{
    ClockSource, Descriptors, FORMAT, PlanRef, PointFile, PointReport, Ports, Provenance, ReadError, Report,
    ScenarioRef, Status, TcpReport, ValidityState, Verdict, Warning, WorkerReport,
};
use llm_bench::report::requests::RequestRecord;
use llm_bench::report::terminal::{TerminalOptions, render as terminal};
use llm_bench::report::{csv, junit, markdown, schema};
use llm_bench::scenario::file::{ErrorsConfig, GoodputTarget, SloConfig, SloTargets, ValidityConfig};
use serde_json::{Value, json};

const MS: u64 = 1_000_000;

/// One request of a server that slows down with the rate and breaks every `broken`-th answer.
fn timeline(index: u64, class: u16, rate: u64, broken: u64) -> Timeline {
    let intended = 1_000 * MS + index * 1_000 * MS / rate;
    let first = intended + (40 + rate * rate * 2 + index % 7) * MS;
    let event = |n: u64| ContentEvent {
        at: first + n * (7 + rate / 4) * MS,
        kind: ContentKind::Text,
        tokens: Some(1),
        text: "word ".into(),
        coalesced: false,
    };
    let events: Vec<_> = (0..20).map(event).collect();
    let end = events.last().map(|event| event.at);
    let mut timeline = Timeline {
        id: RequestId::Open { index },
        class,
        phase: Phase::Measure,
        stamps: Stamps {
            intended,
            dispatched: Some(intended + MS / 10),
            sent: Some(intended + MS / 5),
            headers: Some(first - MS),
            end,
            ..Stamps::default()
        },
        answer: Answer {
            events,
            usage: Some(Usage { input_tokens: Some(100), output_tokens: Some(20), cached_tokens: None }),
            finish_reason: Some("length".to_owned()),
            reason: None,
            ..Answer::none(Outcome::Completed, "", None)
        },
        streamed: true,
        input_tokens_asked: 100,
        input_tokens_counted: Some(100),
        output_tokens_asked: 20,
        expected_number: None,
        connection: ConnectionUse::Reused,
        address: 0,
    };
    if broken > 0 && index.is_multiple_of(broken) {
        timeline.answer.outcome = Outcome::ServerError;
        let detail = Some("{\"error\": \"CUDA out of memory | <tag>\"}".to_owned());
        timeline.answer.reason = Some(Reason { code: "http_500".to_owned(), detail });
        timeline.answer.events.clear();
    }
    timeline
}

fn measure_spec(classes: &[&str]) -> MeasureSpec {
    let slo = SloConfig {
        ttft_ms: Some(SloTargets { p50: Some(100.0), p99: Some(300.0), ..SloTargets::default() }),
        tpot_ms: Some(SloTargets { p90: Some(9.5), ..SloTargets::default() }),
        goodput: Some(GoodputTarget { min_share: 0.95 }),
        ..SloConfig::default()
    };
    let class = |name: &&str| ClassSpec { name: (*name).to_owned(), slo: Some(slo.clone()), tokenizer: None };
    MeasureSpec {
        classes: classes.iter().map(class).collect(),
        closed_loop: false,
        window_start_ns: 1_000 * MS,
        window_end_ns: Some(31_000 * MS),
        errors: ErrorsConfig::default(),
        validity: ValidityConfig::default(),
        calibration: None,
        laws: Vec::new(),
        addresses: Addresses::default(),
    }
}

fn point(rate: u64, broken: u64, classes: &[&str]) -> (PointReport, Vec<RequestRecord>) {
    let mut accumulator = Accumulator::new(measure_spec(classes));
    let mut planned = vec![0; classes.len()];
    let mut records = Vec::new();
    for index in 0..rate * 30 {
        let class = usize::try_from(index).unwrap() % classes.len();
        planned[class] += 1;
        records.extend(accumulator.record(timeline(index, u16::try_from(class).unwrap(), rate, broken)));
    }
    let facts = EngineFacts {
        window_start_ns: 1_000 * MS,
        window_end_ns: 31_000 * MS,
        window_started_at: "2026-01-02T03:04:05.06Z".parse().unwrap(),
        planned,
        not_started_by_client: 0,
        clock: ClockSource::HttpClient,
        client: ClientFacts {
            cpu_share: Some(0.125),
            busiest_core_share: Some(if rate > 8 { 0.97 } else { 0.2 }),
            peak_rss_bytes: Some(50_000_000),
            workers: vec![WorkerReport {
                name: "worker-0".to_owned(),
                cpu_share: Some(if rate > 8 { 0.97 } else { 0.2 }),
                peak_cpu_share: Some(0.99),
                run_queue_share: Some(0.004),
                ..WorkerReport::default()
            }],
            descriptors: Some(Descriptors { open_peak: 75, limit: 1000 }),
            ports: Some(Ports { range: 28_232, used_bound: 7_058 }),
            tcp: Some(TcpReport { segments_sent: 10_000, segments_retransmitted: 120, ..TcpReport::default() }),
            ..ClientFacts::default()
        },
    };
    let coordinates = BTreeMap::from([("load.rate_per_s".to_owned(), json!(rate))]);
    (accumulator.finish(facts).into_report(format!("p{rate}"), format!("{rate:064x}"), coordinates), records)
}

fn report_of(run_id: &str, points: Vec<PointReport>) -> Report {
    Report {
        format: FORMAT.to_owned(),
        status: Status::Complete,
        verdict: Report::verdict_of(&points),
        run_id: run_id.to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "serving".to_owned())]),
        scenario: ScenarioRef {
            name: "latency-curve".to_owned(),
            digest: "ab".repeat(32),
            path: "scenarios/latency-curve.toml".to_owned(),
            git: None,
        },
        plan: PlanRef { digest: "cd".repeat(32), seed: "2a".to_owned() },
        provenance: Provenance {
            bench: Some(BuildFacts { version: "0.1.0".to_owned(), ..BuildFacts::default() }),
            started_at: Some("2026-01-02T03:04:05Z".to_owned()),
            servers: BTreeMap::from([(
                "main".to_owned(),
                ServerFacts {
                    software: Some("vLLM 0.32.0".to_owned()),
                    model: Some("llama-3.1-8b".to_owned()),
                    ..ServerFacts::default()
                },
            )]),
            ..Provenance::default()
        },
        warnings: vec![Warning {
            code: "prompts_seen_before".to_owned(),
            message: "a run of the same digest ended 3 h ago".to_owned(),
        }],
        points,
    }
}

/// Four points of a server that reaches its limit. Measured once: debug builds are slow at it.
fn report() -> Report {
    static REPORT: LazyLock<Report> = LazyLock::new(measured);
    REPORT.clone()
}

fn measured() -> Report {
    let points = [(1, 0), (4, 0), (8, 0), (16, 3)].map(|(rate, broken)| point(rate, broken, &["base"]).0);
    report_of("0199c2f0-run", points.into())
}

fn schema_validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft7::new(schema).expect("the committed schema is a schema")
}

#[track_caller]
fn assert_valid(schema: &Value, value: &Value) {
    let errors: Vec<_> = schema_validator(schema)
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Where a document holds a null.
fn nulls(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Null => vec![path.to_owned()],
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(at, item)| nulls(item, &format!("{path}/{at}"))).collect()
        }
        Value::Object(map) => map.iter().flat_map(|(key, item)| nulls(item, &format!("{path}/{key}"))).collect(),
        _ => Vec::new(),
    }
}

/// `UPDATE=1 cargo test --test it report::` writes the files instead.
#[test]
fn committed_schemas_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for (file, schema) in [("report.v1.json", schema::report_schema()), ("requests.v1.json", schema::requests_schema())]
    {
        let (path, current) = (folder.join(file), schema::text(&schema));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == current, "schema/{file} is not what the types say; set UPDATE=1 to write it");
    }
}

#[test]
fn reports_and_records_are_valid_by_their_schemas() {
    let report = report();
    let value = serde_json::from_slice(&report.to_vec().unwrap()).unwrap();
    assert_valid(&schema::report_schema(), &value);
    assert_eq!(nulls(&value, ""), Vec::<String>::new());
    let (_, records) = point(4, 3, &["base", "other"]);
    for record in &records {
        let value = serde_json::to_value(record).unwrap();
        assert_valid(&schema::requests_schema(), &value);
        assert_eq!(nulls(&value, ""), Vec::<String>::new());
    }
}

#[test]
fn schemas_refuse_what_the_contract_refuses() {
    let validator = schema_validator(&schema::report_schema());
    let good: Value = serde_json::from_slice(&report().to_vec().unwrap()).unwrap();
    for (pointer, bad) in [
        ("/status", json!("done")),
        ("/format", json!("bench.report/2")),
        ("/verdict", Value::Null),
        ("/points/0/rates/offered_per_s", Value::Null),
        ("/points/0/outcomes/planned", json!(-1)),
        ("/points/0/metrics/ttft_ms/quantiles/p99", json!("fast")),
        ("/points/0/metrics/ttft_ms/histogram/sum", json!(12)),
        ("/points/0/validity/state", json!("great")),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = bad;
        assert!(!validator.is_valid(&value), "{pointer}");
    }
    let mut value = good;
    value["points"][0]["brand_new"] = json!({"anything": 1});
    assert!(validator.is_valid(&value), "unknown keys are for newer writers");
}

#[test]
fn the_contract_by_name() {
    let value: Value = serde_json::from_slice(&report().to_vec().unwrap()).unwrap();
    for pointer in [
        "/format",
        "/status",
        "/verdict",
        "/run_id",
        "/labels/team",
        "/scenario/name",
        "/scenario/digest",
        "/scenario/path",
        "/plan/digest",
        "/plan/seed",
        "/provenance",
    ] {
        assert!(value.pointer(pointer).is_some(), "{pointer}");
    }
    let point = &value["points"][3];
    for pointer in [
        "/id",
        "/digest",
        "/coordinates/load.rate_per_s",
        "/loop",
        "/validity/state",
        "/validity/reasons/0/code",
        "/validity/reasons/0/message",
        "/validity/reasons/0/observed",
        "/validity/reasons/0/limit",
        "/clock/source",
        "/window/started_at",
        "/window/duration_s",
        "/rates/offered_per_s",
        "/rates/started_per_s",
        "/rates/completed_per_s",
        "/throughput/requests_per_s",
        "/throughput/input_tokens_per_s",
        "/throughput/output_tokens_per_s",
        "/goodput/share",
        "/goodput/requests_per_s",
        "/slo/0/metric",
        "/slo/0/class",
        "/slo/0/target",
        "/slo/0/interval",
        "/slo/0/verdict",
        "/classes/base/outcomes",
        "/classes/base/rates",
        "/classes/base/throughput",
        "/classes/base/metrics",
        "/classes/base/goodput",
        "/classes/base/slo",
        "/client/dispatch_lag_ms",
        "/client/cpu_share",
        "/client/peak_rss_bytes",
        "/client/connections/opened",
        "/client/connections/reused",
        "/client/connections/resent",
        "/client/connections/failed",
    ] {
        assert!(point.pointer(pointer).is_some(), "{pointer}");
    }
    for outcome in Outcome::ALL {
        assert!(point["outcomes"].get(outcome.name()).is_some(), "{}", outcome.name());
    }
    let metrics = point["metrics"].as_object().unwrap();
    for (name, metric) in metrics {
        assert!(Metric::from_name(name).is_some(), "{name}");
        for key in ["unit", "count", "mean", "sd", "min", "max"] {
            assert!(metric.get(key).is_some(), "{name} has no {key}");
        }
        for quantile in ["p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99_9"] {
            assert!(metric["quantiles"][quantile].is_number(), "{name} {quantile}");
        }
        assert_eq!(metric["histogram"]["encoding"], "hdr-v2-deflate-base64");
        assert!(metric["histogram"]["data"].is_string());
    }
    assert_eq!(metrics["ttft_ms"]["histogram"]["unit"], "ns");
    assert_eq!(point["window"]["started_at"], "2026-01-02T03:04:05.060000000Z");
    assert_eq!((&point["loop"], &point["clock"]["source"]), (&json!("open"), &json!("http-client")));
    // The last slowest answers broke: p99 falls among requests that did not complete.
    let unbounded = point["slo"].as_array().unwrap().iter().find(|slo| slo["observed_bound"] == "unbounded").unwrap();
    assert!(unbounded.get("observed").is_none());
    assert_eq!(unbounded["verdict"], "fail");
}

#[test]
fn reading_back_is_lossless_tolerant_and_strict_about_the_major() {
    let report = report();
    let bytes = report.to_vec().unwrap();
    assert_eq!(Report::from_slice(&bytes).unwrap(), report);
    assert_eq!(Report::from_slice(&bytes).unwrap().to_vec().unwrap(), bytes);
    let edited = |key: &str, to: Value| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        value[key] = to;
        Report::from_slice(value.to_string().as_bytes())
    };
    assert_eq!(edited("from_the_future", json!([1])).unwrap(), report);
    assert!(edited("format", json!("bench.report/1.4")).is_ok());
    for format in ["bench.report/2", "bench.report/10", "bench.plan/1"] {
        let error = edited("format", json!(format)).unwrap_err();
        assert!(matches!(error, ReadError::UnknownFormat { .. }), "{format}");
        assert!(error.to_string().contains(format), "{error}");
    }
    assert!(matches!(edited("format", Value::Null), Err(ReadError::NoFormat)));
    assert!(matches!(Report::from_slice(b"{"), Err(ReadError::Json(_))));
    let file = PointFile::new(report.points[0].clone());
    assert_eq!(PointFile::from_slice(&file.to_vec().unwrap()).unwrap(), file);
    assert!(PointFile::from_slice(&bytes).is_err());
}

#[test]
fn what_exit_codes_are_made_of() {
    let report = report();
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.slo_missed() && report.errors_broken() && !report.sum_broken() && !report.nothing_measured());
    assert_eq!(report.validity(), ValidityState::Suspect);
    // At one request a second everything is within its target, but thirty requests cannot show a p99.
    let (calm, _) = point(1, 0, &["base"]);
    let calm = report_of("calm", vec![calm]);
    assert!(!calm.slo_missed() && calm.slo_inconclusive() && !calm.errors_broken());
    assert_eq!((calm.verdict, calm.validity()), (Verdict::Inconclusive, ValidityState::Valid));
    let (dead, _) = point(1, 1, &["base"]);
    let dead = report_of("dead", vec![dead]);
    assert!(dead.nothing_measured() && dead.slo_missed() && dead.errors_broken());
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn the_terminal_view_fits_and_tells() {
    let report = report();
    for width in [80, 100, 120] {
        let text = terminal(&report, None, TerminalOptions { width, color: false });
        assert!(widest(&text) <= width, "{} of {width} columns\n{text}", widest(&text));
        assert!(!text.contains('\u{1b}'));
        for part in [
            "latency-curve",
            "0199c2f0-run",
            "rate_per_s",
            "TTFT p99",
            "goodput",
            "SLO",
            "suspect",
            "core_busy",
            "160 ×",
            "server_error",
            "http_500",
            "CUDA out of memory",
            "vLLM 0.32.0",
            "unbounded",
            "prompts_seen_before",
            "Client",
            "worker CPU",
            "97 %",
            "7.5 %",
        ] {
            assert!(text.contains(part), "no {part} in {width} columns\n{text}");
        }
        assert_eq!(text.matches("CUDA").count(), 1, "a reason is shown once, with a count");
    }
    let color = terminal(&report, None, TerminalOptions { width: 120, color: true });
    assert!(color.contains("\u{1b}[1;31mfail\u{1b}[0m"), "{color}");
}

#[test]
fn classes_have_rows_of_their_own() {
    let (point, _) = point(4, 0, &["base", "adapter"]);
    let text = terminal(&report_of("r", vec![point]), None, TerminalOptions { width: 120, color: false });
    let row = |class: &str| text.lines().filter(|line| line.split_whitespace().any(|word| word == class)).count();
    assert!(row("all") == 1 && row("base") >= 1 && row("adapter") >= 1, "{text}");
}

#[test]
fn markdown_is_a_table_a_section() {
    let text = markdown::render(&report(), None);
    assert!(text.starts_with("# latency-curve\n"), "{text}");
    for heading in ["## Points", "## SLO", "## Errors", "## Warnings"] {
        assert!(text.contains(heading), "{text}");
    }
    assert!(text.contains("\\| &lt;tag&gt;"), "details cannot break out of their cell\n{text}");
    let mut rows = 0;
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let pipes = |line: &str| line.replace("\\|", "").matches('|').count();
        let width = pipes(table.lines().next().unwrap());
        rows +=
            table.lines().filter(|line| line.starts_with('|')).inspect(|line| assert_eq!(pipes(line), width)).count();
    }
    assert!(rows > 10);
}

/// Splits a CSV line as RFC 4180 says.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[test]
fn csv_has_a_row_for_each_point_and_class() {
    let mut report = report();
    report.run_id = "=cmd(\"a,b\")".to_owned();
    let text = csv::render(&report);
    let mut lines = text.split_terminator("\r\n");
    let header = fields(lines.next().unwrap());
    let rows: Vec<_> = lines.map(fields).collect();
    assert_eq!(rows.len(), 8, "four points, each in all and by its class");
    assert!(rows.iter().all(|row| row.len() == header.len()));
    let cell = |row: usize, name: &str| &rows[row][header.iter().position(|column| column == name).unwrap()];
    assert_eq!((cell(0, "class"), cell(1, "class")), (&"*".to_owned(), &"base".to_owned()));
    assert_eq!(cell(2, "load.rate_per_s"), "4");
    assert_eq!(cell(2, "ttft_ms_mean"), &report.points[1].metrics["ttft_ms"].mean.to_string());
    assert_eq!((cell(6, "server_error"), cell(6, "slo_verdict")), (&"160".to_owned(), &"fail".to_owned()));
    assert_eq!((cell(0, "slot_wait_ms_count"), cell(0, "slot_wait_ms_mean")), (&"0".to_owned(), &String::new()));
    assert_eq!(cell(0, "run_id"), "'=cmd(\"a,b\")", "a spreadsheet must not run it");
}

#[test]
fn junit_counts_what_ci_must_see() {
    let report = report();
    let text = junit::render(&report);
    let cases = text.matches("<testcase ").count();
    // Each point: four targets, the error budget, validity.
    assert_eq!(cases, 4 * 6);
    let missed: usize = report.points.iter().map(|point| point.slo.iter().filter(|slo| slo.missed).count()).sum();
    let failures = text.matches("<failure ").count();
    assert_eq!(failures, missed + 1, "missed targets and one broken budget; suspect is no failure");
    assert!(text.contains(&format!("tests=\"{cases}\" failures=\"{failures}\"")), "{text}");
    assert!(text.contains("160 × server_error http_500"));
    assert!(!text.contains("<tag>"));
}

#[test]
fn comparison_pairs_points_by_their_coordinates() {
    let old = report_of("old", vec![point(1, 0, &["base"]).0, point(4, 0, &["base"]).0, point(2, 0, &["base"]).0]);
    let mut slower = point(4, 0, &["base"]).0;
    for metric in slower.metrics.values_mut() {
        metric.quantiles.p99 *= 1.5;
    }
    slower.digest = "ff".repeat(32);
    let new = report_of("new", vec![point(1, 0, &["base"]).0, slower, point(8, 0, &["base"]).0]);
    let comparison = compare(&old, &new);
    assert_eq!(comparison.pairs.len(), 2);
    assert!(comparison.pairs[0].deltas.iter().all(|delta| delta.change().is_none_or(|change| change == 0.0)));
    assert!(comparison.pairs[0].same_digest && !comparison.pairs[1].same_digest);
    let ttft = comparison.pairs[1].deltas.iter().find(|delta| delta.name == "ttft_ms.p99").unwrap();
    assert!((ttft.change().unwrap() - 0.5).abs() < 1e-9 && ttft.is_worse());
    assert_eq!((comparison.only_old.len(), comparison.only_new.len()), (1, 1));
    for text in [
        terminal(&new, Some(&comparison), TerminalOptions { width: 100, color: false }),
        markdown::render(&new, Some(&comparison)),
    ] {
        assert!(text.contains("Difference to run old") && text.contains("+50.0 %"), "{text}");
        assert!(text.contains("1 point is new"), "{text}");
    }
}

#[test]
fn the_client_is_shown_in_one_row_of_its_worst() {
    let report = report();
    let wide = terminal(&report, None, TerminalOptions { width: 160, color: false });
    let rows: Vec<&str> = wide.lines().skip_while(|line| !line.starts_with("Client (worst of")).take(3).collect();
    let words =
        |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let (headings, values): (Vec<String>, Vec<String>) = (words(rows[1]), words(rows[2]));
    let value = |heading: &str| values[headings.iter().position(|found| found == heading).unwrap()].as_str();
    for (heading, expected) in [
        ("worker CPU", "97 %"),
        ("peak", "99 %"),
        ("waiting", "0.4 %"),
        ("memory", "50 MB"),
        ("files", "7.5 %"),
        ("ports ≤", "25 %"),
        ("TCP resent", "1.2 %"),
    ] {
        assert_eq!(value(heading), expected, "{heading}: {rows:?}");
    }
    // A report from before the client watched itself has nothing to show.
    let mut old = report;
    for point in &mut old.points {
        point.client.workers.clear();
        point.client.descriptors = None;
    }
    assert!(!terminal(&old, None, TerminalOptions::default()).contains("Client"));
}
