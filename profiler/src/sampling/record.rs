//! The bytes of perf records as values. Format: perf_event_open(2), section "Overflow records".

use std::path::PathBuf;

use linux_perf_event_reader::{
    EventRecord, RawData, RawEventRecord, RecordParseInfo, RecordType, SampleFormat, SampleRecord,
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

/// Where a sample's callchain begins: process, thread and time come before it.
const CALLCHAIN_AT: usize = 16;

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
    let misc = misc & !MISC_MMAP_BUILD_ID;
    let kind = RecordType(kind);
    if kind == RecordType::SAMPLE && !has_callchain(body, &info) {
        return None;
    }
    let raw = RawEventRecord::new(kind, misc, body, info);
    let time_ns = raw.timestamp()?;
    Some((time_ns, record(raw.parse().ok()?)?))
}

/// Whether a sample that is to have a callchain is as long as it says.
fn has_callchain(body: RawData<'_>, info: &RecordParseInfo) -> bool {
    if !info.sample_format.contains(SampleFormat::CALLCHAIN) {
        return true;
    }
    let mut rest = body;
    let mut length = [0; 8];
    let read = rest
        .skip(CALLCHAIN_AT)
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
                let mut bytes = stack.as_slice().into_owned();
                bytes.truncate(usize::try_from(used).ok()?);
                Some((registers, bytes))
            });
    Some(RawSample {
        time_ns: sample.timestamp?,
        pid: u32::try_from(sample.pid?).ok()?,
        tid: u32::try_from(sample.tid?).ok()?,
        kernel,
        user,
    })
}
