//! Every code once: its id, what it means, and an example of the mistake and of the fix.
//!
//! Examples are scenarios that extend the smallest valid one; a test loads each of them and expects
//! exactly its code, or none.

mod plan;
mod reading;
mod references;
mod rules;
mod shape;
mod sweep;
mod variables;
mod warnings;

pub use plan::*;
pub use reading::*;
pub use references::*;
pub use rules::*;
pub use shape::*;
pub use sweep::*;
pub use variables::*;
pub use warnings::*;

/// A stable code and its explanation.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `B` and four digits.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why it is an error and how to fix it.
    pub text: &'static str,
    /// An example that has it. Lines `# set: …` and `# env: …` stand for `--set` and the environment.
    pub bad: &'static str,
    /// The same, fixed.
    pub good: &'static str,
}

/// Declares the codes of one family and the list of them.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal, $title:literal, $text:literal, bad: $bad:literal, good: $good:literal;)*) => {
        $(
            #[doc = concat!("`", $id, "`: ", $title, ".")]
            pub static $name: $crate::diagnostic::Code =
                $crate::diagnostic::Code { id: $id, title: $title, text: $text, bad: $bad, good: $good };
        )*
        pub(super) static FAMILY: &[&$crate::diagnostic::Code] = &[$(&$name),*];
    };
}
use codes;

/// All codes, by id.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [
        reading::FAMILY,
        shape::FAMILY,
        references::FAMILY,
        rules::FAMILY,
        variables::FAMILY,
        sweep::FAMILY,
        plan::FAMILY,
        warnings::FAMILY,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The code with this id; upper or lower case.
pub fn find(id: &str) -> Option<&'static Code> {
    all().find(|code| code.id.eq_ignore_ascii_case(id.trim()))
}

/// What `bench explain CODE` prints.
pub fn explain(id: &str) -> Option<String> {
    let code = find(id)?;
    let mut text = format!("{}: {}\n\n{}\n", code.id, code.title, code.text.trim());
    for (title, example) in [("Wrong", code.bad), ("Right", code.good)] {
        if !example.is_empty() {
            text.push_str(&format!("\n{title}:\n\n"));
            for line in example.trim_matches('\n').lines() {
                text.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") });
            }
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_sorted_and_well_formed() {
        let ids: Vec<&str> = all().map(|code| code.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert!(
            ids.iter().all(|id| id.len() == 5 && id.starts_with('B') && id[1..].bytes().all(|b| b.is_ascii_digit()))
        );
    }

    #[test]
    fn explanations_show_both_sides() {
        let text = explain("b0203").expect("a code");
        assert!(text.starts_with("B0203: ") && text.contains("\nWrong:\n") && text.contains("\nRight:\n"), "{text}");
        assert_eq!(explain("B9999"), None);
    }
}
