//! Each law of lengths against its definition, at fixed seeds: means, distributions, pairs, files.

use llm_bench::assets::Assets;
use llm_bench::seed::Seed;
use llm_bench::workload::joint::{JointConfig, Side};
use llm_bench::workload::length::LengthConfig;
use serde_json::{Value, json};
use statrs::function::gamma::gamma_lr;

use super::{ONE_CLASS, build, data, open, scenario, try_build};

fn law(settings: Value) -> LengthConfig {
    let law: LengthConfig = serde_json::from_value(settings.clone()).unwrap();
    assert_eq!(law.check(), [], "{settings}");
    law
}

fn joint(settings: Value) -> JointConfig {
    let law: JointConfig = serde_json::from_value(settings.clone()).unwrap();
    assert_eq!(law.check(), [], "{settings}");
    law
}

fn draw(law: &LengthConfig, count: usize, seed: u64) -> Vec<f64> {
    let assets = Assets::new(data());
    let law = law.law(&|path| assets.read(path)).unwrap();
    let mut rng = Seed::root(seed).rng();
    let (low, high) = law.bounds();
    let drawn: Vec<u32> = (0..count).map(|_| law.sample(&mut rng)).collect();
    assert!(drawn.iter().all(|length| (low..=high).contains(length)));
    drawn.into_iter().map(f64::from).collect()
}

fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}

/// Largest distance between the share of lengths up to a value and `cdf` there, times √n: of a continuous law above 1.95
/// in one of a thousand samples, of whole numbers more rarely.
fn distance(drawn: &[f64], values: impl Iterator<Item = u32>, cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = drawn.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = drawn.len() as f64;
    let at = |value: u32| {
        let up_to = sorted.partition_point(|drawn| *drawn <= f64::from(value)) as f64;
        (up_to / count - cdf(f64::from(value))).abs()
    };
    values.map(at).fold(0.0, f64::max) * count.sqrt()
}

/// Sum of (observed - expected)² / expected over cells with their expected shares.
fn chi_square(drawn: &[f64], cells: &[(f64, f64, f64)]) -> f64 {
    let count = drawn.len() as f64;
    let cell = |(from, to, share): &(f64, f64, f64)| {
        let seen = drawn.iter().filter(|length| (*from..=*to).contains(*length)).count() as f64;
        (seen - share * count).powi(2) / (share * count)
    };
    cells.iter().map(cell).sum()
}

#[test]
fn means_are_known_answers() {
    let close = |settings: Value, expected: f64, tolerance: f64| {
        let mean = law(settings.clone()).mean().unwrap();
        assert!((mean - expected).abs() <= tolerance, "{settings}: {mean} is not within {tolerance} of {expected}");
    };
    close(json!({ "kind": "fixed", "value": 7 }), 7.0, 0.0);
    close(json!({ "kind": "uniform", "min": 10, "max": 21 }), 15.5, 0.0);
    // Symmetric bounds do not move the mean.
    close(json!({ "kind": "normal", "mean": 500, "sd": 50, "min": 400, "max": 600 }), 500.0, 1e-9);
    // Half a normal law, from its mean up: 100 + 20 * sqrt(2 / pi) = 115.958; the lower bound is at 99.5 to take the
    // rounding in: about half a token less.
    close(json!({ "kind": "normal", "mean": 100, "sd": 20, "min": 100, "max": 10_000 }), 115.6, 0.1);
    close(json!({ "kind": "normal", "mean": 10.4, "sd": 0, "min": 1, "max": 60 }), 10.0, 0.0);
    // Unbounded in effect: median * exp(sigma^2 / 2), sigma = ln(900 / 180) / 2.32635 = 0.691826;
    // 180 * exp(0.239311) = 228.67.
    close(json!({ "kind": "lognormal", "median": 180, "p99": 900, "max": 1_000_000 }), 228.67, 0.01);
    close(json!({ "kind": "lognormal", "median": 64, "p99": 64, "max": 100 }), 64.0, 0.0);
    // Unbounded in effect: the mean of the law itself.
    close(json!({ "kind": "gamma", "mean": 500, "cv": 0.5, "max": 100_000 }), 500.0, 0.01);
    // An exponential law of mean 100 above 100: E[max(X, 100)] = 100 + 100 e^-1 = 136.788, however it is written.
    close(json!({ "kind": "gamma", "mean": 100, "sd": 100, "min": 100, "max": 100_000 }), 136.788, 0.01);
    // Rounding moves 99.5 … 100.5 onto the bound: 100 + Σ P(X ≥ k - 1/2) = 100 + e^-1.005 / (1 - e^-0.01) = 136.788.
    close(json!({ "kind": "exponential", "mean": 100, "min": 100, "max": 100_000 }), 136.788, 0.01);
    // 3/4 of 4.5 (the middle of 1 … 8) and 1/4 of 100.
    let bins = json!([{ "from": 1, "to": 8, "weight": 3 }, { "from": 100, "weight": 1 }]);
    close(json!({ "kind": "histogram", "bins": bins }), 28.375, 1e-9);
    // Bounds 3 … 50: of 1 … 8 the first two sit at 3: (3 + 3 + 3 + 4 + 5 + 6 + 7 + 8) / 8 = 4.875; 100 sits at 50.
    close(json!({ "kind": "histogram", "bins": bins, "min": 3, "max": 50 }), 0.75 * 4.875 + 0.25 * 50.0, 1e-9);
    let unknown = law(json!({ "kind": "histogram", "path": "lengths/counts.csv" }));
    assert_eq!(unknown.mean(), None, "only the file knows");
    for (settings, side, expected) in [
        // (128 + 3 · 1024) / 4 and (256 + 3 · 16) / 4.
        (pairs(), Side::Input, 800.0),
        (pairs(), Side::Output, 76.0),
        // 1100 / 11 = 100.
        (
            json!({ "kind": "ratio", "total": { "kind": "fixed", "value": 1100 }, "prefill_to_decode_ratio": 10 }),
            Side::Output,
            100.0,
        ),
        (
            json!({ "kind": "ratio", "total": { "kind": "fixed", "value": 1100 }, "prefill_to_decode_ratio": 10 }),
            Side::Input,
            1000.0,
        ),
    ] {
        assert_eq!(joint(settings.clone()).mean(side), Some(expected), "{settings}");
    }
}

fn pairs() -> Value {
    json!({ "kind": "pairs", "pairs": [
        { "input_tokens": 128, "output_tokens": 256 },
        { "input_tokens": 1024, "output_tokens": 16, "weight": 3 },
    ] })
}

#[test]
fn means_agree_with_draws() {
    for (seed, settings) in (0..).zip([
        json!({ "kind": "uniform", "min": 3, "max": 9 }),
        json!({ "kind": "normal", "mean": 300, "sd": 120, "min": 50, "max": 400 }),
        json!({ "kind": "normal", "mean": 3, "sd": 2, "max": 5 }),
        json!({ "kind": "normal", "mean": 26, "sd": 5, "min": 25, "max": 90 }),
        json!({ "kind": "lognormal", "median": 420, "p99": 2000, "min": 100, "max": 900 }),
        json!({ "kind": "gamma", "mean": 300, "cv": 1.5, "min": 20, "max": 700 }),
        json!({ "kind": "gamma", "mean": 300, "sd": 30, "max": 310 }),
        json!({ "kind": "exponential", "mean": 40, "min": 5, "max": 60 }),
        json!({ "kind": "exponential", "mean": 2, "max": 9 }),
        json!({ "kind": "zipf", "theta": 0.4, "min": 1024, "max": 8192 }),
        json!({ "kind": "zipf", "theta": 0.9, "min": 10, "max": 60, "scramble": true }),
        json!({ "kind": "histogram", "bins": [{ "from": 1, "to": 90, "weight": 3 }, { "from": 100, "weight": 1 }], "max": 50 }),
    ]) {
        let law = law(settings.clone());
        let drawn = draw(&law, 100_000, seed);
        let (mean, sd) = mean_and_sd(&drawn);
        // Five standard errors.
        let off = (mean - law.mean().unwrap()).abs();
        assert!(off <= 5.0 * sd / 100_000_f64.sqrt(), "{settings}: drawn {mean}, {} expected", law.mean().unwrap());
    }
}

/// The share of u below which the formula gives a length of at most `min + rank`, from its inverse.
#[test]
fn zipf_lengths_have_the_distribution_of_metrons_formula() {
    let drawn = draw(&law(json!({ "kind": "zipf", "theta": 0.4, "min": 1024, "max": 8192 })), 50_000, 1);
    // ζ(7169) and η as computed independently; n (η u - η + 1) ^ (1 / 0.6) < k + 1 at u = (((k + 1) / n) ^ 0.6 - 1 + η) / η.
    let (zeta, eta, n) = (341.716_44, 0.995_545_48, 7169.0_f64);
    let cdf = |length: f64| match length - 1024.0 {
        rank if rank < 1.0 => 1.0 / zeta,
        rank if rank < 2.0 => (1.0 + 0.5_f64.powf(0.4)) / zeta,
        rank => ((((rank + 1.0) / n).powf(0.6) - 1.0 + eta) / eta).min(1.0),
    };
    let found = distance(&drawn, (1024..=8192).step_by(7), cdf);
    assert!(found < 1.95, "{found}");
    // A uniform law would be far off: the test can fail.
    assert!(distance(&drawn, (1024..=8192).step_by(7), |length| (length - 1023.0) / n) > 10.0);
}

#[test]
fn gamma_and_exponential_lengths_have_their_distributions() {
    let drawn = draw(&law(json!({ "kind": "gamma", "mean": 600, "cv": 0.5, "max": 100_000 })), 50_000, 2);
    // Shape 4, scale 150; rounding moves the law by half a token.
    let found = distance(&drawn, (1..=3000).step_by(3), |length| gamma_lr(4.0, (length + 0.5) / 150.0));
    assert!(found < 1.95, "{found}");
    let (mean, sd) = mean_and_sd(&drawn);
    // Standard errors: 300 / √50000 = 1.3, and of the sd about 1.2.
    assert!((mean - 600.0).abs() < 6.0 && (sd - 300.0).abs() < 6.0, "{mean} {sd}");
    let drawn = draw(&law(json!({ "kind": "exponential", "mean": 80, "min": 10, "max": 400 })), 50_000, 3);
    let cdf = |length: f64| if length >= 400.0 { 1.0 } else { 1.0 - (-(length + 0.5) / 80.0).exp() };
    let found = distance(&drawn, 10..=400, cdf);
    assert!(found < 1.95, "{found}");
}

#[test]
fn histograms_have_the_shares_of_their_bins() {
    let bins = json!([
        { "from": 10, "to": 19, "weight": 5 }, { "from": 100, "weight": 3 }, { "from": 20, "to": 59, "weight": 2 },
        { "from": 7000, "weight": 0 },
    ]);
    let drawn = draw(&law(json!({ "kind": "histogram", "bins": bins, "max": 90 })), 20_000, 4);
    // Ten lengths of 5 % each, forty of 0.5 %, and 30 % at the bound of 90; chi-square with 21 cells has 20 degrees of
    // freedom, of which one in a thousand samples is above 45.3.
    let mut cells: Vec<(f64, f64, f64)> = (10..20).map(|length| (f64::from(length), f64::from(length), 0.05)).collect();
    cells.extend((0..10).map(|i| (f64::from(20 + 4 * i), f64::from(23 + 4 * i), 0.02)));
    cells.push((90.0, 90.0, 0.3));
    let found = chi_square(&drawn, &cells);
    assert!(found < 45.3, "{found}");
    // From a file: 30 of 120 are 64, 60 are 256, 30 are 1024.
    let drawn = draw(&law(json!({ "kind": "histogram", "path": "lengths/counts.csv" })), 20_000, 5);
    let found = chi_square(&drawn, &[(64.0, 64.0, 0.25), (256.0, 256.0, 0.5), (1024.0, 1024.0, 0.25)]);
    // Two degrees of freedom: 13.8.
    assert!(found < 13.8, "{found}");
}

/// One workload with joint lengths, as the traffic gives them to requests.
fn workload(tokens: &str) -> String {
    format!("[workloads.w]\nprompts = {{ kind = \"synthetic\" }}\ntokens = {tokens}\n")
}

#[test]
fn pairs_stay_together_and_keep_their_shares() {
    let inline = "{ kind = \"pairs\", pairs = [{ input_tokens = 8, output_tokens = 900 }, \
                  { input_tokens = 60, output_tokens = 5, weight = 3 }] }";
    let files =
        ["{ kind = \"pairs\", path = \"lengths/pairs.csv\" }", "{ kind = \"pairs\", path = \"lengths/pairs.jsonl\" }"];
    for tokens in [inline, files[0], files[1]] {
        let traffic = build(&scenario(&workload(tokens), ONE_CLASS, "kind = \"constant\"\nrate_per_s = 1", ""), 6);
        let drawn: Vec<(u32, u32)> = (0..4000)
            .map(|index| open(&traffic, index))
            .map(|content| {
                assert_eq!(content.input_tokens_counted, content.input_tokens_asked);
                (content.input_tokens_asked, content.output_tokens_asked)
            })
            .collect();
        assert!(drawn.iter().all(|pair| [(8, 900), (60, 5)].contains(pair)), "{tokens}");
        let first = drawn.iter().filter(|pair| pair.0 == 8).count() as f64;
        // A quarter of 4000, within four standard errors of √(4000 · 0.25 · 0.75) = 27.4.
        assert!((first - 1000.0).abs() < 110.0, "{tokens}: {first}");
        let info = &traffic.classes()[0];
        assert_eq!((info.mean_input_tokens, info.mean_output_tokens), (47.0, 228.75));
    }
}

#[test]
fn a_total_is_split_at_its_ratio() {
    let tokens = "{ kind = \"ratio\", prefill_to_decode_ratio = 10, total = { kind = \"zipf\", theta = 0.4, min = 20, max = 400 } }";
    let traffic = build(&scenario(&workload(tokens), ONE_CLASS, "kind = \"constant\"\nrate_per_s = 1", ""), 7);
    let (mut inputs, mut outputs) = (0.0, 0.0);
    for index in 0..3000 {
        let content = open(&traffic, index);
        let (input, output) = (content.input_tokens_asked, content.output_tokens_asked);
        let total = input + output;
        assert!((20..=400).contains(&total));
        assert_eq!(output, (total / 11).max(1), "{total}");
        inputs += f64::from(input) / 3000.0;
        outputs += f64::from(output) / 3000.0;
    }
    let info = &traffic.classes()[0];
    // The sd of the total is about 110: five standard errors are 10 tokens, an eleventh of it for answers.
    assert!((info.mean_input_tokens - inputs).abs() < 10.0, "{} {inputs}", info.mean_input_tokens);
    assert!((info.mean_output_tokens - outputs).abs() < 1.0, "{} {outputs}", info.mean_output_tokens);
}

#[test]
fn what_is_wrong_with_a_file_of_lengths_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 12] = [
        ("counts.csv", b"", "`counts.csv` holds no row of lengths; expected a line `value,count` and then numbers"),
        ("counts.csv", b"value,count\n", "`counts.csv` holds no row of lengths"),
        ("counts.csv", b"tokens,count\n1,2\n", "line 1: no column `value`; the file has `tokens`, `count`"),
        (
            "counts.csv",
            b"value,count\n5,1\n12,x\n0,1\n7,1,1\n",
            "line 3, column `count`: found `x`, expected a number of at least 0; 2 more rows are wrong",
        ),
        (
            "counts.csv",
            b"\xef\xbb\xbf\"value\", count\r\n\r\n5,1\r\n-3,1\r\n",
            "line 4, column `value`: found `-3`, expected a whole number of tokens from 1 to 10000000",
        ),
        ("counts.csv", b"value,count\n5\n", "line 2: found 1 fields, expected 2 as in the first line"),
        ("counts.csv", b"value,count\n5,0\n6,0\n", "every `count` is 0, so nothing can be drawn"),
        ("counts.csv", b"value,count\n5,1\n\xff,1\n", "line 3: found \u{fffd},1, expected UTF-8 (byte 1 is not)"),
        ("pairs.csv", b"input_tokens,weight\n5,1\n", "no column `output_tokens`"),
        (
            "pairs.jsonl",
            b"{\"input_tokens\": 5, \"output_tokens\": 1}\n{\"input_tokens\": 5}\n",
            "line 2, column `output_tokens`: found nothing, expected a whole number",
        ),
        ("pairs.jsonl", b"[5, 1]\n", "line 1: found [5, 1], expected a JSON object"),
        ("none.csv", b"", "cannot read `none.csv`"),
    ];
    for (path, content, expected) in cases {
        if path != "none.csv" {
            std::fs::write(folder.path().join(path), content).unwrap();
        }
        let tokens = if path.starts_with("pairs") {
            format!("tokens = {{ kind = \"pairs\", path = \"{path}\" }}")
        } else {
            format!(
                "input_tokens = {{ kind = \"histogram\", path = \"{path}\" }}\noutput_tokens = {{ kind = \"fixed\", value = 1 }}"
            )
        };
        let workload = format!("[workloads.w]\nprompts = {{ kind = \"synthetic\" }}\n{tokens}\n");
        let scenario = scenario(&workload, ONE_CLASS, "kind = \"constant\"\nrate_per_s = 1", "");
        let built = llm_bench::workload::Traffic::build(&scenario, Seed::root(1), None, &Assets::new(folder.path()));
        let error = built.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{path}: {error}\nexpected: {expected}");
    }
}

#[test]
fn settings_that_make_no_law_are_all_found() {
    let problems = |settings: Value| -> Vec<String> {
        let law: LengthConfig = serde_json::from_value(settings).unwrap();
        law.check().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    };
    let found = problems(json!({ "kind": "gamma", "mean": 500, "cv": 1, "sd": 5, "min": 600, "max": 700 }));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("mean: `mean` 500 is outside") && found[1].starts_with("sd: `cv` and `sd`"),
        "{found:?}"
    );
    let found = problems(json!({ "kind": "zipf", "theta": 1.0, "min": 5, "max": 9 }));
    assert!(found[0].contains("only 5 lengths") && found[1].contains("`theta` 1"), "{found:?}");
    let found = problems(json!({ "kind": "histogram", "bins": [{ "from": 9, "to": 3, "weight": -1 }] }));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(problems(json!({ "kind": "histogram" })).len(), 1);
    let both = "[workloads.w]\nprompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 1 }\n\
                tokens = { kind = \"ratio\", prefill_to_decode_ratio = 1, total = { kind = \"fixed\", value = 1 } }\n";
    let scenario = scenario(both, ONE_CLASS, "kind = \"constant\"\nrate_per_s = 1", "");
    let error = try_build(&scenario, 1).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`workloads.w.tokens.total.value`: a total needs at least 2 tokens"), "{error}");
    assert!(error.contains("`workloads.w.input_tokens`: `tokens` has both lengths"), "{error}");
}

#[test]
fn draws_do_not_repeat_the_work_of_preparing() {
    let law = law(json!({ "kind": "zipf", "theta": 0.4, "min": 1, "max": 10_000_000 }));
    let assets = Assets::new(data());
    let law = law.law(&|path| assets.read(path)).unwrap();
    let mut rng = Seed::root(8).rng();
    // Ten million lengths: a sum over all of them at each draw would take hours, not a moment.
    let sum: f64 = (0..20_000).map(|_| f64::from(law.sample(&mut rng))).sum();
    assert!((sum / 20_000.0 / law.mean() - 1.0).abs() < 0.03, "{} {}", sum / 20_000.0, law.mean());
}
