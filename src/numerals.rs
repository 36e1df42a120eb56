//! Whole numbers in English words: spelled, read back, and found in a text as digits.

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// The largest number that can be spelled.
pub const LARGEST: u32 = 999_999;

/// `number` in words: `one hundred and twenty-three`, `one thousand, two hundred and thirty-four`.
///
/// # Panics
/// Above [`LARGEST`].
pub fn spell(number: u32) -> String {
    assert!(number <= LARGEST, "numbers up to {LARGEST} can be spelled");
    let (thousands, rest) = (number / 1000, number % 1000);
    match (thousands, rest) {
        (0, rest) => below_thousand(rest),
        (thousands, 0) => format!("{} thousand", below_thousand(thousands)),
        (thousands, 1..100) => format!("{} thousand and {}", below_thousand(thousands), below_thousand(rest)),
        (thousands, rest) => format!("{} thousand, {}", below_thousand(thousands), below_thousand(rest)),
    }
}

fn below_thousand(number: u32) -> String {
    let small = |number: u32| SMALL[number as usize];
    match number {
        0..20 => small(number).to_owned(),
        20..100 if number.is_multiple_of(10) => TENS[number as usize / 10 - 2].to_owned(),
        20..100 => format!("{}-{}", TENS[number as usize / 10 - 2], small(number % 10)),
        _ if number.is_multiple_of(100) => format!("{} hundred", small(number / 100)),
        _ => format!("{} hundred and {}", small(number / 100), below_thousand(number % 100)),
    }
}

/// The first number that `text` spells in words, as [`spell`] would.
pub fn read(text: &str) -> Option<u32> {
    let mut number: Option<(u32, u32)> = None;
    let lower = text.to_ascii_lowercase();
    for word in lower.split(|symbol: char| !symbol.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        let (thousands, rest) = number.unwrap_or((0, 0));
        let small = SMALL.iter().position(|small| *small == word).and_then(|value| u32::try_from(value).ok());
        let tens = TENS.iter().position(|tens| *tens == word).and_then(|tens| u32::try_from(tens * 10 + 20).ok());
        number = match (word, small.or(tens)) {
            (_, Some(value)) => Some((thousands, rest + value)),
            ("hundred", _) if number.is_some() => Some((thousands, rest * 100)),
            ("thousand", _) if number.is_some() => Some((rest, 0)),
            ("and", _) if number.is_some() => number,
            _ if number.is_some() => break,
            _ => None,
        };
    }
    number.map(|(thousands, rest)| thousands * 1000 + rest)
}

/// The runs of digits in `text`, with commas between digits left out: `1,234` is one run.
pub fn digit_runs(text: &str) -> Vec<String> {
    let mut runs: Vec<String> = Vec::new();
    let mut open = false;
    let mut symbols = text.chars().peekable();
    while let Some(symbol) = symbols.next() {
        if symbol.is_ascii_digit() {
            if !open {
                runs.push(String::new());
            }
            runs.last_mut().expect("a run was opened").push(symbol);
            open = true;
        } else if !(symbol == ',' && open && symbols.peek().is_some_and(char::is_ascii_digit)) {
            open = false;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_words() {
        let table = [
            (0, "zero"),
            (7, "seven"),
            (20, "twenty"),
            (99, "ninety-nine"),
            (100, "one hundred"),
            (123, "one hundred and twenty-three"),
            (1000, "one thousand"),
            (1001, "one thousand and one"),
            (1100, "one thousand, one hundred"),
            (1234, "one thousand, two hundred and thirty-four"),
            (10_000, "ten thousand"),
            (999_999, "nine hundred and ninety-nine thousand, nine hundred and ninety-nine"),
        ];
        for (number, words) in table {
            assert_eq!(spell(number), words);
        }
    }

    #[test]
    fn every_spelled_number_is_read_back() {
        for number in (0..=10_000).chain((10_001..LARGEST).step_by(97)) {
            let sentence = format!("Write this number in digits: {}.\nNothing else.", spell(number));
            assert_eq!(read(&sentence), Some(number), "{sentence}");
        }
        assert_eq!((read("no number here, hundred"), read("")), (None, None));
        assert_eq!(read("and then Twenty-One hundred"), Some(2100), "whatever the case");
    }

    #[test]
    fn digits_are_found_as_whole_numbers() {
        let table: [(&str, &[&str]); 8] = [
            ("1234", &["1234"]),
            ("The number is 1,234.", &["1234"]),
            ("12, 34", &["12", "34"]),
            ("1,2,3", &["123"]),
            ("a1b22c, 3", &["1", "22", "3"]),
            ("1,", &["1"]),
            (",5 00", &["5", "00"]),
            ("none", &[]),
        ];
        for (text, runs) in table {
            assert_eq!(digit_runs(text), runs, "{text}");
        }
    }
}
