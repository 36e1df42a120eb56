use super::*;

/// The contract, written out apart from the implementation: code of each condition without flags,
/// in the order of precedence; the last three are worth something under a flag only.
const CONTRACT: [(Condition, u8); 14] = [
    (Condition::Internal, 1),
    (Condition::Usage, 64),
    (Condition::ScenarioInvalid, 65),
    (Condition::EnvironmentFailed, 78),
    (Condition::NothingMeasured, 69),
    (Condition::Interrupted, 75),
    (Condition::ReportNotStored, 73),
    (Condition::Invalid, 101),
    (Condition::ErrorBudgetBroken, 100),
    (Condition::SloMissed, 99),
    (Condition::Regression, 98),
    (Condition::PlanHasWork, 0),
    (Condition::SloInconclusive, 0),
    (Condition::Suspect, 0),
];
const ORDER: [u8; 13] = [1, 64, 65, 78, 69, 75, 73, 101, 100, 99, 98, 2, 0];

fn first_in_order(codes: &[u8]) -> u8 {
    *ORDER.iter().find(|code| codes.contains(code)).unwrap()
}

fn code(conditions: &[Condition], flags: ExitFlags) -> u8 {
    decide(conditions.iter().copied(), flags).code()
}

fn expected_alone(condition: Condition, flags: ExitFlags) -> u8 {
    let (_, plain) = CONTRACT.into_iter().find(|(known, _)| *known == condition).unwrap();
    let strict = match condition {
        Condition::SloInconclusive if flags.strict => 99,
        Condition::Suspect if flags.strict => 101,
        Condition::PlanHasWork if flags.detailed_exitcode => 2,
        _ => plain,
    };
    if flags.exit_zero_on_slo && matches!(strict, 98 | 99) { 0 } else { strict }
}

fn all_flags() -> impl Iterator<Item = ExitFlags> {
    (0..8).map(|bits| ExitFlags {
        strict: bits & 1 != 0,
        exit_zero_on_slo: bits & 2 != 0,
        detailed_exitcode: bits & 4 != 0,
    })
}

#[test]
fn codes_and_order_are_the_contract() {
    assert_eq!(Exit::ALL.map(Exit::code), ORDER);
    assert!(Exit::ALL.is_sorted(), "`worst` relies on the order of declaration");
    for exit in Exit::ALL {
        assert_eq!(Exit::from_code(i32::from(exit.code())), Some(exit));
    }
    assert_eq!(Exit::from_code(137), None);
}

#[test]
fn every_pair_in_every_order_under_every_flag() {
    for flags in all_flags() {
        assert_eq!(code(&[], flags), 0);
        for first in Condition::ALL {
            for second in Condition::ALL {
                let alone = [expected_alone(first, flags), expected_alone(second, flags)];
                let expected = first_in_order(&alone);
                assert_eq!(code(&[first, second], flags), expected, "{first:?} + {second:?} with {flags:?}");
            }
        }
    }
}

#[test]
fn the_table_of_pairs_without_flags() {
    let flags = ExitFlags { detailed_exitcode: true, ..ExitFlags::default() };
    let ranked: Vec<_> = CONTRACT.iter().take(12).map(|(condition, _)| *condition).collect();
    for (rank, &winner) in ranked.iter().enumerate() {
        for &loser in &ranked[rank..] {
            assert_eq!(code(&[winner, loser], flags), ORDER[rank], "{winner:?} beats {loser:?}");
            assert_eq!(code(&[loser, winner], flags), ORDER[rank], "{winner:?} beats {loser:?} found first");
        }
    }
}

#[test]
fn flags_change_what_they_say_and_nothing_else() {
    let strict = ExitFlags { strict: true, ..ExitFlags::default() };
    let zero = ExitFlags { exit_zero_on_slo: true, ..ExitFlags::default() };
    let both = ExitFlags { strict: true, exit_zero_on_slo: true, ..ExitFlags::default() };
    assert_eq!(code(&[Condition::SloInconclusive], strict), 99);
    assert_eq!(code(&[Condition::SloInconclusive], both), 0);
    assert_eq!(code(&[Condition::Suspect], strict), 101);
    assert_eq!(code(&[Condition::Suspect], both), 101);
    assert_eq!(code(&[Condition::SloMissed, Condition::ErrorBudgetBroken], zero), 100);
    assert_eq!(code(&[Condition::SloMissed, Condition::Regression], zero), 0);
    for condition in Condition::ALL {
        let plain = condition.exit(ExitFlags::default());
        let expected = if matches!(plain.code(), 98 | 99) { Exit::Success } else { plain };
        assert_eq!(condition.exit(zero), expected);
    }
}

#[test]
fn the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exit-codes.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == markdown(), "docs/exit-codes.md is old; `UPDATE=1 cargo test` writes it");
}
