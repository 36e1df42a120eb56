//! Lengths against their laws; synthetic prompts exact, distinct, salted, shared; purity.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::seed::Seed;
use llm_bench::workload::length::{LengthConfig, Lengths};
use llm_bench::workload::{Content, Traffic, WorkloadError};

use super::{ONE_CLASS, build, data, open, plain, scenario, text, try_build};

const RATE: &str = "kind = \"poisson\"\nrate_per_s = 10";

fn synthetic(prompts: &str, input: &str) -> String {
    format!(
        "[workloads.w]\nprompts = {{ kind = \"synthetic\", {prompts} }}\ninput_tokens = {{ {input} }}\n\
         output_tokens = {{ kind = \"fixed\", value = 8 }}\n"
    )
}

fn fixed(prompts: &str, tokens: u32) -> Traffic {
    let workloads = synthetic(prompts, &format!("kind = \"fixed\", value = {tokens}"));
    build(&scenario(&workloads, ONE_CLASS, RATE, ""), 11)
}

fn law(settings: &str) -> Arc<dyn Lengths> {
    let config: LengthConfig = toml::from_str(settings).unwrap();
    let assets = Assets::new(data());
    config.law(&|path| assets.read(path)).unwrap()
}

fn draws(law: &Arc<dyn Lengths>, count: u64) -> Vec<u32> {
    let mut rng = Seed::root(count).rng();
    (0..count).map(|_| law.sample(&mut rng)).collect()
}

fn mean(lengths: &[u32]) -> f64 {
    lengths.iter().map(|length| f64::from(*length)).sum::<f64>() / lengths.len() as f64
}

#[test]
fn uniform_lengths_are_equally_frequent() {
    let law = law("kind = \"uniform\"\nmin = 5\nmax = 14");
    let drawn = draws(&law, 100_000);
    // 10 lengths, 10 000 of each expected; chi-square with 9 degrees of freedom, 99.9 % at 27.9.
    let chi: f64 = (5..=14)
        .map(|length| {
            let found = drawn.iter().filter(|drawn| **drawn == length).count() as f64;
            (found - 10_000.0).powi(2) / 10_000.0
        })
        .sum();
    assert!(chi < 27.9, "chi-square {chi}");
    assert_eq!((law.mean(), law.bounds()), (9.5, (5, 14)));
}

#[test]
fn normal_lengths_have_the_mean_and_deviation_asked() {
    let law = law("kind = \"normal\"\nmean = 500\nsd = 50\nmax = 1000");
    let drawn = draws(&law, 50_000);
    let mean = mean(&drawn);
    let sd = (drawn.iter().map(|length| (f64::from(*length) - mean).powi(2)).sum::<f64>() / 49_999.0).sqrt();
    // Standard errors: 50 / √50000 = 0.22 and 50 / √100000 = 0.16.
    assert!((mean - 500.0).abs() < 1.0 && (sd - 50.0).abs() < 0.7, "mean {mean}, sd {sd}");
    // Share within one standard deviation: 68.27 %, whole numbers reach half a token further: 68.75 %.
    let inside = drawn.iter().filter(|length| (450..=550).contains(*length)).count() as f64 / 50_000.0;
    assert!((inside - 0.6875).abs() < 0.009, "{inside}");
}

#[test]
fn normal_lengths_are_redrawn_not_piled_up_at_the_bounds() {
    let law = law("kind = \"normal\"\nmean = 100\nsd = 100\nmin = 50\nmax = 150");
    let drawn = draws(&law, 50_000);
    assert!(drawn.iter().all(|length| (50..=150).contains(length)));
    // 101 nearly equal cells; clamping would put 31 % of all draws on each bound.
    let lowest = drawn.iter().filter(|length| **length == 50).count();
    assert!(lowest < 700, "{lowest} of 50000 at the lower bound");
    assert!((mean(&drawn) - law.mean()).abs() < 0.6, "{} {}", mean(&drawn), law.mean());
}

#[test]
fn lognormal_lengths_have_the_median_and_p99_asked() {
    let law = law("kind = \"lognormal\"\nmedian = 420\np99 = 2000\nmax = 100000");
    let mut drawn = draws(&law, 100_000);
    let expected = law.mean();
    let found = mean(&drawn);
    drawn.sort_unstable();
    // Relative standard error of the median: 1.2533 σ / √n = 0.27 %; of p99: σ √(0.99·0.01) / (φ(2.326)·√n) = 0.8 %.
    assert!((f64::from(drawn[50_000]) / 420.0 - 1.0).abs() < 0.012, "median {}", drawn[50_000]);
    assert!((f64::from(drawn[99_000]) / 2000.0 - 1.0).abs() < 0.03, "p99 {}", drawn[99_000]);
    // σ = ln(2000/420) / 2.3263 = 0.6708; mean = 420 e^(σ²/2) = 526.0.
    assert!((expected - 526.0).abs() < 0.3, "{expected}");
    assert!((found / expected - 1.0).abs() < 0.01, "{found}");
}

#[test]
fn bounds_clamp_and_the_mean_knows() {
    let law = law("kind = \"lognormal\"\nmedian = 420\np99 = 2000\nmin = 100\nmax = 600");
    let drawn = draws(&law, 50_000);
    assert!(drawn.iter().all(|length| (100..=600).contains(length)));
    assert!((mean(&drawn) / law.mean() - 1.0).abs() < 0.01, "{} {}", mean(&drawn), law.mean());
}

#[test]
fn impossible_lengths_are_refused_with_their_key() {
    for (input, expected) in [
        ("kind = \"uniform\", min = 9, max = 5", "workloads.w.input_tokens.min: `min` 9 is greater than `max` 5"),
        (
            "kind = \"normal\", mean = 10, sd = 1, min = 20, max = 30",
            "workloads.w.input_tokens.mean: only 0.00 % of a normal law with mean 10 and sd 1 lies between `min` 20 and `max` 30; at least 1 % must",
        ),
        (
            "kind = \"lognormal\", median = 90, p99 = 80, max = 99",
            "workloads.w.input_tokens.p99: `p99` 80 is smaller than `median` 90",
        ),
        (
            "kind = \"lognormal\", median = 90, p99 = 95, max = 80",
            "workloads.w.input_tokens.median: `median` 90 is outside `min` 1 … `max` 80: more than half of the lengths would be moved to a bound",
        ),
    ] {
        match try_build(&scenario(&synthetic("", input), ONE_CLASS, RATE, ""), 1) {
            Err(WorkloadError::Settings(problems)) => {
                assert_eq!(problems.len(), 1, "{problems:?}");
                assert_eq!(format!("{}: {}", problems[0].key, problems[0].message), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_prompt_has_exactly_the_tokens_asked() {
    for tokens in [1, 2, 3, 5, 6, 16, 17, 100, 1000] {
        let traffic = fixed("", tokens);
        let tokenizer = &traffic.classes()[0].tokenizer;
        for index in 0..200 {
            let content = open(&traffic, index);
            assert_eq!(tokenizer.count(text(&content)), tokens as usize, "{}", text(&content));
            assert_eq!((content.input_tokens_asked, content.input_tokens_counted), (tokens, tokens));
            assert_eq!(content.output_tokens_asked, 8);
        }
    }
}

/// The first 16 tokens of every prompt must differ; shorter prompts as a whole.
fn assert_distinct<'a>(traffic: &Traffic, prompts: impl Iterator<Item = &'a Content>, skip: usize, what: &str) {
    let tokenizer = &traffic.classes()[0].tokenizer;
    let mut seen = HashSet::new();
    for content in prompts {
        let ids = tokenizer.encode(text(content));
        let own = &ids[skip..ids.len().min(skip + 16)];
        assert!(seen.insert(own.to_vec()), "{what}: {:?} repeats {}", content.id, text(content));
    }
}

#[test]
fn no_two_prompts_share_their_first_16_tokens() {
    // Two classes, three phases, two points, lengths from 3 tokens up: 24 000 prompts in one set.
    let workloads = synthetic("", "kind = \"uniform\", min = 4, max = 24");
    let classes = format!("{ONE_CLASS}{}", ONE_CLASS.replace("base", "other"));
    let scenario = scenario(&workloads, &classes, RATE, "");
    let points = [build(&scenario, 1), build(&scenario, 2)];
    let mut prompts = Vec::new();
    for traffic in &points {
        for phase in [Phase::Warmup, Phase::Measure, Phase::Drain] {
            for class in [0, 1] {
                prompts.extend((0..2000).map(|index| traffic.content(phase, RequestId::Open { index }, class)));
            }
        }
    }
    assert_distinct(&points[0], prompts.iter(), 0, "phases, classes and points");
}

#[test]
fn short_prompts_differ_as_long_as_the_vocabulary_allows() {
    let vocabulary = 4096;
    for (tokens, count) in [(1, vocabulary), (2, 20_000), (3, 20_000), (5, 20_000)] {
        let traffic = fixed("", tokens);
        let prompts: Vec<Content> = (0..count).map(|index| open(&traffic, index)).collect();
        assert_distinct(&traffic, prompts.iter(), 0, &format!("{tokens} tokens"));
    }
    let one = fixed("", 1);
    assert_eq!(one.prompt_supplies()[0].distinct, vocabulary);
    assert_eq!(one.repeated_prompts(&[vocabulary]), 0);
    assert_eq!(one.repeated_prompts(&[vocabulary + 10]), 10);
    assert_eq!(open(&one, vocabulary).prompt, open(&one, 0).prompt, "and then they repeat, as announced");
    assert!(fixed("", 3).prompt_supplies().is_empty());
}

#[test]
fn closed_loop_prompts_differ_between_users_and_turns() {
    let load = "kind = \"users\"\nusers = 50";
    let workloads = synthetic("", "kind = \"uniform\", min = 2, max = 20");
    let traffic = build(&scenario(&workloads, ONE_CLASS, load, ""), 3);
    let prompts: Vec<Content> = (0..50)
        .flat_map(|user| (0..100).map(move |turn| RequestId::Closed { user, turn }))
        .map(|id| traffic.content(Phase::Measure, id, 0))
        .collect();
    assert_distinct(&traffic, prompts.iter(), 0, "users and turns");
}

#[test]
fn a_shared_prefix_is_shared_and_ends_where_asked() {
    let traffic = fixed("shared_prefix_tokens = 40", 60);
    let tokenizer = &traffic.classes()[0].tokenizer;
    let prompts: Vec<Content> = (0..5000).map(|index| open(&traffic, index)).collect();
    let opening = tokenizer.encode(text(&prompts[0]))[..40].to_vec();
    assert_eq!(opening.iter().collect::<HashSet<_>>().len(), 40, "varied words");
    for content in &prompts {
        let ids = tokenizer.encode(text(content));
        assert_eq!((ids.len(), &ids[..40]), (60, &opening[..]));
    }
    assert_distinct(&traffic, prompts.iter(), 40, "after the shared prefix");
    // Another class has an opening of its own.
    let classes = format!("{ONE_CLASS}{}", ONE_CLASS.replace("base", "other"));
    let workloads = synthetic("shared_prefix_tokens = 40", "kind = \"fixed\", value = 60");
    let two = build(&scenario(&workloads, &classes, RATE, ""), 11);
    let other = two.content(Phase::Measure, RequestId::Open { index: 0 }, 1);
    assert_ne!(tokenizer.encode(text(&other))[..16], opening[..16]);
    assert_eq!(open(&two, 0).prompt, open(&traffic, 0).prompt, "adding a class does not change the first");
}

#[test]
fn a_shared_prefix_that_leaves_nothing_is_refused() {
    let workloads = synthetic("shared_prefix_tokens = 40", "kind = \"uniform\", min = 10, max = 40");
    let error = try_build(&scenario(&workloads, ONE_CLASS, RATE, ""), 1).unwrap_err().to_string();
    assert!(error.contains("`workloads.w.prompts.shared_prefix_tokens`: 40 shared tokens leave nothing"), "{error}");
}

#[test]
fn a_salt_opens_every_prompt_and_is_counted() {
    let salted = |salt: &str, tokens: u32| {
        let workloads = synthetic("salt = \"run\"", &format!("kind = \"fixed\", value = {tokens}"));
        let scenario = scenario(&workloads, ONE_CLASS, RATE, "");
        Traffic::build(&scenario, Seed::root(11), Some(salt), &Assets::new(data())).unwrap()
    };
    for tokens in [2, 9, 10, 50] {
        let (one, two) = (salted("run-1", tokens), salted("run-2", tokens));
        let mut prompts = HashSet::new();
        for index in 0..500 {
            for traffic in [&one, &two, &fixed("", tokens)] {
                let content = open(traffic, index);
                assert_eq!(traffic.classes()[0].tokenizer.count(text(&content)), tokens as usize);
                prompts.insert(text(&content).to_owned());
            }
        }
        // Two words leave 16.8 million texts: three of 500 prompts may meet by chance, 45 in 1000 tests.
        assert!(prompts.len() >= 1499, "{tokens} tokens: {}", prompts.len());
    }
    let words =
        |traffic: &Traffic, index| text(&open(traffic, index)).split(' ').map(str::to_owned).collect::<Vec<String>>();
    let (one, two) = (salted("run-1", 50), salted("run-2", 50));
    assert_eq!(words(&one, 0)[..4], words(&one, 1)[..4], "the same salt in the whole run");
    assert_ne!(words(&one, 0)[..4], words(&two, 0)[..4]);
    assert_eq!(words(&one, 0)[4..], words(&two, 0)[4..], "only the salt differs between runs");
}

#[test]
fn a_salt_without_a_run_is_an_error() {
    let workloads = synthetic("salt = \"run\"", "kind = \"fixed\", value = 9");
    let error = try_build(&scenario(&workloads, ONE_CLASS, RATE, ""), 1).unwrap_err().to_string();
    assert_eq!(error, "`workloads.w.prompts.salt`: `salt = \"run\"` needs a run; none was given");
}

#[test]
fn prompts_look_like_varied_words() {
    let content = open(&fixed("", 1000), 5);
    let words: Vec<&str> = text(&content).split(' ').collect();
    assert_eq!(words.len(), 1000);
    assert!(words.iter().all(|word| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase())));
    // 1000 of 4096 equally likely words: 4096 (1 - e^(-1000/4096)) = 887 different ones expected.
    let different = words.iter().collect::<HashSet<_>>().len();
    assert!((850..=925).contains(&different), "{different}");
}

#[test]
fn content_is_the_same_in_any_order_and_from_any_thread() {
    let workloads = synthetic("", "kind = \"lognormal\", median = 60, p99 = 200, max = 400");
    let scenario = scenario(&workloads, ONE_CLASS, RATE, "");
    let traffic = build(&scenario, 4);
    let forward: Vec<Content> = (0..400).map(|index| open(&traffic, index)).collect();
    let again = build(&scenario, 4);
    let backward: Vec<Content> = (0..400).rev().map(|index| open(&again, index)).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (traffic, forward) = (&traffic, &forward);
            scope.spawn(move || {
                for index in (worker..400).step_by(4) {
                    assert_eq!(open(traffic, index), forward[index as usize]);
                }
            });
        }
    });
    assert_ne!(open(&build(&scenario, 5), 0).prompt, forward[0].prompt, "another seed, other prompts");
}

#[test]
fn lengths_do_not_depend_on_the_load() {
    let workloads = synthetic("", "kind = \"lognormal\", median = 60, p99 = 200, max = 400");
    let slow = build(&scenario(&workloads, ONE_CLASS, RATE, ""), 4);
    let fast = build(&scenario(&workloads, ONE_CLASS, "kind = \"constant\"\nrate_per_s = 99", ""), 4);
    for index in 0..50 {
        assert_eq!(open(&slow, index), open(&fast, index));
    }
}

#[test]
fn all_wrong_settings_are_reported_at_once() {
    let mut scenario = plain("kind = \"gamma\"\nrate_per_s = 1\ncv = 1", "measure = { min_requests = 4 }");
    scenario.traffic[0].weight = 0.0;
    scenario.workloads.get_mut("w").unwrap().tokenizer = "llama".to_owned();
    scenario.workloads.get_mut("w").unwrap().output_tokens = None;
    let Err(WorkloadError::Settings(problems)) = try_build(&scenario, 1) else { panic!("must fail") };
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["phases.measure", "traffic", "workloads.w.tokenizer", "workloads.w.output_tokens"]);
}

/// 400 requests of 64 tokens, three in four of which open with one of five prefixes of 40 tokens.
#[test]
fn a_pool_gives_the_share_of_shared_openings_asked() {
    let workload = r#"
        [workloads.w]
        prompts = { kind = "synthetic", pool = { prefixes = 5, tokens = 40, share = 0.75 } }
        input_tokens = { kind = "fixed", value = 64 }
        output_tokens = { kind = "fixed", value = 8 }
    "#;
    let traffic = build(&scenario(workload, ONE_CLASS, "kind = \"constant\"\nrate_per_s = 10", ""), 4);
    let tokenizer = &traffic.classes()[0].tokenizer;
    let mut openings: HashMap<String, u32> = HashMap::new();
    let mut prompts = HashSet::new();
    for index in 0..400 {
        let content = open(&traffic, index);
        assert_eq!(tokenizer.count(text(&content)), 64);
        let words: Vec<&str> = text(&content).split(' ').take(40).collect();
        *openings.entry(words.join(" ")).or_default() += 1;
        assert!(prompts.insert(text(&content).to_owned()), "distinct all the same");
    }
    let shared: Vec<u32> = openings.into_values().filter(|count| *count > 1).collect();
    // 300 expected, standard deviation 8.7; 60 for each prefix.
    assert_eq!(shared.len(), 5);
    assert!((265..=335).contains(&shared.iter().sum::<u32>()), "{shared:?}");
    assert!(shared.iter().all(|count| (30..=95).contains(count)), "{shared:?}");
}
