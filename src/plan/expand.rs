//! Combinations of axis values: grid (first axis outermost), zip groups, exclusions, the size cap.

use serde_json::Value;

use crate::plan::axis::{Axis, compile_axes, compile_excludes};
use crate::plan::base::{AxisPatch, Base};
use crate::plan::canonical::same_value;
use crate::plan::error::PlanError;
use crate::plan::limits::exceeded;
use crate::plan::model::Coordinates;
use crate::scenario::file::ScenarioFile;

/// Combinations that are looked at, at most, when exclusions thin a grid out.
const MAX_COMBINATIONS: u128 = 1_000_000;

/// The axes of a scenario and which combinations of their values are points.
#[derive(Clone, Debug)]
pub struct Expansion {
    axes: Vec<Axis>,
    /// Positions in `axes` that advance together, outermost first.
    groups: Vec<Vec<usize>>,
    /// Per exclusion: per axis position, which value indices match (absent axis: any).
    excludes: Vec<Vec<(usize, Vec<bool>)>>,
}

/// One combination: the index of the value of each axis, in the order of [`Expansion::axes`].
pub type Combination = Vec<usize>;

impl Expansion {
    /// Resolves the axes and exclusions of `file` and checks `limits.points` before anything is built.
    ///
    /// # Errors
    /// Every axis and exclusion that is wrong; else the size of the plan when it is too large.
    pub fn new<B: Base>(file: &ScenarioFile, base: &mut B) -> Result<Self, Vec<PlanError<B::Error>>> {
        let axes = compile_axes(file, base)?;
        let excludes = compile_excludes(file, &axes)?
            .into_iter()
            .map(|pairs| {
                let mask =
                    |axis: usize, value: &Value| axes[axis].values.iter().map(|v| same_value(v, value)).collect();
                pairs.into_iter().map(|(axis, value)| (axis, mask(axis, &value))).collect()
            })
            .collect();
        let expansion = Self { groups: groups(&axes), axes, excludes };
        expansion.check_size(file.limits.points).map_err(|error| vec![error])?;
        Ok(expansion)
    }

    /// The axes, outermost first within their groups.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// Positions of the exclusions that can match no combination: one of their values is not on its axis, or
    /// zipped axes never have two of them together.
    pub fn idle_excludes(&self) -> Vec<usize> {
        let idle = |pairs: &[(usize, Vec<bool>)]| {
            // Axes of one group share their counter, axes of different groups meet in every combination.
            !self.groups.iter().all(|group| {
                (0..self.group_len(group)).any(|counter| {
                    pairs.iter().filter(|(axis, _)| group.contains(axis)).all(|(_, matches)| matches[counter])
                })
            })
        };
        (0..self.excludes.len()).filter(|&exclude| idle(&self.excludes[exclude])).collect()
    }

    /// Combinations before exclusion.
    pub fn combinations(&self) -> u128 {
        self.groups.iter().map(|group| self.group_len(group) as u128).fold(1, u128::saturating_mul)
    }

    /// The combinations that are points, in the order they run.
    pub fn iter(&self) -> impl Iterator<Item = Combination> + '_ {
        let mut counters = Some(vec![0; self.groups.len()]);
        std::iter::from_fn(move || {
            let current = counters.take()?;
            counters = self.successor(&current);
            Some(self.spread(&current))
        })
        .filter(|combination| !self.excluded(combination))
    }

    /// The coordinates of a combination.
    pub fn coordinates(&self, combination: &[usize]) -> Coordinates {
        self.axes
            .iter()
            .zip(combination)
            .map(|(axis, &value)| (axis.key_path.clone(), axis.values[value].clone()))
            .collect()
    }

    /// What a combination sets in the document.
    pub fn patches(&self, combination: &[usize]) -> Vec<AxisPatch<'_>> {
        self.axes
            .iter()
            .zip(combination)
            .map(|(axis, &value)| AxisPatch {
                pointer: &axis.pointer,
                value: &axis.values[value],
                origin: axis.origin(value),
            })
            .collect()
    }

    fn group_len(&self, group: &[usize]) -> usize {
        self.axes[group[0]].values.len()
    }

    /// The next counters: the last group turns fastest, so the first axis is the outermost loop.
    fn successor(&self, counters: &[usize]) -> Option<Vec<usize>> {
        let mut next = counters.to_vec();
        for (group, counter) in self.groups.iter().zip(&mut next).rev() {
            *counter += 1;
            if *counter < self.group_len(group) {
                return Some(next);
            }
            *counter = 0;
        }
        None
    }

    fn spread(&self, counters: &[usize]) -> Combination {
        let mut combination = vec![0; self.axes.len()];
        for (group, &counter) in self.groups.iter().zip(counters) {
            for &axis in group {
                combination[axis] = counter;
            }
        }
        combination
    }

    fn excluded(&self, combination: &[usize]) -> bool {
        self.excludes.iter().any(|pairs| pairs.iter().all(|(axis, matches)| matches[combination[*axis]]))
    }

    /// Counts the points without building one: the product, or by looking when exclusions thin it out.
    fn check_size<E>(&self, limit: u64) -> Result<(), PlanError<E>> {
        let combinations = self.combinations();
        let size = if self.excludes.is_empty() || combinations > MAX_COMBINATIONS {
            combinations
        } else {
            let left = self.iter().take(usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1)).count() as u128;
            // Beyond the limit the exact number costs a full count; it is what the reader needs.
            if left > u128::from(limit) { self.iter().count() as u128 } else { left }
        };
        if size == 0 {
            return Err(PlanError::AllExcluded { combinations });
        }
        if size > u128::from(limit) {
            #[expect(clippy::cast_precision_loss, reason = "the ratio is printed with one decimal")]
            return Err(exceeded("points", "points", limit as f64, size as f64, true));
        }
        Ok(())
    }
}

/// Zip groups at the place of their first axis, every other axis alone.
fn groups(axes: &[Axis]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (position, axis) in axes.iter().enumerate() {
        let joined =
            axis.zip.as_ref().and_then(|zip| groups.iter_mut().find(|group| axes[group[0]].zip.as_ref() == Some(zip)));
        match joined {
            Some(group) => group.push(position),
            None => groups.push(vec![position]),
        }
    }
    groups
}
