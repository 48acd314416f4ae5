//! The clock of the samples.

use std::io;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, ns.
pub(super) fn now_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned())
}
