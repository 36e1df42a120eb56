//! What other modules build on: documents, patches, merging, variables.

use crate::scenario::range::range_values;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const MINIMAL: &str = include_str!("../../tests/bad/base/minimal.toml");

/// Loads `text` with bases by path, arguments and environment.
fn load_with(text: &str, bases: &[(&str, &str)], sets: &[&str], env: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let read = |path: &str| {
        let base = bases.iter().find(|(name, _)| *name == path);
        base.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let request = Request { path: "scenarios/root.toml", text: text.as_bytes(), sets: &sets, env: &env, read: &read };
    let Loading { result, .. } = load(request);
    result.map_err(|found| found.iter().map(|d| format!("{} {}", d.code.id, d.message)).collect())
}

fn over_minimal(text: &str, sets: &[&str]) -> Result<Loaded, Vec<String>> {
    let text = format!("schema = 1\nextends = \"minimal.toml\"\n{text}");
    load_with(&text, &[("minimal.toml", MINIMAL)], sets, &[])
}

fn at(loaded: &Loaded, pointer: &str) -> Value {
    loaded.document.value().pointer(pointer).cloned().unwrap_or(Value::Null)
}

#[test]
fn tables_merge_named_entries_merge_by_name_and_other_arrays_are_replaced() {
    let base = format!("{MINIMAL}\n[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n[labels]\na = \"1\"\nb = \"2\"\n");
    let text = r#"
schema = 1
extends = "base.toml"
labels.b = "3"
[load]
rate_per_s = 7
[[traffic]]
name = "base"
weight = 2
[[traffic]]
name = "new"
backend = "main"
workload = "chat"
[[sweep]]
axis = "load.rate_per_s"
values = [3]
"#;
    let loaded = load_with(text, &[("base.toml", &base)], &[], &[]).unwrap();
    assert_eq!(at(&loaded, "/labels"), json!({ "a": "1", "b": "3" }));
    assert_eq!(at(&loaded, "/load"), json!({ "kind": "poisson", "rate_per_s": 7 }));
    assert_eq!(
        at(&loaded, "/traffic/0"),
        json!({ "name": "base", "backend": "main", "workload": "chat", "weight": 2 })
    );
    assert_eq!(at(&loaded, "/traffic/1/name"), json!("new"));
    assert_eq!(at(&loaded, "/sweep"), json!([{ "axis": "load.rate_per_s", "values": [3] }]));
    assert_eq!(loaded.extends, ["base.toml"]);
    // The base is resolved, so the document is the same as if it had been written in one file.
    assert_eq!(at(&loaded, "/extends"), Value::Null);
    assert_eq!(loaded.scenario.file().extends, None);
}

#[test]
fn a_table_of_another_kind_is_replaced_whole() {
    let loaded = over_minimal("[load]\nkind = \"users\"\nusers = 4\n", &[]).unwrap();
    assert_eq!(at(&loaded, "/load"), json!({ "kind": "users", "users": 4 }));
}

#[test]
fn bases_have_bases_and_their_paths_are_relative_to_them() {
    let middle = r#"
schema = 1
extends = "../deep/base.toml"
[tokenizers.a]
kind = "file"
path = "a.json"
[workloads.chat]
tokenizer = "a"
"#;
    let deep = format!(
        "{MINIMAL}\n[workloads.data]\nprompts = {{ kind = \"sharegpt\", path = \"${{D}}/x.json\" }}\n\
         [[traffic]]\nname = \"data\"\nbackend = \"main\"\nworkload = \"data\"\n\
         [store]\nurl = \"out\"\n[backends.main.api_key]\nfile = \"/abs/key\"\n"
    );
    let text = "schema = 1\nextends = \"shared/middle.toml\"\n";
    let bases = [("shared/middle.toml", middle), ("deep/base.toml", deep.as_str())];
    let loaded = load_with(text, &bases, &[], &[("D", "data")]).unwrap();
    assert_eq!(loaded.extends, ["shared/middle.toml", "deep/base.toml"]);
    assert_eq!(at(&loaded, "/tokenizers/a/path"), json!("shared/a.json"));
    assert_eq!(at(&loaded, "/workloads/data/prompts/path"), json!("deep/data/x.json"));
    assert_eq!(at(&loaded, "/store/url"), json!("deep/out"));
    assert_eq!(at(&loaded, "/backends/main/api_key/file"), json!("/abs/key"));
    // An override in the root is relative to the root.
    let set = ["tokenizers.a.path=b.json", "store.url=s3://bucket/x"];
    let loaded = load_with(text, &bases, &set, &[("D", "data")]).unwrap();
    assert_eq!(at(&loaded, "/tokenizers/a/path"), json!("b.json"));
    assert_eq!(at(&loaded, "/store/url"), json!("s3://bucket/x"));
}

#[test]
fn sets_take_toml_values_and_bare_words() {
    let loaded = over_minimal(
        "",
        &[
            "load.rate_per_s=2.5",
            "traffic.base.weight = 3",
            "name=night-run",
            "phases.warmup=10s",
            "labels.\"a.b\"=\"x = y\"",
            "load.max_in_flight={ limit = 4 }",
            "load.max_in_flight.limit=5",
            "backends.main.url=http://h:1/v1?x=1",
            "backends.main.stream=false",
        ],
    )
    .unwrap();
    assert_eq!(at(&loaded, "/load/rate_per_s"), json!(2.5));
    assert_eq!(at(&loaded, "/traffic/0/weight"), json!(3));
    assert_eq!(at(&loaded, "/name"), json!("night-run"));
    assert_eq!(at(&loaded, "/phases/warmup"), json!("10s"));
    assert_eq!(at(&loaded, "/labels/a.b"), json!("x = y"));
    assert_eq!(at(&loaded, "/load/max_in_flight/limit"), json!(5));
    assert_eq!(at(&loaded, "/backends/main/url"), json!("http://h:1/v1?x=1"));
    assert_eq!(at(&loaded, "/backends/main/stream"), json!(false));
    assert_eq!(loaded.sets.len(), 9);
}

#[test]
fn variables_are_replaced_in_values_only_and_remembered() {
    let text = format!("{MINIMAL}\n[labels]\n\"${{NOT_A_KEY}}\" = \"${{HOST}}-${{ZONE:-z}}-$${{X}}\"\n");
    let loaded = load_with(&text, &[], &[], &[("HOST", "h1"), ("UNUSED", "u")]).unwrap();
    assert_eq!(at(&loaded, "/labels"), json!({ "${NOT_A_KEY}": "h1-z-${X}" }));
    let expected = [("HOST", "h1"), ("ZONE", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(loaded.variables, BTreeMap::from(expected));
}

#[test]
fn key_paths_find_settings_set_or_not() {
    let loaded = over_minimal("[labels]\n\"a.b\" = \"1\"\n", &[]).unwrap();
    let pointer = |path: &str| loaded.document.resolve(path).map(|pointer| pointer.to_string()).map_err(|d| d.message);
    for (path, expected) in [
        ("load.rate_per_s", "/load/rate_per_s"),
        ("traffic.base.weight", "/traffic/0/weight"),
        ("phases.warmup", "/phases/warmup"),
        ("phases.measure.requests", "/phases/measure/requests"),
        ("load.max_in_flight.limit", "/load/max_in_flight/limit"),
        ("backends.main.extra_body.temperature", "/backends/main/extra_body/temperature"),
        ("labels.\"a.b\"", "/labels/a.b"),
        ("load", "/load"),
        ("seed", "/seed"),
    ] {
        assert_eq!(pointer(path).as_deref(), Ok(expected), "{path}");
    }
    for path in
        ["load.cv", "traffic.other.weight", "backends.other.url", "loadd", "traffic.0.weight", "", "load.kind.x"]
    {
        assert!(pointer(path).is_err(), "{path}");
    }
    let help = loaded.document.resolve("load.rate_per_sec").unwrap_err().help;
    assert_eq!(help, ["did you mean `rate_per_s`?"]);
    let kind = |path: &str| loaded.document.setting_kind(&loaded.document.resolve(path).unwrap());
    assert_eq!(kind("load.rate_per_s"), SettingKind::Number);
    assert_eq!(kind("load.max_in_flight.limit"), SettingKind::WholeNumber);
    assert_eq!(kind("phases.warmup"), SettingKind::Other);
}

fn patch(loaded: &Loaded, path: &str, value: Value) -> Patch {
    let pointer = loaded.document.resolve(path).unwrap();
    Patch { pointer, value, origin: loaded.document.span(&Pointer::new(vec!["seed".into()])) }
}

#[test]
fn patched_documents_are_checked_at_the_place_of_the_patch() {
    let loaded = over_minimal("seed = 1\n", &[]).unwrap();
    let good = loaded.document.with(&[
        patch(&loaded, "load.max_in_flight.limit", json!(8)),
        patch(&loaded, "phases.measure.requests", json!(50)),
    ]);
    let (scenario, warnings) = check(&good).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(scenario.phases.measure.requests, Some(50));
    assert_eq!(good.get(&Pointer::new(vec!["load".into(), "max_in_flight".into()])), Some(&json!({ "limit": 8 })));
    // The first document is as it was.
    assert_eq!(at(&loaded, "/phases"), Value::Null);

    let bad = patch(&loaded, "load.rate_per_s", json!(-1));
    let found = check(&loaded.document.with(std::slice::from_ref(&bad))).unwrap_err();
    let only = found.iter().next().unwrap();
    assert_eq!((found.len(), only.code.id, only.primary.as_ref().unwrap().span), (1, "B0205", bad.origin));

    // A rule between a patched setting and one that is not.
    let rule = patch(&loaded, "workloads.chat.prompts.shared_prefix_tokens", json!(100));
    let found = check(&loaded.document.with(std::slice::from_ref(&rule))).unwrap_err();
    let only = found.iter().next().unwrap();
    assert_eq!((only.code.id, only.primary.as_ref().unwrap().span), ("B0408", rule.origin));
}

#[test]
fn a_checked_scenario_survives_the_way_through_a_plan() {
    let rich = include_str!("../../tests/bad/base/rich.toml");
    for text in [MINIMAL, rich] {
        let loaded = load_with(text, &[], &[], &[]).unwrap();
        let saved = serde_json::to_value(loaded.scenario.file()).unwrap();
        let place = loaded.document.span(&Pointer::default());
        let (again, _) = check(&Document::resolved(saved, place)).unwrap();
        assert_eq!(again, loaded.scenario);
    }
}

#[test]
fn ranges_have_exact_ends_and_whole_numbers_where_asked() {
    use file::{RangeBounds, RangeConfig};
    let bounds = |from, to, count| RangeBounds { from, to, count };
    assert_eq!(
        range_values(&RangeConfig::Linear(bounds(1.0, 2.0, 3)), false).unwrap(),
        [json!(1.0), json!(1.5), json!(2.0)]
    );
    // 1, 16^(1/4) = 2, 4, 8, 16: exact or one ulp off in the middle, exact at the ends.
    let log = range_values(&RangeConfig::Log(bounds(1.0, 16.0, 5)), true).unwrap();
    assert_eq!(log, [json!(1), json!(2), json!(4), json!(8), json!(16)]);
    assert_eq!(range_values(&RangeConfig::Log(bounds(0.1, 7.3, 4)), false).unwrap()[3], json!(7.3));
    // Falling ranges are ranges too.
    assert_eq!(
        range_values(&RangeConfig::Linear(bounds(4.0, 1.0, 4)), true).unwrap(),
        [json!(4), json!(3), json!(2), json!(1)]
    );
}

#[test]
fn axis_values_are_checked_even_when_no_plan_is_made() {
    let errors = |text: &str| over_minimal(text, &[]).unwrap_err();
    assert_eq!(
        errors("[[sweep]]\naxis = \"load.rate_per_s\"\nrange = { kind = \"linear\", from = -1, to = 5, count = 3 }\n"),
        ["B0205 `load.rate_per_s` must be at least 1e-6, not -1"]
    );
    let tables = "[load]\nkind = \"gamma\"\nrate_per_s = 1\ncv = 1\n[[sweep]]\naxis = \"load\"\n\
                  values = [{ kind = \"users\", users = 4 }, { kind = \"users\" }]\n";
    assert_eq!(errors(tables), ["B0202 `load` lacks `users`"]);
    // Zipped axes are tried together: `cv` is fine with the first kind and unknown to the second.
    let zipped = "[load]\nkind = \"gamma\"\nrate_per_s = 1\ncv = 1\n\
                  [[sweep]]\naxis = \"load.kind\"\nzip = \"a\"\nvalues = [\"gamma\", \"poisson\"]\n\
                  [[sweep]]\naxis = \"load.cv\"\nzip = \"a\"\nvalues = [2, 3]\n";
    assert_eq!(errors(zipped), ["B0201 unknown key `cv` in `load`"]);
}

#[test]
fn the_loaded_document_does_not_depend_on_how_it_was_written() {
    let inline = over_minimal("phases = { warmup = \"10s\", drain = { max = \"1m\" } }\n", &[]).unwrap();
    let dotted = over_minimal("phases.drain.max = \"60s\"\nphases.warmup = \"10s\"\n", &[]).unwrap();
    let table = over_minimal("[phases]\nwarmup = \"10s\"\n[phases.drain]\nmax = \"60s\"\n", &[]).unwrap();
    assert_eq!(dotted.document.value(), table.document.value());
    // Spelling of durations vanishes with the types.
    assert_eq!(inline.scenario, table.scenario);
}

#[test]
fn secrets_never_reach_what_is_kept() {
    let text = format!("{MINIMAL}\n[backends.main.headers]\nAuthorization = \"Bearer canary\"\n");
    let env = BTreeMap::new();
    let read = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let loading = load(Request { path: "a.toml", text: text.as_bytes(), sets: &[], env: &env, read: &read });
    assert!(!format!("{loading:?}").contains("canary"), "{loading:?}");
}
