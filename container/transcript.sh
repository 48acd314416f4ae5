#!/usr/bin/env bash
# Prints docs/docker_transcript.md: the commands of the guide in a fresh clone of this commit, with what they say.
#
# Usage: container/transcript.sh [BUILD OPTIONS] > docs/docker_transcript.md
#
# As a user who may speak to the engine. BUILD OPTIONS go to `docker_bench.sh build`, which takes BASE_IMAGE and RUST_IMAGE.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
git clone --quiet "$source" "$home/raptors prof"
cd "$home/raptors prof"

# Less the paths of this machine, the control codes of a terminal, and what compose and the engine say of themselves.
plain() {
    sed -E -e "s,$home,~,g" -e 's/\r//g' -e 's/\x1b\[[?0-9;]*[a-zA-Z]//g' -e '/^DEPRECATED: /d' -e 's/^Creating raptors-bench.*(done|\.\.\. )(\.\.\.)?//' \
        -e '/^ +(Install the buildx|https:\/\/docs.docker.com\/go\/buildx)/d' -e '/^sha256:/!b' -e 's/(.{19}).*/\1…/'
}

show() { # COMMAND... as one types it
    printf '\n$ %s\n' "$*"
    local status=0
    bash -c "$*" 2>&1 < /dev/null | plain || status=$?
    ((status == 0)) || printf '$ echo $?\n%s\n' "$status"
}

type_in_shell() { # LINES...
    printf '\n$ %s\n' 'scripts/docker_bench.sh shell'
    local line status=0
    { for line in "$@"; do sleep 3; echo "$line"; done; sleep 1; } \
        | script --quiet --return --command 'scripts/docker_bench.sh shell' /dev/null 2>&1 | plain || status=$?
    printf '$ echo $?\n%s\n' "$status"
}

compose=$(docker compose version 2> /dev/null || docker-compose --version)
cat << END
# A transcript

The commands of [the guide](docker_benchmarking.md) in a fresh clone, in a path with a space, taken by \`container/transcript.sh\`: as a user
$( ((EUID == 0)) && echo 'who is root' || echo 'who is not root'), on Docker $(docker version --format '{{.Server.Version}}'), ${compose%%,*}, with
\`kernel.perf_event_paranoid\` at $(cat /proc/sys/kernel/perf_event_paranoid), on $(nproc) cores that were not kept free: the times are not to be quoted. Left out are the lines in
which compose and the engine speak of themselves. docker-compose 1.29 repeats an exit code other than 0.

\`\`\`console
\$ git clone … "raptors prof" && cd "raptors prof"
END
cell='broadcast_add 512x512 float32'
show "scripts/docker_bench.sh build --quiet $*"
show 'scripts/docker_bench.sh run raptors-prof doctor'
show 'scripts/docker_bench.sh bench --preset smoke --max-time 4'
show "scripts/docker_bench.sh profile $cell both"
show "scripts/compare_profiles.sh $cell"
show "scripts/docker_validate_fix.sh $cell"
show "scripts/docker_validate_fix.sh $cell --min-ratio 5"
show 'scripts/docker_bench.sh run python -c "import raptors; print(raptors.config()[\"simd\"])"'
show "scripts/docker_bench.sh run \"id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; touch /new\""
type_in_shell 'ls results' 'nproc' 'exit 5'
show 'docker image inspect --format "{{.Size}} {{index .Config.Labels \"org.opencontainers.image.revision\"}}" raptors-bench'
echo '```'
