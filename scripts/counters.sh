#!/usr/bin/env bash
# Reads the counters of a run: an example of what scripts can do with summary.json.
#
# Usage: scripts/counters.sh RUN_DIR
#
# One line an event, with the value per call of each backend, or the word that says why there is none (`denied`,
# `unsupported`). The fields are separated by tabs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

expect 1 RUN_DIR "$@"
need jq jq
[[ -f $1/summary.json ]] || fail 2 "$1 is no directory of a complete run: it has no summary.json"

jq --raw-output '
    def per_call: if .per_call == null then .status else (.per_call * 1000 | round / 1000) end;
    .backends
    | (["event"] + keys_unsorted),
      (([.[].counters[].event] | unique)[] as $event
       | [$event] + [.[] | first((.counters[] | select(.event == $event) | per_call), "not read")])
    | @tsv' "$1/summary.json"
