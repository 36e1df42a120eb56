#!/usr/bin/env bash
# What `bench` itself costs: the table of the README. Wants an idle machine; builds a release binary first.
#
#   .ci/measure-costs.sh          minutes, most of them the build
#   .ci/measure-costs.sh --long   also a million requests (MILLION=100000 for a tenth) and the size of the shipped binary
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --quiet
[ "${1:-}" != --long ] || cargo build --profile dist --locked --quiet
exec python3 .ci/measure_costs.py "$@"
