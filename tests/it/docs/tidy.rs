//! ARCHITECTURE.md says which module knows which, and what a module may not name. The sources agree, in both
//! directions: nothing is used that is not in the table, and nothing is in the table that is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{files, root, shown};

/// A module and its row.
#[derive(Debug, Default)]
struct Row {
    knows: BTreeSet<String>,
    never: Vec<String>,
}

/// Words in backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Cells of the rows of the table that begins with `head`.
fn table(head: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let start = page.find(head).unwrap_or_else(|| panic!("ARCHITECTURE.md has no table `{head}`"));
    let rows = page[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn modules() -> BTreeMap<String, Row> {
    let rows = table("| module | knows | never names |");
    let row = |cells: Vec<String>| {
        let row = Row { knows: code(&cells[1]).into_iter().collect(), never: code(&cells[2]) };
        (code(&cells[0]).remove(0), row)
    };
    rows.into_iter().map(row).collect()
}

/// Sources that are compiled into the program, without comments and unit tests, by module.
fn sources() -> Vec<(String, String, String)> {
    let mut sources = Vec::new();
    for path in files("src", "rs") {
        let name = shown(&path);
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
        if !matches!(&*module, "lib" | "main") && !is_test(&path) {
            sources.push((module, name, program(&fs::read_to_string(&path).unwrap())));
        }
    }
    sources
}

/// Files that the crate includes under `cfg(test)` only.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let in_tests = path.parent().unwrap().ends_with("tests");
    in_tests || stem == "tests" || stem.ends_with("_tests") || stem == "fixture"
}

/// The text without comments, up to the unit tests at the end of the file.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split("// ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Whether `word` stands in the text as a path, not as a part of another name.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    // A type may be named by its whole path; a crate begins one.
    let is_type = word.starts_with(|c: char| c.is_uppercase());
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let path = word.ends_with('!') || word.contains("::") || text[at + word.len()..].starts_with("::");
        path && !before.is_some_and(|c| part(c) || (c == ':' && !is_type)) && !after.is_some_and(part)
    })
}

#[test]
fn modules_know_what_the_architecture_says() {
    let table = modules();
    let mut used: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (module, name, text) in sources() {
        let used = used.entry(module.clone()).or_default();
        for group in ["crate::{", "use std::{"] {
            assert!(!text.contains(group), "{name}: one module a `use`, so that this test can read it");
        }
        for part in text.split("crate::").skip(1) {
            let other: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if other != module {
                used.entry(other).or_insert_with(|| name.clone());
            }
        }
    }
    let modules: BTreeSet<_> = used.keys().collect();
    assert_eq!(modules, table.keys().collect(), "one row a module");
    let mut wrong = Vec::new();
    for (module, used) in &used {
        let row = &table[module];
        wrong.extend(
            used.iter()
                .filter(|(other, _)| !row.knows.contains(*other))
                .map(|(other, name)| format!("`{module}` knows `{other}` ({name})")),
        );
        let unused = row.knows.iter().filter(|other| !used.contains_key(*other));
        wrong.extend(unused.map(|other| format!("`{module}` does not use `{other}`")));
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md does not say so:\n{}", wrong.join("\n"));
}

#[test]
fn modules_do_not_name_what_they_may_not() {
    let table = modules();
    let mut wrong = Vec::new();
    for (module, name, text) in sources() {
        let never = table[&module].never.iter().filter(|word| names(&text, word));
        wrong.extend(never.map(|word| format!("{name} names `{word}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_things_have_one_place() {
    let mut wrong = Vec::new();
    for cells in table("| only | name |") {
        let (places, words) = (code(&cells[0]), code(&cells[1]));
        for word in &words {
            let mut used = BTreeSet::new();
            for (_, name, text) in sources() {
                let place = places.iter().find(|place| name.trim_start_matches("src/").starts_with(place.as_str()));
                if names(&text, word) {
                    match place {
                        Some(place) => _ = used.insert(place.clone()),
                        None => wrong.push(format!("{name} names `{word}`")),
                    }
                }
            }
            if used.is_empty() {
                wrong.push(format!("nothing names `{word}`: the row is old"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_as_paths_only() {
    assert!(names("use std::fs;", "std::fs"));
    assert!(names("a(std::fs::read(x))", "std::fs"));
    assert!(!names("std::fsx::y", "std::fs"));
    assert!(names("use tokio::time;", "tokio"));
    assert!(!names("let tokio = 1; my_tokio::x(); use tokio_util::x;", "tokio"));
    assert!(names("std::time::Instant::now()", "Instant::now"));
    assert!(names("println!(\"x\")", "println!"));
    assert!(!names("eprintln!(\"x\")", "println!"));
    assert_eq!(program("a\n// crate::b\n/// crate::c\nd\n#[cfg(test)]\nmod tests {\ncrate::e\n}"), "a\nd");
}
