//! B07xx: axes.

use super::codes;

codes! {
    UNKNOWN_AXIS = "B0701", "an axis that names no setting",
        "`axis` is a key path such as `load.rate_per_s`, with array entries by name: `traffic.base.weight`.",
        bad: "[[sweep]]\naxis = \"load.rate\"\nvalues = [1, 2]", good: "[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]";
    NOT_SWEEPABLE = "B0702", "a setting that cannot be an axis",
        "Points differ in what is measured. Names, labels, the store, limits and the sweep itself do not change that, and SLOs, the error budget and validity limits judge what was measured.",
        bad: "[[sweep]]\naxis = \"name\"\nvalues = [\"a\", \"b\"]", good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]";
    AXIS_VALUES = "B0703", "an axis needs exactly one of `values` and `range`",
        "List the values, or let a `range` make them.",
        bad: "[[sweep]]\naxis = \"load.rate_per_s\"",
        good: "[[sweep]]\naxis = \"load.rate_per_s\"\nrange = { kind = \"log\", from = 1, to = 16, count = 5 }";
    AXIS_RANGE = "B0704", "a range that the axis cannot take",
        "A range makes numbers, so the axis must be a number; a logarithmic range needs both ends above 0; an axis of whole numbers needs whole ends.",
        bad: "[[sweep]]\naxis = \"load.rate_per_s\"\nrange = { kind = \"log\", from = 0, to = 16, count = 5 }",
        good: "[[sweep]]\naxis = \"load.rate_per_s\"\nrange = { kind = \"log\", from = 1, to = 16, count = 5 }";
    AXIS_TWICE = "B0705", "two axes over the same setting",
        "Each point would get only one of the two values. An axis over a table also covers everything inside it.",
        bad: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[sweep]]\naxis = \"seed\"\nvalues = [3, 4]",
        good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2, 3, 4]";
    ZIP_LENGTH = "B0706", "zipped axes of different lengths",
        "Axes with the same `zip` advance together, so each needs the same number of values.",
        bad: "[[sweep]]\naxis = \"seed\"\nzip = \"a\"\nvalues = [1, 2]\n\n[[sweep]]\naxis = \"load.rate_per_s\"\nzip = \"a\"\nvalues = [1, 2, 3]",
        good: "[[sweep]]\naxis = \"seed\"\nzip = \"a\"\nvalues = [1, 2]\n\n[[sweep]]\naxis = \"load.rate_per_s\"\nzip = \"a\"\nvalues = [1, 2]";
    EXCLUDE_AXIS = "B0707", "an exclusion that names no axis",
        "The keys of `match` are axes of this scenario, spelt as in `axis`.",
        bad: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[exclude]]\nmatch = { \"load.rate_per_s\" = 1 }",
        good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[exclude]]\nmatch = { seed = 1 }";
    VALUE_TWICE = "B0708", "the same value twice on one axis",
        "The two points would be the same experiment with the same seed. To repeat a point, sweep `seed`.",
        bad: "[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2, 1.0]",
        good: "[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]";
}
