//! Rates that change with time. Each test has its own expectation Λ(t) of the arrivals before t, integrated from the rate
//! that the scenario asks for: under it a staged process must be its unstaged self at rate 1 (time rescaling).

use llm_bench::workload::Arrival;
use statrs::distribution::{ContinuousCDF, Gamma};

use super::arrivals::{dispersion, gaps, kolmogorov_smirnov, mean_and_cv, take};
use super::{build, plain};

/// 10 s of warm-up at 100/s, then what [`rate`] says.
const STAGES: &str = r#"stages = [
    { kind = "linear", to_per_s = 500, duration = "20s" },
    { kind = "exponential", to_per_s = 50, duration = "30s" },
    { kind = "step", to_per_s = 200, duration = "10s" },
    { kind = "step", to_per_s = 0, duration = "5s" },
    { kind = "linear", to_per_s = 300, duration = "10s" },
    { kind = "hold", duration = "5s" },
    { kind = "sine", to_per_s = 900, period = "20s", duration = "50s" },
]
"#;
const STAGES_S: f64 = 130.0;

/// The rate of [`STAGES`] at `t` seconds after their beginning, from their definitions.
fn rate(t: f64) -> f64 {
    match t {
        t if t < 20.0 => 100.0 + 400.0 * t / 20.0,
        t if t < 50.0 => 500.0 * (50.0_f64 / 500.0).powf((t - 20.0) / 30.0),
        t if t < 60.0 => 200.0,
        t if t < 65.0 => 0.0,
        t if t < 75.0 => 300.0 * (t - 65.0) / 10.0,
        t if t < 80.0 => 300.0,
        t => 300.0 + 600.0 * (1.0 - (std::f64::consts::TAU * (t - 80.0) / 20.0).cos()) / 2.0,
    }
}

/// Expected arrivals before times, by the trapezium rule over steps of 50 µs: the error is far below one arrival, and
/// no step straddles the corners, which lie on whole seconds.
struct Expected {
    /// Λ at each step.
    sums: Vec<f64>,
    repeat: bool,
}

const STEP_S: f64 = 0.000_05;
const WARMUP_S: f64 = 10.0;

impl Expected {
    fn new(repeat: bool) -> Self {
        let steps = (STAGES_S / STEP_S).round() as usize;
        let mut sum = 0.0;
        let mut sums = vec![0.0];
        sums.extend((0..steps).map(|step| {
            let from = step as f64 * STEP_S;
            // Just inside the step, so that a jump belongs to one side.
            sum += (rate(from + 1e-9) + rate(from + STEP_S - 1e-9)) / 2.0 * STEP_S;
            sum
        }));
        Self { sums, repeat }
    }

    fn before(&self, at: u64) -> f64 {
        let t = at as f64 / 1e9 - WARMUP_S;
        if t < 0.0 {
            return 100.0 * (t + WARMUP_S);
        }
        let (rounds, within, beyond) = if self.repeat {
            ((t / STAGES_S).floor(), t % STAGES_S, 0.0)
        } else {
            (0.0, t.min(STAGES_S), (t - STAGES_S).max(0.0))
        };
        let step = ((within / STEP_S) as usize).min(self.sums.len() - 2);
        let inside = self.sums[step] + (self.sums[step + 1] - self.sums[step]) * (within / STEP_S - step as f64);
        // Two and a half waves: the last rate is the peak.
        100.0 * WARMUP_S + rounds * self.sums[self.sums.len() - 1] + inside + 900.0 * beyond
    }

    /// The gaps on the scale on which the process has rate 1.
    fn rescaled(&self, arrivals: &[Arrival]) -> Vec<f64> {
        let mut previous = 0.0;
        let gap = |arrival: &Arrival| {
            let before = self.before(arrival.at);
            before - std::mem::replace(&mut previous, before)
        };
        arrivals.iter().map(gap).collect()
    }
}

fn staged(load: &str, after: &str, seed: u64, count: usize) -> Vec<Arrival> {
    let load = format!("rate_per_s = 100\n{load}\n{STAGES}after_stages = \"{after}\"");
    take(&build(&plain(&load, "warmup = \"10s\""), seed), count)
}

#[test]
fn a_staged_poisson_load_is_poisson_on_the_scale_of_its_expectation() {
    for (after, repeat, seed) in [("hold", false, 21), ("repeat", true, 22)] {
        // About 40 700 arrivals in the stages: the rest is after them.
        let arrivals = staged("kind = \"poisson\"", after, seed, 80_000);
        let expected = Expected::new(repeat);
        assert!(expected.before(arrivals[79_999].at) > expected.before(140_000_000_000) + 20_000.0);
        let gaps = expected.rescaled(&arrivals);
        let (mean, cv) = mean_and_cv(&gaps);
        // Standard errors 1/√80000 = 0.35 %.
        assert!((mean - 1.0).abs() < 0.012 && (cv - 1.0).abs() < 0.012, "{after}: mean {mean}, cv {cv}");
        assert!(kolmogorov_smirnov(&gaps, |gap| 1.0 - (-gap).exp()) < 1.95, "{after}");
        // The same gaps as if the rate were a constant 1 per second: counts have dispersion 1.
        let rescaled: Vec<Arrival> = arrivals
            .iter()
            .map(|arrival| Arrival { at: (expected.before(arrival.at) * 1e9) as u64, ..*arrival })
            .collect();
        // 800 intervals of 100: standard error √(2 / 800) = 0.05.
        let found = dispersion(&rescaled, 100);
        assert!((found - 1.0).abs() < 0.17, "{after}: dispersion {found}");
    }
}

#[test]
fn each_stage_holds_the_arrivals_its_rate_asks_for() {
    let arrivals = staged("kind = \"poisson\"", "hold", 23, 60_000);
    // By hand: warm-up 10 s × 100. 20 s × (100 + 500)/2. 30 s × (500 - 50)/ln 10 = 5862.9. 10 s × 200. A pause.
    // 10 s × 150. 5 s × 300. 50 s × 600, a sine over two and a half waves having its middle as its mean.
    let stages = [
        (0.0, 10.0, 1000.0),
        (10.0, 30.0, 6000.0),
        (30.0, 60.0, 5862.9),
        (60.0, 70.0, 2000.0),
        (70.0, 75.0, 0.0),
        (75.0, 85.0, 1500.0),
        (85.0, 90.0, 1500.0),
        (90.0, 140.0, 30_000.0),
    ];
    for (from, to, expected) in stages {
        let seconds = |arrival: &&Arrival| (from..to).contains(&(arrival.at as f64 / 1e9));
        let found = arrivals.iter().filter(seconds).count() as f64;
        // Four standard deviations of a Poisson count.
        assert!((found - expected).abs() <= 4.0 * f64::sqrt(expected), "{from} … {to} s: {found} of {expected}");
    }
}

#[test]
fn evenly_spaced_arrivals_come_when_the_expectation_passes_a_whole_number() {
    for (after, repeat) in [("hold", false), ("repeat", true)] {
        let arrivals = staged("kind = \"constant\"", after, 1, 100_000);
        let expected = Expected::new(repeat);
        for arrival in &arrivals {
            // Half a nanosecond at 900/s is 5e-7 of an arrival; the rest is the rule of this test.
            let off = expected.before(arrival.at) - arrival.index as f64;
            assert!(off.abs() < 1e-4, "{after}: arrival {} comes when {off} off", arrival.index);
        }
    }
}

#[test]
fn a_linear_ramp_is_exact_to_the_nanosecond() {
    // Rate t from 0: the mass before t is t²/2 per second², so arrival k comes at √(2k): 1.414…, 2, 2.449…, 2.828… s.
    let stages = "stages = [{ kind = \"step\", to_per_s = 0, duration = \"1s\" }, \
                  { kind = \"linear\", to_per_s = 10, duration = \"10s\" }]";
    let load = format!("kind = \"constant\"\nrate_per_s = 5\n{stages}");
    let at: Vec<u64> = take(&build(&plain(&load, "warmup = \"0s\""), 1), 5).iter().map(|arrival| arrival.at).collect();
    // The pause takes the first second; the arrival that is due at 0 comes at once.
    assert_eq!(at, [0, 2_414_213_562, 3_000_000_000, 3_449_489_743, 3_828_427_125]);
}

#[test]
fn gamma_and_weibull_gaps_keep_their_law_on_the_scale_of_the_expectation() {
    let expected = Expected::new(true);
    // Shape 1 / 1.5² and mean 1. Much burstier laws have a visible share of their gaps below a nanosecond.
    let gamma = Gamma::new(1.0 / 2.25, 1.0 / 2.25).unwrap();
    let rescaled = expected.rescaled(&staged("kind = \"gamma\"\ncv = 1.5", "repeat", 24, 80_000));
    assert!(kolmogorov_smirnov(&rescaled, |gap| gamma.cdf(gap.max(0.0))) < 1.95);
    // Shape 2, scale 1 / Γ(1.5) = 2 / √π: 1 - exp(-π x² / 4).
    let cv = (4.0 / std::f64::consts::PI - 1.0).sqrt();
    let load = format!("kind = \"weibull\"\ncv = {cv}");
    let rescaled = expected.rescaled(&staged(&load, "repeat", 25, 80_000));
    assert!(kolmogorov_smirnov(&rescaled, |gap| 1.0 - (-std::f64::consts::PI * gap * gap / 4.0).exp()) < 1.95);
}

#[test]
fn a_gap_longer_than_all_stages_skips_whole_rounds() {
    // 0.5 arrivals a round of 2 s: arrival k comes after 2k rounds, in the middle of the second one's only step.
    let stages = "stages = [{ kind = \"step\", to_per_s = 0, duration = \"1s\" }, \
                  { kind = \"step\", to_per_s = 0.5, duration = \"1s\" }]\nafter_stages = \"repeat\"";
    let load = format!("kind = \"constant\"\nrate_per_s = 5\n{stages}");
    let arrivals = take(&build(&plain(&load, "warmup = \"0s\""), 1), 1_000);
    let found: Vec<u64> = [1, 2, 3, 999].map(|index: usize| arrivals[index].at / 1_000_000_000).to_vec();
    // The k-th whole number is passed at the very end of round 2k - 1, which is 4k s.
    assert_eq!(found, [4, 8, 12, 3996]);
}

#[test]
fn weibull_gaps_have_the_asked_mean_and_variation() {
    // Scale: the mean over Γ(1 + 1/k). Shape 0.5: Γ(3) = 2. Shape 2: Γ(1.5) = √π / 2.
    let cases = [(5_f64.sqrt(), 0.5, 2.0, 26), (0.522_723_200_877_063_3, 2.0, 0.886_226_925_452_758, 27)];
    for (cv, shape, gamma, seed) in cases {
        let load = format!("kind = \"weibull\"\nrate_per_s = 20\ncv = {cv}");
        let arrivals = take(&build(&plain(&load, ""), seed), 100_000);
        let gaps = gaps(&arrivals);
        let (mean, found) = mean_and_cv(&gaps);
        // Standard error of the mean cv/√100000: 0.7 % at the burstier one.
        assert!((mean * 20.0 - 1.0).abs() < 0.025, "cv {cv}: mean gap {mean}");
        assert!((found / cv - 1.0).abs() < 0.05, "cv {cv}: found {found}");
        let scale = 1.0 / 20.0 / gamma;
        let law = |gap: f64| 1.0 - (-(gap / scale).powf(shape)).exp();
        assert!(kolmogorov_smirnov(&gaps, law) < 1.95, "cv {cv}");
    }
}

#[test]
fn one_a_minute_is_one_a_minute() {
    let traffic = build(&plain("kind = \"constant\"\nevery = \"1m\"", "warmup = \"0s\""), 1);
    let at: Vec<u64> = take(&traffic, 4).iter().map(|arrival| arrival.at / 1_000_000_000).collect();
    assert_eq!(at, [0, 60, 120, 180]);
}

#[test]
fn growing_bursts_grow_by_the_same_number() {
    let load = "kind = \"burst\"\nsize = 1\ngrow_by = 1\nevery = \"2s\"";
    let at: Vec<u64> = take(&build(&plain(load, ""), 1), 10).iter().map(|arrival| arrival.at / 1_000_000_000).collect();
    assert_eq!(at, [0, 2, 2, 4, 4, 4, 6, 6, 6, 6]);
    let load = "kind = \"burst\"\nsize = 5\ngrow_by = 3\nevery = \"1s\"";
    let traffic = build(&plain(load, ""), 1);
    let mut sizes = vec![0_u64; 200];
    // Bursts of 5, 8, …: 200 of them hold 200 · 5 + 3 · 199 · 100 = 60 700 requests.
    for arrival in take(&traffic, 60_700) {
        sizes[(arrival.at / 1_000_000_000) as usize] += 1;
    }
    assert_eq!(sizes, (0..200).map(|number| 5 + 3 * number).collect::<Vec<_>>());
}
