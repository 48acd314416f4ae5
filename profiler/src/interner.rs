//! Equal values kept once: a stack that a million samples have takes the room of one.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value that is kept once by an [`Interner`]; two of one interner are equal when they are the same.
#[derive(Debug)]
pub struct Interned<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Interned<T> {
    fn clone(&self) -> Self {
        Interned(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Interned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> PartialEq for Interned<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: ?Sized> Eq for Interned<T> {}

impl<T: ?Sized> Hash for Interned<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

/// Keeps values once.
#[derive(Debug)]
pub struct Interner<T: ?Sized> {
    known: HashSet<Arc<T>>,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Interner {
            known: HashSet::new(),
        }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The kept value that equals `value`.
    pub fn intern<V: AsRef<T> + Into<Arc<T>>>(&mut self, value: V) -> Interned<T> {
        if let Some(known) = self.known.get(value.as_ref()) {
            return Interned(Arc::clone(known));
        }
        let new: Arc<T> = value.into();
        self.known.insert(Arc::clone(&new));
        Interned(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_the_same() {
        let mut names: Interner<str> = Interner::default();
        let (one, other) = (names.intern("a"), names.intern("a".to_owned()));
        assert_eq!(one, other);
        assert_ne!(one, names.intern("b"));
        assert_ne!(one, Interner::default().intern("a"));
        assert_eq!(&*one, "a");
    }
}
