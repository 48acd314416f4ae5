#!/usr/bin/env bash
# Is it fixed? Measures a cell in the container and judges it: `raptors-prof validate`.
#
# Usage: scripts/docker_validate_fix.sh OP SHAPE DTYPE [OPTIONS]
#
# OPTIONS go to `raptors-prof validate`, such as --min-ratio 1.2 or --baseline results/baselines/NAME.json.
# The exit code is that of validate: 0 no worse, 1 worse, 2 bad input, 4 the workload failed, 130 interrupted.
# The image has to hold the fix: scripts/docker_bench.sh build.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

expect 3 'OP SHAPE DTYPE [OPTIONS]' "$@"
prof validate --op "$1" --shape "$2" --dtype "$3" "${@:4}"
