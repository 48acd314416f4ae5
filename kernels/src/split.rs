//! Work that is cut into a tree of pieces, which the threads of a team do.
//!
//! In: the whole and how to halve it. Out: the results of the pieces, joined along the same tree. Who does which piece, and how far
//! the work is cut, changes nothing as long as a piece that is not cut gives what its halves give joined.

use crate::team::Team;
use std::sync::{Mutex, PoisonError};

/// Pieces that work is cut into: enough that a thread which is held up leaves some to the others.
const PIECES_PER_THREAD: usize = 4;

/// Work is split no further than to pieces of about this many elements.
const GRAIN: usize = 1 << 15;

/// Among which threads work is shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split<'a>(Option<&'a Team>);

impl<'a> Split<'a> {
    /// For work that one thread does alone.
    pub const ALONE: Split<'static> = Split(None);

    /// For work that is shared among a team.
    pub fn among(team: &'a Team) -> Self {
        Self(Some(team))
    }

    /// How many pieces there should be at least, if there are elements enough.
    pub fn pieces(self) -> usize {
        self.0.map_or(1, |team| PIECES_PER_THREAD * team.threads())
    }

    /// The number of elements, of `all`, up to which a piece is not cut.
    pub fn piece_of(self, all: usize) -> usize {
        match self.0 {
            None => usize::MAX,
            Some(_) => all.div_ceil(self.pieces()).max(GRAIN),
        }
    }

    /// Does the leaves of the tree that `halves` makes of `root`, and joins their results.
    pub fn tree<N: Sync, R: Send>(
        self,
        root: N,
        halves: impl Fn(&N) -> Option<[N; 2]>,
        leaf: impl Fn(&N) -> R + Sync,
        join: impl Fn(R, R) -> R,
    ) -> R {
        let Some(team) = self.0 else {
            return leaf(&root);
        };
        let tree = Tree::grow(root, &halves);
        let mut leaves = Vec::new();
        tree.leaves(&mut leaves);
        team.run(leaves.len(), &|i| {
            let result = leaf(&leaves[i].node);
            *leaves[i]
                .result
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        tree.join(&leaf, &join)
    }
}

enum Tree<N, R> {
    Leaf(Leaf<N, R>),
    Halves(Box<[Tree<N, R>; 2]>),
}

struct Leaf<N, R> {
    node: N,
    result: Mutex<Option<R>>,
}

impl<N, R> Tree<N, R> {
    fn grow(node: N, halves: &impl Fn(&N) -> Option<[N; 2]>) -> Self {
        match halves(&node) {
            Some(parts) => Self::Halves(Box::new(parts.map(|part| Self::grow(part, halves)))),
            None => Self::Leaf(Leaf {
                node,
                result: Mutex::new(None),
            }),
        }
    }

    fn leaves<'a>(&'a self, to: &mut Vec<&'a Leaf<N, R>>) {
        match self {
            Self::Leaf(leaf) => to.push(leaf),
            Self::Halves(parts) => parts.iter().for_each(|part| part.leaves(to)),
        }
    }

    /// The result of the whole; a leaf that nobody has done is done now.
    fn join(self, leaf: &impl Fn(&N) -> R, join: &impl Fn(R, R) -> R) -> R {
        match self {
            Self::Leaf(Leaf { node, result }) => {
                let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
                result.unwrap_or_else(|| leaf(&node))
            }
            Self::Halves(parts) => {
                let [a, b] = parts.map(|part| part.join(leaf, join));
                join(a, b)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_joined_in_order_however_far_the_work_is_cut() {
        let team = Team::start(3).unwrap();
        let whole = || (0..100_usize).map(|i| i.to_string()).collect::<String>();
        for most in [1, 3, 50, 100] {
            let text = Split::among(&team).tree(
                0..100_usize,
                |range| {
                    let middle = range.start + range.len() / 2;
                    (range.len() > most).then_some([range.start..middle, middle..range.end])
                },
                |range| range.clone().map(|i| i.to_string()).collect::<String>(),
                |a, b| a + &b,
            );
            assert_eq!(text, whole());
        }
    }

    #[test]
    fn alone_means_uncut() {
        assert_eq!(Split::ALONE.piece_of(usize::MAX), usize::MAX);
        let halves = |_: &usize| unreachable!("one thread has nothing to cut");
        assert_eq!(Split::ALONE.tree(7_usize, halves, |n| n + 1, |a, _| a), 8);
    }
}
