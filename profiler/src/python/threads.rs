//! Which thread state belongs to which kernel thread.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::layout::Layout;
use super::memory::{Memory, word_at};
use super::thread_ids::ThreadIds;

/// How long a thread without Python state is believed to have none.
const BELIEVED: Duration = Duration::from_millis(100);
/// A list of thread states is no longer.
const MAX_THREADS: usize = 100_000;

/// The thread states of one interpreter.
#[derive(Debug, Default)]
pub struct Threads {
    states: HashMap<u32, State>,
    /// Threads that had none when the list was last read.
    without: HashMap<u32, Instant>,
    ids: ThreadIds,
}

#[derive(Debug, Clone, Copy)]
struct State {
    address: u64,
    pthread: u64,
    /// What the interpreter says is the kernel's id. In a child process it may be that of the parent's thread.
    native: Option<u64>,
}

impl Threads {
    /// The thread state of thread `tid`, with its bytes as they are now; `None` where it has none. `sure` says that it must
    /// have one by now, whatever the list said before.
    pub fn state(
        &mut self,
        memory: Memory,
        layout: &Layout,
        interpreter: u64,
        tid: u32,
        sure: bool,
    ) -> Option<Vec<u8>> {
        if let Some(bytes) = self.read(memory, layout, tid) {
            return Some(bytes);
        }
        let believed = self
            .without
            .get(&tid)
            .is_some_and(|since| since.elapsed() < BELIEVED);
        if believed && !sure {
            return None;
        }
        self.list(memory, layout, interpreter);
        let found = self.read(memory, layout, tid);
        if found.is_none() {
            self.without.insert(tid, Instant::now());
        }
        found
    }

    /// Those that have a thread state.
    pub fn all(&self) -> Vec<u32> {
        self.states.keys().copied().collect()
    }

    /// The bytes of a thread state that is still the one that it was.
    fn read(&mut self, memory: Memory, layout: &Layout, tid: u32) -> Option<Vec<u8>> {
        let state = self.states.get(&tid)?;
        let bytes = memory.bytes(state.address, state_bytes(layout))?;
        let same = word_at(&bytes, layout.pthread) == Some(state.pthread)
            && layout
                .native_thread
                .is_none_or(|offset| word_at(&bytes, offset) == state.native);
        same.then_some(bytes)
    }

    fn list(&mut self, memory: Memory, layout: &Layout, interpreter: u64) {
        self.states.clear();
        self.without.retain(|_, since| since.elapsed() < BELIEVED);
        let mut found = Vec::new();
        let mut next = memory
            .word(interpreter.wrapping_add(layout.threads))
            .unwrap_or(0);
        while next != 0 && found.len() < MAX_THREADS {
            let Some(bytes) = memory.bytes(next, state_bytes(layout)) else {
                break;
            };
            let pthread = word_at(&bytes, layout.pthread).unwrap_or(0);
            let native = layout
                .native_thread
                .and_then(|offset| word_at(&bytes, offset));
            found.push(State {
                address: next,
                pthread,
                native,
            });
            next = word_at(&bytes, layout.next_thread).unwrap_or(0);
        }
        let pthreads: Vec<u64> = found.iter().map(|state| state.pthread).collect();
        let by_pthread = match layout.native_thread {
            Some(_) => None,
            None => Some(self.ids.of(memory.pid(), &pthreads)),
        };
        let pid = memory.pid();
        let single = (found.len() == 1).then_some(pid);
        for state in found {
            let native = state.native.and_then(|id| u32::try_from(id).ok());
            let tid = native
                .filter(|tid| single.is_none() || is_thread_of(pid, *tid))
                .or_else(|| by_pthread?.get(&state.pthread).copied())
                .or(single);
            if let Some(tid) = tid {
                self.states.insert(tid, state);
            }
        }
    }
}

fn is_thread_of(pid: u32, tid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/task/{tid}")).exists()
}

/// Bytes of a thread state up to the furthest field that is read.
fn state_bytes(layout: &Layout) -> usize {
    let furthest = layout.native_thread.unwrap_or(0).max(layout.pthread);
    usize::try_from(furthest + 8).unwrap_or(0)
}
