//! The command `raptors-prof`.
fn main() {}
