#!/bin/sh
# Renders every kustomization, checks the result against the Kubernetes schemas and runs tests/it/k8s over it.
#
# Needs Python with pip. Without kubectl or kustomize the sources are checked instead, and the script says so.
set -eu
cd "$(dirname "$0")/.."

home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}
venv=$home/kubernetes-validate-1.37.0
if [ ! -x "$venv/bin/kubernetes-validate" ]; then
    rm -rf "$venv"
    mkdir -p "$home"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --only-binary=:all: kubernetes-validate==1.37.0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Schemas of the oldest version whose features the manifests use, and of a recent one.
validate() {
    for version in 1.31 1.37; do
        "$venv/bin/kubernetes-validate" --strict -k "$version" "$@" >"$out/log" 2>&1 || {
            cat "$out/log"
            return 1
        }
        # An object without a schema is a warning to the tool and a failure to us.
        if grep -E "Couldn't find schema|WARN" "$out/log"; then return 1; fi
        echo "kubernetes-validate: $(grep -c passed "$out/log") objects are valid in Kubernetes $version"
    done
}

if command -v kubectl >/dev/null 2>&1; then
    render() { kubectl kustomize "$1"; }
elif command -v kustomize >/dev/null 2>&1; then
    render() { kustomize build "$1"; }
else
    echo "NOT RENDERED: neither kubectl nor kustomize is installed; the kustomizations themselves are not tested." >&2
    validate k8s/base/[!k]*.yaml k8s/once/job.yaml k8s/nightly/cronjob.yaml k8s/gcs/[!k]*.yaml
    cargo test --quiet --test it -- k8s::
    exit
fi

mkdir "$out/rendered"
for folder in k8s/once k8s/nightly k8s/overlays/gcs k8s/overlays/gcs-once; do
    render "$folder" >"$out/rendered/$(basename "$folder").yaml"
done
validate "$out"/rendered/*.yaml
BENCH_K8S_RENDERED=$out/rendered cargo test --quiet --test it -- k8s::
