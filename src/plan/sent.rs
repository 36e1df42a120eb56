//! Which prompts the points of a plan send, and where to.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::file::ScenarioFile;
use crate::workload::PointSeeds;
use crate::workload::prompt::Salt;

/// What was sent: by the node that prompts hang on and the model asked for, the addresses that got them. Equal nodes are
/// equal prompts. Of other nodes only rows of datasets and numbers in words may be the same, of which there are not more.
#[derive(Debug, Default)]
pub struct Sent(BTreeMap<(String, String), BTreeSet<String>>);

impl Sent {
    /// Takes in the classes of a point, in the order of the plan. Of each: whether an earlier point sent its prompts
    /// to the same model of a server that it may send to as well. A salt keeps points apart.
    pub fn take_in(&mut self, point: &ScenarioFile, seeds: &PointSeeds) -> Vec<bool> {
        let mut again = Vec::with_capacity(point.traffic.len());
        for (index, class) in point.traffic.iter().enumerate() {
            let salt = point.workloads.get(&class.workload).map(|workload| workload.prompts.salt());
            if salt != Some(Salt::None) {
                again.push(false);
                continue;
            }
            let backend = point.backends.get(&class.backend).map(|backend| backend.openai().addresses());
            let addresses: BTreeSet<String> = backend.into_iter().flatten().map(str::to_owned).collect();
            let known = self.0.entry((seeds.prompts_of(point, index).to_hex(), class.model.clone())).or_default();
            again.push(!known.is_disjoint(&addresses));
            known.extend(addresses);
        }
        again
    }

    /// Forgets what simulated servers got: they end with the process that began them.
    pub fn forget_simulated(&mut self) {
        for addresses in self.0.values_mut() {
            addresses.retain(|address| !address.starts_with("sim:"));
        }
    }
}
