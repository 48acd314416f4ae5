//! The Python module `raptors`.
