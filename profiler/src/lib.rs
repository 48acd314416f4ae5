//! A native profiler for Rust and NumPy kernels.
