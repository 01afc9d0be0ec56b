//! References to the descriptions of methods: of generated services, or made at run time.

use std::{fmt, ops::Deref, ptr, sync::Arc};

use crate::MethodInfo;

/// A reference to a [`MethodInfo`]: to the static one of a generated service, or to one that was made at run time and
/// is freed with its last reference.
///
/// Made from a `&'static MethodInfo`, a [`MethodInfo`] or an `Arc<MethodInfo>`, and dereferences to it. Cloning it never
/// allocates.
///
/// ```
/// use muxado_rpc::{Codec, MethodInfo, MethodRef, Request};
///
/// let add: MethodRef = MethodInfo::dynamic("Calculator", "add").into();
/// for a in 0..3 {
///     let request = Request::new(add.clone(), Codec::Json, &(a, 1))?;
///     assert_eq!(request.method().to_string(), "Calculator.add");
/// }
/// # Ok::<_, muxado_rpc::Status>(())
/// ```
#[derive(Clone)]
pub struct MethodRef {
    method: MethodAnd<()>,
}

/// A method, and a small value that lies in the same two words.
#[derive(Clone)]
pub(crate) enum MethodAnd<T> {
    Static(T, &'static MethodInfo),
    Shared(T, Arc<MethodInfo>),
}

impl<T> MethodAnd<T> {
    pub(crate) fn new(method: MethodRef, value: T) -> Self {
        match method.method {
            MethodAnd::Static((), method) => Self::Static(value, method),
            MethodAnd::Shared((), method) => Self::Shared(value, method),
        }
    }

    #[inline]
    pub(crate) fn method(&self) -> &MethodInfo {
        match self {
            Self::Static(_, method) => method,
            Self::Shared(_, method) => method,
        }
    }

    #[inline]
    pub(crate) fn method_ref(&self) -> MethodRef {
        match self {
            Self::Static(_, method) => (*method).into(),
            Self::Shared(_, method) => Arc::clone(method).into(),
        }
    }

    #[inline]
    pub(crate) const fn value(&self) -> &T {
        match self {
            Self::Static(value, _) | Self::Shared(value, _) => value,
        }
    }

    #[inline]
    pub(crate) const fn value_mut(&mut self) -> &mut T {
        match self {
            Self::Static(value, _) | Self::Shared(value, _) => value,
        }
    }

    /// Returns the method of a generated service; `None` for one that was described at run time.
    #[inline]
    pub(crate) const fn as_static(&self) -> Option<&'static MethodInfo> {
        match self {
            Self::Static(_, method) => Some(method),
            Self::Shared(..) => None,
        }
    }
}

impl<T: Copy> MethodAnd<T> {
    /// Takes the place of the method, and keeps the value.
    pub(crate) fn set_method(&mut self, method: MethodRef) {
        *self = Self::new(method, *self.value());
    }
}

impl MethodRef {
    /// Whether both are the same method.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        ptr::eq::<MethodInfo>(&**self, &**other) || **self == **other
    }
}

impl Deref for MethodRef {
    type Target = MethodInfo;

    #[inline]
    fn deref(&self) -> &MethodInfo {
        self.method.method()
    }
}

impl AsRef<MethodInfo> for MethodRef {
    fn as_ref(&self) -> &MethodInfo {
        self
    }
}

impl From<&'static MethodInfo> for MethodRef {
    fn from(method: &'static MethodInfo) -> Self {
        Self { method: MethodAnd::Static((), method) }
    }
}

impl From<MethodInfo> for MethodRef {
    fn from(method: MethodInfo) -> Self {
        Arc::new(method).into()
    }
}

impl From<Arc<MethodInfo>> for MethodRef {
    fn from(method: Arc<MethodInfo>) -> Self {
        Self { method: MethodAnd::Shared((), method) }
    }
}

impl From<&Self> for MethodRef {
    fn from(method: &Self) -> Self {
        method.clone()
    }
}

impl fmt::Display for MethodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for MethodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_method_takes_no_room() {
        assert_eq!(size_of::<MethodRef>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<MethodAnd<[u8; 3]>>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Option<MethodRef>>(), 2 * size_of::<usize>());
    }

    #[test]
    fn a_method_of_run_time_is_freed_with_its_last_reference() {
        let info = Arc::new(MethodInfo::dynamic("S", "m"));
        let weak = Arc::downgrade(&info);
        let first = MethodRef::from(info);
        let second = MethodAnd::new(first.clone(), 7_u8);
        drop(first);
        assert_eq!((second.method().name(), second.value()), ("m", &7));
        drop(second);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn methods_are_the_same_by_what_they_are() {
        static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);
        let dynamic = || MethodRef::from(MethodInfo::dynamic("S", "m"));
        assert!(MethodRef::from(&METHOD).is_same(&MethodRef::from(&METHOD)));
        assert!(dynamic().is_same(&dynamic()));
        assert!(!dynamic().is_same(&MethodInfo::dynamic("S", "n").into()));
    }
}
