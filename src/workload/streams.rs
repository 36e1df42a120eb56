//! Which load serves which traffic class: the common one by weight, or one of the class's own.

use super::error::Problem;
use super::load::{LoadConfig, Split};
use crate::scenario::file::ScenarioFile;

/// A load and the traffic classes that it serves. The streams of a scenario run side by side: each has its own times
/// and its own numbering, so that none hangs on the others.
#[derive(Clone, Debug)]
pub struct LoadStream<'a> {
    /// When its requests arrive.
    pub load: &'a LoadConfig,
    /// Share of its requests that each class of the scenario gets; 0 for the classes of other streams.
    pub shares: Vec<f64>,
    /// The class whose own load it is; `None`: the common one.
    pub own: Option<usize>,
}

/// The loads of a scenario: the common one, if it serves a class, then those of the classes in their order.
pub fn load_streams(scenario: &ScenarioFile) -> Vec<LoadStream<'_>> {
    let weights = common_weights(scenario);
    let total: f64 = weights.iter().sum();
    let common = (total > 0.0 && !matches!(scenario.load, LoadConfig::Classes(_))).then(|| LoadStream {
        load: &scenario.load,
        shares: weights.iter().map(|weight| weight / total).collect(),
        own: None,
    });
    let own = scenario.traffic.iter().enumerate().filter_map(|(index, class)| {
        let mut shares = vec![0.0; scenario.traffic.len()];
        shares[index] = 1.0;
        Some(LoadStream { load: class.load.as_ref()?, shares, own: Some(index) })
    });
    common.into_iter().chain(own).collect()
}

/// Weights in the common load by class: 0 for a class with a load of its own.
pub(crate) fn common_weights(scenario: &ScenarioFile) -> Vec<f64> {
    scenario.traffic.iter().map(|class| if class.load.is_some() { 0.0 } else { class.weight }).collect()
}

/// What is wrong between the common load and those of the classes: the index of the class, `None` for `[load]`, and the
/// problem with its key relative to that.
pub(crate) fn check(scenario: &ScenarioFile) -> Vec<(Option<usize>, Problem)> {
    let mut problems = Vec::new();
    let served = scenario.traffic.iter().any(|class| class.load.is_none());
    let nobody = matches!(scenario.load, LoadConfig::Classes(_));
    if !served && !nobody && !scenario.traffic.is_empty() {
        let message = "no class is served by `[load]`, each has its own; leave it out, or write `kind = \"classes\"`";
        problems.push((None, Problem::new("", message)));
    }
    let measure = &scenario.phases.measure;
    if let LoadConfig::Users(users) = &scenario.load
        && let (Some(each), Some(wanted)) = (users.requests_per_user, measure.requests.or(measure.min_requests))
        && u64::from(each) * u64::from(users.most()) < wanted
    {
        let all = u64::from(each) * u64::from(users.most());
        let message = format!("all users together make {all} requests, never the {wanted} that are measured");
        problems.push((None, Problem::new("requests_per_user", message)));
    }
    let closed = matches!(scenario.load, LoadConfig::Users(_));
    for (index, class) in scenario.traffic.iter().enumerate() {
        let mut found = |key: &str, message: &str| problems.push((Some(index), Problem::new(key, message)));
        let Some(load) = &class.load else {
            if nobody {
                found(
                    "",
                    "nothing says when its requests arrive: give it a `load`, or give all classes a common `[load]`",
                );
            }
            continue;
        };
        if class.weight.to_bits() != 1.0_f64.to_bits() {
            found("weight", "`weight` is a share of `[load]`; a class with a `load` of its own has none");
        }
        if load.split() != Split::default() {
            found("load.split", "one class needs no `split`");
        }
        match load {
            LoadConfig::Users(_) => found(
                "load",
                "users wait for their answers, and the loads of classes that run side by side have times that no answer \
                 can move; a closed loop stands in `[load]`, shared by `weight`",
            ),
            LoadConfig::Classes(_) => found("load", "`classes` stands for the loads of the classes, in `[load]` only"),
            _ if closed => found(
                "load",
                "`[load]` is a closed loop, whose window ends when its users say so; an open loop beside it has a window \
                 that is known ahead",
            ),
            _ => {}
        }
    }
    problems
}

/// Requests of a schedule that ends by itself, because every stream does.
pub(crate) fn finite_size(scenario: &ScenarioFile) -> Option<u64> {
    let streams = load_streams(scenario);
    let sizes = streams.iter().map(|stream| stream.load.finite_size());
    sizes.sum::<Option<u64>>().filter(|_| !streams.is_empty())
}
