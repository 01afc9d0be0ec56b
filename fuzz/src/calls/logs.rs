//! What is logged meanwhile: no line is long, and none moves a cursor.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::check::has_control;

/// Bytes of the longest line.
const MOST: usize = 2048;

/// Keeps the first line that is wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs(Arc<Mutex<Option<String>>>);

impl Logs {
    /// Fails if there was one.
    pub(super) fn check(&self) {
        let wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        assert!(wrong.is_none(), "a line of the log: {wrong:?}");
    }
}

/// A line, up to the limit, and its length.
#[derive(Default)]
struct Line {
    text: String,
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.len += text.len();
        if self.len <= MOST {
            self.text += text;
        }
        Ok(())
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What the subscribers in use print of a text is the same.
        let _ = write!(self, "{field}={value:?} ");
    }
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("muxado")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.len > MOST || has_control(&line.text) {
            let about = format!("{} bytes: {}", line.len, line.text);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(about);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
