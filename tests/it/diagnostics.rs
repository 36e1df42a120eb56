//! The scenario pipeline from outside: the corpus of bad scenarios with their exact messages, every code
//! with its examples, the committed schema and reference, and the agreement of schema and types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use llm_bench::assets::Assets;
use llm_bench::diagnostic::{Diagnostic, Diagnostics, Severity, codes, render};
use llm_bench::plan::{LoadedDatasets, PlanScenario, document};
use llm_bench::scenario::{Loading, Request, load, schema};

/// The smallest valid scenario.
const MINIMAL: &str = include_str!("../bad/base/minimal.toml");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `# set: …` and `# env: NAME=value` lines stand for `--set` and the environment.
fn directives(text: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let values =
        |prefix: &'static str| text.lines().filter_map(move |line| line.strip_prefix(prefix)).map(str::to_owned);
    let env =
        values("# env: ").filter_map(|line| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    (values("# set: ").collect(), env)
}

/// Loads `bytes` as `name`, with bases from `tests/bad`.
fn load_as(name: &str, bytes: &[u8]) -> Loading {
    let (sets, env) = directives(&String::from_utf8_lossy(bytes));
    let read = |path: &str| match path {
        "root.toml" => Ok(bytes.to_vec()),
        "minimal.toml" => Ok(MINIMAL.as_bytes().to_vec()),
        path => fs::read(root().join("tests/bad").join(path)).map_err(|error| std::io::Error::from(error.kind())),
    };
    load(Request { path: name, text: bytes, sets: &sets, env: &env, read: &read })
}

/// [`load_as`], and the plan of it: what only shows when the points are made is part of the picture.
fn plan_as(name: &str, bytes: &[u8]) -> Loading {
    let mut loading = load_as(name, bytes);
    if let Ok(loaded) = &mut loading.result {
        let assets = Assets::new(root().join("tests/bad"));
        let datasets = LoadedDatasets::new(assets.clone());
        match document::build_with(loaded, &assets, PlanScenario::default(), &datasets) {
            Ok(planned) => loaded.warnings.extend(planned.warnings),
            Err(found) => loading.result = Err(found),
        }
    }
    loading
}

fn findings(loading: &Loading) -> &Diagnostics {
    match &loading.result {
        Ok(loaded) => &loaded.warnings,
        Err(found) => found,
    }
}

fn found_codes(loading: &Loading) -> Vec<&'static str> {
    findings(loading).iter().map(|diagnostic| diagnostic.code.id).collect()
}

/// Compares with a committed file; `UPDATE=1` rewrites it.
fn committed(path: &Path, actual: &str) -> Result<(), String> {
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).unwrap();
        return Ok(());
    }
    let name = path.strip_prefix(root()).unwrap().display();
    Err(format!("{name} differs (UPDATE=1 rewrites it)\n--- committed\n{expected}\n--- now\n{actual}"))
}

fn corpus() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("tests/bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() > 50, "the corpus is gone");
    files
}

#[test]
fn every_bad_scenario_says_exactly_what_is_committed() {
    let mut differences = Vec::new();
    for path in corpus() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let loading = plan_as(name, &fs::read(&path).unwrap());
        let found = findings(&loading);
        if found.is_empty() {
            differences.push(format!("{name} is fine"));
            continue;
        }
        let text = render::human(found, &loading.sources, false);
        if text.contains("canary") {
            differences.push(format!("{name} shows its secret:\n{text}"));
        }
        differences.extend(committed(&path.with_extension("stderr"), &text).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_format_shows_a_secret() {
    for path in corpus() {
        let bytes = fs::read(&path).unwrap();
        let loading = plan_as(path.file_name().unwrap().to_str().unwrap(), &bytes);
        let found = findings(&loading);
        for text in [
            render::json(found, &loading.sources),
            render::github(found, &loading.sources),
            render::human(found, &loading.sources, true),
        ] {
            assert!(!text.contains("canary"), "{}: {text}", path.display());
        }
    }
}

#[test]
fn every_code_has_a_bad_scenario() {
    let mut seen = BTreeSet::new();
    for path in corpus() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let ids = found_codes(&plan_as(name, &fs::read(&path).unwrap()));
        // Files are named after the code they show, so that the picture book can be browsed by it.
        let own = name.split(['-', '.']).next().unwrap();
        if own.starts_with("B0") {
            assert!(ids.contains(&own), "{name} shows {ids:?}");
        }
        seen.extend(ids);
    }
    let missing: Vec<&str> = codes::all().map(|code| code.id).filter(|id| !seen.contains(id)).collect();
    // A disagreement of schema and types is a bug that another test excludes: no scenario can show it.
    // Neither can two digests that begin alike.
    assert_eq!(missing, [codes::DISAGREEMENT.id, codes::ID_COLLISION.id]);
}

#[test]
fn the_examples_of_every_code_hold() {
    for code in codes::all().filter(|code| !code.bad.is_empty()) {
        let text = |example: &str| {
            let whole = example.lines().any(|line| line.starts_with("schema") || line.starts_with("extends"));
            if whole { example.to_owned() } else { format!("schema = 1\nextends = \"minimal.toml\"\n{example}\n") }
        };
        let bad = plan_as("root.toml", text(code.bad).as_bytes());
        assert!(found_codes(&bad).contains(&code.id), "{}: {:?}", code.id, found_codes(&bad));
        let good = load_as("root.toml", text(code.good).as_bytes());
        let shown = render::human(findings(&good), &good.sources, false);
        assert!(good.result.is_ok(), "{}: the good example fails:\n{shown}", code.id);
        assert!(!found_codes(&good).contains(&code.id), "{}:\n{shown}", code.id);
        assert!(codes::explain(code.id).unwrap().contains(code.title));
    }
}

#[test]
fn five_mistakes_are_five_errors_at_once() {
    let name = "five-mistakes.toml";
    let loading = load_as(name, &fs::read(root().join("tests/bad").join(name)).unwrap());
    let found = loading.result.unwrap_err();
    assert_eq!(found.len(), 5, "{}", render::human(&found, &loading.sources, false));
    assert!(found.iter().all(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.primary.is_some()));
}

#[test]
fn the_minimal_scenario_is_clean() {
    let loading = load_as("minimal.toml", MINIMAL.as_bytes());
    assert_eq!(found_codes(&loading), Vec::<&str>::new());
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    committed(&root().join(schema::SCHEMA_PATH), &schema::schema_json()).unwrap();
}

#[test]
fn the_reference_is_current() {
    committed(&root().join("docs/scenario.md"), &schema::reference_markdown()).unwrap();
}

/// A valid scenario with every table and many kinds.
const RICH: &str = include_str!("../bad/base/rich.toml");

#[test]
fn the_rich_scenario_is_clean_and_fits_the_committed_schema() {
    let loading = load_as("rich.toml", RICH.as_bytes());
    assert!(findings(&loading).is_empty(), "{}", render::human(findings(&loading), &loading.sources, false));
    let committed: serde_json::Value = serde_json::from_str(&schema::schema_json()).unwrap();
    let committed = jsonschema::draft7::new(&committed).unwrap();
    let mut value = loading.result.unwrap().document.value().clone();
    assert!(committed.is_valid(&value));
    // Variables fit wherever a string does, whatever form the string must have; tags stay words.
    for pointer in ["/name", "/phases/warmup", "/load/split", "/backends/main/url", "/tokenizers/llama3/sha256"] {
        *value.pointer_mut(pointer).unwrap() = "${SOMETHING}".into();
        assert!(committed.is_valid(&value), "{pointer}");
    }
    *value.pointer_mut("/load/kind").unwrap() = "${KIND}".into();
    assert!(!committed.is_valid(&value));
}

#[test]
fn the_committed_schema_rejects_what_it_should() {
    let committed: serde_json::Value = serde_json::from_str(&schema::schema_json()).unwrap();
    let committed = jsonschema::draft7::new(&committed).unwrap();
    // The change to the rich scenario, where the schema objects, and the keyword that does.
    let cases: [(&str, serde_json::Value, &str, &str); 10] = [
        ("/seed", "42".into(), "/seed", "type"),
        ("/seed", (-1).into(), "/seed", "minimum"),
        ("/schema", 2.into(), "/schema", "maximum"),
        ("/phases/warmup", "10 parsecs".into(), "/phases/warmup", "pattern"),
        ("/errors", serde_json::json!({ "max_shar": 0 }), "/errors", "additionalProperties"),
        ("/exclude/0/match", serde_json::json!({}), "/exclude/0/match", "minProperties"),
        ("/traffic", serde_json::json!([]), "/traffic", "minItems"),
        ("/load/split", "even".into(), "/load", "oneOf"),
        ("/load/kind", "poison".into(), "/load", "oneOf"),
        ("/traffic/0", serde_json::json!({ "name": "a", "backend": "b" }), "/traffic/0", "required"),
    ];
    for (pointer, replacement, path, keyword) in cases {
        let loading = load_as("rich.toml", RICH.as_bytes());
        let mut value = loading.result.unwrap().document.value().clone();
        *value.pointer_mut(pointer).unwrap() = replacement;
        let errors: Vec<(String, String)> = committed
            .iter_errors(&value)
            .map(|error| (error.instance_path().as_str().to_owned(), error.kind().keyword().to_owned()))
            .collect();
        assert_eq!(errors, [(path.to_owned(), keyword.to_owned())]);
    }
}

/// Structural codes: what the schema says with them, the Rust types must say too.
const STRUCTURAL: [&str; 5] = ["B0201", "B0202", "B0203", "B0204", "B0207"];

/// Schema and types must judge a text alike, whichever way the text came about.
fn agree(text: &str) -> Result<(), String> {
    let loading = load_as("mutant.toml", text.as_bytes());
    // Values of an axis are held against the setting they are for; to the types alone they are any values.
    let of_an_axis = |diagnostic: &Diagnostic| {
        let line = diagnostic.primary.as_ref().map_or(0, |label| loading.sources.start(label.span).line);
        text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.starts_with("values"))
    };
    // serde reads a struct from an array of its fields too; the schema is rightly stricter.
    let of_serde = |diagnostic: &Diagnostic| diagnostic.message.contains("must be a table, not an array");
    let found = findings(&loading).iter().filter(|diagnostic| !of_an_axis(diagnostic) && !of_serde(diagnostic));
    let ids: Vec<&str> = found.map(|diagnostic| diagnostic.code.id).collect();
    let typed = toml::from_str::<llm_bench::scenario::file::ScenarioFile>(text);
    let shape: Vec<&&str> = ids.iter().filter(|id| id.starts_with("B02") || id.starts_with("B01")).collect();
    let only_axes = ids.len() < findings(&loading).len();
    if ids.contains(&codes::DISAGREEMENT.id)
        || (shape.is_empty() && !only_axes && !ids.iter().any(|id| id.starts_with("B05")) && typed.is_err())
    {
        return Err(format!("the schema accepts, the types do not: {ids:?} {typed:?}\n{text}"));
    }
    let structural = shape.iter().any(|id| STRUCTURAL.contains(id));
    if structural && typed.is_ok() {
        return Err(format!("the schema refuses the structure, the types accept it: {ids:?}\n{text}"));
    }
    Ok(())
}

/// Paths of all values below `value`.
fn paths(value: &toml::Value, at: &[String], all: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &toml::Value)> = match value {
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        toml::Value::Array(array) => {
            array.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, child) in children {
        let path = [at, &[key]].concat();
        paths(child, &path, all);
        all.push(path);
    }
}

fn at_mut<'v>(value: &'v mut toml::Value, path: &[String]) -> &'v mut toml::Value {
    path.iter().fold(value, |value, key| match value {
        toml::Value::Array(array) => &mut array[key.parse::<usize>().unwrap()],
        other => other.get_mut(key).unwrap(),
    })
}

/// One mutation of the rich scenario at the `which`-th value.
fn mutate(document: &mut toml::Value, which: usize, how: u8, replacement: toml::Value) {
    let mut all = Vec::new();
    paths(document, &[], &mut all);
    let path = &all[which % all.len()];
    let (last, parent) = path.split_last().unwrap();
    match (at_mut(document, parent), how) {
        (toml::Value::Table(table), 0) => {
            table.remove(last);
        }
        (toml::Value::Table(table), 1) => {
            let value = table.remove(last).unwrap();
            table.insert(format!("{last}x"), value);
        }
        (toml::Value::Table(table), 2) => {
            table.insert("surprise".to_owned(), replacement);
        }
        (toml::Value::Array(array), 0) => {
            array.remove(last.parse().unwrap());
        }
        (parent, _) => *at_mut(parent, std::slice::from_ref(last)) = replacement,
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 120, failure_persistence: None, ..Default::default() })]

    #[test]
    fn schema_and_types_agree_on_mutants(
        changes in proptest::collection::vec((0usize..500, 0u8..6, 0usize..22), 1..3)
    ) {
        let values = [
            "0", "1", "-1", "4", "4.0", "0.5", "1e400_000", "4294967296", "9223372036854775807", "true", "\"\"", "\"x\"", "\"10s\"",
            "\"-1s\"", "\"99999999999999999999s\"", "[]", "[1]", "{}", "{ kind = \"fixed\", value = 4 }", "{ x = 1 }", "\"builtin\"", "\"users\"",
        ];
        let mut document: toml::Value = toml::from_str(RICH).unwrap();
        for (which, how, value) in changes {
            let Ok(table) = toml::from_str::<toml::Table>(&format!("v = {}", values[value])) else { continue };
            mutate(&mut document, which, how, table["v"].clone());
        }
        let text = toml::to_string(&document).unwrap();
        agree(&text).map_err(proptest::test_runner::TestCaseError::fail)?;
    }

    #[test]
    fn every_duration_that_the_pattern_admits_can_be_read(
        text in llm_bench::units::HumanDuration::PATTERN.trim_matches(['^', '$'])
    ) {
        proptest::prop_assert!(text.parse::<llm_bench::units::HumanDuration>().is_ok(), "{}", text);
    }

    #[test]
    fn every_canonical_duration_fits_the_pattern(nanos in proptest::prelude::any::<u64>()) {
        let text = llm_bench::units::HumanDuration::from(std::time::Duration::from_nanos(nanos)).to_string();
        let schema = serde_json::json!({ "type": "string", "pattern": llm_bench::units::HumanDuration::PATTERN });
        proptest::prop_assert!(jsonschema::draft7::is_valid(&schema, &text.as_str().into()), "{}", text);
    }
}

#[test]
fn schema_and_types_agree_on_the_corpus() {
    for path in corpus() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        // Only whole files without variables mean the same to both.
        if !text.contains("extends") && !text.contains("${") {
            agree(&text).unwrap();
        }
    }
    agree(MINIMAL).unwrap();
    agree(RICH).unwrap();
}

#[test]
fn at_most_twenty_findings_are_shown_and_the_rest_is_counted() {
    let mut text = "schema = 1\nextends = \"minimal.toml\"\n".to_owned();
    (0..25).for_each(|index| text.push_str(&format!("unknown_{index} = 1\n")));
    let loading = load_as("many.toml", text.as_bytes());
    let found = findings(&loading);
    assert_eq!(found.len(), 25);
    let shown = render::human(found, &loading.sources, false);
    assert_eq!(shown.matches("error[B0201]").count(), 20);
    assert!(shown.ends_with("… and 5 more in many.toml\n"), "{shown}");
    assert_eq!(render::json(found, &loading.sources).lines().count(), 25);
}

#[test]
fn machine_formats_point_at_the_place() {
    let loading = load_as(
        "dir/a,b.toml",
        "schema = 1\nextends = \"minimal.toml\"\n\n[load]\n\tkind = \"poison\" # 100%\n".as_bytes(),
    );
    let found = findings(&loading);
    let json: Vec<serde_json::Value> =
        render::json(found, &loading.sources).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Line 5: a tab, `kind = `, then the value from column 9 to before column 17.
    assert_eq!(
        json[0],
        serde_json::json!({
            "severity": "error", "code": "B0203", "file": "dir/a,b.toml", "line": 5, "column": 9,
            "end": { "line": 5, "column": 17 }, "message": "unknown kind `poison` of `load`",
            "label": "expected `constant`, `poisson`, `gamma`, `weibull`, `burst`, `trace`, `users` or `classes`", "help": "did you mean `poisson`?",
        })
    );
    assert_eq!(
        render::github(found, &loading.sources),
        "::error file=dir/a%2Cb.toml,line=5,col=9,endLine=5,endColumn=17,title=B0203::unknown kind `poison` of `load`: \
         expected `constant`, `poisson`, `gamma`, `weibull`, `burst`, `trace`, `users` or `classes`%0Adid you mean `poisson`?\n"
    );
    assert!(render::human(found, &loading.sources, true).contains("\u{1b}["));
    assert!(!render::human(found, &loading.sources, false).contains('\u{1b}'));
}
