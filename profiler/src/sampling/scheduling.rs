//! When and where the sampling thread runs.
//!
//! The sampling thread runs wherever the scheduler likes, until looks come too late: functions of microseconds are over before they
//! are looked at from another CPU. Then it follows the samples: on the CPU where the sample was taken it takes the target's place
//! for as long as it looks, and the target goes on after that.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The nice value that goes first.
const HIGHEST_PRIORITY: libc::c_int = -20;
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The scheduling of the thread that made it. What the system does not allow is left as it is; looks come later then.
pub struct Scheduling {
    anywhere: Option<CpuSet>,
    on: Option<usize>,
}

impl Scheduling {
    /// Raises the priority of this thread, where the user may.
    pub fn of_this_thread() -> Scheduling {
        // SAFETY: a system call without pointers; 0 is the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, HIGHEST_PRIORITY) };
        Scheduling {
            anywhere: sched_getaffinity(THIS_THREAD).ok(),
            on: None,
        }
    }

    /// Runs on `cpu` from now on, or anywhere.
    pub fn follow(&mut self, cpu: Option<usize>) {
        let Some(anywhere) = self.anywhere.filter(|_| cpu != self.on) else {
            return;
        };
        let set = match cpu {
            None => Ok(anywhere),
            Some(cpu) => {
                let mut set = CpuSet::new();
                set.set(cpu).map(|()| set)
            }
        };
        if set
            .and_then(|set| sched_setaffinity(THIS_THREAD, &set))
            .is_ok()
        {
            self.on = cpu;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_follows_and_is_free_again() {
        let allowed = sched_getaffinity(THIS_THREAD).unwrap();
        let cpu = (0..CpuSet::count())
            .find(|cpu| allowed.is_set(*cpu).unwrap())
            .unwrap();
        let mut scheduling = Scheduling::of_this_thread();
        scheduling.follow(Some(cpu));
        let mut only = CpuSet::new();
        only.set(cpu).unwrap();
        assert_eq!(sched_getaffinity(THIS_THREAD).unwrap(), only);
        scheduling.follow(Some(CpuSet::count()));
        assert_eq!(sched_getaffinity(THIS_THREAD).unwrap(), only);
        scheduling.follow(None);
        assert_eq!(sched_getaffinity(THIS_THREAD).unwrap(), allowed);
    }
}
