//! Mean of each law of lengths after its bounds apply.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc;

use crate::workload::length::LengthConfig;
use crate::workload::length::lognormal::Lognormal;
use crate::workload::length::normal::Normal;

/// The 0.99 quantile of the standard normal law.
const Z_99: f64 = 2.326_347_874_040_841;

/// Below this standard deviation rounding to whole tokens is felt, and the mean is summed token by token.
const COARSE_SD: f64 = 4.0;

/// Mean number of tokens of `law`, its bounds included.
pub fn mean_tokens(law: &LengthConfig) -> f64 {
    match law {
        LengthConfig::Fixed(fixed) => f64::from(fixed.value),
        LengthConfig::Uniform(uniform) => f64::midpoint(f64::from(uniform.min), f64::from(uniform.max)),
        LengthConfig::Normal(normal) => truncated_normal(normal),
        LengthConfig::Lognormal(lognormal) => clamped_lognormal(lognormal),
    }
}

/// Mean of a normal law that is rounded to whole tokens and drawn again outside its bounds.
fn truncated_normal(&Normal { mean, sd, min, max }: &Normal) -> f64 {
    let (low, high) = (f64::from(min), f64::from(max));
    // Half a token beyond each bound still rounds onto it.
    let (a, b) = (low - 0.5, high + 0.5);
    if sd < COARSE_SD {
        return summed_normal(mean, sd, low, high);
    }
    let (alpha, beta) = ((a - mean) / sd, (b - mean) / sd);
    let mass = phi_between(alpha, beta);
    if mass < 1e-12 {
        // The bounds lie in a tail so far out that every draw lands beside the nearer one.
        return mean.clamp(low, high);
    }
    (mean + sd * (density(alpha) - density(beta)) / mass).clamp(low, high)
}

/// The same for a narrow law, token by token over the ten standard deviations that hold it.
fn summed_normal(mean: f64, sd: f64, low: f64, high: f64) -> f64 {
    let nearest = mean.round().clamp(low, high);
    if sd == 0.0 {
        return nearest;
    }
    let first = (mean - 10.0 * sd).round().clamp(low, high);
    let last = (mean + 10.0 * sd).round().clamp(low, high);
    let (mut mass, mut sum, mut tokens) = (0.0, 0.0, first);
    while tokens <= last {
        let weight = phi_between((tokens - 0.5 - mean) / sd, (tokens + 0.5 - mean) / sd);
        mass += weight;
        sum += weight * tokens;
        tokens += 1.0;
    }
    if mass > 0.0 { sum / mass } else { nearest }
}

/// Mean of a log-normal law clamped to its bounds: the mass outside sits on them.
fn clamped_lognormal(&Lognormal { median, p99, min, max }: &Lognormal) -> f64 {
    let (low, high) = (f64::from(min), f64::from(max));
    let (mu, sigma) = (median.ln(), (p99 / median).ln() / Z_99);
    if sigma <= 0.0 {
        return median.clamp(low, high);
    }
    let (a, b) = ((low.ln() - mu) / sigma, (high.ln() - mu) / sigma);
    let inside = (mu + sigma * sigma / 2.0).exp() * phi_between(a - sigma, b - sigma);
    (low * phi(a) + inside + high * phi(-b)).clamp(low, high)
}

/// Standard normal distribution function.
fn phi(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

/// Mass of the standard normal law between `a` and `b`, taken on the side where it does not cancel.
fn phi_between(a: f64, b: f64) -> f64 {
    if a > 0.0 { phi(-a) - phi(-b) } else { phi(b) - phi(a) }
}

/// Standard normal density.
fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::seed::Seed;
    use crate::workload::length::fixed::Fixed;
    use crate::workload::length::uniform::Uniform;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not within {tolerance} of {expected}");
    }

    #[test]
    fn known_answers() {
        close(mean_tokens(&LengthConfig::Fixed(Fixed { value: 7 })), 7.0, 0.0);
        close(mean_tokens(&LengthConfig::Uniform(Uniform { min: 10, max: 21 })), 15.5, 0.0);
        // Symmetric bounds do not move the mean.
        close(mean_tokens(&LengthConfig::Normal(Normal { mean: 500.0, sd: 50.0, min: 400, max: 600 })), 500.0, 1e-9);
        // Half a normal law, from its mean up: 100 + 20 * sqrt(2 / pi) = 115.958, bounds at 99.5 to take the
        // rounding in: about half a token less.
        close(mean_tokens(&LengthConfig::Normal(Normal { mean: 100.0, sd: 20.0, min: 100, max: 10_000 })), 115.6, 0.1);
        // Unbounded in effect: median * exp(sigma^2 / 2), sigma = ln(900 / 180) / 2.32635 = 0.691826;
        // 180 * exp(0.239311) = 228.67.
        close(
            mean_tokens(&LengthConfig::Lognormal(Lognormal { median: 180.0, p99: 900.0, min: 1, max: 1_000_000 })),
            228.67,
            0.01,
        );
        // No spread.
        close(
            mean_tokens(&LengthConfig::Lognormal(Lognormal { median: 64.0, p99: 64.0, min: 1, max: 100 })),
            64.0,
            0.0,
        );
        // Bounds far above the law: every draw lands on the lower one.
        close(
            mean_tokens(&LengthConfig::Lognormal(Lognormal { median: 10.0, p99: 20.0, min: 5000, max: 6000 })),
            5000.0,
            1e-6,
        );
        close(mean_tokens(&LengthConfig::Normal(Normal { mean: 10.0, sd: 4.5, min: 5000, max: 6000 })), 5000.0, 0.0);
        close(mean_tokens(&LengthConfig::Normal(Normal { mean: 10.4, sd: 0.0, min: 1, max: 60 })), 10.0, 0.0);
    }

    /// The laws as their doc comments define them, drawn a hundred thousand times.
    #[test]
    fn means_agree_with_draws() {
        let draws = 100_000;
        let mut rng = Seed::root(1).child("mean").rng();
        let normals = [(300.0, 120.0, 50, 400), (3.0, 2.0, 1, 5), (20.0, 5.0, 25, 90)];
        for (mean, sd, min, max) in normals {
            let mut sum = 0.0;
            let mut kept = 0;
            while kept < draws {
                let z: f64 = StandardNormal.sample(&mut rng);
                let tokens = (mean + sd * z).round();
                if tokens >= f64::from(min) && tokens <= f64::from(max) {
                    sum += tokens;
                    kept += 1;
                }
            }
            let law = LengthConfig::Normal(Normal { mean, sd, min, max });
            // Five standard errors of a law no wider than its bounds.
            close(mean_tokens(&law), sum / f64::from(draws), 5.0 * sd / f64::from(draws).sqrt());
        }
        let (median, p99, min, max) = (420.0_f64, 2000.0_f64, 100, 900);
        let sigma = (p99 / median).ln() / Z_99;
        let sum: f64 = (0..draws)
            .map(|_| {
                let z: f64 = StandardNormal.sample(&mut rng);
                (median * (sigma * z).exp()).round().clamp(f64::from(min), f64::from(max))
            })
            .sum();
        let law = LengthConfig::Lognormal(Lognormal { median, p99, min, max });
        close(mean_tokens(&law), sum / f64::from(draws), 5.0 * 300.0 / f64::from(draws).sqrt());
        let uniform = LengthConfig::Uniform(Uniform { min: 3, max: 9 });
        let sum: f64 = (0..draws).map(|_| f64::from(rng.random_range(3_u32..=9))).sum();
        close(mean_tokens(&uniform), sum / f64::from(draws), 5.0 * 2.0 / f64::from(draws).sqrt());
    }
}
