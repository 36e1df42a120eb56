#!/usr/bin/env bash
# Editors see what `bench` sees: taplo accepts every shipped scenario through its `#:schema` line and rejects the bad
# samples whose mistake a schema can show.
set -euo pipefail
cd "$(dirname "$0")/.."

home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}
venv=$home/taplo-0.9.3
if [ ! -x "$venv/bin/taplo" ]; then
  rm -rf "$venv"
  mkdir -p "$home"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: taplo==0.9.3
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
RUST_LOG=warn "$venv/bin/taplo" lint scenarios/*.toml >"$log" 2>&1 || { cat "$log"; exit 1; }
echo "taplo: $(find scenarios -name '*.toml' | wc -l) scenarios are accepted"

# B02xx is the schema's own part; B0201 to B0208 each have a sample.
rejected=0
for bad in tests/bad/B02*.toml; do
  if RUST_LOG=warn "$venv/bin/taplo" lint --schema "file://$PWD/schema/scenario.v1.json" "$bad" >"$log" 2>&1; then
    echo "taplo accepts $bad" >&2
    exit 1
  fi
  rejected=$((rejected + 1))
done
echo "taplo: $rejected bad samples are rejected"
