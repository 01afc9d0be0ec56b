//! The standard input and output of this process as a transport, for a program that another one has started.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{self, fs::FileTypeExt},
    },
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixStream, unix::pipe},
};

use super::connector::Io;

/// Standard input and output, read and written without threads of their own: a thread that reads the input could not be
/// stopped, and would hold up the end of the process.
pub(crate) struct StandardIo {
    input: Box<dyn AsyncRead + Send + Unpin>,
    /// `None` once it is closed.
    output: Option<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl StandardIo {
    /// Takes standard input and output, which only one may do.
    ///
    /// # Errors
    ///
    /// Returns an error if they are taken already, or are neither pipes nor sockets.
    pub(crate) fn take() -> io::Result<Self> {
        static IS_TAKEN: AtomicBool = AtomicBool::new(false);
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another peer of this process has them"));
        }
        let taken =
            Self::open(io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned());
        if taken.is_err() {
            IS_TAKEN.store(false, Ordering::Relaxed);
        }
        taken
    }

    fn open(input: io::Result<OwnedFd>, output: io::Result<OwnedFd>) -> io::Result<Self> {
        let input: Box<dyn AsyncRead + Send + Unpin> = match kind("standard input", input?)? {
            Kind::Pipe(pipe) => Box::new(pipe::Receiver::from_owned_fd(pipe)?),
            Kind::Socket(socket) => socket,
        };
        let output: Box<dyn AsyncWrite + Send + Unpin> = match kind("standard output", output?)? {
            Kind::Pipe(pipe) => Box::new(pipe::Sender::from_owned_fd(pipe)?),
            Kind::Socket(socket) => socket,
        };
        Ok(Self { input, output: Some(output) })
    }
}

/// What a file descriptor is of.
enum Kind {
    Pipe(OwnedFd),
    Socket(Box<dyn Io>),
}

fn kind(name: &str, fd: OwnedFd) -> io::Result<Kind> {
    let file = File::from(fd);
    let found = file.metadata()?.file_type();
    if found.is_fifo() {
        return Ok(Kind::Pipe(file.into()));
    }
    if found.is_socket() {
        let socket = unix::net::UnixStream::from(OwnedFd::from(file));
        socket.set_nonblocking(true)?;
        return Ok(Kind::Socket(Box::new(UnixStream::from_std(socket)?)));
    }
    let what = if found.is_char_device() { "a terminal or another device" } else { "a file" };
    let problem =
        format!("{name} is {what}; it must be a pipe or a socket, as for a program that a peer has started");
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

impl AsyncRead for StandardIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().input).poll_read(cx, buf)
    }
}

impl StandardIo {
    fn poll_output<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut (dyn AsyncWrite + Send + Unpin)>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.output {
            Some(output) => poll(Pin::new(&mut **output)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for StandardIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_output(|output| output.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_output(|output| output.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_output(|output| output.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.output.is_some() {
            std::task::ready!(this.poll_output(|output| output.poll_shutdown(cx)))?;
            this.output = None;
        }
        Poll::Ready(Ok(()))
    }
}
