#!/usr/bin/env bash
# Makes the two images that the build starts from, without an image registry:
#   raptors-local/base    Debian or Ubuntu, from its packages by debootstrap
#   raptors-local/rust    this user's Rust toolchain, from rustup
#
# Usage: container/local_images.sh [SUITE [MIRROR]]      [default: bookworm]; as root, for debootstrap
#
# This machine's certificates go into the base, cargo's config.toml into the image of the toolchain, of which nothing is in
# the final image.
set -euo pipefail

suite=${1-bookworm}
components=main
[[ $suite =~ ^(bookworm|trixie|sid)$ ]] || components=main,universe
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Mounts of its own, so that an interruption leaves no /proc of this machine below what is removed then.
unshare --mount debootstrap --variant=minbase --components="$components" --include=ca-certificates "$suite" "$work/rootfs" "${@:2}" \
    > "$work/log" || { cat "$work/log" >&2; exit 1; }
certificates=/etc/ssl/certs/ca-certificates.crt
cp "$certificates" "$work/rootfs$certificates"
rm -rf "$work/rootfs/var/cache/apt/archives"/*.deb
tar -C "$work/rootfs" -c . | docker import --change "ENV PIP_CERT=$certificates" - raptors-local/base

cargo_home=${CARGO_HOME-$HOME/.cargo}
rustup_home=${RUSTUP_HOME-$HOME/.rustup}
toolchain=$(rustup show active-toolchain)
toolchain=${toolchain%% *}
cargo=(bin)
[[ ! -f $cargo_home/config.toml ]] || cargo+=(config.toml)
tar -c --exclude '*/share/doc' --transform 's,^\(cargo\|rustup\)/,usr/local/\1/,S' \
    --transform "s,^bin\(/\|\$\),usr/local/cargo/bin\1,S" --transform 's,^config.toml,usr/local/cargo/&,S' \
    --transform 's,^\(settings.toml\|toolchains\),usr/local/rustup/&,S' \
    -C "$cargo_home" "${cargo[@]}" -C "$rustup_home" settings.toml "toolchains/$toolchain" \
    | docker import - raptors-local/rust
