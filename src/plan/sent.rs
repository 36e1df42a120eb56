//! Which prompts the points of a plan send, and where to.

use std::collections::BTreeSet;

use crate::scenario::file::{ScenarioFile, TrafficConfig};
use crate::workload::PointSeeds;
use crate::workload::prompt::Salt;

/// The classes that were sent: the prompts of a class are a function of its seed, so equal seeds are equal prompts.
#[derive(Debug, Default)]
pub struct Sent(BTreeSet<(String, Vec<String>, String)>);

impl Sent {
    /// Takes in the classes of a point, in the order of the plan. Of each: whether an earlier point sent its prompts
    /// to the same model of the same server. A salt keeps points apart.
    pub fn take_in(&mut self, point: &ScenarioFile, seeds: &PointSeeds) -> Vec<bool> {
        let unsalted = |class: &TrafficConfig| {
            point.workloads.get(&class.workload).is_some_and(|workload| workload.prompts.salt() == Salt::None)
        };
        let key = |class: &TrafficConfig, seed: String| {
            let backend = point.backends.get(&class.backend).map(|backend| backend.openai().addresses());
            let mut addresses: Vec<String> = backend.into_iter().flatten().map(str::to_owned).collect();
            addresses.sort_unstable();
            (seed, addresses, class.model.clone())
        };
        let classes = point.traffic.iter().zip(&seeds.classes);
        classes.map(|(class, seed)| unsalted(class) && !self.0.insert(key(class, seed.to_hex()))).collect()
    }
}
