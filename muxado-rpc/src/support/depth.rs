//! How many calls are being served for the sake of one.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

/// How deep a call stands: 0 for one that is made for its own sake, one more than that of the call whose handler
/// makes it otherwise. Those above [`Depth::LAST`] are as that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Depth(u8);

thread_local! {
    /// The depth of the calls that are made now.
    static CURRENT: Cell<Depth> = const { Cell::new(Depth::ZERO) };
}

impl Depth {
    pub(crate) const ZERO: Self = Self(0);

    /// The deepest that is told apart.
    pub(crate) const LAST: Self = Self(8);

    /// What a peer says, whatever it is.
    pub(crate) fn from_wire(depth: u64) -> Self {
        u8::try_from(depth).map_or(Self::LAST, |depth| Self(depth).min(Self::LAST))
    }

    pub(crate) const fn as_u8(self) -> u8 {
        self.0
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The depth of the calls that the handler of one of this depth makes.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1).min(Self::LAST)
    }

    /// The depth of the calls that are made now.
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// Runs `work`, whose calls have this depth at least.
    #[inline]
    pub(crate) fn within<R>(self, work: impl FnOnce() -> R) -> R {
        let _restore = Restore(CURRENT.replace(self.max(CURRENT.get())));
        work()
    }

    /// Returns a future whose calls have this depth at least.
    pub(crate) const fn scope<F>(self, future: F) -> Scope<F> {
        Scope { depth: self, future }
    }
}

struct Restore(Depth);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// A future that is polled at a depth.
#[pin_project]
pub(crate) struct Scope<F> {
    depth: Depth,
    #[pin]
    future: F,
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.depth.within(|| this.future.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_end_with_the_last() {
        assert_eq!(Depth::LAST.next(), Depth::LAST);
        assert_eq!(Depth::from_wire(3), Depth::ZERO.next().next().next());
        assert_eq!([9, 256, u64::MAX].map(Depth::from_wire), [Depth::LAST; 3]);
    }

    #[test]
    fn a_depth_holds_inside_and_is_restored_after_a_panic_too() {
        let one = Depth::ZERO.next();
        one.next().within(|| {
            one.within(|| assert_eq!(Depth::current(), one.next()));
            assert!(crate::support::panics::catch(|| Depth::LAST.within(|| panic!("inside"))).is_err());
            assert_eq!(Depth::current(), one.next());
        });
        assert_eq!(Depth::current(), Depth::ZERO);
    }
}
