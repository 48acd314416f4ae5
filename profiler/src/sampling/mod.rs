//! Samples of a running process, taken by the kernel and read from its ring buffers; the target is never stopped.
//!
//! [`events`] opens one sampling event a CPU on the process and all threads that it starts later, [`ring`] is
//! the memory shared with the kernel (the only unsafe code of the sampler), [`record`] turns its bytes into
//! values, [`mark`] finds for whom a worker thread works, and [`session`] is the thread that drains the rings, walks the stacks and
//! looks at the Python stacks, when and where [`scheduling`] lets it.

mod clock;
pub mod events;
mod mark;
pub mod record;
mod ring;
pub mod scheduling;
pub mod session;
pub mod target;
