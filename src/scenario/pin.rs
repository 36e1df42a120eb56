//! `bench validate --pin`: writes the SHA-256 of input files beside their paths.

use toml::de::{DeTable, DeValue};

use crate::assets::AssetDigests;

/// `text` with `sha256 = "…"` beside every `path` of a file tokenizer, dataset or file of lengths that `digests` knows,
/// inserted or updated; every other byte stays. Paths are looked up as the text spells them. Text that
/// is not TOML comes back unchanged.
pub fn pin(text: &str, digests: &AssetDigests) -> String {
    let Ok(document) = DeTable::parse(text) else { return text.to_owned() };
    let mut edits: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    for (name, value) in document.get_ref().iter() {
        if let ("traffic", DeValue::Array(classes)) = (name.get_ref().as_ref(), value.get_ref()) {
            for class in classes.iter() {
                let DeValue::Table(class) = class.get_ref() else { continue };
                let Some(DeValue::Table(load)) = class.get("load").map(|load| load.get_ref()) else { continue };
                edits.extend(edit(text, load, digests));
            }
            continue;
        }
        let DeValue::Table(entries) = value.get_ref() else { continue };
        if name.get_ref().as_ref() == "load" {
            edits.extend(edit(text, entries, digests));
            continue;
        }
        for (_, entry) in entries.iter() {
            let DeValue::Table(table) = entry.get_ref() else { continue };
            match name.get_ref().as_ref() {
                "tokenizers" => edits.extend(edit(text, table, digests)),
                "workloads" => {
                    for key in ["prompts", "input_tokens", "output_tokens", "tokens"] {
                        let Some(DeValue::Table(inner)) = table.get(key).map(|inner| inner.get_ref()) else { continue };
                        edits.extend(edit(text, inner, digests));
                        // A total that is split has a law of its own.
                        if let Some(DeValue::Table(total)) = inner.get("total").map(|total| total.get_ref()) {
                            edits.extend(edit(text, total, digests));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut pinned = text.to_owned();
    for (range, replacement) in edits {
        pinned.replace_range(range, &replacement);
    }
    pinned
}

/// The edit that pins one table.
fn edit(text: &str, table: &DeTable<'_>, digests: &AssetDigests) -> Option<(std::ops::Range<usize>, String)> {
    let (path_key, path) = table.iter().find(|(key, _)| key.get_ref() == "path")?;
    let digest = digests.get(path.get_ref().as_str()?)?;
    if let Some(old) = table.get("sha256") {
        return (old.get_ref().as_str() != Some(digest)).then(|| (old.span(), format!("\"{digest}\"")));
    }
    let end = path.span().end;
    let line_start = text[..path_key.span().start].rfind('\n').map_or(0, |at| at + 1);
    let line = &text[line_start..];
    let before = &text[line_start..path_key.span().start];
    // Alone on its line: a line of its own, keys spelt as `path` is (dotted keys keep their prefix).
    if !before.contains(['{', ',', '=']) {
        let line_end = line.find('\n').map_or(text.len(), |at| line_start + at + 1);
        let ending = if line.split('\n').next().is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" };
        let added = format!("{before}sha256 = \"{digest}\"{ending}");
        let added =
            if text[..line_end].ends_with('\n') { added } else { format!("{ending}{before}sha256 = \"{digest}\"") };
        return Some((line_end..line_end, added));
    }
    Some((end..end, format!(", sha256 = \"{digest}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(text: &str) -> String {
        let digests = [("t.json", "aa"), ("d/chats.json", "bb")].map(|(p, d)| (p.to_owned(), d.to_owned()));
        let result = pin(text, &digests.into());
        // Pinning twice changes nothing more.
        assert_eq!(
            pin(&result, &[("t.json", "aa"), ("d/chats.json", "bb")].map(|(p, d)| (p.to_owned(), d.to_owned())).into()),
            result
        );
        toml::de::DeTable::parse(&result).expect("still TOML");
        result
    }

    #[test]
    fn inline_tables_get_the_key_beside_the_path() {
        assert_eq!(
            pinned("[workloads.a] # x\nprompts = { kind = \"sharegpt\", path = \"d/chats.json\" , salt = \"run\" }\n"),
            "[workloads.a] # x\nprompts = { kind = \"sharegpt\", path = \"d/chats.json\", sha256 = \"bb\" , salt = \"run\" }\n"
        );
        assert_eq!(
            pinned("tokenizers = { a = { kind = 'file', path = 't.json' } }"),
            "tokenizers = { a = { kind = 'file', path = 't.json', sha256 = \"aa\" } }"
        );
    }

    #[test]
    fn tables_get_a_line_of_their_own() {
        assert_eq!(
            pinned("[tokenizers.a]\r\n  path = \"t.json\" # mine\r\nkind = \"file\"\r\n"),
            "[tokenizers.a]\r\n  path = \"t.json\" # mine\r\n  sha256 = \"aa\"\r\nkind = \"file\"\r\n"
        );
        assert_eq!(
            pinned("[tokenizers.a]\nkind = \"file\"\npath = \"t.json\""),
            "[tokenizers.a]\nkind = \"file\"\npath = \"t.json\"\nsha256 = \"aa\""
        );
        assert_eq!(
            pinned("[workloads.a.prompts]\npath = \"d/chats.json\"\n"),
            "[workloads.a.prompts]\npath = \"d/chats.json\"\nsha256 = \"bb\"\n"
        );
    }

    #[test]
    fn dotted_keys_keep_their_prefix() {
        assert_eq!(
            pinned("[workloads.a]\nprompts.kind = \"sharegpt\"\nprompts.path = \"d/chats.json\"\n"),
            "[workloads.a]\nprompts.kind = \"sharegpt\"\nprompts.path = \"d/chats.json\"\nprompts.sha256 = \"bb\"\n"
        );
    }

    #[test]
    fn old_pins_are_replaced_and_nothing_else_is_touched() {
        assert_eq!(
            pinned("[tokenizers.a]\npath = \"t.json\"\nsha256 = \"00\" # old\n[tokenizers.b]\npath = \"other.json\"\n"),
            "[tokenizers.a]\npath = \"t.json\"\nsha256 = \"aa\" # old\n[tokenizers.b]\npath = \"other.json\"\n"
        );
        assert_eq!(pinned("[labels]\npath = \"t.json\"\n"), "[labels]\npath = \"t.json\"\n");
        assert_eq!(pin("not [toml", &AssetDigests::new()), "not [toml");
    }
}
