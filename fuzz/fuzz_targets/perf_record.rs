//! The body of one perf record, whole and in two parts as in a ring that wraps.
//!
//! The input's first 4 bytes are the record's type, flags, and where it wraps; the rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use linux_perf_event_reader::RawData;
use raptors_prof::sampling::record::parse;
use raptors_prof::sampling::request::{parse_info, sample_type};

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, low, high, wrap], body)) = input.split_first_chunk() else {
        return;
    };
    let (kind, misc) = (u32::from(kind), u16::from_le_bytes([low, high]));
    let (front, back) = body.split_at(usize::from(wrap).min(body.len()));
    for kernel in [true, false] {
        let info = parse_info(sample_type(kernel, true));
        let whole = parse(kind, misc, RawData::Single(body), info);
        let split = parse(kind, misc, RawData::Split(front, back), info);
        assert_eq!(whole, split);
    }
});
