//! The text of `/proc/PID/maps` and of `/proc/kallsyms`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use raptors_prof::native::kallsyms::Kallsyms;
use raptors_prof::native::maps::Maps;

fuzz_target!(|text: &str| {
    let maps = Maps::parse(text);
    let symbols = Kallsyms::parse(text);
    for address in [
        0,
        1,
        0x5500_0000_0000,
        0x7fff_ffff_f000,
        0xffff_ffff_8100_0000,
        u64::MAX,
    ] {
        if let Some(mapping) = maps.find(address) {
            assert!(mapping.contains(address));
        }
        assert!(symbols.find(address).is_none_or(|name| !name.is_empty()));
    }
    maps.any_file(|name| name.contains("python"));
});
