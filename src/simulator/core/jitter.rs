//! Seeded multiplicative noise on the length of a step.

use rand_distr::{Distribution, StandardNormal};

use crate::seed::Seed;
use crate::units::Nanos;

/// Log-normal factors of mean 1. The factor of a step is a function of its number alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jitter {
    sd: f64,
    seed: Seed,
}

impl Jitter {
    /// `None` without noise, so that the exact arithmetic stays integer.
    pub(super) fn new(sd: f64, seed: Seed) -> Option<Self> {
        (sd > 0.0).then_some(Self { sd, seed })
    }

    pub(super) fn apply(&self, step: u64, length: Nanos) -> Nanos {
        let normal: f64 = StandardNormal.sample(&mut self.seed.index(step).rng());
        // The mean of exp(sd·z) is exp(sd²/2); taking that off keeps the profile's mean.
        let factor = (self.sd * normal - self.sd * self.sd / 2.0).exp();
        (length as f64 * factor).round() as Nanos
    }
}
