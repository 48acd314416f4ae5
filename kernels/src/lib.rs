//! SIMD array kernels.
