//! For which Python thread a worker thread of some library works, where it does not say so: the one that is in that library too.
//!
//! In: code addresses of the worker and of the Python threads. Out: a thread, if just one fits. A thread that waits takes no
//! samples; where it waits is read from `/proc` and its memory, which does not disturb it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::request::STACK_BYTES;
use crate::native::unwind::{Registers, StackWalker};
use crate::python::Memory;

/// Libraries that everybody uses tell nothing, by the beginning of their names.
const COMMON: [&str; 9] = [
    "libc.",
    "libc-",
    "libpthread",
    "libm.",
    "libdl",
    "ld-linux",
    "libstdc++",
    "libgcc_s",
    "[",
];

/// The libraries in which these addresses lie.
pub fn libraries(walker: &StackWalker, addresses: &[u64]) -> BTreeSet<Arc<Path>> {
    let files = addresses
        .iter()
        .filter_map(|address| walker.met_file_at(*address));
    files
        .map(|file| Arc::clone(&file.path))
        .filter(|path| !is_common(path))
        .collect()
}

fn is_common(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return true;
    };
    name.contains("python") && !name.contains(".cpython-")
        || COMMON.iter().any(|common| name.starts_with(common))
}

/// The only one of these threads that is in one of the libraries.
pub fn only_thread_in(
    libraries: &BTreeSet<Arc<Path>>,
    threads: impl Iterator<Item = (u32, BTreeSet<Arc<Path>>)>,
) -> Option<u32> {
    let mut inside = threads
        .filter(|(_, own)| !own.is_disjoint(libraries))
        .map(|(tid, _)| tid);
    inside.next().filter(|_| inside.next().is_none())
}

/// The code addresses of a thread that waits in a system call, from leaf to root; none of one that runs.
pub fn where_it_waits(walker: &mut StackWalker, tid: u32) -> Vec<u64> {
    let pid = walker.pid();
    let file = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
    let Some((sp, ip)) = file.ok().as_deref().and_then(stack_and_instruction) else {
        return Vec::new();
    };
    let stack = Memory::of(pid).some(sp, STACK_BYTES as usize);
    let registers = Registers {
        ip,
        sp,
        bp: 0,
        general: [0; 15],
    };
    walker.walk(registers, &stack).native.addresses
}

/// Format: proc_pid_syscall(5): the number, six arguments, stack pointer and instruction pointer; `running` of a thread that runs.
fn stack_and_instruction(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_whitespace().rev();
    let mut word = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let ip = word()?;
    Some((word()?, ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Arc<Path>> {
        names.iter().map(|name| Path::new(name).into()).collect()
    }

    #[test]
    fn one_thread_in_the_library_is_the_caller_and_two_are_none() {
        let blas = set(&["/lib/libopenblas.so"]);
        let both = || {
            [
                (1, set(&["/lib/libopenblas.so", "/lib/numpy.so"])),
                (2, set(&["/lib/numpy.so"])),
            ]
            .into_iter()
        };
        assert_eq!(only_thread_in(&blas, both()), Some(1));
        assert_eq!(only_thread_in(&set(&["/lib/numpy.so"]), both()), None);
        assert_eq!(only_thread_in(&set(&[]), both()), None);
    }

    #[test]
    fn what_everybody_uses_tells_nothing() {
        let common = |path: &str| is_common(Path::new(path));
        assert!(common("/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(common("/usr/lib/libpython3.12.so.1.0"));
        assert!(common("[vdso]"));
        assert!(!common(
            "/v/numpy/_multiarray_umath.cpython-311-x86_64-linux-gnu.so"
        ));
        assert!(!common("/v/numpy.libs/libscipy_openblas64_-0123.so"));
    }

    #[test]
    fn a_waiting_thread_tells_its_stack_and_a_running_one_does_not() {
        let waiting = "202 0x7f00 0x80 0x0 0x0 0x0 0x0 0x7ffd10 0x7f0042\n";
        assert_eq!(stack_and_instruction(waiting), Some((0x7f_fd10, 0x7f_0042)));
        assert_eq!(stack_and_instruction("running\n"), None);
        assert_eq!(stack_and_instruction(""), None);
    }

    #[test]
    fn where_a_thread_of_this_test_waits_is_found() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: a system call without arguments.
            tell.send(unsafe { libc::syscall(libc::SYS_gettid) })
                .unwrap();
            receiver.recv().ok();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        let pid = std::process::id();
        let maps = crate::native::maps::Maps::read(pid).unwrap();
        let mut walker = StackWalker::new(pid, maps);
        let mut tries = 0..1000;
        let found = tries.any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            let addresses = where_it_waits(&mut walker, tid);
            libraries(&walker, &addresses)
                .iter()
                .any(|path| path.file_name() == std::env::current_exe().unwrap().file_name())
        });
        drop(sender);
        thread.join().unwrap();
        assert!(found);
    }
}
