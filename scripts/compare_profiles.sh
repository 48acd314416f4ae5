#!/usr/bin/env bash
# Shows NumPy beside Raptors from the newest stored profile of a cell: verdict, top frames, counters, flame graphs.
#
# Usage: scripts/compare_profiles.sh OP SHAPE DTYPE
#
# The profile is one of both backends in docs/profiles/, as `scripts/docker_bench.sh profile OP SHAPE DTYPE` leaves it:
# profiles that were taken one by one say nothing about the ratio, as the machine was in another state.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

expect 3 'OP SHAPE DTYPE' "$@"
need jq jq
need column bsdextrautils

shopt -s nullglob
runs=("$root/docs/profiles/$(cell_name "${@:1:3}")-both"/*/summary.json)
((${#runs[@]} > 0)) || fail 2 "no profile of both backends for $1 $2 $3: scripts/docker_bench.sh profile $1 $2 $3"
run=$(dirname "${runs[-1]}")

jq --raw-output '
    def percent: . * 1000 | round / 10 | tostring + " %";
    .comparison as $comparison
    | "\(.cell.op) \(.cell.shape | map(tostring) | join("x")) \(.cell.dtype), measured \(.created)",
      if $comparison then
          "ratio \($comparison.ratio * 1000 | round / 1000): raptors is \($comparison.verdict)"
      else "no comparison was made" end,
      (.backends | to_entries[]
       | "",
         "\(.key): \(.value.sampling.in_op // 0) samples in the op",
         ((.value.top // [])[:8][] | "\(.self | percent)\t\(.frame)")),
      ""' "$run/summary.json"

"$(dirname "${BASH_SOURCE[0]}")/counters.sh" "$run" | column -t -s $'\t'
echo

for graph in numpy.svg raptors.svg diff.svg; do
    if [[ -f $run/$graph ]]; then
        echo "$run/$graph"
    else
        echo "$graph: none, as there is no profile"
    fi
done
