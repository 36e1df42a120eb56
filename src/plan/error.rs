//! Why a scenario has no plan: values that say what is wrong, where, and what to do.

use crate::assets::InputError;
use crate::plan::base::AxisOrigin;
use crate::scenario::range::RangeError;

/// Why a scenario has no plan. `E` is the error of the document ([`crate::plan::Base::Error`]).
#[derive(Debug, thiserror::Error)]
pub enum PlanError<E> {
    /// The document has no such key path; its own error says why.
    #[error("`{key_path}` is not a setting of this scenario")]
    AxisKey {
        /// Index in `[[sweep]]`.
        axis: usize,
        /// The key path as written.
        key_path: String,
        /// What the document says.
        error: E,
    },
    /// The scenario is not valid at a point; the document's own error says why.
    #[error("the scenario is not valid at {at}")]
    Document {
        /// The innermost value that was set; `None` for a plan without axes.
        origin: Option<AxisOrigin>,
        /// Coordinates of the point as `axis = value`.
        at: String,
        /// What the document says.
        error: E,
    },
    /// An axis has neither or both of `values` and `range`.
    #[error("axis `{key_path}` needs exactly one of `values` and `range`")]
    ValuesOrRange {
        /// Index in `[[sweep]]`.
        axis: usize,
        /// Its key path.
        key_path: String,
    },
    /// A range has no usable values.
    #[error("{error}")]
    Range {
        /// Index in `[[sweep]]`.
        axis: usize,
        /// What is wrong.
        error: RangeError,
    },
    /// A value is listed twice.
    #[error("value {value} of axis `{key_path}` is listed twice")]
    ValueTwice {
        /// The second of the two.
        origin: AxisOrigin,
        /// Key path of the axis.
        key_path: String,
        /// The value as it is written.
        value: String,
    },
    /// Two axes set the same thing, or one sets a table that holds what the other sets.
    #[error(
        "axis `{key_path}` sets what axis `{other}` sets already; sweep one of them, or zip their values into one table"
    )]
    Overlap {
        /// Index in `[[sweep]]` of the later one.
        axis: usize,
        /// Its key path.
        key_path: String,
        /// Key path of the earlier one.
        other: String,
    },
    /// An axis over something that says which points there are.
    #[error("`{key_path}` cannot be an axis: it is not a setting of a point")]
    NotASetting {
        /// Index in `[[sweep]]`.
        axis: usize,
        /// Its key path.
        key_path: String,
    },
    /// Zipped axes of different lengths.
    #[error("axes zipped as `{zip}` must have as many values each: `{first}` has {first_len}, `{key_path}` has {len}")]
    ZipLength {
        /// Index in `[[sweep]]` of the axis that differs.
        axis: usize,
        /// The word of the group.
        zip: String,
        /// Key path of the first axis of the group.
        first: String,
        /// Its number of values.
        first_len: usize,
        /// Key path of the axis that differs.
        key_path: String,
        /// Its number of values.
        len: usize,
    },
    /// An exclusion names something that is not an axis.
    #[error("`{key}` is not an axis of this scenario; its axes are {axes}")]
    ExcludeAxis {
        /// Index in `[[exclude]]`.
        exclude: usize,
        /// The key as written.
        key: String,
        /// All axes, in backticks.
        axes: String,
    },
    /// Exclusions leave no point.
    #[error("the exclusions leave no point of {combinations}")]
    AllExcluded {
        /// Combinations before exclusion.
        combinations: u128,
    },
    /// The plan exceeds a key of `[limits]`.
    #[error("the plan has {}{estimated} {unit}; `limits.{key}` allows {limit} ({times} times as many)", if *.measured { "" } else { "an estimated " })]
    Limit {
        /// Key below `[limits]`.
        key: &'static str,
        /// What is counted.
        unit: &'static str,
        /// The limit, as people write it.
        limit: String,
        /// What the plan comes to.
        estimated: String,
        /// `estimated / limit`, one decimal.
        times: String,
        /// Whether the number is exact and not an estimate.
        measured: bool,
    },
    /// Two points are the same experiment.
    #[error("points {first} and {second} are the same experiment: {axes}")]
    SamePoint {
        /// Position of the first, from 1.
        first: usize,
        /// Position of the second, from 1.
        second: usize,
        /// An axis that differs between the two without effect.
        axis: Option<usize>,
        /// What to say about it.
        axes: String,
    },
    /// Two different points have the same short id.
    #[error("points {first} and {second} share the id `{id}` by chance; any other `seed` separates them")]
    IdCollision {
        /// Position of the first, from 1.
        first: usize,
        /// Position of the second, from 1.
        second: usize,
        /// The id.
        id: String,
    },
    /// A trace with bad content, or without what is asked of it.
    #[error("{message}")]
    Trace {
        /// Key path of the setting that asks for it.
        key_path: String,
        /// What is wrong.
        message: String,
    },
    /// An input file is missing or is not the pinned one.
    #[error("{0}")]
    Input(InputError),
}

/// Where in the document a diagnostic should point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The value that a JSON pointer names.
    Pointer(String),
    /// A key path of the resolved scenario, array entries by name.
    KeyPath(String),
    /// The document as a whole.
    Document,
}

impl<E> PlanError<E> {
    /// A stable word for the kind of error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AxisKey { .. } => "axis-key",
            Self::Document { .. } => "axis-value",
            Self::ValuesOrRange { .. } => "axis-values-or-range",
            Self::Range { .. } => "axis-range",
            Self::ValueTwice { .. } => "axis-value-twice",
            Self::Overlap { .. } => "axis-overlap",
            Self::NotASetting { .. } => "axis-not-a-setting",
            Self::ZipLength { .. } => "axis-zip-length",
            Self::ExcludeAxis { .. } => "exclude-axis",
            Self::AllExcluded { .. } => "exclude-all",
            Self::Limit { .. } => "limit",
            Self::SamePoint { .. } => "same-point",
            Self::IdCollision { .. } => "id-collision",
            Self::Trace { .. } => "trace",
            Self::Input(error) => error.kind(),
        }
    }

    /// Where a diagnostic should point.
    pub fn site(&self) -> Site {
        let axis_key = |axis: usize| Site::Pointer(format!("/sweep/{axis}/axis"));
        match self {
            Self::Document { origin: Some(origin), .. } | Self::ValueTwice { origin, .. } => {
                Site::Pointer(origin.pointer())
            }
            Self::ValuesOrRange { axis, .. } => Site::Pointer(format!("/sweep/{axis}")),
            Self::Range { axis, .. } => Site::Pointer(format!("/sweep/{axis}/range")),
            Self::AxisKey { axis, .. } | Self::Overlap { axis, .. } | Self::NotASetting { axis, .. } => axis_key(*axis),
            Self::ZipLength { axis, .. } => Site::Pointer(format!("/sweep/{axis}/zip")),
            Self::ExcludeAxis { exclude, key, .. } => {
                Site::Pointer(format!("/exclude/{exclude}/match/{}", crate::plan::base::escape(key)))
            }
            Self::AllExcluded { .. } => Site::Pointer("/exclude".to_owned()),
            Self::Limit { key, .. } => Site::Pointer(format!("/limits/{key}")),
            Self::SamePoint { axis: Some(axis), .. } => axis_key(*axis),
            Self::Trace { key_path, .. } => Site::KeyPath(key_path.clone()),
            Self::Input(error) => Site::KeyPath(error.key_path().to_owned()),
            Self::Document { origin: None, .. } | Self::SamePoint { axis: None, .. } | Self::IdCollision { .. } => {
                Site::Document
            }
        }
    }
}
