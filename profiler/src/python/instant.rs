//! The frames of a thread at the instant of a sample, from the interpreter's memory as it is a little later.
//!
//! The sample's own stack copy says which frame each call of the evaluator was in, and which instruction it was about to run; the
//! memory says what else there is to a frame. A function that has returned meanwhile leaves its frame as it was until
//! another needs the room; that it is another's by now shows in the instruction.

use std::collections::HashMap;

use super::code::CodeNames;
use super::frames::{Frames, Kind, RawFrame};
use super::layout::{Layout, Linkage};
use super::memory::Memory;
use super::place::{EvaluatorCall, Evidence, Place, Pointer};

/// What looks teach of an interpreter.
#[derive(Default)]
pub struct Learned {
    /// Where the evaluator keeps its `_PyCFrame` or entry frame.
    place: Place,
    /// Where it keeps its pointer to the next instruction while it calls another function, and while it runs.
    pointers: [Pointer; 2],
    /// Where it keeps its pointer to the frame that it runs, likewise.
    frame_pointers: [Pointer; 2],
    /// How often each code object was seen to call another, by callee and caller.
    calls_seen: HashMap<u64, HashMap<u64, u64>>,
    /// Looks at which the memory was another function's.
    pub late_looks: u64,
}

impl Learned {
    /// Takes note of a call. What was seen long ago counts for less and less.
    fn saw(&mut self, caller: u64, function: u64) {
        let callers = self.calls_seen.entry(function).or_default();
        let times = callers.entry(caller).or_default();
        *times += 1;
        if *times == MANY {
            callers.retain(|_, times| {
                *times /= 2;
                *times > 0
            });
        }
    }

    /// Whether one code object was seen to call the other, and not only when a frame that was over looked as if: that is rare.
    fn calls(&self, caller: u64, function: u64) -> bool {
        let Some(callers) = self.calls_seen.get(&function) else {
            return false;
        };
        let most = callers.values().max().copied().unwrap_or(0);
        let often = |times: &u64| times * RARE >= most;
        callers.get(&caller).is_some_and(often)
    }

    /// Likewise, or a function that calls the other: of a call in a function's last line, the evaluator returns from both without
    /// keeping an instruction between.
    fn leads_to(&self, caller: u64, function: u64) -> bool {
        let mut between = self
            .calls_seen
            .get(&function)
            .into_iter()
            .flat_map(HashMap::keys);
        self.calls(caller, function)
            || between.any(|between| self.calls(*between, function) && self.calls(caller, *between))
    }
}

/// See [`Instant::whereabouts`]: stack pointers and instructions, from root to leaf.
pub type Whereabouts = Vec<(u64, u64)>;

/// Puts together what was at the instant; learns on the way where the evaluator keeps its own.
pub struct Instant<'a> {
    layout: &'a Layout,
    frames: &'a mut Frames,
    codes: &'a mut CodeNames,
    memory: Memory,
    learned: &'a mut Learned,
    evidence: Evidence<'a>,
    /// What the variables of each evaluator call may be kept in.
    words: Vec<Vec<u64>>,
    /// The instruction that each was at, with its code object.
    told: Vec<Option<(u64, u64)>>,
}

impl<'a> Instant<'a> {
    /// Of a sample that says `evidence`. `frames` are as the memory has them, `codes` the code objects that were met; where more of them
    /// are, the `memory` tells. `learned` is from earlier samples.
    pub fn new(
        layout: &'a Layout,
        memory: Memory,
        frames: &'a mut Frames,
        codes: &'a mut CodeNames,
        learned: &'a mut Learned,
        evidence: Evidence<'a>,
    ) -> Instant<'a> {
        let calls = 0..evidence.calls.len();
        let words = calls.clone().map(|index| evidence.words_of_call(index));
        let mut instant = Instant {
            layout,
            frames,
            codes,
            memory,
            learned,
            evidence,
            words: words.collect(),
            told: Vec::new(),
        };
        calls.clone().for_each(|index| instant.learn(index));
        instant.told = calls.map(|index| instant.tell(index)).collect();
        instant
    }

    /// The frames from leaf to root; `None` where the memory says nothing that fits the sample. `late` are the thread's frames
    /// as they are now, from leaf to root; `anchor` is what it points to that lies on its native stack (`_PyCFrame`).
    pub fn frames(&mut self, late: &[RawFrame], anchor: u64) -> Option<Vec<RawFrame>> {
        match self.layout.linkage {
            Linkage::Objects { .. } => self.objects(late),
            Linkage::CFrames { current, .. } => {
                self.learned.place.sight(self.evidence.calls, anchor);
                self.by_cframes(current)
            }
            Linkage::Frames { .. } => {
                for shim in late.iter().filter(|frame| frame.kind == Kind::Shim) {
                    self.learned.place.sight(self.evidence.calls, shim.address);
                }
                self.by_frame_pointers()
                    .or_else(|| self.by_entry_frames(late))
            }
        }
    }

    /// Where each evaluator call lies on the native stack, and the instruction it is at; `None` while the evaluator itself runs. Two
    /// samples of a thread that stays in one call of a C function have the same.
    pub fn whereabouts(&self) -> Option<Whereabouts> {
        let calls = self.evidence.calls;
        if calls.last()?.runs {
            return None;
        }
        let place =
            |(call, told): (&EvaluatorCall, &Option<(u64, u64)>)| Some((call.cfa, (*told)?.1));
        calls.iter().zip(&self.told).map(place).collect()
    }

    /// Each evaluator call has a `_PyCFrame` in its native frame, which points to its innermost frame.
    fn by_cframes(&mut self, current: u64) -> Option<Vec<RawFrame>> {
        let place = &self.learned.place;
        let innermost = |call: &EvaluatorCall| {
            let cframe = place.of(*call)?;
            self.evidence.word(cframe.wrapping_add(current))
        };
        let innermost: Vec<u64> = self
            .evidence
            .calls
            .iter()
            .map(innermost)
            .collect::<Option<_>>()?;
        self.by_innermost(&innermost)
    }

    /// Each evaluator call has a pointer to its innermost frame among its words.
    fn by_frame_pointers(&mut self) -> Option<Vec<RawFrame>> {
        let innermost = |(call, words): (&EvaluatorCall, &Vec<u64>)| {
            let pointer = &self.learned.frame_pointers[usize::from(call.runs)];
            pointer.known_of(words)
        };
        let calls = self.evidence.calls.iter().zip(&self.words);
        let innermost: Vec<u64> = calls.map(innermost).collect::<Option<_>>()?;
        self.by_innermost(&innermost)
    }

    /// The frames by the innermost frame of each evaluator call, from root to leaf. Where a call begins, its caller is the innermost
    /// frame of the call before, whatever the memory says by now.
    fn by_innermost(&mut self, innermost: &[u64]) -> Option<Vec<RawFrame>> {
        let mut chain = Vec::new();
        for index in (0..innermost.len()).rev() {
            let frames = match index.checked_sub(1) {
                None => self.frames.walk(innermost[0])?,
                Some(before) => self.frames_of_call(index, innermost[index], innermost[before])?,
            };
            let caller = || self.told[index.checked_sub(1)?].map(|(code, _)| code);
            let caller = frames.get(1).map(|frame| frame.code).or_else(caller);
            chain.extend(self.fitted(index, frames, caller)?);
        }
        Some(chain)
    }

    /// The frames of call number `index`, from the innermost, at `top`, to the first, which the frame at `below` called.
    fn frames_of_call(&mut self, index: usize, top: u64, below: u64) -> Option<Vec<RawFrame>> {
        let call = self.evidence.calls[index];
        if (call.sp..call.cfa).contains(&top) {
            return Some(vec![RawFrame::shim(top)]);
        }
        let told = self.told[index].map(|(code, _)| code);
        let mut frames: Vec<RawFrame> = Vec::new();
        let mut next = top;
        loop {
            let mut frame = self
                .frames
                .at(next)
                .filter(|_| frames.len() < MORE_FRAMES)?;
            // Another function's by now: right above its caller it is the first, unless a generator that lies elsewhere came between.
            let taken = next == top && told.is_some_and(|code| code != frame.code);
            let begins = frame.kind == Kind::Entry
                || [0, below].contains(&frame.previous)
                || (taken && self.above(index - 1, below) == Some(top))
                || self.frames.at(frame.previous)?.kind == Kind::Shim;
            if begins {
                frame.kind = Kind::Entry;
            }
            next = frame.previous;
            frames.push(frame);
            if begins {
                return Some(frames);
            }
        }
    }

    /// Where on the stack of frames the next one begins after the innermost frame of call number `index`.
    fn above(&self, index: usize, innermost: u64) -> Option<u64> {
        let (code, _) = self.told[index]?;
        let bytes = self.codes.frame_bytes(self.layout, code)?;
        Some(innermost.wrapping_add(bytes))
    }

    /// The frames of call number `index` with the instruction that the sample tells. Where that is another function's than the innermost
    /// frame's, either the sample is between two functions of which one calls the other, as in each call and return for a moment; or
    /// another function runs in that frame by now. Its `caller` may be another's too then, so it counts only if it was seen to call the
    /// function that the sample tells. Where both may be, it is the first if the evaluator itself runs, and the second if C code does.
    fn fitted(
        &mut self,
        index: usize,
        mut frames: Vec<RawFrame>,
        caller: Option<u64>,
    ) -> Option<Vec<RawFrame>> {
        let leaf = frames.first_mut()?;
        let Some((code, instruction)) = self.told[index].filter(|_| leaf.kind != Kind::Shim) else {
            return Some(frames);
        };
        if code == leaf.code {
            if let Some(caller) = caller {
                self.learned.saw(caller, code);
            }
        } else {
            let learned = &self.learned;
            let runs = self.evidence.calls[index].runs;
            let between = learned.leads_to(leaf.code, code) || learned.calls(code, leaf.code);
            let taken = caller.is_some_and(|caller| learned.calls(caller, code));
            if between && (runs || !taken) {
                return Some(frames);
            }
            self.learned.late_looks += 1;
            if !taken {
                return None;
            }
        }
        leaf.code = code;
        leaf.instruction = instruction;
        Some(frames)
    }

    /// Each evaluator call has an entry frame in its native frame, which stands before its functions. Which of them is the
    /// innermost may be in a register; else it is one that the thread is in now, or one that returned to it since: the one
    /// whose instruction the sample tells.
    fn by_entry_frames(&mut self, late: &[RawFrame]) -> Option<Vec<RawFrame>> {
        let calls = self.evidence.calls;
        let entries: Vec<u64> = calls
            .iter()
            .map(|call| self.learned.place.of(*call))
            .collect::<Option<_>>()?;
        let innermost = calls.len().checked_sub(1)?;
        let told = self.told[innermost];
        let tops = self.tops(innermost, frames_before(late, *entries.last()?));
        self.frames.expect(&tops);
        let most = late.len() + MORE_FRAMES;
        let mut chains = tops
            .into_iter()
            .filter_map(|top| self.walk_through(top, &entries, most));
        let first = chains.next()?;
        let runs = |chain: &Vec<RawFrame>| {
            let code = chain.first().map(|leaf| leaf.code);
            told.is_none_or(|(told, _)| Some(told) == code)
        };
        let chain = match runs(&first) {
            true => first,
            false => chains.find(runs).unwrap_or(first),
        };
        let mut functions = chain.iter().filter(|frame| frame.kind != Kind::Shim);
        let caller = functions.nth(1).map(|frame| frame.code);
        self.fitted(innermost, chain, caller)
    }

    /// What may be the innermost frame of call number `index`, the likeliest first, where the call is `now` in these frames: what
    /// its words point to on the stack of frames; those frames; what may have returned to one of them and lies behind it.
    fn tops(&self, index: usize, now: &[RawFrame]) -> Vec<u64> {
        let near = |word: &u64| {
            let mut frames = now.iter();
            frames.any(|frame| frame.address.abs_diff(*word) < STACK_CHUNK_BYTES)
        };
        let mut tops = pointers(&self.words[index]);
        tops.retain(near);
        tops.extend(now.iter().map(|frame| frame.address));
        tops.extend(now.iter().filter_map(|frame| {
            let bytes = self.codes.frame_bytes(self.layout, frame.code)?;
            Some(frame.address.wrapping_add(bytes))
        }));
        tops
    }

    /// The frames from `top` on, if the entry frames among them are these (from root to leaf; of a cut stack the innermost).
    fn walk_through(&mut self, top: u64, entries: &[u64], most: usize) -> Option<Vec<RawFrame>> {
        self.frames
            .at(top)
            .filter(|frame| frame.kind != Kind::Shim)?;
        let chain = self.frames.walk_some(top, most)?;
        let shims = chain.iter().filter(|frame| frame.kind == Kind::Shim);
        let innermost = shims.map(|shim| shim.address).take(entries.len());
        innermost.eq(entries.iter().rev().copied()).then_some(chain)
    }

    /// Where call number `index` keeps its pointer to the next instruction: the word that points into code.
    fn learn(&mut self, index: usize) {
        let words = &self.words[index];
        let runs = usize::from(self.evidence.calls[index].runs);
        let pointer = &mut self.learned.pointers[runs];
        if let Some(pointer) = pointer.known_of(words) {
            self.codes.search(self.memory, self.layout, pointer);
        }
        if !pointer.is_settled() {
            let codes = words.iter().map(|word| self.codes.at(self.layout, *word));
            pointer.score(codes.map(|code| code.is_some()));
        }
        let by_pointer = matches!(self.layout.linkage, Linkage::Frames { .. });
        if by_pointer && !self.learned.frame_pointers[runs].is_settled() {
            self.learn_frame_pointer(index);
        }
    }

    /// A word that points to a frame which is at the instruction's code object.
    fn learn_frame_pointer(&mut self, index: usize) {
        let Some((code, _)) = self.tell(index) else {
            return;
        };
        let words = &self.words[index];
        self.frames.expect(&pointers(words));
        let runs = usize::from(self.evidence.calls[index].runs);
        let hits = words.iter().map(|word| {
            let frame = self.frames.seen(*word);
            frame.is_some_and(|frame| frame.code == code && frame.kind != Kind::Shim)
        });
        self.learned.frame_pointers[runs].score(hits);
    }

    /// The instruction that call number `index` was at, with its code object, as far as is learned.
    fn tell(&self, index: usize) -> Option<(u64, u64)> {
        let runs = usize::from(self.evidence.calls[index].runs);
        let mut pointers = self.learned.pointers[runs].of(&self.words[index]).iter();
        pointers.find_map(|pointer| self.codes.at(self.layout, *pointer))
    }

    /// Each evaluator call runs one frame object.
    fn objects(&mut self, late: &[RawFrame]) -> Option<Vec<RawFrame>> {
        let class = late.last()?.class;
        let calls = self.evidence.calls.len();
        let mut found: Vec<RawFrame> = Vec::with_capacity(calls);
        for index in 0..calls {
            let outer = found.last().map(|frame| frame.address);
            found.push(self.object_of_call(index, outer, class)?);
        }
        found.reverse();
        // A cut native stack does not show the outer calls.
        let outermost = found.last()?.previous;
        if outermost != 0 {
            found.extend(self.frames.walk(outermost)?);
        }
        Some(found)
    }

    /// The frame object of call number `index`, called from the one at `outer`. When a function has returned, its frame object
    /// lies ready for the next call of the same function, without a caller.
    fn object_of_call(&mut self, index: usize, outer: Option<u64>, class: u64) -> Option<RawFrame> {
        let words = pointers(&self.words[index]);
        let told = self.told[index];
        let objects = |frames: &Frames| {
            let objects = words.iter().filter_map(|word| frames.seen(*word));
            objects
                .filter(|frame| frame.class == class)
                .collect::<Vec<_>>()
        };
        let called = |frame: &&RawFrame| outer.is_none_or(|outer| frame.previous == outer);
        let runs = |frame: &&RawFrame| told.is_some_and(|(code, _)| code == frame.code);
        let over = |frame: &&RawFrame| frame.previous == 0;
        let known = objects(self.frames);
        let mut frame = known.iter().filter(called).find(runs).copied();
        if frame.is_none() {
            self.frames.expect(&words);
            let objects = objects(self.frames);
            frame = objects
                .iter()
                .filter(called)
                .find(runs)
                .or_else(|| objects.iter().filter(over).find(runs))
                .or_else(|| objects.iter().find(called))
                .copied();
        }
        let mut frame = frame?;
        if let Some((_, instruction)) = told.filter(|(code, _)| *code == frame.code) {
            frame.instruction = instruction;
        }
        Some(frame)
    }
}

/// What may point to a frame, of these words.
fn pointers(words: &[u64]) -> Vec<u64> {
    let may = |word: &&u64| word.is_multiple_of(8) && USER_SPACE.contains(word);
    words.iter().filter(may).copied().collect()
}

/// The functions of the evaluator call whose entry frame is at `entry`, from leaf to root.
fn frames_before(chain: &[RawFrame], entry: u64) -> &[RawFrame] {
    let Some(end) = chain.iter().position(|frame| frame.address == entry) else {
        return &[];
    };
    let inner = chain[..end]
        .iter()
        .rposition(|frame| frame.kind == Kind::Shim);
    &chain[inner.map_or(0, |shim| shim + 1)..end]
}

/// A caller that is seen so many times less than another of the same function is seen by mistake.
const RARE: u64 = 4;
/// Once a call was seen so often, all counts of that function's callers are halved.
const MANY: u64 = 1000;
/// So many frames more than it has now a thread may have had when the sample was taken.
const MORE_FRAMES: usize = 100;
/// Room for frames that the interpreter gets at a time, at least (`DATA_STACK_CHUNK_SIZE`).
const STACK_CHUNK_BYTES: u64 = 16 * 1024;
/// Where a process may have memory.
const USER_SPACE: std::ops::Range<u64> = 0x1_0000..1 << 47;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_seen_by_mistake_is_not_believed() {
        let (one, other, sums) = (1, 2, 3);
        let mut learned = Learned::default();
        (0..100).for_each(|_| learned.saw(one, sums));
        (0..24).for_each(|_| learned.saw(other, sums));
        assert!(learned.calls(one, sums) && !learned.calls(other, sums));
        learned.saw(other, sums);
        assert!(learned.calls(other, sums), "one in four is no mistake");
    }

    #[test]
    fn who_called_long_ago_is_forgotten() {
        let (before, now, sums) = (1, 2, 3);
        let mut learned = Learned::default();
        (0..100_000).for_each(|_| learned.saw(before, sums));
        (0..500).for_each(|_| learned.saw(now, sums));
        assert!(learned.calls(now, sums));
    }

    #[test]
    fn a_function_leads_to_what_its_callee_calls() {
        let (outer, between, function) = (1, 2, 3);
        let mut learned = Learned::default();
        learned.saw(outer, between);
        learned.saw(between, function);
        assert!(learned.leads_to(outer, function) && learned.leads_to(between, function));
        assert!(!learned.leads_to(function, outer) && !learned.calls(outer, function));
    }
}
