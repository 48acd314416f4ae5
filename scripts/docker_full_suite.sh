#!/usr/bin/env bash
# Measures a suite in the container, profiles what is slower than NumPy, and makes the report.
#
# Usage: scripts/docker_full_suite.sh [DIR [OPTIONS]]
#
# DIR, new or empty, receives the suite and report.html [default: results/runs/<UTC time>-full-suite]. Where it holds a suite
# already, that one is gone on with. OPTIONS go to `raptors-prof suite` [default: --preset 2d].
# The exit code is that of the suite, or of the report if only that fails.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

expect 0 '[DIR [OPTIONS]]' "$@"
[[ ${1-} != -* ]] || fail 2 "the first argument is the directory: $self DIR $*"
directory=${1-$root/results/runs/$(date -u +%Y%m%dT%H%M%SZ)-full-suite}
options=("${@:2}")
((${#options[@]} > 0)) || options=(--preset 2d)

make_for_bench "$directory"
directory=$(cd "$directory" && pwd -P)
if [[ -f $directory/suite.json ]]; then
    options=(--resume "$directory")
else
    options+=(--out "$directory")
fi

in_directory() { # ARGUMENTS... of raptors-prof
    in_container --volume "$directory:$directory" -- raptors-prof "$@"
}

status=0
in_directory suite "${options[@]}" || status=$?
# A suite that was interrupted, or has cells that failed, has something to show too.
if [[ -f $directory/suite.json ]]; then
    in_directory report "$directory" || fail "$((status > 0 ? status : $?))" 'the suite stays, the report failed'
fi
exit "$status"
