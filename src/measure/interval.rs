//! Clopper–Pearson interval of a share.

use statrs::function::gamma::ln_gamma;

use crate::report::model::Interval;

/// Confidence level of every interval in a report.
pub const LEVEL: f64 = 0.95;

/// The exact (Clopper–Pearson) 95 % interval of a share of which `met` of `n` was seen. Without any
/// observation it is the whole range.
pub fn clopper_pearson(met: u64, n: u64) -> Interval {
    let tail = (1.0 - LEVEL) / 2.0;
    let (hits, misses) = (to_f64(met), to_f64(n.saturating_sub(met)));
    let low = if met == 0 || n == 0 { 0.0 } else { beta_quantile(hits, misses + 1.0, tail) };
    let high = if met >= n || n == 0 { 1.0 } else { beta_quantile(hits + 1.0, misses, 1.0 - tail) };
    Interval { low, high, level: LEVEL }
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// The `p`-quantile of the Beta(a, b) law by bisection to the last bit: 64 steps, no start value that
/// could send Newton's method astray.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if beta_cdf(a, b, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Regularised incomplete beta function.
///
/// statrs has one, but it stops its continued fraction after 140 terms; the fraction needs about √n, and
/// pooled gaps reach n of many millions. Only the gamma function is taken from there.
fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let log_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    let front = log_front.exp();
    // The fraction converges fast below the mean; above it, the mirrored one does.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function by Lentz's method.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const MAX_TERMS: u32 = 200_000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut sum = d;
    for term in 1..MAX_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        sum *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let step = d * c;
        sum *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64, tolerance: f64) {
        assert!((left - right).abs() < tolerance, "{left} is not {right}");
    }

    #[test]
    fn ends_have_closed_forms() {
        // All of n: low = (α/2)^(1/n), high = 1. None of n: the mirror.
        for n in [1_u64, 2, 10, 100, 368, 10_000] {
            #[allow(clippy::cast_precision_loss)]
            let expected = 0.025_f64.powf(1.0 / n as f64);
            let all = clopper_pearson(n, n);
            close(all.low, expected, 1e-12);
            close(all.high, 1.0, 1e-15);
            let none = clopper_pearson(0, n);
            close(none.low, 0.0, 1e-15);
            close(none.high, 1.0 - expected, 1e-12);
        }
    }

    #[test]
    fn definition_holds_by_summing_the_binomial_law() {
        // low solves P(X ≥ k) = 2.5 %, high solves P(X ≤ k) = 2.5 %, X ~ Binomial(n, p).
        for (met, n) in [(1_u32, 7_u32), (8, 10), (30, 60), (59, 60)] {
            let interval = clopper_pearson(u64::from(met), u64::from(n));
            close(upper_tail(met, n, interval.low), 0.025, 1e-10);
            close(1.0 - upper_tail(met + 1, n, interval.high), 0.025, 1e-10);
        }
    }

    /// P(X ≥ k) term by term, each from the one before.
    fn upper_tail(k: u32, n: u32, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(n.try_into().unwrap());
        let mut sum = 0.0;
        for i in 0..=n {
            if i >= k {
                sum += term;
            }
            term *= f64::from(n - i) / f64::from(i + 1) * p / (1.0 - p);
        }
        sum
    }

    #[test]
    fn large_samples_approach_the_normal_law() {
        // n = 4e6, share 0.99: half width 1.959964·√(0.99·0.01/4e6) = 9.7508e-5, to the order 1/n.
        let interval = clopper_pearson(3_960_000, 4_000_000);
        close(interval.low, 0.99 - 9.7508e-5, 1e-6);
        close(interval.high, 0.99 + 9.7508e-5, 1e-6);
    }

    #[test]
    fn no_observation_says_nothing() {
        let interval = clopper_pearson(0, 0);
        close(interval.low, 0.0, 1e-15);
        close(interval.high, 1.0, 1e-15);
    }
}
