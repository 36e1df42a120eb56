//! Links between pages, and paths named in commands, lead to something.

use std::fs;
use std::path::Path;

use super::{blocks, pages, root, shown};

/// Targets of `[text](target)` outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        }
        if inside {
            continue;
        }
        for part in line.split("](").skip(1) {
            found.push(part.split(')').next().unwrap().to_owned());
        }
    }
    found
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    text.lines().filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for page in pages() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').map_or((&*link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: `{link}` leads nowhere", shown(&page));
            if let Some(anchor) = anchor {
                assert!(
                    anchors(&target).iter().any(|known| known == anchor),
                    "{}: no heading for `{link}`",
                    shown(&page)
                );
            }
        }
    }
    assert!(seen > 30, "only {seen} links were found");
}

/// Folders of the repository that commands name.
const FOLDERS: [&str; 6] = ["scenarios/", "k8s/", ".ci/", "tests/", "docs/", "examples/"];

#[test]
fn paths_in_commands_exist() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let commands = blocks(&text).into_iter().filter(|block| matches!(&*block.info, "sh" | "indented"));
        for word in commands.flat_map(|block| block.text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()) {
            let word = word.trim_matches(|c| "\"'$();".contains(c));
            if !FOLDERS.iter().any(|folder| word.starts_with(folder)) || word.contains('*') {
                continue;
            }
            seen += 1;
            assert!(root().join(word).exists(), "{}: `{word}` does not exist", shown(&page));
        }
    }
    assert!(seen > 5, "only {seen} paths were found");
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        if shown(&page).starts_with("docs/") && name != "README.md" {
            assert!(index.contains(&format!("]({name})")), "docs/README.md does not name `{name}`");
        }
    }
}

#[test]
fn anchors_are_those_of_the_forge() {
    assert_eq!(slug(" `bench apply`"), "bench-apply");
    assert_eq!(slug("`backends.NAME`"), "backendsname");
}
