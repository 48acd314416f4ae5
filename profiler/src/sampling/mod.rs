//! Samples of a running process, taken by the kernel and read from its ring buffers; the target is never stopped.
//!
//! [`event_names`] and [`pmu`] find an event by its name, [`request`] says what the kernel is asked for,
//! [`events`] opens the sampling events of each CPU on the process and all threads that it starts later, [`ring`] is
//! the memory shared with the kernel (unsafe code is there, and for single system calls in `events` and [`scheduling`]), [`record`] turns its bytes into
//! values, [`weight`] and [`off_cpu`] tell how much a sample counts, [`mark`] and [`library_callers`] find for whom a worker thread works, and [`session`] is
//! the thread that drains the rings, walks the stacks ([`walked_stack`]) and looks at the Python stacks, when and where [`scheduling`] lets it, with as much of each stack
//! as [`depth`] finds is needed.

mod clock;
mod depth;
pub mod event_names;
pub mod events;
mod library_callers;
mod mark;
mod off_cpu;
pub mod pmu;
pub mod record;
pub mod request;
mod ring;
pub mod scheduling;
pub mod session;
pub mod target;
mod walked_stack;
pub mod weight;
