//! Every scenario that is shipped or shown can be used.
//!
//! A ```` ```toml ```` block is a complete scenario; ```` ```toml fragment ```` is laid over the smallest valid one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use llm_bench::assets::Assets;
use llm_bench::diagnostic::{Sources, render};
use llm_bench::plan::{Plan, PlanScenario, document};
use llm_bench::scenario::{Request, load};

use super::{blocks, files, pages, root, shown};

const MINIMAL: &str = include_str!("../../bad/base/minimal.toml");

/// Loads and plans a text; every finding, warnings too, is an error.
fn plan(name: &str, text: &str, folder: &Path, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let read = |path: &str| if path == "minimal.toml" { Ok(MINIMAL.into()) } else { fs::read(folder.join(path)) };
    let loading = load(Request { path: name, text: text.as_bytes(), sets: &[], env, read: &read });
    let show = |found: &_, sources: &Sources| render::human(found, sources, false);
    let loaded = loading.result.map_err(|found| show(&found, &loading.sources))?;
    if !loaded.warnings.is_empty() {
        return Err(show(&loaded.warnings, &loading.sources));
    }
    let planned = document::build(&loaded, &Assets::new(folder), PlanScenario::default());
    let planned = planned.map_err(|found| show(&found, &loading.sources))?;
    if planned.warnings.is_empty() { Ok(planned.plan) } else { Err(show(&planned.warnings, &loading.sources)) }
}

fn shipped() -> Vec<PathBuf> {
    files("scenarios", "toml")
}

#[test]
fn shipped_scenarios_load_and_plan_without_a_warning() {
    let (nothing, server) = (BTreeMap::new(), "http://server.example:8000".to_owned());
    let names = ["BENCH_URL", "BENCH_LARGE_URL", "BENCH_SMALL_URL"];
    let set: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), server.clone())).collect();
    for path in shipped() {
        let text = fs::read_to_string(&path).unwrap();
        for env in [&nothing, &set] {
            let made = plan(&shown(&path), &text, path.parent().unwrap(), env);
            let made = made.unwrap_or_else(|found| panic!("{found}"));
            assert!(!made.points.is_empty());
        }
    }
}

#[test]
fn the_readme_names_every_shipped_scenario_and_what_it_replaces() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for path in shipped() {
        let link = format!("]({})", shown(&path));
        let row = readme.lines().find(|line| line.starts_with("| [") && line.contains(&link));
        let row = row.unwrap_or_else(|| panic!("the README has no row with `{link}`"));
        let replaces = fs::read_to_string(&path).unwrap().contains("\n# replaces: ");
        let cells: Vec<_> = row.split(" | ").collect();
        assert_eq!(cells.last().is_some_and(|cell| !cell.trim_matches(['|', ' ']).is_empty()), replaces, "{row}");
    }
}

#[test]
fn shown_scenarios_load_and_plan() {
    let (mut complete, mut fragments) = (0, 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            let text = match &*block.info {
                "toml" => {
                    complete += 1;
                    block.text.clone()
                }
                "toml fragment" => {
                    fragments += 1;
                    format!("extends = \"minimal.toml\"\nschema = 1\n{}", block.text)
                }
                info => {
                    assert!(!info.starts_with("toml"), "{}: `{info}`: complete or fragment?", shown(&page));
                    continue;
                }
            };
            if let Err(found) = plan("block.toml", &text, &root().join("scenarios"), &BTreeMap::new()) {
                panic!("{}:{}\n{found}", shown(&page), block.line);
            }
        }
    }
    assert!(complete > 0 && fragments > 3, "{complete} and {fragments}");
}

/// The README opens with the file format, then the two commands.
#[test]
fn the_readme_opens_with_the_format_and_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    assert_eq!(blocks[0].info, "toml");
    assert!(blocks[0].line < 10);
    assert_eq!(blocks[1].text, "cargo run --release -- apply scenarios/quickstart.toml\ncargo test\n");
}
