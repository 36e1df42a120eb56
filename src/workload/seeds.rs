//! The nodes of the seed tree that the traffic of one point hangs on.

use crate::scenario::file::ScenarioFile;
use crate::seed::Seed;

/// What the draws of one point hang on. A class has a node of its own, made from its own settings, so that no other
/// class moves its times, lengths or texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointSeeds {
    /// Names the point among all others; opens prompts with `salt = "point"`.
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

    /// The node of what some classes of the common load draw from together.
    pub(super) fn of_classes(&self, members: &[bool]) -> Seed {
        let members = self.classes.iter().zip(members).filter(|(_, member)| **member);
        members.fold(self.load, |node, (class, _)| node.child(&class.to_hex()))
    }
}
