//! Each arrival process and each split against its law, at fixed seeds.

use llm_bench::workload::{Arrival, Traffic};

use super::{PLAIN, build, plain, scenario};

pub(super) fn take(traffic: &Traffic, count: usize) -> Vec<Arrival> {
    traffic.open().unwrap().schedule().take(count).collect()
}

/// Gaps in seconds, the first from 0.
pub(super) fn gaps(arrivals: &[Arrival]) -> Vec<f64> {
    let mut previous = 0;
    let gap = |arrival: &Arrival| (arrival.at - std::mem::replace(&mut previous, arrival.at)) as f64 / 1e9;
    arrivals.iter().map(gap).collect()
}

pub(super) fn mean_and_cv(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance.sqrt() / mean)
}

/// Largest distance between the empirical distribution and `cdf`, times √n: above 1.95 in one of a
/// thousand samples of the law.
pub(super) fn kolmogorov_smirnov(values: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distance = |(rank, value): (usize, &f64)| {
        let at = cdf(*value);
        (at - rank as f64 / count).abs().max(((rank + 1) as f64 / count - at).abs())
    };
    sorted.iter().enumerate().map(distance).fold(0.0, f64::max) * count.sqrt()
}

/// Variance over mean of the counts in intervals of `seconds`: 1 for a Poisson process.
pub(super) fn dispersion(arrivals: &[Arrival], seconds: u64) -> f64 {
    let width = seconds * 1_000_000_000;
    let intervals = arrivals.last().unwrap().at / width;
    let mut counts = vec![0.0_f64; intervals as usize];
    for arrival in arrivals.iter().filter(|arrival| arrival.at < intervals * width) {
        counts[(arrival.at / width) as usize] += 1.0;
    }
    let (mean, cv) = mean_and_cv(&counts);
    cv * cv * mean
}

#[test]
fn constant_arrivals_are_multiples_of_the_gap_and_do_not_drift() {
    let traffic = build(&plain("kind = \"constant\"\nrate_per_s = 3", ""), 1);
    let at: Vec<u64> = take(&traffic, 4).iter().map(|arrival| arrival.at).collect();
    // k / 3 s in nanoseconds, rounded: 333 333 333.3, 666 666 666.7, 1e9.
    assert_eq!(at, [0, 333_333_333, 666_666_667, 1_000_000_000]);
    let late = traffic.open().unwrap().schedule().nth(3_000_000).unwrap();
    assert_eq!(late.at, 1_000_000 * 1_000_000_000, "summing rounded gaps would be 1 ms early by now");
}

#[test]
fn poisson_gaps_are_exponential_and_counts_have_dispersion_one() {
    let traffic = build(&plain("kind = \"poisson\"\nrate_per_s = 50", ""), 2);
    let arrivals = take(&traffic, 50_000);
    let gaps = gaps(&arrivals);
    let (mean, cv) = mean_and_cv(&gaps);
    // Standard error of the mean 0.02 / √50000 = 0.45 %; of the cv about 1 / √50000 = 0.45 %.
    assert!((mean * 50.0 - 1.0).abs() < 0.015, "mean gap {mean}");
    assert!((cv - 1.0).abs() < 0.02, "cv {cv}");
    assert!(kolmogorov_smirnov(&gaps, |gap| 1.0 - (-50.0 * gap).exp()) < 1.95);
    // 1000 intervals: standard error √(2 / 1000) = 0.045.
    let dispersion = dispersion(&arrivals, 1);
    assert!((dispersion - 1.0).abs() < 0.15, "dispersion {dispersion}");
}

#[test]
fn a_poisson_rate_is_never_capped() {
    let traffic = build(&plain("kind = \"poisson\"\nrate_per_s = 200000", ""), 3);
    let arrivals = take(&traffic, 200_000);
    let seconds = arrivals.last().unwrap().at as f64 / 1e9;
    // 1 s ± 0.22 % standard error.
    assert!((seconds - 1.0).abs() < 0.01, "{seconds}");
}

#[test]
fn gamma_gaps_have_the_asked_mean_and_variation() {
    for (cv, seed) in [(0.5, 4), (1.0, 5), (2.0, 6)] {
        let load = format!("kind = \"gamma\"\nrate_per_s = 20\ncv = {cv}");
        let arrivals = take(&build(&plain(&load, ""), seed), 100_000);
        let gaps = gaps(&arrivals);
        let (mean, found) = mean_and_cv(&gaps);
        assert!((mean * 20.0 - 1.0).abs() < 0.02, "cv {cv}: mean gap {mean}");
        assert!((found / cv - 1.0).abs() < 0.03, "cv {cv}: found {found}");
        // Counts over many gaps have dispersion cv²; 10 s hold 200 gaps.
        let dispersion = dispersion(&arrivals, 10);
        assert!((dispersion / (cv * cv) - 1.0).abs() < 0.25, "cv {cv}: dispersion {dispersion}");
        if cv == 1.0 {
            assert!(kolmogorov_smirnov(&gaps, |gap| 1.0 - (-20.0 * gap).exp()) < 1.95, "cv 1 is Poisson");
        }
        if cv == 0.5 {
            // Shape 4, scale 1/80 s: an Erlang law, 1 - e^-x (1 + x + x²/2 + x³/6).
            let erlang = |gap: f64| {
                let x = 80.0 * gap;
                1.0 - (-x).exp() * (1.0 + x + x * x / 2.0 + x.powi(3) / 6.0)
            };
            assert!(kolmogorov_smirnov(&gaps, erlang) < 1.95);
        }
    }
}

#[test]
fn bursts_arrive_together() {
    let traffic = build(&plain("kind = \"burst\"\nsize = 3\nevery = \"2s\"", "warmup = \"3s\""), 1);
    let at: Vec<u64> = take(&traffic, 7).iter().map(|arrival| arrival.at / 1_000_000_000).collect();
    assert_eq!(at, [0, 0, 0, 2, 2, 2, 4]);
    let single = build(&plain("kind = \"burst\"\nsize = 3", "warmup = \"3s\""), 1);
    let at: Vec<u64> = single.open().unwrap().schedule().map(|arrival| arrival.at).collect();
    assert_eq!(at, [3_000_000_000; 3], "one burst, when the window begins");
}

#[test]
fn users_start_evenly_over_the_ramp() {
    let load = "kind = \"users\"\nusers = 4\nramp = \"2s\"\nthink_time = \"50ms\"";
    let traffic = build(&plain(load, "warmup = \"1s\""), 1);
    assert!(traffic.open().is_none());
    let closed = traffic.closed().unwrap();
    assert_eq!((closed.users, closed.think_time_ns), (4, 50_000_000));
    let offsets: Vec<u64> = (0..4).map(|user| closed.ramp_offset(user)).collect();
    assert_eq!(offsets, [0, 500_000_000, 1_000_000_000, 1_500_000_000]);
}

fn mixed(split: &str, load: &str, weights: &[f64]) -> Traffic {
    let classes: String = weights
        .iter()
        .enumerate()
        .map(|(number, weight)| {
            format!("[[traffic]]\nname = \"c{number}\"\nbackend = \"main\"\nworkload = \"w\"\nweight = {weight}\n")
        })
        .collect();
    build(&scenario(PLAIN, &classes, &format!("{load}\nsplit = \"{split}\""), ""), 9)
}

#[test]
fn a_drawn_split_of_a_poisson_process_is_poisson_in_each_class() {
    let traffic = mixed("draw", "kind = \"poisson\"\nrate_per_s = 100", &[0.7, 0.0, 0.3]);
    let arrivals = take(&traffic, 100_000);
    for (class, share) in [(0, 0.7), (2, 0.3)] {
        let own: Vec<Arrival> = arrivals.iter().copied().filter(|arrival| arrival.class == class).collect();
        // Standard error of a share: √(0.21 / 100000) = 0.0014.
        assert!((own.len() as f64 / 100_000.0 - share).abs() < 0.006, "class {class}: {}", own.len());
        let rate = 100.0 * share;
        assert!(kolmogorov_smirnov(&gaps(&own), |gap| 1.0 - (-rate * gap).exp()) < 1.95, "class {class}");
        let dispersion = dispersion(&own, 1);
        assert!((dispersion - 1.0).abs() < 0.2, "class {class}: dispersion {dispersion}");
    }
    assert!(arrivals.iter().all(|arrival| arrival.class != 1), "no weight, no requests");
}

#[test]
fn an_exact_split_has_exact_shares_in_every_block_and_no_fixed_order() {
    let traffic = mixed("exact", "kind = \"constant\"\nrate_per_s = 10", &[0.5, 0.3, 0.2]);
    let classes: Vec<u16> = take(&traffic, 10_000).iter().map(|arrival| arrival.class).collect();
    let mut first_block = Vec::new();
    let mut same_order = 0;
    for block in classes.chunks(10) {
        let count = |class| block.iter().filter(|found| **found == class).count();
        assert_eq!((count(0), count(1), count(2)), (5, 3, 2));
        if first_block.is_empty() {
            first_block = block.to_vec();
        } else {
            same_order += usize::from(*block == first_block[..]);
        }
    }
    // 10! / (5! 3! 2!) = 2520 orders.
    assert!(same_order < 10, "{same_order} of 999 blocks repeat the first");
}

#[test]
fn an_exact_split_rounds_odd_weights_by_largest_remainder() {
    // Shares 0.618…, 0.381…: no small block fits, so blocks of 10 000 hold 6180 and 3820.
    let traffic = mixed("exact", "kind = \"constant\"\nrate_per_s = 10", &[1.618_033_988_7, 1.0]);
    let classes: Vec<u16> = take(&traffic, 20_000).iter().map(|arrival| arrival.class).collect();
    for block in classes.chunks(10_000) {
        assert_eq!(block.iter().filter(|class| **class == 0).count(), 6180);
    }
}

#[test]
fn the_class_of_a_closed_loop_turn_is_a_function_of_user_and_turn() {
    for split in ["draw", "exact"] {
        let traffic = mixed(split, "kind = \"users\"\nusers = 10", &[0.8, 0.2]);
        let classes: Vec<u16> = (0..1000)
            .flat_map(|turn| (0..10).map(move |user| (user, turn)))
            .map(|(user, turn)| traffic.class_of_turn(user, turn))
            .collect();
        let minor = classes.iter().filter(|class| **class == 1).count();
        // 10 000 turns: exact 2000, drawn within 4.5 standard errors of 40.
        assert!(if split == "exact" { minor == 2000 } else { minor.abs_diff(2000) < 180 }, "{split}: {minor}");
        assert_eq!(traffic.class_of_turn(7, 500), classes[5007]);
    }
}

#[test]
fn the_schedule_does_not_depend_on_the_classes() {
    let one = build(&plain("kind = \"poisson\"\nrate_per_s = 10", ""), 9);
    let two = mixed("draw", "kind = \"poisson\"\nrate_per_s = 10", &[0.5, 0.5]);
    let times = |traffic: &Traffic| take(traffic, 1000).iter().map(|arrival| arrival.at).collect::<Vec<_>>();
    assert_eq!(times(&one), times(&two));
}

#[test]
fn shards_of_a_schedule_are_the_schedule() {
    let traffic = mixed("draw", "kind = \"poisson\"\nrate_per_s = 10", &[0.5, 0.5]);
    let whole = take(&traffic, 1000);
    for shards in 1..=64 {
        let mut union: Vec<Arrival> = (0..shards)
            .flat_map(|shard| {
                let schedule = traffic.open().unwrap().schedule();
                schedule.skip(shard).step_by(shards).take_while(|arrival| arrival.index < 1000)
            })
            .collect();
        union.sort_by_key(|arrival| arrival.index);
        assert_eq!(union, whole, "{shards} shards");
    }
}
