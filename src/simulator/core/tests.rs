//! Known answers in virtual time: every expected nanosecond is computed by hand in a comment.

use super::*;
use crate::simulator::profile::{Capacity, StepCost};

/// base 1000, prompt token 10, sequence 100, context token 1; 4 slots, 8 prompt tokens a step.
fn profile() -> Profile {
    Profile {
        cost: StepCost { base_ns: 1000, prefill_token_ns: 10, sequence_ns: 100, context_token_ns: 1 },
        capacity: Capacity { slots: 4, prefill_budget_tokens: 8, kv_tokens: 1600 },
        jitter: 0.0,
        prefix_cache: false,
        preemption: false,
        ..Profile::named("tiny").unwrap()
    }
}

fn core() -> Core {
    Core::new(profile(), 1)
}

fn job(id: JobId, input_tokens: u32, max_tokens: u32) -> Job {
    Job { id, input_tokens, max_tokens, ..Job::default() }
}

fn run(core: &mut Core) -> Vec<Emission> {
    let mut emissions = Vec::new();
    while let Some(at) = core.next_event_time() {
        core.advance_to(at, &mut emissions);
    }
    emissions
}

fn times(emissions: &[Emission], id: JobId) -> Vec<Nanos> {
    emissions.iter().filter(|emission| emission.job == id).map(|emission| emission.at).collect()
}

#[test]
fn one_request_has_the_computed_ttft_and_gaps() {
    let mut core = core();
    core.submit(500, job(1, 5, 3)).unwrap();
    let emissions = run(&mut core);
    // Prefill: 1000 + 5·10 + 1·100 + 0 = 1150, from 500: 1650 (TTFT 1150).
    // Decode:  1000 + 100 + (5+1) = 1106: 2756. Then 1000 + 100 + (5+2) = 1107: 3863 (E2E 3363).
    assert_eq!(times(&emissions, 1), [1650, 2756, 3863]);
    let ends: Vec<_> = emissions.iter().map(|emission| emission.finish_reason).collect();
    assert_eq!(ends, [None, None, Some(FinishReason::Length)]);
    assert_eq!((core.running(), core.waiting(), core.kv_usage()), (0, 0, 0.0));
}

#[test]
fn a_long_prompt_is_prefilled_in_chunks_of_the_budget() {
    let mut core = core();
    core.submit(0, job(1, 20, 1)).unwrap();
    // 8 tokens: 1000 + 80 + 100 + 0 = 1180. 8 more over 8 of context: 1000 + 80 + 100 + 8 = 1188.
    // 4 more over 16: 1000 + 40 + 100 + 16 = 1156. Sum 3524.
    assert_eq!(times(&run(&mut core), 1), [3524]);
    assert_eq!(core.steps(), 3);
}

#[test]
fn decoding_goes_on_beside_a_prefill_and_takes_its_time() {
    let mut core = core();
    core.submit(0, job(1, 8, 3)).unwrap();
    core.submit(1, job(2, 12, 2)).unwrap();
    let emissions = run(&mut core);
    // Step 1: job 1 prefills 8: 1000 + 80 + 100 = 1180.
    // Step 2: job 1 decodes over 9, job 2 prefills 8: 1000 + 80 + 200 + 9 = 1289: 2469.
    // Step 3: job 1 decodes over 10, job 2 prefills 4 over 8: 1000 + 40 + 200 + 18 = 1258: 3727.
    // Step 4: job 2 decodes over 13: 1000 + 100 + 13 = 1113: 4840.
    assert_eq!(times(&emissions, 1), [1180, 2469, 3727]);
    assert_eq!(times(&emissions, 2), [3727, 4840]);
    assert_eq!(emissions.iter().find(|emission| emission.job == 2).unwrap().admitted, 1180);
}

#[test]
fn the_prefill_budget_is_shared_oldest_first() {
    let mut core = core();
    for id in 1..=3 {
        core.submit(0, job(id, 6, 1)).unwrap();
    }
    let emissions = run(&mut core);
    // Step 1: job 1 gets 6, job 2 gets 2, job 3 nothing (not admitted): 1000 + 80 + 200 = 1280.
    // Step 2: job 2 gets 4 over 2, job 3 gets 4: 1000 + 80 + 200 + 2 = 1282: 2562.
    // Step 3: job 3 gets 2 over 4: 1000 + 20 + 100 + 4 = 1124: 3686.
    assert_eq!(
        (times(&emissions, 1), times(&emissions, 2), times(&emissions, 3)),
        (vec![1280], vec![2562], vec![3686])
    );
}

#[test]
fn without_a_free_slot_a_job_waits_and_the_line_keeps_its_order() {
    let mut core = Core::new(Profile { capacity: Capacity { slots: 1, ..profile().capacity }, ..profile() }, 1);
    core.submit(0, job(1, 1, 2)).unwrap();
    core.submit(10, job(3, 1, 1)).unwrap();
    core.submit(5, job(2, 1, 1)).unwrap();
    let mut emissions = Vec::new();
    core.advance_to(1500, &mut emissions);
    assert_eq!((core.running(), core.waiting()), (1, 2));
    emissions.extend(run(&mut core));
    // Prefill of one token: 1000 + 10 + 100 = 1110; decode over 2: 1102: 2212.
    // Job 2 then starts at 2212 and ends at 3322, job 3 at 4432.
    assert_eq!(times(&emissions, 1), [1110, 2212]);
    assert_eq!(times(&emissions, 2), [3322]);
    assert_eq!(times(&emissions, 3), [4432]);
}

#[test]
fn a_full_kv_cache_makes_the_head_of_the_line_wait_and_those_behind_it_too() {
    // Four blocks of 16. Job 1: 8 + 40 tokens = 3 blocks. Job 2: 8 + 24 = 2 blocks. Job 3: 1 + 1 = 1.
    let mut core = Core::new(Profile { capacity: Capacity { kv_tokens: 64, ..profile().capacity }, ..profile() }, 1);
    core.submit(0, Job { stop_after: Some(2), ..job(1, 8, 40) }).unwrap();
    core.submit(0, job(2, 8, 24)).unwrap();
    core.submit(0, job(3, 1, 1)).unwrap();
    let mut emissions = Vec::new();
    core.advance_to(1200, &mut emissions);
    assert_eq!((core.running(), core.waiting()), (1, 2));
    assert!((core.kv_usage() - 0.75).abs() < f64::EPSILON);
    emissions.extend(run(&mut core));
    // Job 1: 1180, then a decode over 9 (1109): 2289, where it stops and frees its blocks.
    // Job 2 prefills 8 from 2289 (1180): 3469. The budget is used up, so job 3, whose one block was free
    // all the time, is admitted at 3469: 1000 + 10 + 200 + 9 = 1219: 4688.
    assert_eq!(times(&emissions, 1), [1180, 2289]);
    assert_eq!(emissions.iter().find(|emission| emission.last()).unwrap().finish_reason, Some(FinishReason::Stop));
    assert_eq!(times(&emissions, 2)[0], 3469);
    assert_eq!(times(&emissions, 3), [4688]);
}

#[test]
fn a_job_larger_than_the_cache_is_refused() {
    // 1600 tokens are 100 blocks; 1600 + 1 tokens need 101.
    assert_eq!(core().submit(0, job(1, 1600, 1)), Err(TooLarge { needed: 101, total: 100 }));
    assert_eq!(core().submit(0, job(1, 1599, 1)), Ok(()));
}

#[test]
fn cancelling_frees_the_slot_and_the_blocks_at_the_next_step() {
    let mut core = Core::new(Profile { capacity: Capacity { slots: 1, ..profile().capacity }, ..profile() }, 1);
    core.submit(0, job(1, 1, 1000)).unwrap();
    core.submit(0, job(2, 1, 1)).unwrap();
    core.submit(0, job(3, 1, 1)).unwrap();
    let mut emissions = Vec::new();
    core.advance_to(1200, &mut emissions);
    assert!(core.cancel(1) && core.cancel(3));
    assert!(!core.cancel(1), "a job is cancelled once");
    emissions.extend(run(&mut core));
    // Job 1 emits at 1110 and is cancelled inside its second step, which still ends at
    // 1110 + 1102 = 2212 without a token. Job 2 then takes 1110: 3322. Job 3 never runs.
    assert_eq!(times(&emissions, 1), [1110]);
    assert_eq!(times(&emissions, 2), [3322]);
    assert!(times(&emissions, 3).is_empty());
    assert!(core.kv_usage().abs() < f64::EPSILON);
}

#[test]
fn a_job_that_arrives_at_the_end_of_a_step_joins_the_next_one() {
    let mut core = core();
    core.submit(0, job(1, 1, 2)).unwrap();
    let mut emissions = Vec::new();
    core.advance_to(1110, &mut emissions);
    core.submit(1110, job(2, 1, 1)).unwrap();
    emissions.extend(run(&mut core));
    // Step 2 from 1110: job 1 decodes over 2, job 2 prefills 1: 1000 + 10 + 200 + 2 = 1212: 2322.
    assert_eq!(times(&emissions, 1), [1110, 2322]);
    assert_eq!(times(&emissions, 2), [2322]);
}

#[test]
fn a_pause_lengthens_the_step_under_way_and_delays_those_that_arrive_in_it() {
    let mut core = core();
    core.pause(2000, 5000);
    core.submit(0, job(1, 1, 3)).unwrap();
    core.submit(6000, job(2, 1, 1)).unwrap();
    let emissions = run(&mut core);
    // Job 1: 1110; its second step (1102) would end at 2212 and ends at 7212; job 2 (arrived 6000) joins
    // the third: 1000 + 10 + 200 + 3 = 1213: 8425.
    assert_eq!(times(&emissions, 1), [1110, 7212, 8425]);
    assert_eq!(times(&emissions, 2), [8425]);

    let mut idle = Core::new(profile(), 1);
    idle.pause(2000, 5000);
    idle.submit(2500, job(1, 1, 1)).unwrap();
    idle.submit(7000, job(2, 1, 1)).unwrap();
    // Nothing begins before 7000; both prefill together: 1000 + 20 + 200 = 1220.
    assert_eq!(run(&mut idle).iter().map(|emission| emission.at).collect::<Vec<_>>(), [8220, 8220]);
}

#[test]
fn speed_scales_every_step() {
    let mut core = Core::new(Profile { speed_milli: 4000, ..profile() }, 1);
    core.submit(0, job(1, 5, 2)).unwrap();
    // 1150 / 4 = 287 (integer); 1106 / 4 = 276: 563.
    assert_eq!(times(&run(&mut core), 1), [287, 563]);
}

#[test]
fn looking_late_or_often_changes_nothing() {
    let submit = |core: &mut Core| {
        for id in 0..20 {
            core.submit(id * 700, job(id, 3 + id as u32, 4)).unwrap();
        }
    };
    let mut stepwise = core();
    submit(&mut stepwise);
    let expected = run(&mut stepwise);
    for stride in [1, 333, 100_000] {
        let mut strided = core();
        submit(&mut strided);
        let mut emissions = Vec::new();
        let mut at = 0;
        while emissions.len() < expected.len() {
            strided.advance_to(at, &mut emissions);
            at += stride;
        }
        assert_eq!(emissions, expected);
    }
}

/// The test profile with a prefix cache and room for any prompt in one step.
fn caching() -> Profile {
    Profile {
        prefix_cache: true,
        capacity: Capacity { prefill_budget_tokens: 1000, ..profile().capacity },
        ..profile()
    }
}

#[test]
fn a_prompt_that_was_seen_costs_only_its_last_piece() {
    let mut core = Core::new(caching(), 1);
    let same = |id, input| Job { content: vec![11, 12], ..job(id, input, 1) };
    core.submit(0, same(1, 40)).unwrap();
    core.submit(2000, same(2, 40)).unwrap();
    core.submit(4000, same(3, 32)).unwrap();
    core.submit(6000, Job { content: vec![11, 99], ..job(4, 40, 1) }).unwrap();
    let emissions = run(&mut core);
    // Job 1 computes 40: 1000 + 400 + 100 = 1500, and its two full blocks are known. Job 2 has 32 of 40 tokens:
    // 1000 + 80 + 100 + 32 of context = 1212. Job 3 has the 32 tokens as well, but its last token has to be computed, and
    // space is shared in whole blocks: 16 and 16: 1000 + 160 + 100 + 16 = 1276. Job 4 shares the first block only:
    // 24 over 16: 1000 + 240 + 100 + 16 = 1356.
    let expected = [(1, 1500, 0), (2, 3212, 32), (3, 5276, 16), (4, 7356, 16)];
    let found: Vec<_> = emissions.iter().map(|token| (token.job, token.at, token.cached_tokens)).collect();
    assert_eq!(found, expected);
    // 40 + 40 + 32 + 40 looked up, 32 + 16 + 16 found.
    assert_eq!(core.counts(), Counts { preemptions: 0, prefix_queries: 152, prefix_hits: 64 });
    assert_eq!(core.kv_usage(), 0.0, "what is only known can be had");
}

#[test]
fn without_the_cache_nothing_is_known() {
    let mut core = Core::new(Profile { prefix_cache: false, ..caching() }, 1);
    for id in 1..=2 {
        core.submit(id * 2000, Job { content: vec![11, 12], ..job(id, 40, 1) }).unwrap();
    }
    assert_eq!(run(&mut core).iter().map(|token| token.at).collect::<Vec<_>>(), [3500, 5500]);
    assert_eq!(core.counts(), Counts::default());
}

#[test]
fn prompts_of_the_same_step_are_both_computed_and_kept_once() {
    let mut core = Core::new(caching(), 1);
    for id in 1..=2 {
        core.submit(0, Job { content: vec![11, 12], ..job(id, 40, 2) }).unwrap();
    }
    let mut emissions = Vec::new();
    core.advance_to(100, &mut emissions);
    // 42 tokens each: three blocks, six of a hundred.
    assert!((core.kv_usage() - 0.06).abs() < 1e-9);
    // 1000 + 800 + 200 = 2000.
    core.advance_to(2000, &mut emissions);
    assert_eq!(emissions.iter().map(|token| (token.at, token.cached_tokens)).collect::<Vec<_>>(), [(2000, 0); 2]);
    // Two blocks are shared now, one is each one's own.
    assert!((core.kv_usage() - 0.04).abs() < 1e-9);
}

/// Turns of a conversation: a prompt of 64 tokens, answers of 16 and questions of 16 after it. Gives the time to first
/// token of each turn and the counts.
fn conversation(profile: Profile) -> (Vec<Nanos>, Counts) {
    let mut core = Core::new(profile, 1);
    let content: Vec<BlockHash> = (1..100).collect();
    let mut ttft = Vec::new();
    let mut now = 0;
    for turn in 0..5 {
        let input = 64 + 32 * turn as u32;
        let content = content[..(input as usize + 16) / 16].to_vec();
        core.submit(now, Job { content, ..job(turn, input, 16) }).unwrap();
        let emissions = run(&mut core);
        ttft.push(emissions[0].at - now);
        now = emissions.last().unwrap().at;
    }
    (ttft, core.counts())
}

#[test]
fn in_a_conversation_only_what_is_new_is_computed() {
    // A turn leaves its prompt and 15 of its 16 answer tokens computed (the last is not needed), so the next one finds as
    // many whole blocks as the prompt before it had: 64, 96, 128, 160 of 96, 128, 160, 192.
    let (ttft, counts) = conversation(caching());
    assert_eq!((counts.prefix_queries, counts.prefix_hits), (64 + 96 + 128 + 160 + 192, 64 + 96 + 128 + 160));
    // First turn: 1000 + 640 + 100. Later: 32 tokens, 1000 + 320 + 100 and the context that is read.
    assert_eq!(ttft, [1740, 1420 + 64, 1420 + 96, 1420 + 128, 1420 + 160]);
    // Without the cache each turn computes all of its prompt.
    let (ttft, _) = conversation(Profile { prefix_cache: false, ..caching() });
    assert_eq!(ttft, [1740, 1100 + 960, 1100 + 1280, 1100 + 1600, 1100 + 1920]);
}

/// Four blocks, prompts of any length in one step, preemption.
fn crowded() -> Profile {
    let capacity = Capacity { kv_tokens: 64, prefill_budget_tokens: 1000, ..profile().capacity };
    Profile { preemption: true, capacity, ..profile() }
}

#[test]
fn the_youngest_gives_way_and_is_computed_again() {
    let mut core = Core::new(crowded(), 1);
    core.submit(0, job(1, 30, 20)).unwrap();
    core.submit(0, job(2, 30, 4)).unwrap();
    let emissions = run(&mut core);
    // Both prompts take two of the four blocks. Step 1: 1000 + 600 + 200 = 1800. Step 2 decodes over 31 + 31: 1262: 3062.
    // Step 3 over 32 + 32: 1264: 4326. In step 4 token 33 needs a third block: job 2 gives way.
    // Step s decodes job 1 alone over 29 + s: 1129 + s, for s = 4 … 20: 17 · 1129 + 204 = 19 397: 23 723, its end.
    // Job 2 computes its 30 + 3 tokens again: 1000 + 330 + 100 = 1430: 25 153, and that is its fourth token.
    assert_eq!(times(&emissions, 2), [1800, 3062, 4326, 25_153]);
    assert_eq!((times(&emissions, 1).len(), times(&emissions, 1).last()), (20, Some(&23_723)));
    assert_eq!(core.counts().preemptions, 1);
    let second: Vec<_> = emissions.iter().filter(|token| token.job == 2).collect();
    assert_eq!(second.iter().map(|token| token.token_index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(second.iter().all(|token| token.admitted == 0), "the time in the line is that before the first admission");
    assert_eq!(core.kv_usage(), 0.0);
}

#[test]
fn nobody_is_admitted_beside_a_preemption_and_the_preempted_come_first() {
    let mut core = Core::new(crowded(), 1);
    core.submit(0, job(1, 30, 4)).unwrap();
    core.submit(0, job(2, 30, 4)).unwrap();
    core.submit(1, job(3, 16, 1)).unwrap();
    let emissions = run(&mut core);
    // As above until 4326. Job 1 takes the third block, and one is empty; job 3 would fit, but behind a preemption nobody
    // comes in. Job 1 ends with token 33: 1000 + 100 + 33 = 1133: 5459. Then job 2 (33 tokens, three blocks) and job 3
    // (one block) compute together: 1000 + 490 + 200 = 1690: 7149.
    assert_eq!(times(&emissions, 1).last(), Some(&5459));
    assert_eq!((times(&emissions, 2).last(), times(&emissions, 3)), (Some(&7149), vec![7149]));
}

#[test]
fn without_preemption_the_second_waits_for_the_room_of_its_answer() {
    let mut core = Core::new(Profile { preemption: false, ..crowded() }, 1);
    core.submit(0, job(1, 30, 20)).unwrap();
    core.submit(0, job(2, 30, 4)).unwrap();
    let emissions = run(&mut core);
    // Job 1 has all four blocks: 1000 + 300 + 100 = 1400, then 19 decodes over 31 … 49: 19 · 1100 + 760 = 21 660: 23 060.
    assert_eq!(times(&emissions, 1).last(), Some(&23_060));
    assert_eq!(times(&emissions, 2)[0], 23_060 + 1400);
    assert_eq!(core.counts().preemptions, 0);
}

#[test]
fn a_job_that_can_never_fit_is_refused_with_preemption_too() {
    let mut core = Core::new(crowded(), 1);
    assert_eq!(core.submit(0, job(1, 30, 35)), Err(TooLarge { needed: 5, total: 4 }));
}

#[test]
fn jitter_follows_the_seed_and_keeps_the_mean() {
    let noisy = |seed| {
        let mut core = Core::new(Profile { jitter: 0.2, ..profile() }, seed);
        core.submit(0, job(1, 1, 1000)).unwrap();
        times(&run(&mut core), 1)
    };
    assert_eq!(noisy(7), noisy(7));
    assert_ne!(noisy(7), noisy(8));
    let mut exact = core();
    exact.submit(0, job(1, 1, 1000)).unwrap();
    let exact = *times(&run(&mut exact), 1).last().unwrap();
    // Mean of 1000 factors with sd 0.2: standard error 0.2/√1000 = 0.0063; four of them are 2.5 %.
    let ratio = *noisy(7).last().unwrap() as f64 / exact as f64;
    assert!((ratio - 1.0).abs() < 0.025, "{ratio}");
}

#[test]
fn without_cost_every_token_comes_at_the_moment_of_arrival() {
    let mut core = Core::new(Profile::named("instant").unwrap(), 1);
    core.submit(42, job(1, 1000, 50)).unwrap();
    assert_eq!(times(&run(&mut core), 1), [42; 50]);
}

/// Requests a second that a profile finishes when it is never idle, from a backlog of 2000.
fn capacity_per_s(profile: &Profile, input: u32, output: u32) -> f64 {
    let mut core = Core::new(profile.clone(), 1);
    for id in 0..2000 {
        core.submit(0, job(id, input, output)).unwrap();
    }
    2000.0 / (run(&mut core).last().unwrap().at as f64 / 1e9)
}

/// TTFT in seconds of each of `count` requests that come at a constant rate.
fn ttft_at(profile: &Profile, rate_per_s: f64, count: u64, (input, output): (u32, u32)) -> Vec<f64> {
    let mut core = Core::new(profile.clone(), 1);
    let gap = (1e9 / rate_per_s) as Nanos;
    for id in 0..count {
        core.submit(id * gap, job(id, input, output)).unwrap();
    }
    let mut ttft = vec![0.0; count as usize];
    for emission in run(&mut core).iter().filter(|emission| emission.token_index == 0) {
        ttft[emission.job as usize] = (emission.at - emission.job * gap) as f64 / 1e9;
    }
    ttft
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_latency_curve_is_flat_below_capacity_and_grows_without_bound_above() {
    let profile = Profile::named("8b-h100").unwrap();
    let shape = (512, 64);
    let capacity = capacity_per_s(&profile, shape.0, shape.1);

    // Half the capacity: the second half of the run waits no longer than the first.
    let half = ttft_at(&profile, capacity * 0.5, 1500, shape);
    let (early, late) = (mean(&half[500..1000]), mean(&half[1000..]));
    assert!((late / early - 1.0).abs() < 0.05, "{early} s, then {late} s");
    assert!(late < 0.15, "{late} s");

    // Twice the capacity: request k comes at k/2μ and its turn is at k/μ, so its TTFT is k/2μ: it grows by
    // one second per second of arrivals for as long as the load lasts. Slope between the means of the
    // second and the last quarter, whose middles lie half the arrivals apart.
    let count = 3000_usize;
    let double = ttft_at(&profile, capacity * 2.0, count as u64, shape);
    let (second, last) = (mean(&double[count / 4..count / 2]), mean(&double[count * 3 / 4..]));
    let seconds_between = (count / 2) as f64 / (capacity * 2.0);
    let slope = (last - second) / seconds_between;
    assert!((slope - 1.0).abs() < 0.05, "slope {slope}");

    // The knee lies at the capacity: little happens up to 80 % of it, a lot just above it.
    let at_80 = mean(&ttft_at(&profile, capacity * 0.8, 1500, shape)[750..]);
    let at_120 = mean(&ttft_at(&profile, capacity * 1.2, 1500, shape)[750..]);
    assert!(at_80 < 3.0 * late && at_120 > 10.0 * at_80, "{late} s at 50 %, {at_80} s at 80 %, {at_120} s at 120 %");
}

#[test]
fn every_profile_has_a_finite_capacity_and_fits_its_longest_request() {
    for profile in crate::simulator::profile::PROFILES {
        assert!(u64::from(profile.max_model_len) <= profile.capacity.kv_tokens, "{}", profile.name);
        if profile.name != "instant" {
            let capacity = capacity_per_s(&profile, 128, 16);
            assert!(capacity.is_finite() && capacity > 0.5, "{}: {capacity}/s", profile.name);
        }
    }
}

/// Panics unless the books of the cache agree with what the sequences hold.
fn audit(core: &Core) {
    let known = core.running.iter().flat_map(|sequence| &sequence.job.content[..sequence.shared]);
    let private = core.running.iter().map(|sequence| sequence.private).sum();
    assert!(core.blocks.agrees(known, private), "{core:?}");
    assert!(core.waiting.iter().all(|sequence| (sequence.shared, sequence.private) == (0, 0)));
}

proptest::proptest! {
    /// Whatever is submitted and cancelled, with and without a prefix cache and preemption: limits hold, no block is lost or
    /// held twice, every job that is left alone gets exactly its tokens, in order and at growing times, and nothing is
    /// left over.
    #[test]
    fn limits_hold_and_every_token_comes_once(
        jobs in proptest::collection::vec((0_u64..20_000, 1_u32..60, 1_u32..40, 0_u32..50, 0_u64..4), 1..40),
        cancelled in proptest::collection::vec((0_u64..60_000, 0_u64..40), 0..10),
        (prefix_cache, preemption, kv_blocks) in (proptest::bool::ANY, proptest::bool::ANY, 7_u64..40),
    ) {
        let capacity = Capacity { kv_tokens: kv_blocks * 16, ..profile().capacity };
        let mut core = Core::new(Profile { prefix_cache, preemption, capacity, ..profile() }, 1);
        for (id, (at, input, output, stop, family)) in jobs.iter().enumerate() {
            let stop_after = (*stop > 0).then_some(*stop);
            // Jobs of a family begin alike; the last known block is each one's own.
            let full = u64::from(input + output) / 16;
            let content = (0..full).map(|block| family * 100 + block + if block + 1 == full { 1000 * id as u64 } else { 0 });
            let content = content.collect();
            core.submit(*at, Job { stop_after, content, ..job(id as u64, *input, *output) }).unwrap();
        }
        let mut cancelled = cancelled;
        cancelled.sort_unstable();
        let (mut gone, mut emissions) = (Vec::new(), Vec::new());
        for (at, id) in cancelled {
            core.advance_to(at, &mut emissions);
            if core.cancel(id) {
                gone.push(id);
            }
            audit(&core);
        }
        while let Some(at) = core.next_event_time() {
            proptest::prop_assert!(core.running() <= 4 && (0.0..=1.0).contains(&core.kv_usage()));
            audit(&core);
            core.advance_to(at, &mut emissions);
        }
        proptest::prop_assert_eq!((core.running(), core.waiting(), core.blocks.available()), (0, 0, kv_blocks));
        let counts = core.counts();
        proptest::prop_assert!(counts.prefix_hits <= counts.prefix_queries && (preemption || counts.preemptions == 0));
        proptest::prop_assert!(prefix_cache || counts.prefix_queries == 0);
        for (id, (at, _, output, stop, _)) in jobs.iter().enumerate() {
            let id = id as u64;
            let tokens: Vec<_> = emissions.iter().filter(|emission| emission.job == id).collect();
            let expected = if *stop > 0 { (*stop).min(*output) } else { *output };
            proptest::prop_assert!(tokens.len() == expected as usize || gone.contains(&id));
            proptest::prop_assert!(tokens.iter().enumerate().all(|(index, token)| token.token_index as usize == index));
            proptest::prop_assert!(tokens.windows(2).all(|pair| pair[0].at < pair[1].at));
            proptest::prop_assert!(tokens.iter().all(|token| *at <= token.admitted && token.admitted < token.at));
            proptest::prop_assert_eq!(tokens.iter().filter(|token| token.last()).count(), usize::from(!gone.contains(&id)));
        }
    }
}
