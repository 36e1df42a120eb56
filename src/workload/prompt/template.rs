//! Prompts of a text with places in it: an instruction around filler of an exact length, or around a number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Salt;

/// An instruction of your own around text made by `bench`, so that the whole prompt has the exact number of tokens that
/// `input_tokens` asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The prompt. `{filler}` stands for words made by `bench`, different in each prompt; `{output_tokens}` for the tokens
    /// asked of the answer. A brace is written twice: `{{`, `}}`.
    #[schemars(length(min = 1))]
    pub template: String,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    #[serde(default)]
    pub salt: Salt,
}

impl Template {
    /// What is wrong with the template.
    pub(crate) fn problem(&self) -> Option<String> {
        match parse(&self.template, &[Slot::Filler, Slot::OutputTokens]) {
            Ok(parts) if parts.iter().filter(|part| **part == Part::Slot(Slot::Filler)).count() != 1 => {
                Some("`template` needs `{filler}` exactly once".to_owned())
            }
            Ok(_) => None,
            Err(message) => Some(message),
        }
    }

    /// The texts before and after the filler. The settings are checked.
    pub(super) fn frame(&self) -> Frame {
        let parts = parse(&self.template, &[Slot::Filler, Slot::OutputTokens]).unwrap_or_default();
        let filler = parts.iter().position(|part| *part == Part::Slot(Slot::Filler)).unwrap_or(parts.len());
        Frame { before: parts[..filler].to_vec(), after: parts.get(filler + 1..).unwrap_or_default().to_vec() }
    }
}

/// What stands around the filler of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    before: Vec<Part>,
    after: Vec<Part>,
}

impl Frame {
    /// The texts before and after the filler, for an answer of so many tokens.
    pub(super) fn texts(&self, output_tokens: u32) -> (String, String) {
        let fill = |slot: Slot| if slot == Slot::OutputTokens { output_tokens.to_string() } else { String::new() };
        (text(&self.before, fill), text(&self.after, fill))
    }
}

/// A place in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Filler,
    OutputTokens,
    Number,
}

impl Slot {
    fn name(self) -> &'static str {
        match self {
            Self::Filler => "filler",
            Self::OutputTokens => "output_tokens",
            Self::Number => "number",
        }
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Slot(Slot),
}

/// The text of `parts`, places filled by `fill`.
pub(super) fn text(parts: &[Part], fill: impl Fn(Slot) -> String) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot(slot) => fill(*slot),
        })
        .collect()
}

/// Takes a template apart.
///
/// # Errors
/// A place that is not one of `slots`, or a brace that stands alone.
pub(super) fn parse(template: &str, slots: &[Slot]) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
            return Err(format!("`{brace}` stands alone in `template`; a brace is written twice: `{brace}{brace}`"));
        };
        let Some(slot) = slots.iter().find(|slot| slot.name() == name) else {
            let known: Vec<String> = slots.iter().map(|slot| format!("`{{{}}}`", slot.name())).collect();
            return Err(format!("`{{{name}}}` is no place in `template`; there is {}", known.join(" and ")));
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Slot(*slot));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_apart() {
        let slots = [Slot::Filler, Slot::OutputTokens];
        let parts = parse("{{a}} {output_tokens}{filler}.", &slots).unwrap();
        assert_eq!(
            parts,
            [
                Part::Text("{a} ".into()),
                Part::Slot(Slot::OutputTokens),
                Part::Slot(Slot::Filler),
                Part::Text(".".into())
            ]
        );
        assert_eq!(text(&parts, |slot| slot.name().to_uppercase()), "{a} OUTPUT_TOKENSFILLER.");
        assert_eq!(
            parse("{words}", &slots).unwrap_err(),
            "`{words}` is no place in `template`; there is `{filler}` and `{output_tokens}`"
        );
        for alone in ["a } b", "a {b", "{"] {
            assert!(parse(alone, &slots).unwrap_err().contains("stands alone"), "{alone}");
        }
    }
}
