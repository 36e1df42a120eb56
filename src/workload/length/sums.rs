//! Numbers that means of laws are made of.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc;

/// Terms of a sum of powers that are added one by one; the rest follows from Euler and Maclaurin's formula.
const TERMS: u32 = 1000;

/// Standard normal distribution function.
pub(super) fn phi(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

/// Mass of the standard normal law between `a` and `b`, taken on the side where it does not cancel.
pub(super) fn phi_between(a: f64, b: f64) -> f64 {
    if a > 0.0 { phi(-a) - phi(-b) } else { phi(b) - phi(a) }
}

/// Standard normal density.
pub(super) fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

/// Sum of `i ^ power` for `i` from 1 to `last`, to a relative error below 1e-12 for powers between -1 and 1:
/// a thousand powers and a correction, however large `last` is.
pub(super) fn powers(last: u32, power: f64) -> f64 {
    let one_by_one = |last: u32| (1..=last).map(|i| f64::from(i).powf(power)).sum::<f64>();
    if last <= TERMS {
        return one_by_one(last);
    }
    let (a, b) = (f64::from(TERMS), f64::from(last));
    let integral =
        if power == -1.0 { (b / a).ln() } else { (b.powf(power + 1.0) - a.powf(power + 1.0)) / (power + 1.0) };
    // From `a`, whose own term is in the first part, to `b`.
    let ends = (b.powf(power) - a.powf(power)) / 2.0;
    let slopes = power * (b.powf(power - 1.0) - a.powf(power - 1.0)) / 12.0;
    one_by_one(TERMS) + integral + ends + slopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_powers_are_those_of_all_terms() {
        // 1 + 2 + … + 2000 = 2000 · 2001 / 2.
        assert!((powers(2000, 1.0) - 2_001_000.0).abs() < 1e-6);
        assert_eq!(powers(3, 0.0), 3.0);
        for power in [-0.99, -0.4, 0.6] {
            let whole: f64 = (1..=50_000).map(|i| f64::from(i).powf(power)).sum();
            assert!((powers(50_000, power) / whole - 1.0).abs() < 1e-12, "{power}: {} {whole}", powers(50_000, power));
        }
    }
}
