//! A look at the head of a call before anything is spent on it.

use std::{fmt, sync::Arc};

use crate::{Codec, Extensions, Metadata, MethodInfo, MethodRef, PeerInfo, Status, support::panics};

/// What is known of a call when its head has arrived, before its parameters are buffered: see
/// [`ServerBuilder::authorize`](crate::ServerBuilder::authorize).
pub struct CallHead<'a> {
    pub(crate) method: MethodRef,
    pub(crate) codec: Codec,
    pub(crate) metadata: Metadata,
    pub(crate) extensions: Extensions,
    pub(crate) peer: &'a PeerInfo,
    pub(crate) size: Option<usize>,
}

impl CallHead<'_> {
    /// Returns the method that is called.
    pub fn method(&self) -> &MethodInfo {
        &self.method
    }

    /// Returns the codec of the call.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns what travels beside the parameters.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns a mutable reference to the metadata: what is taken out of it, a token say, is not seen by layers and
    /// handlers.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Returns a mutable reference to the values that go along with the call, for layers and handlers to find: who
    /// calls, say.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Returns who calls.
    pub fn peer(&self) -> &PeerInfo {
        self.peer
    }

    /// Returns how many bytes the request has: `None` for one in JSON that is not here as a whole.
    pub fn size(&self) -> Option<usize> {
        self.size
    }
}

impl fmt::Debug for CallHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHead")
            .field("method", &self.method)
            .field("metadata", &self.metadata)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Decides on calls by their heads.
#[derive(Clone)]
pub(crate) struct Authorize {
    check: Arc<Check>,
}

type Check = dyn Fn(&mut CallHead<'_>) -> Result<(), Status> + Send + Sync;

impl Authorize {
    pub(crate) fn new(
        check: impl Fn(&mut CallHead<'_>) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Arc::new(check) }
    }

    /// Returns why the call is not to be served, if so it is.
    pub(crate) fn check(&self, head: &mut CallHead<'_>) -> Result<(), Status> {
        let checked = panics::catch(|| (self.check)(head)).unwrap_or_else(|_| {
            panics::report("the hook of authorize panicked");
            Err(Status::internal("the authorisation of calls failed"))
        });
        checked.map_err(Status::not_executed)
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorize")
    }
}
