//! A handler that runs on without its caller: for as long as its connection lives, and after that if there is room.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    MethodInfo,
    connection::{bounds::Detached, shared::ConnectionShared},
};

/// Watches the connection of a handler that must finish and whose caller waits no longer.
pub(super) struct Orphan {
    shared: Arc<ConnectionShared>,
    /// `None` once the connection has ended.
    closed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Its place among the handlers without a connection.
    _place: Option<Detached>,
}

impl Orphan {
    pub(super) fn new(shared: Arc<ConnectionShared>) -> Self {
        let connection = Arc::clone(&shared);
        let closed = async move { drop(connection.session().closed().await) };
        Self { shared, closed: Some(Box::pin(closed)), _place: None }
    }

    /// Ready if the handler must not run on: its connection has ended, and too many others run without theirs.
    pub(super) fn poll_no_room(&mut self, cx: &mut Context<'_>, method: &MethodInfo) -> Poll<()> {
        let Some(closed) = &mut self.closed else { return Poll::Pending };
        ready!(closed.as_mut().poll(cx));
        self.closed = None;
        self._place = self.shared.detached().enter();
        if self._place.is_some() {
            return Poll::Pending;
        }
        if let Some(line) = self.shared.log().admit() {
            let (peer, suppressed) = (self.shared.peer(), line.suppressed);
            let limit = self.shared.detached().limit();
            tracing::warn!(%method, %peer, suppressed, "a handler that must finish is dropped: its connection has \
                ended, and {limit} others run on already (Limits::max_detached_handlers)");
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orphan").finish_non_exhaustive()
    }
}
