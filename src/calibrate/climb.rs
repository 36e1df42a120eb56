//! The largest load that passes: rising steps, then bisection. Pure: it is told what passed and says what to try next.

/// A search for the largest number that passes, where every smaller one is expected to pass too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Climb {
    first: u32,
    max: u32,
    passed: Option<u32>,
    failed: Option<u32>,
}

/// A gap between what passed and what did not that is not worth another measurement: 12.5 % of the latter.
const FINE: u32 = 8;

impl Climb {
    /// A search that begins at `first` and goes no further than `max`.
    pub fn new(first: u32, max: u32) -> Self {
        Self { first: first.clamp(1, max.max(1)), max: max.max(1), passed: None, failed: None }
    }

    /// What to try next; none when the answer is known well enough.
    pub fn next(&self) -> Option<u32> {
        match (self.passed, self.failed) {
            (None, None) => Some(self.first),
            (Some(passed), None) => (passed < self.max).then(|| passed.saturating_mul(2).min(self.max)),
            // Nothing has passed yet: down until something does.
            (None, Some(failed)) => (failed > 1).then_some(failed / 4).map(|value| value.max(1)),
            (Some(passed), Some(failed)) => {
                (failed - passed > (failed / FINE).max(1)).then_some(passed + (failed - passed) / 2)
            }
        }
    }

    /// Says how `value` went. What contradicts an earlier answer (noise) is taken against the larger load.
    pub fn tried(&mut self, value: u32, passes: bool) {
        if passes && self.failed.is_none_or(|failed| value < failed) {
            self.passed = self.passed.max(Some(value));
        } else if !passes {
            self.failed = Some(self.failed.map_or(value, |failed| failed.min(value)));
            self.passed = self.passed.filter(|passed| *passed < value);
        }
    }

    /// The largest that passed.
    pub fn best(&self) -> Option<u32> {
        self.passed
    }

    /// Whether nothing larger failed: the search ended at its own bound.
    pub fn unbounded(&self) -> bool {
        self.failed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn climb(first: u32, max: u32, limit: u32) -> (Vec<u32>, Climb) {
        let mut climb = Climb::new(first, max);
        let mut tried = Vec::new();
        while let Some(value) = climb.next() {
            assert!(!tried.contains(&value), "{tried:?} and {value} again");
            tried.push(value);
            climb.tried(value, value <= limit);
        }
        (tried, climb)
    }

    #[test]
    fn it_rises_and_then_halves_the_gap() {
        let (tried, found) = climb(50, 10_000, 700);
        assert_eq!(tried, [50, 100, 200, 400, 800, 600, 700]);
        assert_eq!((found.best(), found.unbounded()), (Some(700), false));
    }

    #[test]
    fn it_ends_at_its_bound() {
        let (tried, found) = climb(50, 300, u32::MAX);
        assert_eq!(tried, [50, 100, 200, 300]);
        assert_eq!((found.best(), found.unbounded()), (Some(300), true));
    }

    #[test]
    fn it_goes_down_when_the_first_is_too_much() {
        let (tried, found) = climb(100, 1000, 10);
        assert_eq!(&tried[..3], [100, 25, 6]);
        assert!((9..=10).contains(&found.best().unwrap()), "{found:?}");
        assert_eq!(climb(100, 1000, 0).1.best(), None);
    }

    #[test]
    fn every_limit_is_found_to_an_eighth() {
        for limit in 1..2000 {
            let (tried, found) = climb(20, 4000, limit);
            let best = found.best().unwrap();
            assert!(best <= limit && limit - best <= (limit / 7).max(1), "{limit}: {best} after {tried:?}");
            assert!(tried.len() <= 16, "{limit}: {tried:?}");
        }
    }

    #[test]
    fn noise_is_taken_against_the_larger_load() {
        let mut climb = Climb::new(10, 100);
        climb.tried(40, true);
        climb.tried(20, false);
        assert_eq!(climb.best(), None);
        climb.tried(30, true);
        assert_eq!(climb.best(), None);
        climb.tried(10, true);
        assert_eq!(climb.best(), Some(10));
    }
}
