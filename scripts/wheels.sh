#!/usr/bin/env bash
# Builds the wheels of raptors-prof and raptors for each Python that is named, gives them the manylinux tag that they are good for, and
# tries them in environments with nothing else but NumPy. Prints each command and what it says.
#
#   scripts/wheels.sh [--out DIR] PYTHON...        wheels go to DIR (target/wheels)
#
# Needs maturin, auditwheel and patchelf on PATH: `make wheels PYTHONS="python3.9 python3.13"` brings them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${CARGO_TARGET_DIR:-target}/wheels
if [[ ${1:-} == --out ]]; then
    out=$2
    shift 2
fi
(($# > 0)) || { echo 'wheels.sh: name at least one Python' >&2; exit 2; }
mkdir -p "$out"
out=$(realpath "$out")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
work=$(mktemp -d "$scratch/XXX")

plain() { # leaves out the places of this machine
    sed "s|$scratch/||g; s|$out|wheels|g"
}

say() { # COMMAND...: prints it and what it says
    echo "\$ $*" | plain
    "$@" 2>&1 | plain
}

tagged() { # WHEEL: repairs it into $out; what it already has is replaced
    auditwheel show "$1" 2>&1 | grep -A1 'consistent with' | tr '\n' ' ' | sed 's/$/\n/'
    auditwheel repair --wheel-dir "$out" "$1" > "$work/repair.log" 2>&1 || { cat "$work/repair.log" >&2; exit 1; }
    rm "$1"
}

version_of() { # PYTHON
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# From 3.11 on, one wheel of raptors serves all: it is built by the first of these.
has_wheel() { # PYTHON
    "$1" -m pip download -q --no-deps --no-index --find-links "$out" -d "$work/found" raptors > /dev/null 2>&1
}

rm -f "$out"/raptors{,_prof}-*.whl
echo "# building"
"$1" -m pip wheel -q --no-deps -w "$work" ./profiler
tagged "$work"/raptors_prof-*.whl
for python in "$@"; do
    # raptors is for 3.9 and newer.
    if [[ $(version_of "$python") != 3.8 ]] && ! has_wheel "$python"; then
        PYO3_PYTHON=$(command -v "$python") "$python" -m pip wheel -q --no-deps -w "$work" ./pyext
        tagged "$work"/raptors-*.whl
    fi
done
(cd "$out" && ls raptors*)

cat > "$scratch/try.py" << 'PYTHON'
import numpy as np, raptors, raptors_prof
a = np.ones((256, 256), dtype=np.float32)
print("raptors", raptors.config()["version"], raptors.config()["simd"]["used"], "numpy", np.__version__)
print(raptors_prof.compare(np.add, raptors.add, a, a, max_time=1))
with raptors_prof.profile() as p:
    for _ in range(2000):
        raptors.sum(a)
print(p.summary["sampling"]["samples"] > 0, p.flamegraph().startswith("<?xml"))
PYTHON
echo 'for i in range(5_000_000): pass' > "$scratch/loop.py"
cd "$scratch"
for python in "$@"; do
    version=$(version_of "$python")
    echo
    echo "# Python $version"
    "$python" -m venv "$version"
    if [[ $version == 3.8 ]]; then
        say "$version/bin/pip" install -q --no-index --find-links "$out" raptors-prof
        say "$version/bin/raptors-prof" --version
        say "$version/bin/raptors-prof" record -o "profile-$version" -- "$version/bin/python" loop.py
    else
        "$version/bin/pip" install -q numpy
        say "$version/bin/pip" install -q --no-index --find-links "$out" raptors-prof raptors
        say "$version/bin/raptors-prof" --version
        say "$version/bin/python" try.py
    fi
done
