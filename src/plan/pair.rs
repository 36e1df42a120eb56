//! Which point of one plan stands where a point of another stood: pairing by coordinates.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::plan::canonical::{normalised, to_string};
use crate::plan::model::Coordinates;

/// The position that a lookup answers with, and where it is.
type Known<'a> = (usize, &'a Coordinates);

/// Finds, among known coordinates, those nearest to given ones.
///
/// Nearest are equal coordinates; else, when axes came or went, those that agree on every axis that both
/// have, of which there must be one. Where several agree, the one added last is found.
#[derive(Debug, Default)]
pub struct Nearest<'a> {
    /// Known points by their set of axes.
    by_axes: BTreeMap<BTreeSet<&'a str>, Vec<Known<'a>>>,
}

impl<'a> Nearest<'a> {
    /// Adds coordinates under the position that lookups will answer with.
    pub fn add(&mut self, position: usize, coordinates: &'a Coordinates) {
        let axes = coordinates.keys().map(String::as_str).collect();
        self.by_axes.entry(axes).or_default().push((position, coordinates));
    }

    /// A lookup for points with the axes `axes`, which must be those of every question asked of it.
    pub fn index(&self, axes: &BTreeSet<&str>) -> Index {
        let mut sets: Vec<(BTreeSet<&str>, &Vec<Known<'_>>)> = self
            .by_axes
            .iter()
            .map(|(known, points)| (known.intersection(axes).copied().collect(), points))
            .filter(|(common, points): &(BTreeSet<&str>, _)| {
                // Two plans without axes have one point each: the same place.
                let known = points.first().map_or(0, |(_, coordinates)| coordinates.len());
                !common.is_empty() || (axes.is_empty() && known == 0)
            })
            .collect();
        // Most axes in common first; among those the set with the fewest others.
        sets.sort_by_key(|(common, points)| {
            (std::cmp::Reverse(common.len()), points.first().map_or(0, |(_, coordinates)| coordinates.len()))
        });
        let layers = sets
            .into_iter()
            .map(|(common, points)| {
                let common: BTreeSet<String> = common.into_iter().map(str::to_owned).collect();
                let found = points.iter().map(|(position, point)| (projection(point, &common), *position)).collect();
                Layer { common, found }
            })
            .collect();
        Index { layers }
    }
}

/// A prepared lookup.
#[derive(Debug)]
pub struct Index {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    common: BTreeSet<String>,
    found: HashMap<String, usize>,
}

impl Index {
    /// The position of the nearest known coordinates.
    pub fn nearest(&self, coordinates: &Coordinates) -> Option<usize> {
        self.layers.iter().find_map(|layer| layer.found.get(&projection(coordinates, &layer.common)).copied())
    }
}

/// One text for equal values on the axes `common`.
fn projection(coordinates: &Coordinates, common: &BTreeSet<String>) -> String {
    let values = common.iter().map(|axis| coordinates.get(axis).map_or(Value::Null, normalised)).collect();
    to_string(&Value::Array(values))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(value: Value) -> Coordinates {
        serde_json::from_value(value).unwrap()
    }

    fn ask(known: &[Value], question: Value) -> Option<usize> {
        let known: Vec<Coordinates> = known.iter().cloned().map(at).collect();
        let mut nearest = Nearest::default();
        known.iter().enumerate().for_each(|(position, coordinates)| nearest.add(position, coordinates));
        let question = at(question);
        let axes = question.keys().map(String::as_str).collect();
        nearest.index(&axes).nearest(&question)
    }

    #[test]
    fn nearest_prefers_equal_then_most_axes_in_common() {
        assert_eq!(ask(&[json!({ "a": 1 }), json!({ "a": 2 })], json!({ "a": 2.0 })), Some(1));
        assert_eq!(ask(&[json!({ "a": 1 })], json!({ "a": 3 })), None);
        assert_eq!(ask(&[json!({})], json!({})), Some(0));
        // One point without axes is not the predecessor of every point of a sweep.
        assert_eq!(ask(&[json!({})], json!({ "a": 1 })), None);
        assert_eq!(ask(&[json!({ "a": 1 })], json!({})), None);
        // An axis more, an axis less.
        assert_eq!(ask(&[json!({ "a": 1 }), json!({ "a": 2 })], json!({ "a": 2, "b": 7 })), Some(1));
        assert_eq!(ask(&[json!({ "a": 1, "b": 7 })], json!({ "a": 1 })), Some(0));
        // Two in common beat one.
        assert_eq!(ask(&[json!({ "a": 1 }), json!({ "a": 1, "b": 2 })], json!({ "a": 1, "b": 2, "c": 3 })), Some(1));
    }
}
