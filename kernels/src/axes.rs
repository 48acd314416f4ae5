//! The order in which arrays are walked, for any number of operands at once.
//!
//! In: axes as the user has them. Out: the fewest axes that reach the same elements, outermost first, the smallest step innermost,
//! no step of the leading operand negative.

use smallvec::SmallVec;

/// One axis of `K` operands that are walked together; strides are in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis<const K: usize> {
    pub len: usize,
    pub strides: [isize; K],
}

pub type Axes<const K: usize> = SmallVec<[Axis<K>; 4]>;

/// Brings `axes` into the order in which operand `lead` lies in memory and merges those that follow each other without a gap in
/// every operand. Returns by how much each operand's start moves (axes that ran backwards now run forwards).
pub fn arrange<const K: usize>(axes: &mut Axes<K>, lead: usize) -> [isize; K] {
    let mut moved = [0; K];
    axes.retain(|axis| axis.len != 1);
    for axis in axes.iter_mut().filter(|axis| axis.strides[lead] < 0) {
        for (start, stride) in moved.iter_mut().zip(&mut axis.strides) {
            *start += *stride * (axis.len as isize - 1);
            *stride = -*stride;
        }
    }
    // A repeated element (stride 0) is worth repeating as far outside as can be: its neighbours are elsewhere.
    axes.sort_by_key(|axis| {
        std::cmp::Reverse(if axis.strides[lead] == 0 {
            isize::MAX
        } else {
            axis.strides[lead]
        })
    });
    axes.dedup_by(|inner, outer| {
        let seamless = (0..K).all(|k| outer.strides[k] == inner.strides[k] * inner.len as isize);
        if seamless {
            *outer = Axis {
                len: outer.len * inner.len,
                strides: inner.strides,
            };
        }
        seamless
    });
    moved
}

/// Offsets of the element with number `index` in C order over `axes`.
pub fn offsets<const K: usize>(axes: &[Axis<K>], mut index: usize) -> [isize; K] {
    let mut offsets = [0; K];
    for axis in axes.iter().rev() {
        let along = (index % axis.len) as isize;
        index /= axis.len;
        for (offset, stride) in offsets.iter_mut().zip(axis.strides) {
            *offset += along * stride;
        }
    }
    offsets
}

/// The size of the left part when `len` items are halved at a fixed place: the largest power of two of `unit`s that leaves
/// something for the right part.
pub fn left_part(len: usize, unit: usize) -> usize {
    debug_assert!(len > unit);
    unit << (len.div_ceil(unit) - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    #[test]
    fn contiguous_axes_become_one() {
        let mut axes: Axes<1> = smallvec![
            Axis {
                len: 2,
                strides: [12]
            },
            Axis {
                len: 3,
                strides: [4]
            },
            Axis {
                len: 1,
                strides: [99]
            },
            Axis {
                len: 4,
                strides: [1]
            }
        ];
        assert_eq!(arrange(&mut axes, 0), [0]);
        assert_eq!(
            axes.as_slice(),
            [Axis {
                len: 24,
                strides: [1]
            }]
        );
    }

    #[test]
    fn transposed_and_backward_axes_are_put_in_order() {
        let mut axes: Axes<2> = smallvec![
            Axis {
                len: 3,
                strides: [1, 5]
            },
            Axis {
                len: 5,
                strides: [-3, 1]
            }
        ];
        assert_eq!(arrange(&mut axes, 0), [-12, 4]);
        assert_eq!(
            axes.as_slice(),
            [
                Axis {
                    len: 5,
                    strides: [3, -1]
                },
                Axis {
                    len: 3,
                    strides: [1, 5]
                }
            ]
        );
        assert_eq!(offsets(&axes, 4), [4, 4]);
    }

    #[test]
    fn the_left_part_is_a_power_of_two_and_not_all() {
        assert_eq!([5, 8, 9, 16, 17].map(|n| left_part(n, 4)), [4, 4, 8, 8, 16]);
    }
}
