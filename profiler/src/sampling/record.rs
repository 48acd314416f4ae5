//! The bytes of perf records as values. Format: perf_event_open(2), section "Overflow records".

use std::path::PathBuf;

use linux_perf_event_reader::{
    ContextSwitchRecord, EventRecord, RawData, RawEventRecord, RecordParseInfo, RecordType,
    SampleFormat, SampleRecord, TaskWasPreempted,
};

use crate::native::maps::Mapping;
use crate::native::unwind::Registers;

/// Register numbers of `sample_regs_user` on x86-64 (`arch/x86/include/uapi/asm/perf_regs.h`).
pub const REG_BP: u64 = 6;
/// See [`REG_BP`].
pub const REG_SP: u64 = 7;
/// See [`REG_BP`].
pub const REG_IP: u64 = 8;

/// The other general ones: first what a function must leave as it found it (rbx, rbp, r12 to r15), then rax, rcx, rdx, rsi, rdi and
/// r8 to r11. See [`REG_BP`].
pub const GENERAL_REGISTERS: [u64; 15] = [1, REG_BP, 20, 21, 22, 23, 0, 2, 3, 4, 5, 16, 17, 18, 19];

/// Callchain entries from here on are markers of context, not addresses (`PERF_CONTEXT_MAX`).
const CONTEXT_MARKERS: u64 = -4095_i64 as u64;

/// The flag that says that a build id is in an mmap record (`PERF_RECORD_MISC_MMAP_BUILD_ID`).
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;

/// Process, thread and time of a sample, then its period, where it is told. Its callchain comes next.
const HEAD_BYTES: usize = 16;
const PERIOD_BYTES: usize = 8;

/// What a sample holds. Stacks are from leaf to root.
#[derive(Debug, PartialEq, Eq)]
pub struct RawSample {
    /// When it was taken, CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Kernel addresses.
    pub kernel: Vec<u64>,
    /// Registers and stack bytes of user space; nothing for kernel threads.
    pub user: Option<(Registers, Vec<u8>)>,
    /// The events since the last sample, where the kernel tells; else 1.
    pub weight: u64,
}

/// A record that the recording has a use for.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A sample.
    Sample(RawSample),
    /// A process mapped a file as code.
    Map {
        /// The process.
        pid: u32,
        /// What lies where.
        mapping: Mapping,
    },
    /// So many records found no room.
    Lost(u64),
    /// A process or thread began.
    Fork {
        /// The process.
        pid: u32,
        /// The process that started it.
        parent: u32,
    },
    /// A thread ended.
    Exit {
        /// The thread.
        tid: u32,
    },
    /// A thread left its CPU.
    SwitchOut {
        /// The thread.
        tid: u32,
        /// Whether it would have run on.
        preempted: bool,
    },
    /// A thread runs again.
    SwitchIn {
        /// The thread.
        tid: u32,
    },
    /// A process runs another program.
    Exec {
        /// The process.
        pid: u32,
        /// The program.
        name: String,
    },
    /// A thread has a new name.
    ThreadName {
        /// Its process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// The name.
        name: String,
    },
}

/// Reads one record and when it was written (CLOCK_MONOTONIC ns); `None` where it is of another kind or can't be read.
pub fn parse(
    kind: u32,
    misc: u16,
    body: RawData<'_>,
    info: RecordParseInfo,
) -> Option<(u64, Record)> {
    // The reader trusts two lengths. Build ids of mappings are never asked for, so none is looked for.
    let kind = RecordType(kind);
    let misc = match kind {
        RecordType::MMAP2 => misc & !MISC_MMAP_BUILD_ID,
        _ => misc,
    };
    if kind == RecordType::SAMPLE && !has_callchain(body, &info) {
        return None;
    }
    let raw = RawEventRecord::new(kind, misc, body, info);
    let time_ns = raw.timestamp()?;
    let record = match raw.parse().ok()? {
        EventRecord::ContextSwitch(switch) => {
            let tid = u32::try_from(raw.common_data().ok()?.tid?).ok()?;
            switched(tid, switch)
        }
        parsed => record(parsed)?,
    };
    Some((time_ns, record))
}

fn switched(tid: u32, switch: ContextSwitchRecord) -> Record {
    match switch {
        ContextSwitchRecord::In { .. } => Record::SwitchIn { tid },
        ContextSwitchRecord::Out { preempted, .. } => Record::SwitchOut {
            tid,
            preempted: preempted == TaskWasPreempted::Yes,
        },
    }
}

/// Whether a sample that is to have a callchain is as long as it says.
fn has_callchain(body: RawData<'_>, info: &RecordParseInfo) -> bool {
    if !info.sample_format.contains(SampleFormat::CALLCHAIN) {
        return true;
    }
    let mut rest = body;
    let mut length = [0; 8];
    let period = match info.sample_format.contains(SampleFormat::PERIOD) {
        true => PERIOD_BYTES,
        false => 0,
    };
    let read = rest
        .skip(HEAD_BYTES + period)
        .and_then(|()| rest.read_exact(&mut length));
    read.is_ok() && u64::from_ne_bytes(length) <= rest.len() as u64 / 8
}

fn record(record: EventRecord<'_>) -> Option<Record> {
    match record {
        EventRecord::Sample(sample) => raw_sample(&sample).map(Record::Sample),
        EventRecord::Mmap2(map) if map.protection & libc::PROT_EXEC as u32 != 0 => {
            Some(Record::Map {
                pid: u32::try_from(map.pid).ok()?,
                mapping: Mapping {
                    start: map.address,
                    end: map.address.checked_add(map.length)?,
                    offset: map.page_offset,
                    path: PathBuf::from(String::from_utf8_lossy(&map.path.as_slice()).into_owned())
                        .into(),
                },
            })
        }
        EventRecord::Lost(lost) => Some(Record::Lost(lost.count)),
        EventRecord::Fork(fork) => Some(Record::Fork {
            pid: u32::try_from(fork.pid).ok()?,
            parent: u32::try_from(fork.ppid).ok()?,
        }),
        EventRecord::Exit(exit) => Some(Record::Exit {
            tid: u32::try_from(exit.tid).ok()?,
        }),
        EventRecord::Comm(comm) => {
            let pid = u32::try_from(comm.pid).ok()?;
            let tid = u32::try_from(comm.tid).ok()?;
            let name = String::from_utf8_lossy(&comm.name.as_slice()).into_owned();
            Some(match comm.is_execve {
                true => Record::Exec { pid, name },
                false => Record::ThreadName { pid, tid, name },
            })
        }
        _ => None,
    }
}

fn raw_sample(sample: &SampleRecord<'_>) -> Option<RawSample> {
    let kernel = sample.callchain.map_or_else(Vec::new, |chain| {
        (0..chain.len())
            .filter_map(|at| chain.get(at))
            .filter(|&address| address < CONTEXT_MARKERS)
            .collect()
    });
    let user =
        sample
            .user_regs
            .as_ref()
            .zip(sample.user_stack)
            .and_then(|(regs, (stack, used))| {
                let registers = Registers {
                    ip: regs.get(REG_IP)?,
                    sp: regs.get(REG_SP)?,
                    bp: regs.get(REG_BP)?,
                    general: GENERAL_REGISTERS.map(|register| regs.get(register).unwrap_or(0)),
                };
                let used = stack.get(0..usize::try_from(used).ok()?.min(stack.len()))?;
                Some((registers, used.as_slice().into_owned()))
            });
    Some(RawSample {
        time_ns: sample.timestamp?,
        pid: u32::try_from(sample.pid?).ok()?,
        tid: u32::try_from(sample.tid?).ok()?,
        kernel,
        user,
        weight: sample.period.unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::request::Subject;
    use perf_event_open_sys::bindings::{
        PERF_RECORD_EXIT, PERF_RECORD_MISC_SWITCH_OUT, PERF_RECORD_MISC_SWITCH_OUT_PREEMPT,
        PERF_RECORD_SAMPLE, PERF_RECORD_SWITCH, PERF_RECORD_SWITCH_CPU_WIDE,
    };

    const OUT: u32 = PERF_RECORD_MISC_SWITCH_OUT;
    const PREEMPTED: u32 = OUT | PERF_RECORD_MISC_SWITCH_OUT_PREEMPT;

    /// Reads a record of 64-bit `words`; two 32-bit numbers make one with [`pair`].
    fn read(subject: &Subject, kind: u32, misc: u32, words: &[u64]) -> Option<(u64, Record)> {
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let info = subject.requests()[0].parse_info();
        parse(kind, misc as u16, RawData::Single(&body), info)
    }

    fn pair(first: u32, second: u32) -> u64 {
        u64::from(first) | u64::from(second) << 32
    }

    #[test]
    fn switches_tell_the_thread_and_whether_it_would_have_run_on() {
        let switch = |kind, misc, words: &[u64]| {
            let (time_ns, record) = read(&Subject::OffCpu, kind, misc, words).unwrap();
            match record {
                Record::SwitchIn { tid } => (time_ns, tid, None),
                Record::SwitchOut { tid, preempted } => (time_ns, tid, Some(preempted)),
                _ => panic!("no switch"),
            }
        };
        let own = [pair(10, 11), 5000];
        assert_eq!(switch(PERF_RECORD_SWITCH, 0, &own), (5000, 11, None));
        assert_eq!(
            switch(PERF_RECORD_SWITCH, OUT, &own),
            (5000, 11, Some(false))
        );
        assert_eq!(
            switch(PERF_RECORD_SWITCH, PREEMPTED, &own),
            (5000, 11, Some(true))
        );
        // The other thread comes first.
        let wide = [pair(20, 21), own[0], own[1]];
        assert_eq!(
            switch(PERF_RECORD_SWITCH_CPU_WIDE, OUT, &wide),
            (5000, 11, Some(false))
        );
    }

    #[test]
    fn the_end_of_a_thread_is_its_own() {
        let words = [pair(10, 1), pair(11, 1), 4900, pair(10, 11), 5000];
        let read = read(&Subject::OffCpu, PERF_RECORD_EXIT, 0, &words);
        assert!(matches!(read, Some((5000, Record::Exit { tid: 11 }))));
    }

    #[test]
    fn a_sample_weighs_what_the_kernel_tells() {
        const USER_REGISTERS: u64 = 2;
        let after = |front: &[u64]| {
            let chain = [2, CONTEXT_MARKERS, 0xffff_ffff_8000_0001];
            // In the order of their numbers: bp, sp and ip are the seventh to the ninth.
            let registers: Vec<u64> = (0x10..0x21).collect();
            let stack = [16, 0xaa, 0xbb, 8];
            [front, &chain, &[USER_REGISTERS], &registers, &stack].concat()
        };
        let sample =
            |subject: &Subject, words: &[u64]| match read(subject, PERF_RECORD_SAMPLE, 0, words) {
                Some((5000, Record::Sample(sample))) => sample,
                _ => panic!("no sample"),
            };
        let by_rate = sample(
            &Subject::CpuTime { rate_hz: 997 },
            &after(&[pair(10, 11), 5000, 1_003_009]),
        );
        let by_number = sample(&Subject::OffCpu, &after(&[pair(10, 11), 5000]));
        assert_eq!((by_rate.weight, by_number.weight), (1_003_009, 1));
        for sample in [by_rate, by_number] {
            assert_eq!((sample.pid, sample.tid), (10, 11));
            assert_eq!(sample.kernel, [0xffff_ffff_8000_0001]);
            let (registers, stack) = sample.user.unwrap();
            assert_eq!(
                (registers.bp, registers.sp, registers.ip),
                (0x16, 0x17, 0x18)
            );
            assert_eq!(stack, 0xaa_u64.to_ne_bytes());
        }
    }
}
