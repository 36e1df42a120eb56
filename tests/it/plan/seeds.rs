//! What the requests of a point hang on, from the scenario to the bytes: nothing of another class, everything of
//! their own.

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::plan::Plan;
use llm_bench::plan::sent::Sent;
use llm_bench::workload::{Content, Library, PointSeeds, Traffic};

use super::{edit, plan};

/// Two classes share the load, two have their own; every kind of draw is somewhere.
const SCENARIO: &str = r#"
schema = 1
name = "classes"
seed = 42

[backends.main]
protocol = "openai-chat"
url = "http://localhost:8000"

[workloads.chat]
prompts = { kind = "synthetic", pool = { prefixes = 3, tokens = 8, share = 0.5 } }
input_tokens = { kind = "uniform", min = 20, max = 60 }
output_tokens = { kind = "lognormal", median = 40, p99 = 150, min = 1, max = 200 }

[workloads.tiny]
prompts = { kind = "synthetic" }
input_tokens = { kind = "fixed", value = 2 }
output_tokens = { kind = "fixed", value = 5 }

[workloads.talk]
prompts = { kind = "synthetic" }
input_tokens = { kind = "uniform", min = 5, max = 9 }
output_tokens = { kind = "uniform", min = 5, max = 9 }
session = { history = "recorded", turns = { kind = "fixed", value = 3 }, system_prompt_tokens = 6 }

[workloads.sums]
prompts = { kind = "number-words" }
output_tokens = { kind = "fixed", value = 5 }

[[traffic]]
name = "base"
backend = "main"
workload = "chat"

[[traffic]]
name = "short"
backend = "main"
workload = "tiny"

[[traffic]]
name = "talk"
backend = "main"
workload = "talk"
load = { kind = "gamma", rate_per_s = 3, cv = 2 }

[[traffic]]
name = "sums"
backend = "main"
workload = "sums"
load = { kind = "poisson", rate_per_s = 2 }

[load]
kind = "poisson"
rate_per_s = 5

[phases]
warmup = "2s"
measure = { duration = "20s" }
"#;

const NEW_CLASS: &str = r#"
[[traffic]]
name = "new"
backend = "main"
workload = "tiny"
load = { kind = "burst", size = 4, every = "1s" }

[load]
"#;

fn traffic_of(plan: &Plan, index: usize) -> (Traffic, PointSeeds) {
    let file = plan.point_scenario(index).unwrap();
    let seeds = plan.point_seeds(index, &file).unwrap();
    (Library::new(Assets::new(".")).traffic(&file, &seeds, Some("run")).unwrap(), seeds)
}

/// Times and contents of the first requests of the class called `name`, as they are sent.
fn sent(plan: &Plan, index: usize, name: &str) -> Vec<(u64, Content)> {
    let (traffic, _) = traffic_of(plan, index);
    let class = traffic.classes().iter().position(|class| class.name == name).unwrap() as u16;
    let open = traffic.open().unwrap();
    let content = |arrival: &llm_bench::workload::Arrival| {
        if traffic.has_sessions(class) {
            let id = |turn| RequestId::OpenSession { index: arrival.index, turn };
            let mut history = Default::default();
            traffic.turn(id(0), class, &mut history, None);
            return traffic.turn(id(1), class, &mut history, None).0;
        }
        traffic.content(open.window().phase(arrival.place), RequestId::Open { index: arrival.index }, class)
    };
    let arrivals = open.schedule().filter(|arrival| arrival.class == class).take(40);
    // Which place a class has in the scenario is no property of its requests.
    arrivals.map(|arrival| (arrival.at, Content { class: 0, ..content(&arrival) })).collect()
}

/// The names of the classes whose requests are the same in both.
fn unmoved(old: &str, new: &str) -> Vec<&'static str> {
    let (old, new) = (plan(old), plan(new));
    let names = ["base", "short", "talk", "sums"];
    names.into_iter().filter(|name| sent(&old, 0, name) == sent(&new, 0, name)).collect()
}

#[test]
fn another_class_moves_nothing_of_the_others() {
    let with_new = edit(SCENARIO, "[load]\n", NEW_CLASS);
    assert_eq!(unmoved(SCENARIO, &with_new), ["base", "short", "talk", "sums"]);
    // In front of them, with a backend and a workload of its own.
    let front = edit(
        SCENARIO,
        "[[traffic]]\nname = \"base\"",
        "[backends.other]\nprotocol = \"openai-completions\"\nurl = \"http://localhost:9000\"\n[workloads.a]\n\
         prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 7 }\n\
         output_tokens = { kind = \"fixed\", value = 7 }\n[[traffic]]\nname = \"a\"\nbackend = \"other\"\n\
         workload = \"a\"\nload = { kind = \"constant\", rate_per_s = 9 }\n\n[[traffic]]\nname = \"base\"",
    );
    assert_eq!(unmoved(SCENARIO, &front), ["base", "short", "talk", "sums"]);
    // And a class that goes.
    assert_eq!(unmoved(&with_new, SCENARIO), ["base", "short", "talk", "sums"]);
}

/// Whoever shares the load takes some of its arrivals, but moves neither their times nor what anyone else's hold.
#[test]
fn who_joins_the_common_load_takes_arrivals_and_moves_none() {
    let joined =
        edit(SCENARIO, "[load]\n", &NEW_CLASS.replace("load = { kind = \"burst\", size = 4, every = \"1s\" }", ""));
    assert_eq!(unmoved(SCENARIO, &joined), ["talk", "sums"]);
    let (before, after) = (plan(SCENARIO), plan(&joined));
    let ((before, _), (after, _)) = (traffic_of(&before, 0), traffic_of(&after, 0));
    let common = |traffic: &Traffic| -> Vec<(u64, u64)> {
        let names = traffic.classes().to_vec();
        let common = |class: u16| !["talk", "sums"].contains(&names[usize::from(class)].name.as_str());
        let all = traffic.open().unwrap().schedule().take(200);
        all.filter(|arrival| common(arrival.class)).map(|arrival| (arrival.index, arrival.at)).collect()
    };
    assert_eq!(common(&before), common(&after));
    for index in 0..50 {
        for class in [0, 1] {
            let content = |traffic: &Traffic| traffic.content(Phase::Measure, RequestId::Open { index }, class);
            assert_eq!(content(&before), content(&after));
        }
    }
}

#[test]
fn a_setting_moves_the_classes_it_is_about() {
    let e = |from, to| edit(SCENARIO, from, to);
    for (what, edited, expected) in [
        ("the load of a class", e("cv = 2", "cv = 3"), vec!["base", "short", "sums"]),
        ("a workload", e("max = 60", "max = 61"), vec!["short", "talk", "sums"]),
        ("the common load", e("rate_per_s = 5", "rate_per_s = 6"), vec!["talk", "sums"]),
        ("its bound", e("rate_per_s = 5", "rate_per_s = 5\nmax_in_flight = { limit = 9 }"), vec!["talk", "sums"]),
        ("the phases", e("20s", "21s"), vec![]),
        ("the seed", e("seed = 42", "seed = 43"), vec![]),
        ("how a server is reached", e("localhost:8000", "localhost:8001"), vec!["base", "short", "talk", "sums"]),
        (
            "what is asked of a model",
            e("workload = \"chat\"", "workload = \"chat\"\nmodel = \"m\""),
            vec!["short", "talk", "sums"],
        ),
        ("a name", e("name = \"classes\"", "name = \"x\""), vec!["base", "short", "talk", "sums"]),
    ] {
        assert_eq!(unmoved(SCENARIO, &edited), expected, "{what}");
    }
    // Without a common load those with their own stay what they are.
    let alone = e("[[traffic]]\nname = \"base\"\nbackend = \"main\"\nworkload = \"chat\"\n\n", "");
    let alone = edit(&alone, "[[traffic]]\nname = \"short\"\nbackend = \"main\"\nworkload = \"tiny\"\n", "");
    let alone = plan(&edit(&alone, "[load]\nkind = \"poisson\"\nrate_per_s = 5\n", ""));
    for name in ["talk", "sums"] {
        assert_eq!(sent(&alone, 0, name), sent(&plan(SCENARIO), 0, name), "{name}");
    }
}

/// Points whose loads or workloads differ share no text, so that none finds in a cache what another sent; a class whose
/// settings are the same in two points sends the same, unless a salt keeps them apart.
#[test]
fn points_send_texts_of_their_own() {
    let swept =
        |axis: &str, values: &str| plan(&format!("{SCENARIO}\n[[sweep]]\naxis = \"{axis}\"\nvalues = {values}\n"));
    let rates = swept("load.rate_per_s", "[5, 6]");
    let texts = |plan: &Plan, index: usize, name: &str| -> Vec<String> {
        sent(plan, index, name).into_iter().map(|(_, content)| format!("{:?}", content.prompt)).collect()
    };
    let (first, second) = (texts(&rates, 0, "base"), texts(&rates, 1, "base"));
    assert!(first.iter().all(|text| !second.contains(text)));
    assert_eq!(texts(&rates, 0, "talk"), texts(&rates, 1, "talk"));
    let salted = SCENARIO.replace("kind = \"synthetic\"", "kind = \"synthetic\", salt = \"point\"");
    let salted = salted.replace("kind = \"number-words\"", "kind = \"number-words\", salt = \"point\"");
    let salted = plan(&format!("{salted}\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [5, 6]\n"));
    for name in ["base", "talk", "sums"] {
        let (first, second) = (texts(&salted, 0, name), texts(&salted, 1, name));
        assert!(first.iter().all(|text| !second.contains(text)), "{name}");
        // Only the texts: times and lengths are those of the class.
        let shape = |index| -> Vec<(u64, u32, u32)> {
            let sent = sent(&salted, index, name).into_iter();
            sent.map(|(at, content)| (at, content.input_tokens_asked, content.output_tokens_asked)).collect()
        };
        assert_eq!(shape(0) == shape(1), name != "base", "{name}");
    }
}

/// Computed apart, with Python's hashlib, from the canonical form of the point with each class alone.
#[test]
fn golden_seeds() {
    let plan = plan(SCENARIO);
    let (_, seeds) = traffic_of(&plan, 0);
    assert_eq!(seeds.load.to_hex(), "a25075076e3e04a46902e4175b4fdd449a21f7dc512ed3a81aab2b82ba9133e1");
    let classes: Vec<String> = seeds.classes.iter().map(|seed| seed.to_hex()).collect();
    assert_eq!(
        classes,
        [
            "68f50c72d5a1f4302e0ee7dfc381987a400736d8f562609e9ba77a69fff0ad2c",
            "1ef851208f38ce601c7d3d0129ca9683583087f021d5fa4c68838f0eb930625c",
            "803339ebaa560933a9205ecc99da9fb278df18ba50eac78b89ee28b4b5c035ea",
            "44ffb35c52274baf7992d05efd41ff0ff6f4167bc2a4858391a62aabdff61142",
        ]
    );
}

/// A plan says it before the points do.
#[test]
fn a_plan_warns_of_classes_that_are_the_same_in_several_points() {
    let warned = |text: &str| -> Vec<String> {
        let built = super::try_build(text, &super::Table::default()).unwrap_or_else(|_| panic!("{text}"));
        built.warnings.iter().map(ToString::to_string).collect()
    };
    let swept = |text: &str, axis: &str, values: &str| {
        warned(&format!("{text}\n[[sweep]]\naxis = \"{axis}\"\nvalues = {values}\n"))
    };
    let same = |name: &str| {
        format!("class `{name}` sends the same prompts in several points, which a prefix cache may answer")
    };
    let none = || -> Vec<String> { Vec::new() };
    assert_eq!(swept(SCENARIO, "load.rate_per_s", "[5, 6, 7]"), [same("talk"), same("sums")]);
    assert_eq!(swept(SCENARIO, "seed", "[1, 2]"), none());
    assert_eq!(swept(SCENARIO, "phases.measure.duration", "[\"9s\", \"8s\"]"), none());
    // The same server reached in another way has seen it all; another server has not.
    let all = ["base", "short", "talk", "sums"].map(same);
    assert_eq!(swept(SCENARIO, "backends.main.http", "[\"1.1\", \"2\"]"), all);
    assert_eq!(swept(SCENARIO, "backends.main.url", "[\"http://a\", \"http://b\"]"), none());
    let salted = SCENARIO.replace("kind = \"synthetic\"", "kind = \"synthetic\", salt = \"point\"");
    assert_eq!(swept(&salted, "load.rate_per_s", "[5, 6]"), [same("sums")]);
    // One class alone is never the same in two points with other loads or workloads.
    assert_eq!(warned(super::SCENARIO), none());
    // Wherever the axis stands that leaves a class as it is, and however many points the others make.
    let rates: Vec<u32> = (5..1505).collect();
    let axes = |first: &str, second: &str| {
        warned(&format!("{SCENARIO}\n[limits]\npoints = 9000\n\n[[sweep]]\n{first}\n\n[[sweep]]\n{second}\n"))
    };
    let (http, rates) = (
        "axis = \"backends.main.http\"\nvalues = [\"1.1\", \"2\"]",
        format!("axis = \"load.rate_per_s\"\nvalues = {rates:?}"),
    );
    assert_eq!(axes(http, &rates), all);
    assert_eq!(axes(&rates, http), all);
    let zipped = |axis: &str| format!("{axis}\nzip = \"z\"");
    let two = "axis = \"load.rate_per_s\"\nvalues = [5, 6]";
    assert_eq!(axes(&zipped(http), &zipped(two)), [same("talk"), same("sums")]);
}

/// The points of a sweep of `axis`, by class: whether an earlier one sent its prompts.
fn again(text: &str, axis: &str, values: &str) -> Vec<Vec<bool>> {
    let plan = plan(&format!("{text}\n[[sweep]]\naxis = \"{axis}\"\nvalues = {values}\n"));
    let mut sent = Sent::default();
    let points = (0..plan.points.len()).map(|index| {
        let file = plan.point_scenario(index).unwrap();
        sent.take_in(&file, &plan.point_seeds(index, &file).unwrap())
    });
    points.collect()
}

#[test]
fn what_was_sent_before_is_known_by_server_and_text() {
    let no = [false; 4].to_vec();
    let yes = [true; 4].to_vec();
    // One server of two has seen it.
    let urls = "[[\"http://a\"], [\"http://b\"], [\"http://a\", \"http://c\"]]";
    let several = edit(SCENARIO, "url = \"http://localhost:8000\"", "urls = [\"http://a\"]");
    assert_eq!(again(&several, "backends.main.urls", urls), [no.clone(), no.clone(), yes]);
    // Another model of the server has a cache of its own.
    let named = edit(SCENARIO, "workload = \"chat\"", "workload = \"chat\"\nmodel = \"m\"");
    assert_eq!(again(&named, "traffic.base.model", "[\"m\", \"n\"]")[1], [false, true, true, true]);
    // Rows, blocks and numbers of one load are dealt out: another workload beside them moves them.
    let numbers =
        edit(SCENARIO, "workload = \"sums\"\nload = { kind = \"poisson\", rate_per_s = 2 }", "workload = \"sums\"");
    assert_eq!(again(&numbers, "workloads.tiny.output_tokens.value", "[5, 6]")[1], [true, false, true, false]);
    assert_eq!(again(SCENARIO, "workloads.tiny.output_tokens.value", "[5, 6]")[1], [true, false, true, true]);
}

/// With a salt points differ even where only the way to the server does.
#[test]
fn a_salt_keeps_ways_to_a_server_apart() {
    let salted = SCENARIO.replace("kind = \"synthetic\"", "kind = \"synthetic\", salt = \"point\"");
    let plan = plan(&format!("{salted}\n[[sweep]]\naxis = \"backends.main.http\"\nvalues = [\"1.1\", \"2\"]\n"));
    for name in ["base", "talk"] {
        let texts = |index| -> Vec<String> {
            sent(&plan, index, name).into_iter().map(|(_, content)| format!("{:?}", content.prompt)).collect()
        };
        let second = texts(1);
        assert!(texts(0).iter().all(|text| !second.contains(text)), "{name}");
    }
}
