//! What the kernel is asked for, and how what it writes is to be read.
//!
//! In: the subject of a recording. Out: requests in the order in which they are to be tried, each with its `perf_event_attr` and
//! the layout of its records.

use linux_perf_event_reader::{
    BranchSampleFormat, Endianness, ReadFormat, RecordIdParseInfo, RecordParseInfo, SampleFormat,
};
use perf_event::events::{Hardware, Software};
use perf_event::{Builder, SampleSkid};
use perf_event_open_sys::bindings;

use super::event_names::{Kind, SampledEvent};
use super::record::{GENERAL_REGISTERS, REG_IP, REG_SP};
use super::weight::Unit;

/// Bytes of user stack copied with each sample. Measured in docs/performance.md.
pub const STACK_BYTES: u32 = 16 * 1024;
/// Bytes of it where those are too few. Measured there too.
pub const DEEP_STACK_BYTES: u32 = 48 * 1024;
const USER_REGISTERS: u64 = 1 << REG_SP | 1 << REG_IP | general_registers();

const fn general_registers() -> u64 {
    let mut mask = 0;
    let mut at = 0;
    while at < GENERAL_REGISTERS.len() {
        mask |= 1 << GENERAL_REGISTERS[at];
        at += 1;
    }
    mask
}

/// What a recording is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// CPU time, so many samples a second: `cycles` where there is a PMU, else `cpu-clock`. Samples are counted.
    CpuTime {
        /// Samples a second.
        rate_hz: u32,
    },
    /// An event. Each sample counts as the events that it stands for.
    Event {
        /// Which.
        event: SampledEvent,
        /// Samples a second, for an event that goes by rate.
        rate_hz: u32,
    },
    /// Waits of threads: a sample at each switch to another thread, and when the thread returned.
    OffCpu,
}

/// One way to ask for a subject.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// What the result calls it.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// Of how many events one is sampled; `None` where the rate decides.
    pub period: Option<u64>,
    /// Samples a second; `None` where the period decides.
    pub rate_hz: Option<u32>,
    /// Whether to sample the kernel too.
    pub kernel: bool,
    /// Whether without the kernel there is nothing to sample.
    pub needs_kernel: bool,
    /// Whether to record the switches of threads.
    pub switches: bool,
    kind: Kind,
    skid: SampleSkid,
}

impl Subject {
    /// The best first.
    pub(super) fn requests(&self) -> Vec<Request> {
        match self {
            Subject::CpuTime { rate_hz } => {
                let cycles = Kind::Generic(Hardware::CPU_CYCLES.into());
                let clock = Kind::Generic(Software::CPU_CLOCK.into());
                [("cycles", cycles, true), ("cpu-clock", clock, false)]
                    .into_iter()
                    .flat_map(|(name, kind, hardware)| {
                        by_rate(name, kind, Unit::Samples, *rate_hz).variants(hardware)
                    })
                    .collect()
            }
            Subject::Event { event, rate_hz } => {
                let request = Request {
                    period: event.period,
                    rate_hz: event.period.is_none().then_some(*rate_hz),
                    needs_kernel: event.in_kernel,
                    ..by_rate(&event.name, event.kind.clone(), event.unit, *rate_hz)
                };
                request.variants(event.hardware())
            }
            Subject::OffCpu => {
                let switches = Kind::Generic(Software::CONTEXT_SWITCHES.into());
                vec![Request {
                    period: Some(1),
                    rate_hz: None,
                    needs_kernel: true,
                    switches: true,
                    ..by_rate("off-cpu", switches, Unit::Microseconds, 0)
                }]
            }
        }
    }
}

fn by_rate(name: &str, kind: Kind, unit: Unit, rate_hz: u32) -> Request {
    Request {
        name: name.to_owned(),
        unit,
        period: None,
        rate_hz: Some(rate_hz),
        kernel: true,
        needs_kernel: false,
        switches: false,
        kind,
        skid: SampleSkid::Arbitrary,
    }
}

impl Request {
    /// With the kernel and, where it may be left out, without; of `hardware` the most precise first.
    fn variants(self, hardware: bool) -> Vec<Request> {
        let skids = [
            SampleSkid::RequestZero,
            SampleSkid::Constant,
            SampleSkid::Arbitrary,
        ];
        let skids = if hardware { &skids[..] } else { &skids[2..] };
        let kernel = if self.needs_kernel {
            &[true][..]
        } else {
            &[true, false]
        };
        let variant = |&kernel| {
            let request = &self;
            skids.iter().map(move |&skid| Request {
                kernel,
                skid,
                ..request.clone()
            })
        };
        kernel.iter().flat_map(variant).collect()
    }

    /// The attributes of the event.
    pub(super) fn builder(&self) -> Builder<'static> {
        let mut builder = Builder::new();
        match &self.kind {
            Kind::Generic(event) => builder = builder.kind(event.clone()),
            Kind::Pmu(event) => {
                let attributes = builder.attrs_mut();
                attributes.type_ = event.type_;
                attributes.config = event.config[0];
                attributes.__bindgen_anon_3.config1 = event.config[1];
                attributes.__bindgen_anon_4.config2 = event.config[2];
            }
        }
        match (self.period, self.rate_hz) {
            (Some(period), _) => builder.sample_period(period),
            (None, rate_hz) => builder.sample_frequency(rate_hz.unwrap_or(1).into()),
        };
        builder
            .inherit(true)
            .exclude_kernel(!self.kernel)
            .precise_ip(self.skid)
            .sample_regs_user(USER_REGISTERS)
            .sample_stack_user(STACK_BYTES)
            .exclude_callchain_user(true)
            .mmap(true)
            .mmap2(true)
            .comm(true)
            .comm_exec(true)
            .task(true)
            .context_switch(self.switches)
            .sample_id_all(true)
            .clockid(perf_event::Clock::MONOTONIC)
            .wakeup_events(1);
        builder.attrs_mut().sample_type |= self.sample_type();
        builder
    }

    /// The attributes of the same event, whose samples wake nobody until a ring is half full.
    pub(super) fn silent_builder(&self) -> Builder<'static> {
        let mut builder = self.builder();
        // The ring has its own mark; this only says that samples are not counted.
        builder.wakeup_watermark(1);
        builder
    }

    /// The attributes of the same event with a longer copy of the stack.
    pub(super) fn deep_builder(&self) -> Builder<'static> {
        let mut builder = self.builder();
        builder.sample_stack_user(DEEP_STACK_BYTES);
        builder
    }

    /// How to read what the kernel writes.
    pub(super) fn parse_info(&self) -> RecordParseInfo {
        parse_info(self.sample_type())
    }

    fn sample_type(&self) -> u64 {
        sample_type(self.kernel, self.period.is_none())
    }
}

/// How the reader finds the fields of records of samples with these fields: samples begin with process and thread (8 bytes) and time
/// (8 bytes), all others end with them.
pub fn parse_info(sample_type: u64) -> RecordParseInfo {
    RecordParseInfo {
        endian: Endianness::NATIVE,
        sample_format: SampleFormat::from_bits_truncate(sample_type),
        branch_sample_format: BranchSampleFormat::empty(),
        read_format: ReadFormat::empty(),
        common_data_offset_from_end: Some(16),
        sample_regs_user: USER_REGISTERS,
        user_regs_count: USER_REGISTERS.count_ones() as u8,
        sample_regs_intr: 0,
        intr_regs_count: 0,
        id_parse_info: RecordIdParseInfo {
            nonsample_record_id_offset_from_end: None,
            sample_record_id_offset_from_start: None,
        },
        nonsample_record_time_offset_from_end: Some(8),
        sample_record_time_offset_from_start: Some(8),
    }
}

/// The fields of a sample (`PERF_SAMPLE_*`), with the kernel's callchain or not, taken by rate or by number.
///
/// A software event with a fixed period gives a sample for every single event, whatever the period, once its samples are to
/// tell the period (`perf_swevent_event` in the kernel): so only those by rate do.
pub fn sample_type(kernel: bool, by_rate: bool) -> u64 {
    let only = |asked: bool, field| if asked { field } else { 0 };
    let fields = bindings::PERF_SAMPLE_TID
        | bindings::PERF_SAMPLE_TIME
        | bindings::PERF_SAMPLE_REGS_USER
        | bindings::PERF_SAMPLE_STACK_USER
        | only(kernel, bindings::PERF_SAMPLE_CALLCHAIN)
        | only(by_rate, bindings::PERF_SAMPLE_PERIOD);
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::pmu::tests::devices;

    fn event(name: &str) -> Subject {
        Subject::Event {
            event: SampledEvent::find(name, devices().path()).unwrap(),
            rate_hz: 997,
        }
    }

    /// Precision and whether the kernel is sampled, in the order in which they are tried.
    fn tried(subject: &Subject) -> Vec<(u64, bool)> {
        let requests = subject.requests();
        let attributes = requests.iter().map(|request| *request.builder().attrs());
        attributes
            .map(|attributes| (attributes.precise_ip(), attributes.exclude_kernel() == 0))
            .collect()
    }

    #[test]
    fn the_most_precise_is_tried_first_and_the_kernel_left_out_where_it_may_be() {
        let hardware = [2, 1, 0].map(|skid| (skid, true));
        let without = hardware.map(|(skid, _)| (skid, false));
        assert_eq!(tried(&event("cycles")), [hardware, without].concat());
        assert_eq!(tried(&event("cpu/slots/")), [hardware, without].concat());
        assert_eq!(tried(&event("page-faults")), [(0, true), (0, false)]);
        for in_kernel in [event("context-switches"), Subject::OffCpu] {
            assert_eq!(tried(&in_kernel), [(0, true)]);
        }
    }

    #[test]
    fn events_go_by_rate_or_by_number() {
        let asked = |subject: Subject| {
            let attributes = *subject.requests()[0].builder().attrs();
            let tells = attributes.sample_type & u64::from(bindings::PERF_SAMPLE_PERIOD) != 0;
            // SAFETY: period and frequency share eight bytes that are always set.
            let number = unsafe { attributes.__bindgen_anon_1.sample_period };
            (attributes.freq() == 1, number, tells)
        };
        assert_eq!(asked(Subject::CpuTime { rate_hz: 99 }), (true, 99, true));
        assert_eq!(asked(event("cpu/slots/")), (true, 997, true));
        assert_eq!(asked(event("page-faults")), (false, 127, false));
        assert_eq!(asked(Subject::OffCpu), (false, 1, false));
    }

    #[test]
    fn an_event_of_a_pmu_is_asked_for_by_its_numbers() {
        let attributes = *event("mem-loads").requests()[0].builder().attrs();
        assert_eq!((attributes.type_, attributes.config), (4, 0x1_0000_01cd));
        // SAFETY: both unions hold eight bytes that are always set.
        let more = unsafe {
            (
                attributes.__bindgen_anon_3.config1,
                attributes.__bindgen_anon_4.config2,
            )
        };
        assert_eq!(more, (3, 0));
    }
}
