//! What is written into the log, by the thread of one test, or by all.

use std::{
    cell::RefCell,
    io,
    sync::{Mutex, Once},
};

use tracing_subscriber::filter::LevelFilter;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The lines of all threads.
static ALL: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ALL.lock().unwrap().extend_from_slice(bytes);
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to record the lines at level info and above.
pub(crate) fn record() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::INFO)
            .with_writer(|| Writer)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    LINES.take();
}

/// Takes the lines that this thread has written.
pub(crate) fn take() -> Vec<String> {
    String::from_utf8(LINES.take()).unwrap().lines().map(str::to_owned).collect()
}

/// Returns the lines of all threads that contain a text.
pub(crate) fn with(text: &str) -> Vec<String> {
    let all = String::from_utf8(ALL.lock().unwrap().clone()).unwrap();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
