//! The scenario pipeline from outside: the corpus of bad scenarios with their exact messages, every code
//! with its examples, the committed schema and reference, and the agreement of schema and types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use llm_bench::diagnostic::{Diagnostics, Severity, codes, render};
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
        let loading = load_as(name, &fs::read(&path).unwrap());
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
        let loading = load_as(path.file_name().unwrap().to_str().unwrap(), &bytes);
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
        let ids = found_codes(&load_as(name, &fs::read(&path).unwrap()));
        // Files are named after the code they show, so that the picture book can be browsed by it.
        let own = name.split(['-', '.']).next().unwrap();
        if own.starts_with("B0") {
            assert!(ids.contains(&own), "{name} shows {ids:?}");
        }
        seen.extend(ids);
    }
    let missing: Vec<&str> = codes::all().map(|code| code.id).filter(|id| !seen.contains(id)).collect();
    // A disagreement of schema and types is a bug that another test excludes: no scenario can show it.
    assert_eq!(missing, [codes::DISAGREEMENT.id]);
}

#[test]
fn the_examples_of_every_code_hold() {
    for code in codes::all().filter(|code| !code.bad.is_empty()) {
        let text = |example: &str| {
            let whole = example.lines().any(|line| line.starts_with("schema") || line.starts_with("extends"));
            if whole { example.to_owned() } else { format!("schema = 1\nextends = \"minimal.toml\"\n{example}\n") }
        };
        let bad = load_as("root.toml", text(code.bad).as_bytes());
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
