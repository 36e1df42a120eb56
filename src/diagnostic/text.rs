//! Wording shared by all messages: quoting, lists, suggestions.

/// Longest literal a message repeats.
const LONGEST_LITERAL: usize = 60;

/// `text` in backticks, on one line, without control characters, shortened when long.
pub fn quote(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('`');
    for (count, char) in text.chars().enumerate() {
        if count == LONGEST_LITERAL {
            shown.push('…');
            break;
        }
        if char.is_control() || ('\u{202a}'..='\u{202e}').contains(&char) || ('\u{2066}'..='\u{2069}').contains(&char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown.push('`');
    shown
}

/// `` `a`, `b` and `c` `` with the given word before the last.
pub fn list<S: AsRef<str>>(items: &[S], last: &str) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => quote(one.as_ref()),
        [head @ .., tail] => {
            let head: Vec<String> = head.iter().map(|item| quote(item.as_ref())).collect();
            format!("{} {last} {}", head.join(", "), quote(tail.as_ref()))
        }
    }
}

/// The candidate that `word` was most likely meant to be.
pub fn nearest<'a, S: AsRef<str>>(word: &str, candidates: &'a [S]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .iter()
        .map(AsRef::as_ref)
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&lower, &other);
            let longest = lower.chars().count().max(other.chars().count());
            let contained =
                lower.len() >= 3 && (other.starts_with(&lower) || lower.starts_with(&other) && other.len() >= 3);
            (distance <= (longest / 3).max(1) && distance < longest || contained).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `x`?``, or else the list of all that is valid.
pub fn suggestion<S: AsRef<str>>(word: &str, candidates: &[S], what: &str) -> Option<String> {
    match nearest(word, candidates) {
        Some(candidate) => Some(format!("did you mean {}?", quote(candidate))),
        None if candidates.is_empty() => None,
        None => {
            Some(format!("{what}: {}", candidates.iter().map(|c| quote(c.as_ref())).collect::<Vec<_>>().join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let words = ["poisson", "constant", "gamma", "burst", "users"];
        assert_eq!(nearest("poison", &words), Some("poisson"));
        assert_eq!(nearest("Gama", &words), Some("gamma"));
        assert_eq!(nearest("const", &words), Some("constant"));
        assert_eq!(nearest("weibull", &words), None);
        assert_eq!(nearest("x", &["y"]), None);
    }

    #[test]
    fn literals_cannot_break_the_line_or_the_terminal() {
        assert_eq!(quote("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(quote("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }

    #[test]
    fn lists_read_as_prose() {
        assert_eq!(list(&["a"], "and"), "`a`");
        assert_eq!(list(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
