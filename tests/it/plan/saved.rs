//! Saved plans: round trip, tampering, moved inputs, the committed schema.

use llm_bench::assets::{Assets, named_files};
use llm_bench::plan::schema::plan_schema;
use llm_bench::plan::{Plan, SavedPlanError};
use serde_json::{Value, json};

use super::{SCENARIO, edit, parse, plan, plan_with, with_axes};

fn saved() -> Value {
    serde_json::from_slice(&plan(SCENARIO).to_json()).unwrap()
}

fn load(value: &Value) -> Result<Plan, SavedPlanError> {
    Plan::load(value.to_string().as_bytes())
}

#[test]
fn a_saved_plan_is_the_plan() {
    for text in [SCENARIO.to_owned(), with_axes("[[sweep]]\naxis = \"seed\"\nvalues = [1, 2, 3]"), with_axes("")] {
        let made = plan(&text);
        let loaded = Plan::load(&made.to_json()).unwrap();
        assert_eq!(loaded, made);
        for index in 0..made.points.len() {
            let file = made.point_scenario(index).unwrap();
            assert_eq!(loaded.point_scenario(index).unwrap(), file);
            let seeds = loaded.point_seeds(index, &file).unwrap();
            assert_eq!(seeds, made.point_seeds(index, &file).unwrap());
            let point = llm_bench::seed::Seed::from_hex(&made.points[index].seed).unwrap();
            assert_eq!(seeds.point, point.child(&made.points[index].digest));
        }
    }
}

#[test]
fn a_point_is_the_scenario_that_says_the_same_without_axes() {
    let made = plan(SCENARIO);
    let alone = edit(&with_axes(""), "rate_per_s = 1", "rate_per_s = 4");
    assert_eq!(made.point_scenario(2).unwrap(), parse(&alone).0);
}

#[test]
fn unknown_keys_are_ignored_and_other_formats_refused() {
    let mut value = saved();
    value["comment"] = json!("from a later minor version");
    value["points"][0]["colour"] = json!("blue");
    value["format"] = json!("bench.plan/1.7");
    load(&value).unwrap();
    value["format"] = json!("bench.plan/2");
    assert!(matches!(load(&value), Err(SavedPlanError::Newer { .. })));
    for other in [json!("bench.report/1"), json!("bench.plan"), json!("bench.plan/0"), json!(1)] {
        value["format"] = other;
        assert!(matches!(load(&value), Err(SavedPlanError::NotAPlan { .. })));
    }
    value.as_object_mut().unwrap().remove("format");
    assert!(load(&value).unwrap_err().to_string().contains("`format` is missing"));
    assert!(matches!(Plan::load(b"schema = 1"), Err(SavedPlanError::Json(_))));
}

#[test]
fn every_tampered_plan_is_refused() {
    let flip = |digest: &Value| -> Value {
        let text = digest.as_str().unwrap();
        let last = if text.ends_with('0') { "1" } else { "0" };
        json!(format!("{}{last}", &text[..text.len() - 1]))
    };
    type Tamper<'a> = (&'a str, Box<dyn Fn(&mut Value)>);
    let tampers: Vec<Tamper<'_>> = vec![
        ("plan digest", Box::new(move |plan| plan["digest"] = flip(&plan["digest"]))),
        ("point digest", Box::new(move |plan| plan["points"][1]["digest"] = flip(&plan["points"][1]["digest"]))),
        ("point seed", Box::new(move |plan| plan["points"][1]["seed"] = flip(&plan["points"][1]["seed"]))),
        ("point id", Box::new(move |plan| plan["points"][1]["id"] = flip(&plan["points"][1]["id"]))),
        ("plan seed", Box::new(move |plan| plan["seed"] = flip(&plan["seed"]))),
        ("coordinate", Box::new(|plan| plan["points"][1]["coordinates"]["load.rate_per_s"] = json!(3))),
        ("coordinate without axis", Box::new(|plan| plan["points"][1]["coordinates"]["seed"] = json!(3))),
        ("adjustment", Box::new(|plan| plan["points"][1]["adjustments"] = json!({ "/seed": 3 }))),
        ("base", Box::new(|plan| plan["base"]["backends"]["main"]["url"] = json!("http://evil:1"))),
        ("base SLO", Box::new(|plan| plan["base"]["traffic"][0]["slo"]["ttft_ms"]["p50"] = json!(900.0))),
        ("judgements", Box::new(|plan| plan["judgements"]["errors"]["max_share"] = json!(1.0))),
        (
            "judgements in both places",
            Box::new(|plan| {
                plan["judgements"]["errors"]["max_share"] = json!(1.0);
                plan["base"]["errors"]["max_share"] = json!(1.0);
            }),
        ),
        ("point removed", Box::new(|plan| drop(plan["points"].as_array_mut().unwrap().pop()))),
        ("points swapped", Box::new(|plan| plan["points"].as_array_mut().unwrap().swap(0, 1))),
        ("axis", Box::new(|plan| plan["axes"][0]["pointer"] = json!("/seed"))),
        ("generator", Box::new(|plan| plan["generator_version"] = json!(99))),
        ("input nobody uses", Box::new(|plan| plan["inputs"] = json!({ "x": "00" }))),
        ("unknown setting", Box::new(|plan| plan["base"]["load"]["speed"] = json!(1))),
    ];
    load(&saved()).unwrap();
    for (what, tamper) in tampers {
        let mut value = saved();
        tamper(&mut value);
        assert!(load(&value).is_err(), "{what}");
    }
}

#[test]
fn moved_inputs_are_named_with_both_digests() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chats.json"), "[]").unwrap();
    let text = edit(
        SCENARIO,
        "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 100 }",
        "prompts = { kind = \"sharegpt\", path = \"chats.json\" }",
    );
    let assets = Assets::new(folder.path());
    let made = plan_with(&text, &assets);
    // `printf '[]' | sha256sum`
    assert_eq!(made.inputs["chats.json"], "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
    assert_eq!(Plan::load(&made.to_json()).unwrap().verify_inputs(&assets).map_err(|moved| moved.len()), Ok(()));

    std::fs::write(folder.path().join("chats.json"), "[ ]").unwrap();
    let moved = made.verify_inputs(&assets).unwrap_err();
    assert_eq!(moved.len(), 1);
    assert_eq!((moved[0].path.as_str(), &moved[0].expected), ("chats.json", &made.inputs["chats.json"]));
    assert_eq!(moved[0].found.as_ref().unwrap(), &assets.sha256("chats.json").unwrap());

    std::fs::remove_file(folder.path().join("chats.json")).unwrap();
    let moved = made.verify_inputs(&assets).unwrap_err();
    let message = moved[0].to_string();
    assert!(message.starts_with("input `chats.json` is missing: expected sha256 4f53cda1"), "{message}");
    assert!(!message.contains(&*folder.path().to_string_lossy()), "{message}");
}

#[test]
fn assets_check_every_named_file_and_write_pins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tok.json"), "{}").unwrap();
    let wrong = "f".repeat(64);
    let text = edit(
        SCENARIO,
        "[workloads.chat]",
        &format!(
            "[tokenizers.unused]\nkind = \"file\"\npath = \"gone.json\"\n[tokenizers.t]\nkind = \"file\"\npath = \"tok.json\"\nsha256 = \"{wrong}\"\n[workloads.chat]\ntokenizer = \"t\""
        ),
    );
    let (file, _) = parse(&text);
    let assets = Assets::new(folder.path());
    let paths: Vec<String> = named_files(&file).iter().map(|named| named.path.to_owned()).collect();
    assert_eq!(paths, ["tok.json", "gone.json"]);
    let errors = assets.digests(&file).unwrap_err();
    assert_eq!(
        errors.iter().map(|error| (error.kind(), error.key_path())).collect::<Vec<_>>(),
        [("input-pin", "tokenizers.t.sha256"), ("input-unreadable", "tokenizers.unused.path")]
    );
    std::fs::write(folder.path().join("gone.json"), "").unwrap();
    let pins = assets.pins(&file).unwrap();
    assert_eq!(pins.len(), 2);
    assert_eq!((pins[0].table_key_path.as_str(), pins[0].written.as_ref()), ("tokenizers.t", Some(&wrong)));
    // `printf '{}' | sha256sum`
    assert_eq!(pins[0].found, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_eq!(pins[1].written, None);

    let (right, _) = parse(&edit(&text, &wrong, &pins[0].found));
    assert_eq!(assets.digests(&right).unwrap().keys().collect::<Vec<_>>(), ["tok.json"]);
}

#[test]
fn no_absolute_path_gets_into_a_plan() {
    use llm_bench::plan::PlanScenario;
    assert_eq!(PlanScenario::portable_path("scenarios/a.toml"), "scenarios/a.toml");
    assert_eq!(PlanScenario::portable_path("../a.toml"), "../a.toml");
    assert_eq!(PlanScenario::portable_path("/somewhere/a.toml"), "a.toml");
}

#[test]
fn the_committed_schema_is_current_and_holds_for_plans() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/plan.v1.json");
    let generated = format!("{}\n", serde_json::to_string_pretty(&plan_schema()).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "schema/plan.v1.json is out of date: run the tests once with UPDATE=1");
    let validator = jsonschema::validator_for(&plan_schema()).unwrap();
    let mut value = saved();
    assert!(
        validator.is_valid(&value),
        "{:?}",
        validator.iter_errors(&value).map(|e| e.to_string()).collect::<Vec<_>>()
    );
    value["points"][0].as_object_mut().unwrap().remove("digest");
    assert!(!validator.is_valid(&value));
}
