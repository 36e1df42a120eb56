//! The nodes of the seed tree that the traffic of one point hangs on.

use super::prompt::PromptsConfig;
use crate::scenario::file::ScenarioFile;
use crate::seed::Seed;

/// What the draws of one point hang on. A class has a node of its own, made from its own settings, so that no other
/// class moves its times, lengths or texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointSeeds {
    /// What opens prompts with `salt = "point"`: another in every point.
    pub point: Seed,
    /// The common load: its times, which class an arrival belongs to, and what the classes that share it share.
    pub load: Seed,
    /// The classes, in the order of the scenario.
    pub classes: Vec<Seed>,
}

impl PointSeeds {
    /// All of `scenario`, a point, under one node, whatever its settings: for traffic that belongs to no plan.
    pub fn under(seed: Seed, scenario: &ScenarioFile) -> Self {
        let of_class = |name: &str| seed.child("workload").child("class").child(name);
        let classes = scenario.traffic.iter().map(|class| of_class(&class.name)).collect();
        Self { point: seed, load: seed, classes }
    }

    /// What the prompts of a class hang on: the class alone, or with all that share its load where they are dealt out
    /// among them.
    pub(crate) fn prompts_of(&self, scenario: &ScenarioFile, class: usize) -> Seed {
        let config = &scenario.traffic[class];
        let prompts = scenario.workloads.get(&config.workload).map(|workload| &workload.prompts);
        let dealt = prompts.is_some_and(PromptsConfig::is_dealt) && config.load.is_none();
        if !dealt {
            return self.classes[class];
        }
        let common: Vec<bool> = scenario.traffic.iter().map(|class| class.load.is_none()).collect();
        self.of_classes(&common).child(&self.classes[class].to_hex())
    }

    /// The node of what some classes of the common load draw from together.
    pub(super) fn of_classes(&self, members: &[bool]) -> Seed {
        let members = self.classes.iter().zip(members).filter(|(_, member)| **member);
        members.fold(self.load, |node, (class, _)| node.child(&class.to_hex()))
    }
}
