//! `extends`: the chain of bases under a scenario.

use std::collections::BTreeMap;

use serde_json::Value;

use super::interpolate;
use super::merge;
use super::read::{Reader, read_source};
use super::tree::{Entry, Item, Node};
use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, Diagnostics, Span, codes};

/// Takes `extends` out of `root` and lays `root` over the chain of bases it names. Base paths are
/// returned relative to the root's folder, nearest first.
pub(super) fn resolve(
    root: Node,
    reader: &mut Reader<'_>,
    env: &BTreeMap<String, String>,
    found: &mut Diagnostics,
) -> (Node, Vec<String>) {
    let mut layers = vec![root];
    let mut seen = vec![reader.root_name.clone()];
    let mut paths = Vec::new();
    let mut folder = String::new();
    loop {
        let top = layers.last_mut().expect("the root is there");
        let Some(entry) = top.table_mut().and_then(|entries| entries.remove("extends")) else { break };
        let Some(path) = base_path(&entry.node, env, found) else { break };
        let path = join(&folder, &path);
        let name = reader.display_name(&path);
        if seen.contains(&name) {
            let chain = seen.iter().chain([&name]).map(|n| quote(n)).collect::<Vec<_>>().join(" → ");
            let diagnostic = Diagnostic::error(&codes::BASE_CYCLE, "`extends` leads back to a file already read");
            found.push(diagnostic.at(entry.node.span, "").note(chain));
            break;
        }
        let Some(mut base) = read_base(&path, &entry.node, reader, found) else { break };
        base.table_mut().map(|entries| entries.remove("schema"));
        folder = parent(&path).to_owned();
        seen.push(name);
        paths.push(path);
        layers.push(base);
    }
    let mut merged = layers.pop().expect("the root is there");
    while let Some(upper) = layers.pop() {
        merge::overlay(&mut merged, upper);
    }
    (merged, paths)
}

fn base_path(node: &Node, env: &BTreeMap<String, String>, found: &mut Diagnostics) -> Option<String> {
    let Some(text) = node.text().filter(|text| !text.is_empty()) else {
        let diagnostic = Diagnostic::error(&codes::WRONG_TYPE, "`extends` must be a path");
        found.push(diagnostic.at(node.span, "expected a string such as `\"base.toml\"`"));
        return None;
    };
    match interpolate::replace(text, node.span, env, found) {
        None => Some(text.to_owned()),
        Some(replaced) => (!replaced.broken).then_some(replaced.text),
    }
}

fn read_base(path: &str, at: &Node, reader: &mut Reader<'_>, found: &mut Diagnostics) -> Option<Node> {
    match (reader.read)(path) {
        Ok(bytes) => {
            let (node, folder) =
                (read_source(&reader.display_name(path), &bytes, Some(at.span), reader.sources, found)?, parent(path));
            reader.folders.insert(node.span.source, folder.to_owned());
            Some(node)
        }
        Err(error) => {
            let message = format!("the base {} cannot be read: {error}", quote(path));
            found.push(Diagnostic::error(&codes::BASE_UNREADABLE, message).at(at.span, "relative to this file"));
            None
        }
    }
}

/// Rewrites the paths that bases name, so that all are relative to the root's folder.
pub(super) fn rebase(node: &mut Node, folders: &BTreeMap<crate::diagnostic::SourceId, String>) {
    node.each_leaf(&mut Vec::new(), &mut |path, leaf| {
        let folder = folders.get(&leaf.span.source).map_or("", String::as_str);
        if folder.is_empty() || !names_file(path) {
            return;
        }
        if let Item::Leaf(Value::String(text)) = &mut leaf.item
            && !text.is_empty()
            && !text.contains("://")
        {
            *text = join(folder, text);
        }
    });
}

/// Whether the setting at `path` is the path of a file or folder.
fn names_file(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["tokenizers", _, "path"]
            | ["workloads", _, "prompts" | "input_tokens" | "output_tokens" | "tokens", "path"]
            | ["workloads", _, "tokens", "total", "path"]
            | ["load", "path"]
            | ["backends", _, "api_key", "file"]
            | ["backends", _, "secret_headers", _, "file"]
            | ["store", "url"]
    )
}

/// `path`, which is relative to `folder`, relative to what `folder` is relative to.
pub(super) fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() || is_absolute(path) {
        return path.to_owned();
    }
    normalise(&format!("{folder}/{path}"))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.starts_with('\\') || path.as_bytes().get(1) == Some(&b':')
}

/// Without `.` and without `x/..`.
pub(super) fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

/// The folder part of `path`, empty when there is none.
pub(super) fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |at| if at == 0 { "/" } else { &path[..at] })
}

/// A key that the version pass supplies where the file forgot it.
pub(super) fn version_entry(span: Span) -> Entry {
    Entry { key: span, node: Node::new(span, Item::Leaf(Value::from(1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_bases_become_paths_of_the_root() {
        assert_eq!(join("", "a.json"), "a.json");
        assert_eq!(join("../base", "data/a.json"), "../base/data/a.json");
        assert_eq!(join("../base", "../data/./a.json"), "../data/a.json");
        assert_eq!(join("base", "/abs/a.json"), "/abs/a.json");
        assert_eq!(join("/abs", "a.json"), "/abs/a.json");
        assert_eq!(normalise("../../x/../y"), "../../y");
        assert_eq!((parent("a/b.toml"), parent("b.toml"), parent("/b.toml")), ("a", "", "/"));
    }
}
