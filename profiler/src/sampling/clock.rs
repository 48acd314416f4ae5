//! The clock of the samples.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What has to be added to CLOCK_MONOTONIC now for the time since 1970.
pub(super) fn epoch() -> io::Result<Duration> {
    let since_1970 = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let monotonic = Duration::from_nanos(now_ns()?);
    Ok(Duration::from(since_1970).saturating_sub(monotonic))
}

/// CLOCK_MONOTONIC, ns.
pub(super) fn now_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned())
}
