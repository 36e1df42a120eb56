//! Sums over the lengths of requests; exact integers, so that parts add up in any order.

use crate::report::model::{LengthComparison, LengthReport, Lengths};
use crate::report::requests::{OutputSource, TokensRecord};

/// Mean tokens of the laws that a class draws from, where something says them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LawMeans {
    /// Of prompts.
    pub input: Option<f64>,
    /// Of answers.
    pub output: Option<f64>,
}

/// Lengths of the measured requests of a class, or of all classes once merged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LengthTotals {
    input: Side,
    output: Side,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Side {
    drawn: Sums,
    tokenizer: Against,
    server: Against,
    /// Requests with a law, and their share of its mean, summed.
    by_law: u64,
    law: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    count: u64,
    sum: u128,
    squares: u128,
    min: u64,
    max: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Against {
    count: u64,
    counted: u64,
    drawn: u64,
    differing: u64,
}

impl LengthTotals {
    /// Takes one measured request, completed or not.
    pub(crate) fn observe(&mut self, tokens: &TokensRecord) {
        self.input.drawn.add(tokens.input_asked);
        self.input.tokenizer.add(tokens.input_asked, tokens.input_counted);
        self.input.server.add(tokens.input_asked, tokens.input_usage);
        self.output.drawn.add(tokens.output_asked);
        let usage = tokens.output.filter(|_| tokens.output_source == Some(OutputSource::Usage));
        self.output.server.add(tokens.output_asked, usage);
    }

    /// Says what laws all requests so far were drawn from.
    pub(crate) fn drawn_by(&mut self, laws: LawMeans) {
        self.input.drawn_by(laws.input);
        self.output.drawn_by(laws.output);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.input.merge(&other.input);
        self.output.merge(&other.output);
    }

    /// Absent without requests.
    pub(crate) fn report(&self) -> Option<Lengths> {
        Some(Lengths { input: self.input.report()?, output: self.output.report()? })
    }
}

#[allow(clippy::cast_precision_loss)]
impl Side {
    fn drawn_by(&mut self, mean: Option<f64>) {
        if let Some(mean) = mean {
            self.by_law = self.drawn.count;
            self.law = mean * self.drawn.count as f64;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.drawn.merge(&other.drawn);
        self.tokenizer.merge(&other.tokenizer);
        self.server.merge(&other.server);
        self.by_law += other.by_law;
        self.law += other.law;
    }

    fn report(&self) -> Option<LengthReport> {
        let Sums { count, sum, squares, min, max } = self.drawn;
        if count == 0 {
            return None;
        }
        let n = count as f64;
        let mean = sum as f64 / n;
        // n Σx² - (Σx)² in integers: nothing cancels.
        let spread = (u128::from(count) * squares).saturating_sub(sum * sum) as f64;
        Some(LengthReport {
            count,
            // Of several classes only where each has one.
            law_mean: (self.by_law == count).then(|| self.law / n),
            mean,
            sd: (count > 1).then(|| (spread / n / (n - 1.0)).sqrt()),
            min,
            max,
            tokenizer: self.tokenizer.report(),
            server: self.server.report(),
        })
    }
}

impl Sums {
    fn add(&mut self, tokens: u64) {
        self.min = if self.count == 0 { tokens } else { self.min.min(tokens) };
        self.max = self.max.max(tokens);
        self.count += 1;
        self.sum += u128::from(tokens);
        self.squares += u128::from(tokens) * u128::from(tokens);
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

impl Against {
    fn add(&mut self, drawn: u64, counted: Option<u64>) {
        if let Some(counted) = counted {
            self.count += 1;
            self.counted += counted;
            self.drawn += drawn;
            self.differing += u64::from(counted != drawn);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.counted += other.counted;
        self.drawn += other.drawn;
        self.differing += other.differing;
    }

    #[allow(clippy::cast_precision_loss)]
    fn report(&self) -> Option<LengthComparison> {
        let mean = |sum: u64| sum as f64 / self.count as f64;
        (self.count > 0).then(|| LengthComparison {
            count: self.count,
            mean: mean(self.counted),
            drawn_mean: mean(self.drawn),
            differing: self.differing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, usage: Option<u64>, output: u64, got: Option<u64>) -> TokensRecord {
        TokensRecord {
            input_asked: input,
            input_counted: Some(input),
            input_usage: usage,
            output_asked: output,
            output: got,
            output_source: got.map(|_| OutputSource::Usage),
            ..TokensRecord::default()
        }
    }

    #[test]
    fn lengths_by_hand() {
        let mut first = LengthTotals::default();
        // Drawn 10, 20, 60: mean 30, deviations -20, -10, 30: sd √(1400 / 2) = 26.4575.
        for (input, usage, output, got) in [(10, Some(11), 5, Some(5)), (20, Some(20), 5, Some(3)), (60, None, 5, None)]
        {
            first.observe(&tokens(input, usage, output, got));
        }
        first.drawn_by(LawMeans { input: Some(28.0), output: Some(5.0) });
        let report = first.report().unwrap();
        assert_eq!((report.input.count, report.input.mean, report.input.min, report.input.max), (3, 30.0, 10, 60));
        assert!((report.input.sd.unwrap() - 26.457_513).abs() < 1e-6);
        assert_eq!(
            (report.input.law_mean, report.output.law_mean, report.output.sd),
            (Some(28.0), Some(5.0), Some(0.0))
        );
        // The server saw 11 and 20 where 10 and 20 were drawn, and made 5 and 3 of 5 and 5.
        let server = LengthComparison { count: 2, mean: 15.5, drawn_mean: 15.0, differing: 1 };
        assert_eq!(report.input.server, Some(server));
        let server = LengthComparison { count: 2, mean: 4.0, drawn_mean: 5.0, differing: 1 };
        assert_eq!((report.output.server, report.output.tokenizer), (Some(server), None));
        assert_eq!(report.input.tokenizer.unwrap().differing, 0);
        // Another class of one request of 100 tokens, with a law of mean 90: (3 · 28 + 90) / 4.
        let mut second = LengthTotals::default();
        second.observe(&tokens(100, None, 7, None));
        second.drawn_by(LawMeans { input: Some(90.0), output: None });
        let mut both = first;
        both.merge(&second);
        let report = both.report().unwrap();
        assert_eq!((report.input.count, report.input.mean, report.input.max), (4, 47.5, 100));
        assert_eq!((report.input.law_mean, report.output.law_mean), (Some(43.5), None));
        // Parts in the other order are the same.
        second.merge(&first);
        assert_eq!(second.report(), both.report());
        assert_eq!(LengthTotals::default().report(), None);
    }
}
