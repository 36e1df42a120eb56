//! Which of the several addresses of a backend a request goes to.

use std::sync::Arc;

use super::ranks::Ranks;

/// Rounds of turns among the addresses of one backend, in which each comes as often as its weight says.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// Counts the requests to the backend, whatever class they are of.
    ranks: Arc<Ranks>,
    /// Addresses of one round, in order.
    round: Arc<[u16]>,
}

impl Turns {
    /// Turns among addresses with these weights, which are above 0. `ranks` counts the requests that share them.
    pub(crate) fn new(ranks: Ranks, weights: &[u32]) -> Self {
        Self { ranks: Arc::new(ranks), round: round(weights).into() }
    }

    /// Address of the request with this number in the point.
    pub(crate) fn address(&self, number: u64) -> u16 {
        self.round[(self.ranks.before(number) % self.round.len() as u64) as usize]
    }
}

/// One round: each address as often as its weight, spread as evenly as they go (the one furthest behind its share is
/// next, the earlier one where two are).
fn round(weights: &[u32]) -> Vec<u16> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let mut behind = vec![0_i64; weights.len()];
    (0..total)
        .map(|_| {
            for (behind, weight) in behind.iter_mut().zip(weights) {
                *behind += i64::from(weight / divisor);
            }
            let most = behind.iter().copied().max().unwrap_or(0);
            let next = behind.iter().position(|behind| *behind == most).unwrap_or(0);
            behind[next] -= total as i64;
            next as u16
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::workload::load::Split;
    use crate::workload::split::ClassSplit;

    #[test]
    fn a_round_holds_each_address_as_often_as_its_weight() {
        assert_eq!(round(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(round(&[500, 500]), [0, 1]);
        // 3 + 1: behind by 3, 1 → first; 2, 2 → the earlier; 1, 3 → second; 4, 0 → first.
        assert_eq!(round(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(round(&[6, 2, 4]).iter().filter(|address| **address == 2).count(), 2);
    }

    #[test]
    fn requests_of_two_classes_take_turns_together_and_another_backend_does_not_count() {
        let split = ClassSplit::new(Split::Exact, &[1.0, 1.0, 2.0], Seed::root(9));
        let turns = Turns::new(Ranks::new(split.clone(), vec![true, true, false]), &[1, 1]);
        let mut expected = 0;
        for number in 0..4000 {
            if split.class_of(number) < 2 {
                assert_eq!(turns.address(number), expected, "{number}");
                expected = 1 - expected;
            }
        }
    }
}
