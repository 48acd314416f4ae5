#!/usr/bin/env bash
# Feeds damaged input to what reads files and records of others: scripts/fuzz.sh elf|perf_record|proc_text [SECONDS]
# Needs a nightly compiler and cargo-fuzz; see docs/fuzzing.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${1:?usage: scripts/fuzz.sh elf|perf_record|proc_text [SECONDS]}
seconds=${2:-600}
seeds=fuzz/corpus/$target
mkdir -p "$seeds"

case $target in
    elf)
        source=$seeds/../seed.c
        cat > "$source" <<'C'
static inline __attribute__((always_inline)) int inlined(int x) { return x * x + 1; }
__attribute__((noinline)) static int inner(int x) { return inlined(x) / (x | 1); }
int outer(int x) { int sum = 0; for (int i = 0; i < x; i++) sum += inner(i) + inlined(sum); return sum; }
C
        # Two addresses in its code come before the file.
        for flags in "-g -gdwarf-4" "-g -gdwarf-5" "-s -fno-asynchronous-unwind-tables" "-g -gz -Wl,--build-id"; do
            # shellcheck disable=SC2086 # several flags
            cc $flags -O2 -nostdlib -shared -fPIC -o "$seeds/../seed.so" "$source"
            { printf '\x04\x10\0\0\0\0\0\0\x22\x10\0\0\0\0\0\0'; cat "$seeds/../seed.so"; } > "$seeds/${flags// /}"
        done
        ;;
    proc_text)
        head -n 20 /proc/self/maps > "$seeds/maps"
        head -n 20 /proc/kallsyms > "$seeds/kallsyms"
        ;;
esac

exec cargo +nightly fuzz run -O "$target" -- \
    -max_total_time="$seconds" -max_len=32768 -timeout=60 -malloc_limit_mb=256 -rss_limit_mb=4096 -print_final_stats=1
