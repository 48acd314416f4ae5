#!/usr/bin/env bash
# Builds the image on this machine's Docker Engine and tests it; says so where there is no engine.
#
# Usage: container/tests/run.sh PYTHON PROF      the interpreter that has pytest and raptors; the raptors-prof outside
#
# Environment: BASE_IMAGE and RUST_IMAGE, else both are made from this machine (container/local_images.sh, as root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! engine=$(docker info --format 'Docker {{.ServerVersion}}, {{.CgroupVersion}}' 2>&1); then
    echo "test result: container skipped, not tested: no Docker Engine answers (${engine##*$'\n'})"
    exit 0
fi

if [[ -z ${BASE_IMAGE-} ]]; then
    as_root=()
    ((EUID == 0)) || as_root=(sudo "HOME=$HOME" "PATH=$PATH")
    "${as_root[@]}" container/local_images.sh
    export BASE_IMAGE=raptors-local/base RUST_IMAGE=raptors-local/rust
fi
scripts/docker_bench.sh build --network host

RAPTORS_PROF_PYTHON=$1 PROF=$2 "$1" -m pytest -q -rs -p no:cacheprovider container/tests
