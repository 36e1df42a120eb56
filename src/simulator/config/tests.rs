//! Every key, every error message.

use super::*;

fn error(text: &str) -> String {
    SimConfig::parse(text).unwrap_err().to_string()
}

#[test]
fn a_bare_profile_has_its_own_settings() {
    for profile in PROFILES {
        let config = SimConfig::parse(profile.name).unwrap();
        assert_eq!(config.models, [profile.model]);
        assert_eq!(config.profile, profile);
    }
}

#[test]
fn every_override_is_applied() {
    let config = SimConfig::parse(
        "8b-h100?jitter=0.1&seed=9&slots=4&kv_tokens=4096&prefill_budget=64&speed=2.5&model=a,b&models=org%2Fc\
         &max_model_len=2048&keepalive=5s&usage=never&eos=0.25&stall_server_at=5s&stall_for=3s&retry_after=7\
         &prefix_cache=off&preemption=off",
    )
    .unwrap();
    assert_eq!((config.profile.jitter, config.seed, config.profile.capacity.slots), (0.1, 9, 4));
    assert_eq!(config.profile.capacity.kv_tokens, 4096);
    assert_eq!(config.profile.capacity.prefill_budget_tokens, 64);
    assert_eq!((config.profile.prefix_cache, config.profile.preemption), (false, false));
    assert_eq!((config.profile.speed_milli, config.profile.max_model_len), (2500, 2048));
    assert_eq!(config.models, ["a", "b", "org/c"]);
    assert_eq!(config.keepalive, KeepAlive::Idle(Duration::from_secs(5)));
    assert_eq!((config.usage, config.eos_share, config.retry_after_s), (UsagePolicy::Never, 0.25, 7));
    assert_eq!(config.server_stall, Some(ServerStall { at: 5_000_000_000, length: 3_000_000_000 }));
    assert!(config.source().starts_with("8b-h100?jitter=0.1"));
}

#[test]
fn selectors_belong_to_the_fault_before_them() {
    let config = SimConfig::parse("tiny?fault=http_500&every=3&stall=2s&first=4&share=0.5&merge=4&fault=cut").unwrap();
    let faults = config.faults.0;
    assert_eq!(faults[0].selector, Selector { every: Some(3), ..Selector::default() });
    assert_eq!(faults[1].kind, FaultKind::Stall(Duration::from_secs(2)));
    assert_eq!(faults[1].selector, Selector { first: Some(4), share: Some(0.5), ..Selector::default() });
    assert_eq!((faults[2].kind, faults[2].selector), (FaultKind::Merge(4), Selector::default()));
    assert_eq!(faults[3].kind, FaultKind::Cut);
}

#[test]
fn a_small_cache_limits_the_model_length_unless_that_is_set() {
    assert_eq!(SimConfig::parse("tiny?kv_tokens=100").unwrap().profile.max_model_len, 96);
    assert_eq!(error("tiny?kv_tokens=64&max_model_len=100"), "`max_model_len=100` does not fit into `kv_tokens=64`");
}

#[test]
fn errors_say_what_is_valid() {
    assert_eq!(
        error("8b-h10"),
        "unknown simulator profile `8b-h10` (did you mean `8b-h100`?); \
         profiles: 8b-h100, 70b-4xh100, 1b-cpu, tiny, instant"
    );
    assert!(error("tiny?jiter=1").starts_with("unknown simulator setting `jiter` (did you mean `jitter`?); "));
    assert!(error("tiny?fault=http500").contains("did you mean `http_500`?"));
    assert!(error("tiny?fault=").starts_with("unknown fault ``; faults: http_500, "));
    assert_eq!(error("tiny?jitter=2"), "`jitter=2`: expected a number from 0 to 1");
    assert_eq!(error("tiny?jitter=NaN"), "`jitter=NaN`: expected a number from 0 to 1");
    assert_eq!(error("tiny?speed=0"), "`speed=0`: expected a factor from 0.001 to 1000000");
    assert_eq!(error("tiny?stall=3"), "`stall=3`: expected a duration such as `250ms` or `3s`");
    assert_eq!(error("tiny?slots=0"), "`slots=0`: expected a number from 1 on");
    assert_eq!(error("tiny?fault=cut&every=0"), "`every=0`: expected a number from 1 on");
    assert_eq!(
        error("tiny?every=3&fault=cut"),
        "`every` selects requests for the fault before it; write `fault=NAME&every=3`"
    );
    assert_eq!(error("tiny?seed=1&seed=2"), "`seed` is given twice");
    assert_eq!(
        error("tiny?stall_for=3s"),
        "`stall_server_at` and `stall_for` belong together; `stall_server_at` is missing"
    );
    assert_eq!(error("tiny?prefix_cache=yes"), "`prefix_cache=yes`: expected `on` or `off`");
    assert_eq!(error("tiny?model=a,,b"), "`model=a,,b`: expected names separated by commas");
    assert_eq!(error("tiny?keepalive=yes"), "`keepalive=yes`: expected `on`, `off` or a duration such as `5s`");
}

#[test]
fn every_key_of_the_list_is_understood() {
    for key in KEYS {
        let text = format!("tiny?fault=cut&{key}=?");
        let error = SimConfig::parse(&text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!error.contains("unknown simulator setting"), "{error}");
    }
}

#[test]
fn only_sim_urls_are_simulators() {
    assert!(SimConfig::from_url("http://127.0.0.1:8000").is_none());
    assert!(SimConfig::from_url("sim:tiny").unwrap().is_ok());
    assert!(SimConfig::from_url("sim:").unwrap().is_err());
}
