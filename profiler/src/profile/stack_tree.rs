//! Stacks as a tree: a node for each distinct path of frames from a root.
//!
//! In: stacks, from root to leaf. Out: the same, each once, with what was counted on it. A node's parent always comes before it.

use std::collections::HashMap;

use super::Frame;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// None at a root.
    parent: Option<u32>,
    frame: u32,
    weight: u64,
}

/// Stacks as a tree. A stack is told by the index of its last node.
#[derive(Debug, Default)]
pub struct StackTree {
    frames: Vec<Frame>,
    known: HashMap<Frame, u32>,
    nodes: Vec<Node>,
    children: HashMap<(Option<u32>, u32), u32>,
}

impl StackTree {
    /// Counts `weight` on a stack (root to leaf) and gives its node. An empty stack has none and is not counted.
    pub fn add(&mut self, stack: &[Frame], weight: u64) -> Option<u32> {
        let leaf = stack.iter().fold(None, |parent, frame| {
            let frame = self.intern(frame);
            Some(self.child(parent, frame))
        })?;
        self.count(leaf, weight);
        Some(leaf)
    }

    /// Counts `weight` on the stack of a node of this tree.
    ///
    /// # Panics
    /// When this tree has no such node.
    pub fn count(&mut self, node: u32, weight: u64) {
        self.nodes[node as usize].weight += weight;
    }

    /// Adds all stacks of `other` under the frame `root`, where there is one; gives the node here of each node there.
    pub fn graft(&mut self, other: &StackTree, root: Option<&Frame>) -> Vec<u32> {
        let root = root.map(|frame| {
            let frame = self.intern(frame);
            self.child(None, frame)
        });
        let mut here: Vec<u32> = Vec::with_capacity(other.nodes.len());
        for node in &other.nodes {
            let parent = node.parent.map(|parent| here[parent as usize]).or(root);
            let frame = self.intern(&other.frames[node.frame as usize]);
            let grafted = self.child(parent, frame);
            self.count(grafted, node.weight);
            here.push(grafted);
        }
        here
    }

    /// The index of an equal frame.
    pub fn intern(&mut self, frame: &Frame) -> u32 {
        if let Some(&index) = self.known.get(frame) {
            return index;
        }
        let index = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.known.insert(frame.clone(), index);
        index
    }

    /// The node of `frame` on the stack of `parent`.
    pub fn child(&mut self, parent: Option<u32>, frame: u32) -> u32 {
        let new = self.nodes.len() as u32;
        let node = *self.children.entry((parent, frame)).or_insert(new);
        if node == new {
            self.nodes.push(Node {
                parent,
                frame,
                weight: 0,
            });
        }
        node
    }

    /// All frames that occur, each once.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Parent and frame of every node, parents first.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (Option<u32>, u32)> {
        self.nodes.iter().map(|node| (node.parent, node.frame))
    }

    /// The frames of a node's stack from leaf to root, by their index in [`StackTree::frames`].
    pub fn from_the_leaf(&self, node: u32) -> impl Iterator<Item = u32> {
        let up = |node: &Node| node.parent.map(|parent| self.nodes[parent as usize]);
        std::iter::successors(self.nodes.get(node as usize).copied(), up).map(|node| node.frame)
    }

    /// All that was counted.
    pub fn total(&self) -> u64 {
        self.nodes.iter().map(|node| node.weight).sum()
    }

    /// Calls `visit` with each stack on which something was counted (root to leaf), and with how much.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(&[&'a Frame], u64)) {
        let mut stack: Vec<&Frame> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.weight == 0 {
                continue;
            }
            stack.clear();
            let frames = self.from_the_leaf(index as u32);
            stack.extend(frames.map(|frame| &self.frames[frame as usize]));
            stack.reverse();
            visit(&stack, node.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::FrameKind;

    fn stack(names: &[&str]) -> Vec<Frame> {
        let frame = |name: &&str| Frame::new(FrameKind::Native, *name);
        names.iter().map(frame).collect()
    }

    fn told(tree: &StackTree) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        tree.for_each(|stack, weight| {
            let names: Vec<&str> = stack.iter().map(|frame| &*frame.name).collect();
            told.push((names.join(";"), weight));
        });
        told
    }

    #[test]
    fn an_equal_stack_has_the_same_node_and_an_empty_one_has_none() {
        let mut tree = StackTree::default();
        let first = tree.add(&stack(&["a", "b"]), 1);
        assert_eq!(tree.add(&stack(&["a", "b"]), 2), first);
        assert_ne!(tree.add(&stack(&["b"]), 4), first);
        assert_eq!(tree.add(&[], 8), None);
        assert_eq!(told(&tree), [("a;b".to_owned(), 3), ("b".to_owned(), 4)]);
        assert_eq!(tree.total(), 7);
        let frames: Vec<u32> = tree.from_the_leaf(first.unwrap()).collect();
        assert_eq!(frames, [1, 0]);
    }

    #[test]
    fn a_tree_is_grafted_under_a_root() {
        let (mut one, mut all) = (StackTree::default(), StackTree::default());
        let leaf = one.add(&stack(&["a", "b"]), 1).unwrap();
        let root = Frame::new(FrameKind::Marker, "[process p 1]");
        let here = all.graft(&one, Some(&root));
        assert_eq!(all.graft(&one, Some(&root)), here);
        all.graft(&one, None);
        all.count(here[leaf as usize], 5);
        let expected = [("[process p 1];a;b".to_owned(), 7), ("a;b".to_owned(), 1)];
        assert_eq!(told(&all), expected);
    }
}
