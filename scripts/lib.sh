# shellcheck shell=bash
# What the scripts here share. To be sourced: sets `root` and gives functions; nothing is run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
image=raptors-bench
self=$(basename "$0")

fail() { # EXIT-CODE MESSAGE
    printf '%s: %s\n' "$self" "$2" >&2
    exit "$1"
}

have() { # COMMAND
    [[ -n $(type -P "$1") ]]
}

need() { # COMMAND PACKAGE
    have "$1" || fail 3 "$1 is missing: apt-get install $2"
}

# Shows the comment at the head of the script that runs, without its marks.
usage() {
    sed -n '2,/^[^#]/ { s/^# \{0,1\}//p }' "$0"
}

# Ends with the usage where it is asked for, or where there are less than N operands.
expect() { # N "OPERANDS" ARGUMENTS...
    case ${3-} in
        -h | --help | help)
            usage
            exit 0
            ;;
    esac
    (($# - 2 >= $1)) || fail 2 "usage: $self $2 (--help tells more)"
}

# Where profiles of a cell are, below docs/profiles/.
cell_name() { # OP SHAPE DTYPE
    local op=${1//[\/:]/_}
    echo "$op-${2//\*/x}-$3"
}

# Sets `compose` to the command that this machine has.
find_compose() {
    need docker docker.io
    local found
    if found=$(docker compose version 2>&1); then
        compose=(docker compose)
    elif have docker-compose; then
        compose=(docker-compose)
    else
        fail 3 "neither 'docker compose' (${found%%$'\n'*}) nor docker-compose is there: apt-get install docker-compose"
    fi
    compose+=(--project-name "$image" --file compose.yaml)
}

# Who runs in the container: the caller, or, if that is root, whoever owns results/ (as with sudo in a user's clone).
bench_user() {
    if ((EUID == 0)); then
        stat --format '%u:%g' "$root/results"
    else
        echo "$EUID:$(id -g)"
    fi
}

# A directory that the user of the container may write to.
make_for_bench() { # DIR
    [[ ! -d $1 ]] || return 0
    mkdir -p "$1"
    ((EUID != 0)) || chown "$(bench_user)" "$1"
}

# Old versions of compose answer with a page of Python where the engine doesn't.
ask_engine() {
    local answer
    answer=$(docker version --format '{{.Server.Version}}' 2>&1) \
        || fail 3 "the Docker Engine does not answer: ${answer##*$'\n'}"
}

prepare() {
    find_compose
    ask_engine
    make_for_bench "$root/results/runs"
    make_for_bench "$root/docs/profiles"
    RAPTORS_ROOT=$root
    RAPTORS_USER=$(bench_user)
    export RAPTORS_ROOT RAPTORS_USER
    # Where the compose file is: old versions take its paths from there only.
    cd "$root/container"
}

# Runs a command in a container of the image, with its exit code.
in_container() { # [compose's OPTIONS] -- COMMAND ARGUMENTS...
    prepare
    [[ -n $(docker image ls --quiet "$image:latest") ]] || fail 3 "there is no image $image: scripts/docker_bench.sh build makes it"
    local options=()
    [[ -t 0 && -t 1 ]] || options+=(-T)
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    # The code is the container's own. On a signal without a terminal, compose 1.29 stops the container and has another code for that;
    # compose 2 lets it run. This shell outlives the signal to see to the rest.
    local status=0 code name=$image-$$
    trap : INT TERM HUP
    "${compose[@]}" run "${options[@]}" --name "$name" --entrypoint 'tini --' bench "$@" || status=$?
    docker stop --time 60 "$name" > /dev/null 2>&1 || true
    ! code=$(docker container inspect --format '{{.State.ExitCode}}' "$name" 2> /dev/null) || status=$code
    docker rm --force --volumes "$name" > /dev/null 2>&1 || true
    trap - INT TERM HUP
    return "$status"
}

# raptors-prof in the container.
prof() { # ARGUMENTS...
    in_container -- raptors-prof "$@"
}
