//! How a scenario lies over its base.

use super::tree::{Entry, Item, Node};

/// Keys that choose what the rest of their table means.
const TAGS: [&str; 2] = ["kind", "protocol"];

/// Lays `upper` over `lower`: tables merge key by key, arrays of named entries merge by name, all else
/// is replaced. A table of another kind is replaced whole: its keys would mean nothing in the new one.
pub(super) fn overlay(lower: &mut Node, upper: Node) {
    let Node { span, item, variables } = upper;
    match (&mut lower.item, item) {
        (Item::Table(below), Item::Table(above)) if !another_kind(below, &above) => {
            lower.span = span;
            for (key, entry) in above {
                match below.get_mut(&key) {
                    Some(old) => {
                        old.key = entry.key;
                        overlay(&mut old.node, entry.node);
                    }
                    None => {
                        below.insert(key, entry);
                    }
                }
            }
        }
        (Item::Array(below), Item::Array(above)) if all_named(below) && all_named(&above) => {
            lower.span = span;
            let inherited = below.len();
            for node in above {
                let twin = below[..inherited].iter().position(|old| name(old) == name(&node));
                match twin {
                    // A second entry of the same name must stay visible as a duplicate.
                    Some(index) if below[index].span.source != node.span.source => overlay(&mut below[index], node),
                    _ => below.push(node),
                }
            }
        }
        (_, item) => *lower = Node { span, item, variables },
    }
}

fn another_kind(
    below: &std::collections::BTreeMap<String, Entry>,
    above: &std::collections::BTreeMap<String, Entry>,
) -> bool {
    TAGS.iter().any(|tag| match (below.get(*tag), above.get(*tag)) {
        (Some(old), Some(new)) => old.node.to_value() != new.node.to_value(),
        _ => false,
    })
}

/// An empty array is none of named entries: it is written to empty the one below.
fn all_named(nodes: &[Node]) -> bool {
    !nodes.is_empty() && nodes.iter().all(|node| name(node).is_some())
}

fn name(node: &Node) -> Option<&str> {
    node.get("name").and_then(Node::text)
}
