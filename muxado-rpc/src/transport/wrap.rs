//! What an application puts around a transport.

use std::{fmt, sync::Arc};

use super::connector::BoxIo;

/// A function around each transport that is made, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Wrap(Option<Arc<dyn Fn(BoxIo) -> BoxIo + Send + Sync>>);

impl Wrap {
    pub(crate) fn set(&mut self, wrap: impl Fn(BoxIo) -> BoxIo + Send + Sync + 'static) {
        self.0 = Some(Arc::new(wrap));
    }

    pub(crate) fn around(&self, io: BoxIo) -> BoxIo {
        match &self.0 {
            Some(wrap) => wrap(io),
            None => io,
        }
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "wrapped" } else { "plain" })
    }
}
