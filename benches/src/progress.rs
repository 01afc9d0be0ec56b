//! The line that says how far it is, on standard error.

use std::io::{self, IsTerminal, Write};

/// On a terminal one line that is written over; elsewhere a line for each group and round.
#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    done: usize,
    group: String,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, done: 0, group: String::new(), terminal: io::stderr().is_terminal() }
    }

    /// The next measurement begins.
    pub(crate) fn step(&mut self, group: &str, peer: &str) {
        self.done += 1;
        let (done, total) = (self.done, self.total);
        if self.terminal {
            print(&format!("\r\x1b[K[{done}/{total}] {group} {peer}"));
        } else if self.group != group {
            print(&format!("[{done}/{total}] {group}\n"));
        }
        group.clone_into(&mut self.group);
    }

    /// Says something that stays.
    pub(crate) fn note(&self, text: &str) {
        print(&if self.terminal { format!("\r\x1b[K{text}\n") } else { format!("{text}\n") });
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if self.terminal {
            print("\r\x1b[K");
        }
    }
}

fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    // Without a standard error there is nobody to tell.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
