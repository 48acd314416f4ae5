//! Instruction-set levels: which one this build is, and which ones a processor can run.
//!
//! The level is chosen when the crate is compiled (`-C target-cpu=...`), because `wide` looks at compile-time features only.
//! A program that wants several builds the crate several times and picks one at run time by [`supported`].

/// Level of this build: `off` (feature `scalar`), `sse2` (x86-64-v2), `avx2` (x86-64-v3), `avx512` (x86-64-v4), `neon` (aarch64).
pub const LEVEL: &str = if cfg!(feature = "scalar") {
    "off"
} else if cfg!(target_feature = "avx512f") {
    "avx512"
} else if cfg!(target_feature = "avx2") {
    "avx2"
} else if cfg!(target_arch = "x86_64") {
    "sse2"
} else if cfg!(target_arch = "aarch64") {
    "neon"
} else {
    "portable"
};

/// The levels that this processor can run, the fastest last.
pub fn supported() -> Vec<&'static str> {
    let mut levels = vec!["off"];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("sse3")
            && has!("ssse3")
            && has!("sse4.1")
            && has!("sse4.2")
            && has!("popcnt")
            && has!("cmpxchg16b");
        let v3 = v2
            && (has!("avx")
                && has!("avx2")
                && has!("bmi1")
                && has!("bmi2")
                && has!("f16c")
                && has!("fma"))
            && (has!("lzcnt") && has!("movbe"));
        let v4 = v3
            && (has!("avx512f")
                && has!("avx512bw")
                && has!("avx512cd")
                && has!("avx512dq")
                && has!("avx512vl"));
        levels.extend(
            [(v2, "sse2"), (v3, "avx2"), (v4, "avx512")]
                .into_iter()
                .filter_map(|(has, level)| has.then_some(level)),
        );
    }
    #[cfg(target_arch = "aarch64")]
    levels.push("neon");
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_level_is_supported() {
        assert!(
            supported().contains(&LEVEL),
            "{LEVEL} not in {:?}",
            supported()
        );
    }
}
