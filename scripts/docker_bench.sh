#!/usr/bin/env bash
# Builds the benchmark image and runs commands in it. docs/container.md tells more.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
image=raptors-bench

usage() {
    cat << 'END'
Usage: scripts/docker_bench.sh COMMAND

  build [OPTIONS]    build the image raptors-bench; OPTIONS go to `docker build`
  run CMD ARGS...    run a command in a container of it, given as words ...
  run "CMD ..."      ... or as one string for a shell
  help               this text

`run` works as the user who calls it, without capabilities or new privileges, on a read-only root file system, with the
seccomp profile container/seccomp.json. results/ of this repository is mounted: what raptors-prof writes there is yours.

Environment
  BASE_IMAGE, RUST_IMAGE           images that `build` starts from [default: those of container/Dockerfile]
  RAPTORS_THREADS, RAPTORS_SIMD    passed on by `run`

The exit code is that of the command.

Example: scripts/docker_bench.sh run raptors-prof --op broadcast_add --shape 512x512 --dtype float32
END
}

bad_usage() { # MESSAGE
    printf 'docker_bench.sh: %s\n' "$1" >&2
    exit 2
}

build() {
    # A build argument without a value is taken from the environment, if it is there.
    exec docker build --build-arg BASE_IMAGE --build-arg RUST_IMAGE "$@" \
        --file "$root/container/Dockerfile" --tag "$image" "$root"
}

run() {
    (($# > 0)) || bad_usage 'run needs a command, such as: docker_bench.sh run raptors-prof --help'
    (($# > 1)) || set -- bash -c "$1"

    mkdir -p "$root/results/runs"
    local options=(
        --rm --interactive
        --user "$(id -u):$(id -g)"
        --cap-drop ALL
        --security-opt no-new-privileges
        --security-opt "seccomp=$root/container/seccomp.json"
        --read-only --tmpfs /tmp
        --mount "type=bind,source=$root/results,target=/bench/results"
    )
    if [[ -t 0 && -t 1 ]]; then
        options+=(--tty)
    fi
    local name
    for name in RAPTORS_THREADS RAPTORS_SIMD; do
        if [[ -v $name ]]; then
            options+=(--env "$name")
        fi
    done
    exec docker run "${options[@]}" --entrypoint "$1" "$image" "${@:2}"
}

command=${1-}
case $command in
    build | run) "$command" "${@:2}" ;;
    help | -h | --help) usage ;;
    '') bad_usage 'a command is missing: build, run or help' ;;
    *) bad_usage "unknown command '$command': build, run or help" ;;
esac
