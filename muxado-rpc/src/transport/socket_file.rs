//! Unix sockets as files: binding, replacing dead sockets, removing, and errors that say what is at the path.

use std::{
    fs::{self, DirBuilder, FileType, Metadata, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf, absolute},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Binds a listening socket to `path`, in place of a socket that no process has open any more. Its file has the
/// permissions of `mode` before anybody can connect, or those that the system gives it.
///
/// # Errors
///
/// Returns `AddrInUse` if anything else is at the path, which is left as it is; the text says what. Other errors are
/// those of the system.
pub(crate) async fn bind(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    for _ in 0..ATTEMPTS {
        let socket = UnixSocket::new_stream()?;
        match socket.bind(path) {
            // An abstract name has no file.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_abstract(path) => {
                clear(path).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(unusable(path, error)),
            Err(error) => return Err(error),
            Ok(()) => return open(socket, path, mode),
        }
    }
    Err(in_use(format!("{} is bound by other processes again and again", path.display())))
}

/// Lets a bound socket listen, once its file has its permissions. If that fails the file is removed.
fn open(socket: UnixSocket, path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let file = OwnFile::just_bound(path);
    let permitted = match (mode, &file) {
        (None, _) => Ok(()),
        (Some(mode), Some(_)) => fs::set_permissions(path, Permissions::from_mode(mode)),
        (Some(_), None) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "an abstract socket has no file, and no mode"))
        }
    };
    if let Err(error) = permitted {
        if let Some(Err(error)) = file.as_ref().map(OwnFile::remove) {
            tracing::debug!("{} is left: {error}", path.display());
        }
        return Err(error);
    }
    socket.listen(BACKLOG)
}

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// How often to bind when each time somebody else was faster, and was gone again when looked at.
const ATTEMPTS: usize = 16;

/// Connects to the socket at `path`.
///
/// # Errors
///
/// Returns the error of the system, of the same kind, with a text that says what is at the path.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await.map_err(|error| explain(path, error))
}

/// The file of a socket that this process has bound.
#[derive(Debug)]
pub(crate) struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnFile {
    /// Returns the file at a path just bound to; `None` if there is no such file, as for an abstract address.
    pub(crate) fn just_bound(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        // The current directory may be another one when the file is removed.
        Some(Self { path: absolute(path).ok()?, device: found.dev(), inode: found.ino() })
    }

    /// Removes the file, unless another has its name by now.
    ///
    /// The socket must still be open: as long as it is, its inode is in use, and no other file has the same
    /// number; and no server takes its path for that of a dead socket.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.path)?;
        if (found.dev(), found.ino()) != (self.device, self.inode) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another file has its name by now"));
        }
        fs::remove_file(&self.path)
    }
}

/// Removes a dead socket from `path`. Does nothing if there is no file any more.
///
/// # Errors
///
/// Returns an error if anything else is there.
async fn clear(path: &Path) -> io::Result<()> {
    let Some(found) = look(path)? else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(in_use(format!("{} is {}, not a socket", path.display(), kind(found.file_type()))));
    }
    match probe(path).await? {
        State::Gone => Ok(()),
        State::Alive(what) => Err(in_use(format!("{} is in use: {what}", path.display()))),
        State::Dead => remove_dead(path, &found).await,
    }
}

/// Held from the look at a dead socket to its move aside.
static MOVING: Mutex<()> = Mutex::new(());

/// Removes `found`, a dead socket, from `path`, and nothing else that has come there in the meantime.
///
/// Another server may replace the same dead socket at the same time, and nothing makes "remove it if it is
/// still the same" one step. So the file is moved first to where nobody else looks for it; what has been moved
/// is removed if it is dead, and moved back otherwise.
async fn remove_dead(path: &Path, found: &Metadata) -> io::Result<()> {
    let aside = Aside::beside(path)?;
    let is_found = |now: &Metadata| {
        let id = |of: &Metadata| (of.dev(), of.ino(), of.mtime(), of.mtime_nsec());
        id(now) == id(found)
    };
    {
        // Servers of one process look and move in one step: none moves what another has bound in between.
        let _one_at_a_time = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
        if !look(path)?.as_ref().is_some_and(is_found) {
            return Ok(());
        }
        match fs::rename(path, aside.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            moved => moved?,
        }
    }
    let is_dead = match probe(aside.file()).await {
        Ok(state) => matches!(state, State::Dead),
        // The name is too long to be connected to, which that of the socket was not.
        Err(error) => error.kind() == io::ErrorKind::InvalidInput,
    };
    if is_dead && look(aside.file())?.as_ref().is_some_and(is_found) {
        return fs::remove_file(aside.file());
    }
    aside.put_back(path)?;
    Err(in_use(format!("{} is in use: a server has begun to listen there", path.display())))
}

/// A directory of this process alone, with room for one file that is moved aside. It is removed when dropped,
/// if it is empty.
struct Aside {
    directory: PathBuf,
    file: PathBuf,
}

impl Aside {
    /// Makes one in the directory of `path`, so that files can be moved.
    fn beside(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let directory = path.with_file_name(format!(".mux{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self { file: directory.join("s"), directory }),
            }
        }
    }

    fn file(&self) -> &Path {
        &self.file
    }

    /// Gives the file its name back, unless another file has it by now.
    fn put_back(&self, path: &Path) -> io::Result<()> {
        let linked = match fs::hard_link(&self.file, path) {
            Ok(()) => fs::remove_file(&self.file),
            // A directory cannot have two names.
            Err(_) if matches!(look(path), Ok(None)) => fs::rename(&self.file, path),
            Err(error) => Err(error),
        };
        linked.map_err(|error| {
            let (path, file) = (path.display(), self.file.display());
            io::Error::new(
                error.kind(),
                format!("what was at {path} is at {file} and cannot be moved back: {error}"),
            )
        })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// What is known of a socket by its path.
enum State {
    /// No process has it open.
    Dead,
    /// A process has it open.
    Alive(&'static str),
    /// Nothing lies there any more.
    Gone,
}

/// Finds out whether any process has the socket at `path` open.
///
/// # Errors
///
/// If that cannot be known: it must be taken to be alive.
async fn probe(path: &Path) -> io::Result<State> {
    let unknown = |error: io::Error| {
        let text = format!("cannot tell whether {} is in use: {error}", path.display());
        io::Error::new(error.kind(), text)
    };
    // A datagram socket is refused only where no socket is bound. A stream would be refused by a server, too,
    // that has bound its socket and does not listen yet, and it would be one of the connections of a server.
    match UnixDatagram::unbound().map_err(unknown)?.connect(path) {
        Ok(()) => return Ok(State::Alive("a datagram socket is bound there")),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {}
            io::ErrorKind::NotFound => return Ok(State::Gone),
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => return Err(unknown(error)),
            _ => return Ok(State::Alive(LISTENING)),
        },
    }
    // Not every system refuses datagrams so.
    match UnixStream::connect(path).await {
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(State::Dead),
            io::ErrorKind::NotFound => Ok(State::Gone),
            io::ErrorKind::PermissionDenied => Err(unknown(error)),
            _ => Ok(State::Alive(LISTENING)),
        },
        Ok(_) => Ok(State::Alive(LISTENING)),
    }
}

const LISTENING: &str = "a server is listening there already";

/// Returns what lies at a path, without following a symbolic link.
fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind(of: FileType) -> &'static str {
    match of {
        of if of.is_file() => "a file",
        of if of.is_dir() => "a directory",
        of if of.is_symlink() => "a symbolic link",
        of if of.is_fifo() => "a named pipe",
        _ => "a device",
    }
}

fn in_use(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

/// Says why there is no connection to `path`.
fn explain(path: &Path, error: io::Error) -> io::Error {
    let shown = path.display();
    let text = match error.kind() {
        _ if is_abstract(path) => return error,
        io::ErrorKind::InvalidInput => return unusable(path, error),
        io::ErrorKind::WouldBlock => {
            format!("the server at {shown} has a full backlog")
        }
        _ => match (look(path), fs::metadata(path)) {
            (Ok(Some(_)), Ok(found)) if !found.file_type().is_socket() => {
                format!("{shown} is {}, not a socket", kind(found.file_type()))
            }
            (Ok(Some(link)), Err(missing))
                if link.is_symlink() && missing.kind() == io::ErrorKind::NotFound =>
            {
                format!("{shown} is a symbolic link to nothing")
            }
            (Ok(Some(_)), Ok(_)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                format!("no server listens at {shown} any more")
            }
            _ => return error,
        },
    };
    io::Error::new(error.kind(), text)
}

/// Says why `path` can be that of no socket.
fn unusable(path: &Path, error: io::Error) -> io::Error {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        return error;
    }
    let len = bytes.len();
    let text = format!("the path of a Unix socket has at most {MAX_PATH} bytes, this one has {len}");
    io::Error::new(error.kind(), text)
}

/// What the system has room for in an address, without the byte that ends it.
const MAX_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Whether it is a name of Linux's that is in no file system.
fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("muxado-rpc-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn a_server_that_began_while_a_dead_socket_was_replaced_keeps_its_name() {
        let directory = directory("race");
        let path = directory.join("s");
        let _live = UnixListener::bind(&path).unwrap();
        // As one sees it that has just found a dead socket with the same number.
        let found = look(&path).unwrap().unwrap();
        let error = remove_dead(&path, &found).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        connect(&path).await.unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn what_came_in_place_of_a_dead_socket_is_not_removed() {
        let directory = directory("other");
        let path = directory.join("s");
        drop(UnixListener::bind(&path).unwrap());
        let found = look(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        remove_dead(&path, &found).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        // And when it comes at the last moment.
        let aside = Aside::beside(&path).unwrap();
        fs::rename(&path, aside.file()).unwrap();
        aside.put_back(&path).unwrap();
        drop(aside);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
