#!/usr/bin/env bash
# Builds the benchmark image and works in it. docs/docker_benchmarking.md is the guide.
#
# Usage: scripts/docker_bench.sh COMMAND
#
#   build [OPTIONS]    build the image raptors-bench; OPTIONS go to `docker build`
#   bench [OPTIONS]    measure a suite into results/runs/ [default: --preset 2d]; OPTIONS go to `raptors-prof suite`
#   profile OP SHAPE DTYPE [numpy|raptors|both] [OPTIONS]
#                      profile one cell into docs/profiles/ [default: both]; OPTIONS go to `raptors-prof`
#   run CMD ARGS...    run any command in the container, given as words ...
#   run "CMD ..."      ... or as one string for a shell
#   shell              an interactive shell in the container
#   clean              remove the image, and containers and volumes of it; results stay
#   help               this text
#
# The container works as the user who calls (root: as the owner of results/), without capabilities, on a read-only root
# file system. This repository is there, read-only but for results/ and docs/profiles/, and is the working directory.
#
# Environment
#   BASE_IMAGE, RUST_IMAGE           images that `build` starts from [default: those of container/Dockerfile]
#   PIP_INDEX_URL                    where `build` finds Python packages [default: pip's]
#   RAPTORS_THREADS, RAPTORS_SIMD    threads [default: all that the container may use] and instruction set [default: auto]
#
# The exit code is that of the command.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The commit that is built, marked where tracked files have changed since; nothing where git or the repository is missing.
commit() {
    git -C "$root" describe --always --abbrev=40 --dirty --exclude '*' 2> /dev/null || true
}

build() {
    need docker docker.io
    ask_engine
    # A build argument without a value is taken from the environment, if it is there.
    GIT_SHA=$(commit) docker build --build-arg GIT_SHA --build-arg BASE_IMAGE --build-arg RUST_IMAGE \
        --build-arg PIP_INDEX_URL "$@" \
        --file "$root/container/Dockerfile" --tag "$image" "$root"
}

bench() {
    local argument
    for argument in "$@"; do
        case $argument in
            --preset | --preset=* | --op | --op=* | --resume | --resume=* | --help | -h)
                prof suite "$@"
                return
                ;;
        esac
    done
    prof suite --preset 2d "$@"
}

profile() {
    expect 3 'profile OP SHAPE DTYPE [numpy|raptors|both] [OPTIONS]' "$@"
    local cell=("${@:1:3}") backend=both
    shift 3
    if (($# > 0)) && [[ $1 != -* ]]; then
        backend=$1
        shift
    fi
    local out
    out=docs/profiles/$(cell_name "${cell[@]}")-$backend/$(date -u +%Y%m%dT%H%M%SZ)
    prof --op "${cell[0]}" --shape "${cell[1]}" --dtype "${cell[2]}" --backend "$backend" --out "$out" "$@"
}

run() {
    expect 0 'run CMD ARGS...' "$@"
    (($# > 0)) || fail 2 "run needs a command, such as: $self run raptors-prof --help"
    (($# > 1)) || set -- bash -c "$1"
    in_container -- "$@"
}

shell() {
    expect 0 shell "$@"
    (($# == 0)) || fail 2 "shell takes no arguments; run takes a command"
    in_container -- bash -i
}

clean() {
    expect 0 clean "$@"
    (($# == 0)) || fail 2 "clean takes no arguments"
    prepare
    "${compose[@]}" down --volumes --remove-orphans
    docker image rm "$image"
}

command=${1-}
case $command in
    build | bench | profile | run | shell | clean) "$command" "${@:2}" ;;
    help | -h | --help) usage ;;
    '') fail 2 'a command is missing: build, bench, profile, run, shell, clean or help' ;;
    *) fail 2 "unknown command '$command': build, bench, profile, run, shell, clean or help" ;;
esac
