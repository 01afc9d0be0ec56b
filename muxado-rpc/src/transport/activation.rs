//! Sockets that whoever started this process has opened for it: systemd, or another of its kind.
//!
//! Who passes them sets `LISTEN_FDS` to their number, and `LISTEN_FDNAMES` to their names; the first is the file
//! descriptor 3 (`sd_listen_fds(3)`).

use std::{
    env, io,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::{Mutex, PoisonError},
};

use listenfd::ListenFd;

/// The first file descriptor that is passed.
const FIRST: u32 = 3;

/// A listening socket that was passed to this process.
pub(crate) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What was passed, less what has been taken.
struct Passed {
    fds: ListenFd,
    names: Vec<String>,
}

/// `None` before the first look.
static PASSED: Mutex<Option<Passed>> = Mutex::new(None);

/// Takes the socket with this file descriptor.
///
/// # Errors
///
/// Returns an error if it was not passed, is taken already, or is no socket that listens.
pub(crate) fn take_fd(fd: u32) -> io::Result<Inherited> {
    with_passed(|passed| match fd.checked_sub(FIRST) {
        Some(index) => passed.take(index as usize),
        None => Err(missing("the first file descriptor that can be passed is 3")),
    })
}

/// Takes all sockets of this name, or all that were passed.
///
/// # Errors
///
/// Returns an error if there is none, if one is taken already, or if one is no socket that listens.
pub(crate) fn take_named(name: Option<&str>) -> io::Result<Vec<Inherited>> {
    with_passed(|passed| {
        let is_meant =
            |index: &usize| name.is_none_or(|name| passed.names.get(*index).is_some_and(|is| is == name));
        let meant: Vec<_> = (0..passed.fds.len()).filter(is_meant).collect();
        match name {
            _ if !meant.is_empty() => meant.into_iter().map(|index| passed.take(index)).collect(),
            Some(_) if passed.fds.len() > 0 => {
                let known = passed.names.join(":");
                Err(missing(&format!(
                    "no socket of this name was passed to this process (LISTEN_FDNAMES: {known})"
                )))
            }
            _ => Err(missing(NONE_PASSED)),
        }
    })
}

fn with_passed<T>(take: impl FnOnce(&mut Passed) -> T) -> T {
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    take(passed.get_or_insert_with(|| {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        // Forgets the variables, which are not for children of this process.
        Passed { fds: ListenFd::from_env(), names }
    }))
}

impl Passed {
    fn take(&mut self, index: usize) -> io::Result<Inherited> {
        if self.fds.len() == 0 {
            return Err(missing(NONE_PASSED));
        }
        let listener = match self.fds.take_tcp_listener(index) {
            Ok(taken) => taken.map(Inherited::Tcp),
            Err(_) => self.fds.take_unix_listener(index)?.map(Inherited::Unix),
        };
        let count = self.fds.len();
        let problem = || {
            if index < count {
                return missing("the socket is in use by this process already");
            }
            missing(&format!("{count} sockets were passed to this process (LISTEN_FDS), from 3 on"))
        };
        listener.ok_or_else(problem)
    }
}

const NONE_PASSED: &str = "no socket was passed to this process (LISTEN_FDS, LISTEN_PID)";

fn missing(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, problem)
}
