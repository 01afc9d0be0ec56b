//! Values of a connection or a call, found by their type.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    sync::Arc,
    thread,
};

use crate::support::panics;

/// A map from types to values, by which a handshake or a layer passes on what it has learnt to handlers.
///
/// The values are never sent to the peer. Clones share them.
///
/// ```
/// use muxado_rpc::Extensions;
///
/// #[derive(Debug, PartialEq)]
/// struct Tenant(String);
///
/// let mut extensions = Extensions::new();
/// extensions.insert(Tenant("blue".to_owned()));
/// assert_eq!(extensions.get::<Tenant>(), Some(&Tenant("blue".to_owned())));
/// ```
#[derive(Clone, Default)]
pub struct Extensions {
    // A call has two or three of them: looking through is faster than hashing.
    values: Vec<Value>,
}

#[derive(Clone)]
struct Value {
    id: TypeId,
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Extensions {
    /// Creates a map without values.
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Adds a value. It replaces an earlier value of the same type.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        self.values.retain(|known| known.id != id);
        self.values.push(Value { id, name: type_name::<T>(), value: Arc::new(value) });
    }

    /// Returns the value of type `T`, if there is one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        self.values.iter().find(|known| known.id == id)?.value.downcast_ref()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Drop for Extensions {
    /// Drops all values, also if the destructor of one panics; the first panic is resumed after that.
    fn drop(&mut self) {
        let mut first = None;
        while let Some(value) = self.values.pop() {
            if let Err(panic) = panics::catch(|| drop(value)) {
                first.get_or_insert(panic);
            }
        }
        if let Some(panic) = first
            && !thread::panicking()
        {
            panic.resume();
        }
    }
}

/// Shows the names of the types.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|value| value.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_value_of_each_type() {
        let mut extensions = Extensions::new();
        extensions.insert(1_u8);
        extensions.insert("text");
        extensions.insert(2_u8);
        assert_eq!((extensions.get::<u8>(), extensions.get::<&str>()), (Some(&2), Some(&"text")));
        assert_eq!(extensions.get::<u16>(), None);
        assert_eq!(format!("{extensions:?}"), r#"["&str", "u8"]"#);
    }
}
