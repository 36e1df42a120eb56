//! Credentials in the tree: reported, blanked out of the sources, kept from the passes that follow.

use super::credentials::{self, Position};
use super::keypath::Pointer;
use super::rules;
use super::tree::Node;
use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, Diagnostics, Sources, codes};

/// Reports credentials, blanks them out of the sources and adds their places to `spoiled`.
pub(super) fn find(tree: &mut Node, sources: &mut Sources, spoiled: &mut Vec<Pointer>, found: &mut Diagnostics) {
    let axes = rules::axis_paths(tree);
    tree.each_leaf(&mut Vec::new(), &mut |path, leaf| {
        let Some(text) = leaf.text() else { return };
        let setting = axes
            .iter()
            .find(|(place, _)| path.starts_with(place))
            .map(|(place, axis)| [axis.as_slice(), path.get(place.len() + 1..).unwrap_or_default()].concat());
        let Some(position) = credentials::position(setting.as_deref().unwrap_or(path), text) else { return };
        let written = sources.get(leaf.span.source).text().get(leaf.span.start..leaf.span.end).unwrap_or_default();
        let inner = written.trim_matches(['"', '\'']);
        let in_url = matches!(position, Position::UserInfo | Position::Query | Position::Text);
        // The look alone is enough in a URL, unless escapes hide it.
        if (!in_url || inner.contains('\\')) && !credentials::only_variable(inner) {
            let quotes = (written.len() - inner.len()) / 2;
            sources.mask(leaf.span.source, leaf.span.start + quotes..leaf.span.end - quotes);
        }
        found.push(credential(position, setting.as_deref().unwrap_or(path), leaf));
        spoiled.push(Pointer::new(path.to_vec()));
    });
}

fn credential(position: Position, path: &[String], leaf: &Node) -> Diagnostic {
    let name = path.last().map_or("", String::as_str);
    let (place, fix) = match position {
        Position::ApiKey => {
            ("`api_key` itself".to_owned(), "`api_key = { env = \"NAME_OF_THE_VARIABLE\" }`".to_owned())
        }
        Position::SecretHeader | Position::Header => (
            format!("the header {}", quote(name)),
            format!("`secret_headers = {{ {} = {{ env = \"NAME_OF_THE_VARIABLE\" }} }}`", header_key(name)),
        ),
        Position::UserInfo => (
            "the user part of a URL".to_owned(),
            "`secret_headers = { authorization = { env = \"NAME_OF_THE_VARIABLE\", prefix = \"Basic \" } }`".to_owned(),
        ),
        Position::Query => (
            "a parameter of a URL".to_owned(),
            "`api_key = { env = \"NAME_OF_THE_VARIABLE\" }` or an entry of `secret_headers`".to_owned(),
        ),
        Position::Body => {
            (format!("the body key {}", quote(name)), "`api_key` or an entry of `secret_headers`".to_owned())
        }
        Position::Text => {
            ("a text".to_owned(), "a reference where the credential is needed, and no credential here".to_owned())
        }
        Position::Reference => (
            "a reference to a secret".to_owned(),
            "`{ env = \"NAME_OF_THE_VARIABLE\" }` with the name, not the value, of a variable".to_owned(),
        ),
    };
    let stored = path.first().is_some_and(|top| top == "store");
    let fix =
        if stored { "the credentials of the environment (see the store's own variables)".to_owned() } else { fix };
    let diagnostic = if leaf.variables.is_empty() {
        Diagnostic::error(&codes::LITERAL_CREDENTIAL, format!("a credential in {place}"))
            .at(leaf.span, "scenarios are committed and copied into reports")
    } else {
        Diagnostic::error(&codes::CREDENTIAL_VARIABLE, format!("a variable in {place}, where a credential stands"))
            .at(leaf.span, "its value would be stored in the plan")
    };
    diagnostic.help(format!("use {fix}"))
}

fn header_key(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quote(name).replace('`', "\"") }
}
