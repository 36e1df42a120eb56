//! Traffic classes with a load of their own: side by side, each as if it were alone.

use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::plan::NoDatasets;
use llm_bench::plan::estimate::{class_shares, estimate};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::workload::{Arrival, Traffic};

use super::arrivals::{dispersion, gaps, kolmogorov_smirnov, take};
use super::{PLAIN, build, scenario, text, try_build};

fn class(name: &str, settings: &str) -> String {
    format!("[[traffic]]\nname = \"{name}\"\nbackend = \"main\"\nworkload = \"w\"\n{settings}\n")
}

fn own(name: &str, load: &str) -> String {
    class(name, &format!("load = {{ {load} }}"))
}

const CHAT: &str = "kind = \"poisson\", rate_per_s = 30";
const BATCH: &str = "kind = \"burst\", size = 20, every = \"2s\"";

fn side_by_side(classes: &[String]) -> ScenarioFile {
    scenario(PLAIN, &classes.concat(), "kind = \"classes\"", "warmup = \"2s\"\nmeasure = { duration = \"10s\" }")
}

/// Number, time and prompt of the first requests of a class.
fn requests(traffic: &Traffic, name: &str) -> Vec<(u64, u64, String)> {
    let class = traffic.classes().iter().position(|class| class.name == name).unwrap() as u16;
    let own = traffic.open().unwrap().schedule().filter(|arrival| arrival.class == class);
    own.take(200)
        .map(|Arrival { index, at, .. }| {
            let content = traffic.content(Phase::Measure, RequestId::Open { index }, class);
            (index, at, text(&content).to_owned())
        })
        .collect()
}

#[test]
fn a_class_sends_the_same_whatever_the_others_do() {
    let alone = requests(&build(&side_by_side(&[own("chat", CHAT)]), 5), "chat");
    assert_eq!(alone[199].0, 199, "numbers are those of its own stream");
    let batch = own("batch", BATCH);
    let other = own("other", "kind = \"gamma\", rate_per_s = 99, cv = 2");
    for classes in [[own("chat", CHAT), batch.clone()], [batch.clone(), own("chat", CHAT)], [other, own("chat", CHAT)]]
    {
        assert_eq!(requests(&build(&side_by_side(&classes), 5), "chat"), alone);
    }
    // Nor does a common load beside it.
    let classes = class("a", "weight = 3") + &own("chat", CHAT) + &class("b", "weight = 1");
    let common = "kind = \"poisson\"\nrate_per_s = 50";
    let mixed = build(&scenario(PLAIN, &classes, common, "warmup = \"2s\""), 5);
    assert_eq!(requests(&mixed, "chat"), alone);
    // And the common load is what it is without the class.
    let without = class("a", "weight = 3") + &class("b", "weight = 1");
    let without = build(&scenario(PLAIN, &without, common, "warmup = \"2s\""), 5);
    for name in ["a", "b"] {
        assert_eq!(requests(&mixed, name), requests(&without, name));
    }
}

#[test]
fn the_schedule_is_one_in_order_of_time() {
    let classes = [own("chat", CHAT), own("batch", BATCH), own("tick", "kind = \"constant\", rate_per_s = 3")];
    let arrivals = take(&build(&side_by_side(&classes), 6), 5_000);
    assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
    let mut numbers = [0_u64; 3];
    for (place, arrival) in arrivals.iter().enumerate() {
        assert_eq!(arrival.place, place as u64);
        let number = &mut numbers[usize::from(arrival.class)];
        assert_eq!(arrival.index, *number);
        *number += 1;
    }
    assert!(numbers.iter().all(|number| *number > 100), "{numbers:?}");
}

#[test]
fn poisson_classes_side_by_side_are_a_poisson_process_together() {
    let classes = [
        own("a", CHAT),
        own("b", "kind = \"poisson\", rate_per_s = 15"),
        own("c", "kind = \"poisson\", rate_per_s = 5"),
    ];
    let arrivals = take(&build(&side_by_side(&classes), 7), 50_000);
    assert!(kolmogorov_smirnov(&gaps(&arrivals), |gap| 1.0 - (-50.0 * gap).exp()) < 1.95);
    let found = dispersion(&arrivals, 1);
    // 1000 intervals: standard error √(2 / 1000) = 0.045.
    assert!((found - 1.0).abs() < 0.15, "dispersion {found}");
    for (class, share) in [(0, 0.6), (1, 0.3), (2, 0.1)] {
        let own = arrivals.iter().filter(|arrival| arrival.class == class).count() as f64 / 50_000.0;
        // Standard error at most √(0.24 / 50000) = 0.0022.
        assert!((own - share).abs() < 0.009, "class {class}: {own}");
    }
}

#[test]
fn shards_of_a_schedule_of_several_loads_are_the_schedule() {
    let traffic = build(&side_by_side(&[own("chat", CHAT), own("batch", BATCH)]), 8);
    let whole = take(&traffic, 1_000);
    for shards in 1..=64 {
        let mut union: Vec<Arrival> = (0..shards)
            .flat_map(|shard| {
                let schedule = traffic.open().unwrap().schedule().take_while(|arrival| arrival.place < 1_000);
                schedule.filter(move |arrival| arrival.place % shards == shard)
            })
            .collect();
        union.sort_by_key(|arrival| arrival.place);
        assert_eq!(union, whole, "{shards} shards");
    }
}

#[test]
fn the_window_counts_each_class() {
    let classes = [own("tick", "kind = \"constant\", rate_per_s = 3"), own("batch", BATCH)];
    let traffic = build(&side_by_side(&classes), 1);
    let window = traffic.open().unwrap().window().clone();
    // Ticks at k/3 s: 6 before 2 s, 30 in [2, 12). Bursts of 20 at 0, 2, …: one before, five in the window.
    assert_eq!((window.warmup_by_class, window.measured_by_class), (vec![6, 20], vec![30, 100]));
    // A number of requests is one of all classes: the 60th of them is in the burst at 6 s, with 12 ticks since 2 s.
    let mut by_requests = side_by_side(&classes);
    by_requests.phases.measure.duration = None;
    by_requests.phases.measure.requests = Some(60);
    let window = build(&by_requests, 1).open().unwrap().window().clone();
    assert_eq!(window.measured, 60);
    assert_eq!(window.measured_by_class.iter().sum::<u64>(), 60);
    // 2 s: tick and 20. 2⅓ … 3⅔ s: 5. 4 s: 1 and 20. To 5⅔ s: 5. 6 s: the tick, and 7 of the burst.
    assert_eq!(window.measured_by_class, [13, 47]);
}

#[test]
fn estimates_add_the_loads_up() {
    let classes = [own("tick", "kind = \"constant\", rate_per_s = 3"), own("batch", BATCH)];
    let file = side_by_side(&classes);
    let it = estimate(&file, &NoDatasets);
    // An answer of 8 tokens takes 0.25 + 8 · 0.02 = 0.41 s: [12, 12.41) s hold ticks at 12 and 12⅓ s and a burst.
    assert_eq!((it.warmup_requests, it.measure_requests, it.drain_requests), (26, 130, 22));
    // Prompts of 32 tokens.
    assert_eq!((it.input_tokens, it.output_tokens), (Some(178 * 32), Some(178 * 8)));
    assert_eq!(class_shares(&file), [30.0 / 130.0, 100.0 / 130.0]);
    let mut by_requests = file;
    by_requests.phases.measure.duration = None;
    by_requests.phases.measure.requests = Some(60);
    let it = estimate(&by_requests, &NoDatasets);
    assert_eq!((it.measure_requests, (it.window_s * 10.0).round()), (60, 40.0), "they are there in the burst at 6 s");
}

#[test]
fn loads_that_do_not_fit_together_are_refused_with_their_key() {
    let users = "kind = \"users\"\nusers = 3";
    let poisson = "kind = \"poisson\"\nrate_per_s = 1";
    let none = "kind = \"classes\"";
    let cases = [
        (own("a", "kind = \"users\", users = 3"), none, "`traffic.a.load`: users wait"),
        (own("a", CHAT) + &class("b", ""), users, "`traffic.a.load`: `[load]` is a closed loop"),
        (own("a", CHAT), poisson, "`load`: no class is served by `[load]`"),
        (class("a", ""), none, "`traffic.a`: nothing says when its requests arrive"),
        (own("a", &format!("{CHAT} }}\nweight = 2 #")), none, "`traffic.a.weight`: `weight` is a share"),
        (own("a", &format!("{CHAT}, split = \"exact\"")), none, "`traffic.a.load.split`"),
        (own("a", "kind = \"burst\", size = 3, grow_by = 1"), none, "`traffic.a.load.grow_by`: a single burst"),
    ];
    for (classes, load, expected) in cases {
        let error = try_build(&scenario(PLAIN, &classes, load, ""), 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{classes}");
    }
}

#[test]
fn classes_with_their_own_load_draw_rows_of_their_own() {
    const DATASET: &str = "[workloads.w]\nprompts = { kind = \"sharegpt\", path = \"sharegpt/small.json\" }\n";
    let with = |classes: &[String]| scenario(DATASET, &classes.concat(), "kind = \"classes\"", "");
    let prompts =
        |traffic: &Traffic| requests(traffic, "chat").into_iter().map(|(.., prompt)| prompt).collect::<Vec<_>>();
    let alone = prompts(&build(&with(&[own("chat", CHAT)]), 3));
    let beside = prompts(&build(&with(&[own("batch", BATCH), own("chat", CHAT)]), 3));
    assert_eq!(alone, beside);
}
