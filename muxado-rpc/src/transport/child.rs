//! A child process as a peer: its standard input and output are the transport.

use std::{
    fmt, io,
    pin::{Pin, pin},
    process::{ExitStatus, Stdio},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};

use crate::support::truncate::Escaped;

/// A child process whose standard input and output are a transport.
///
/// The address `exec:program args` starts one, too. This is for a child with an environment, a directory, or a standard
/// error of its own. The program at the other end serves with [`PeerBuilder::stdio`](crate::PeerBuilder::stdio).
///
/// # End
///
/// When the session ends, or this value is dropped, the standard input of the child is closed, which the child sees at
/// once. A child that has not ended [2 s](Self::exit_grace) after the drop is killed. It is killed at once when the
/// runtime ends. In any case it is waited for, so that it stays no zombie. If the parent is killed, the system closes
/// the child's standard input.
///
/// When the child ends in the middle of a session, reading fails with an error that has its exit status.
///
/// # Standard error
///
/// It is what the [`Command`] says: that of the parent, by default. If the command has it
/// [piped](std::process::Stdio::piped), its lines go to the log, at level `info` and cut at 4 KiB.
///
/// ```no_run
/// use muxado_rpc::{ChildProcess, Peer, Reconnect};
/// use tokio::process::Command;
///
/// fn plugin() -> std::io::Result<ChildProcess> {
///     ChildProcess::spawn(Command::new("/usr/lib/app/plugin").env("LEVEL", "3").current_dir("/tmp"))
/// }
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let once = Peer::builder().client(plugin()?)?;
/// let started_again = Reconnect::builder().connector(|| async { plugin() }).build()?;
/// # Ok(())
/// # }
/// ```
pub struct ChildProcess {
    name: String,
    /// `None` once it is closed.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// `None` once it is dropped.
    child: Option<Child>,
    exit_grace: Duration,
    /// Where the child is waited for.
    runtime: Handle,
    /// Set at the end of the output: until then the exit status is waited for.
    ending: Option<Pin<Box<Sleep>>>,
}

/// How long a child may take to end, once its input is closed and nobody reads its output.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// How long the end of the output waits for the exit status, which says more.
const STATUS_WAIT: Duration = Duration::from_millis(100);

/// Bytes of a line of the standard error that go to the log at a time.
const MAX_LINE: u64 = 4096;

impl ChildProcess {
    /// Starts a command, with its standard input and output as a transport.
    ///
    /// # Errors
    ///
    /// Returns an error that names the program if it cannot be started.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let cannot = |error: io::Error| io::Error::new(error.kind(), format!("cannot start {name}: {error}"));
        let mut child = command.spawn().map_err(cannot)?;
        if let Some(stderr) = child.stderr.take() {
            // Ends with the last process that has the other end open.
            tokio::spawn(forward(name.clone(), stderr));
        }
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(cannot(io::Error::other("it has no standard input and output")));
        };
        let (runtime, child) = (Handle::current(), Some(child));
        let stdin = Some(stdin);
        Ok(Self { name, stdin, stdout, child, exit_grace: EXIT_GRACE, runtime, ending: None })
    }

    /// Sets how long the child may take to end once this value is dropped; after that it is killed. Default 2 s.
    #[must_use]
    pub fn exit_grace(mut self, grace: Duration) -> Self {
        self.exit_grace = grace;
        self
    }

    /// Returns the id of the process; `None` if it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The end of the output: an error if the child has failed.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(child) = self.child.as_mut().filter(|_| self.stdin.is_some()) else {
            // Its input was closed before.
            return Poll::Ready(Ok(()));
        };
        // What is woken stays with the child, not with this future.
        let ended = { pin!(child.wait()).poll(cx) };
        if let Poll::Ready(ended) = ended {
            return Poll::Ready(match ended {
                Ok(status) if !status.success() => Err(self.failed(status)),
                _ => Ok(()),
            });
        }
        self.ending.get_or_insert_with(|| Box::pin(sleep(STATUS_WAIT))).as_mut().poll(cx).map(Ok)
    }

    fn failed(&self, status: ExitStatus) -> io::Error {
        let problem = format!("the child process {} has ended: {status}", self.name);
        io::Error::new(io::ErrorKind::BrokenPipe, problem)
    }

    /// What to say of an error of a write: if the child is gone, how it ended.
    fn explain(&mut self, error: io::Error) -> io::Error {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => self.failed(status),
            _ => error,
        }
    }

    fn poll_stdin<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut ChildStdin>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.stdin {
            Some(stdin) => poll(Pin::new(stdin)).map_err(|error| self.explain(error)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for ChildProcess {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.stdout).poll_read(cx, buf))?;
        }
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        this.poll_ended(cx)
    }
}

impl AsyncWrite for ChildProcess {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_stdin(|stdin| stdin.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_stdin(|stdin| stdin.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stdin.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_stdin(|stdin| stdin.poll_flush(cx))
    }

    /// Closes the standard input of the child.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stdin.is_some() {
            ready!(this.poll_stdin(|stdin| stdin.poll_shutdown(cx)))?;
            this.stdin = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.stdin = None;
        if let Some(child) = self.child.take().filter(|child| child.id().is_some()) {
            // If the runtime has ended, or ends before this does, the child is killed as it is dropped.
            drop(self.runtime.spawn(reap(self.name.clone(), child, self.exit_grace)));
        }
    }
}

impl fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id();
        f.debug_struct("ChildProcess").field("name", &self.name).field("id", &id).finish_non_exhaustive()
    }
}

/// Waits for the end of a child, and kills it when its time is over.
async fn reap(name: String, mut child: Child, grace: Duration) {
    if let Ok(ended) = timeout(grace, child.wait()).await {
        return match ended {
            Ok(status) => tracing::debug!("the child process {name} has ended: {status}"),
            Err(error) => tracing::debug!("the child process {name} cannot be waited for: {error}"),
        };
    }
    tracing::info!("the child process {name} has not ended within {grace:?} and is killed");
    if let Err(error) = child.kill().await {
        tracing::warn!("the child process {name} cannot be killed: {error}");
    }
}

/// Passes the lines that a child writes to its standard error on to the log.
async fn forward(name: String, stderr: ChildStderr) {
    let (mut lines, mut line) = (BufReader::new(stderr), Vec::new());
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => tracing::info!(child = name, "{}", Escaped(String::from_utf8_lossy(&line).trim_end())),
            Err(error) => return tracing::debug!("the standard error of {name} cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn shell(script: &str) -> ChildProcess {
        ChildProcess::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    /// Whether there is a process of this id, a zombie included.
    fn exists(id: u32) -> bool {
        std::process::Command::new("kill")
            .args(["-0", &id.to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    async fn until_gone(id: u32) {
        while exists(id) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_a_close_is_the_end_of_the_childs_input() {
        let mut child = shell("cat; echo end");
        child.write_all(b"hello ").await.unwrap();
        child.shutdown().await.unwrap();
        let mut text = String::new();
        child.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello end\n");
        assert!(child.write_all(b"more").await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_child_is_an_error_with_its_status() {
        for (script, text) in [("exit 3", "exit status: 3"), ("kill -9 $$", "signal: 9")] {
            let error = shell(script).read(&mut [0]).await.unwrap_err().to_string();
            assert!(error.starts_with("the child process sh has ended: ") && error.contains(text), "{error}");
        }
        assert_eq!(shell("exit 0").read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = ChildProcess::spawn(&mut Command::new("/none/such")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot start /none/such: "), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_child_ends_and_is_no_zombie() {
        let child = shell("cat");
        let id = child.id().unwrap();
        drop(child);
        until_gone(id).await;
    }

    #[tokio::test]
    async fn a_child_that_does_not_end_by_itself_is_killed() {
        let child = shell("exec sleep 1000").exit_grace(Duration::ZERO);
        let id = child.id().unwrap();
        drop(child);
        until_gone(id).await;
    }

    #[test]
    fn no_child_outlives_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let child = runtime.block_on(async { shell("exec sleep 1000") });
        let id = child.id().unwrap();
        drop(runtime);
        drop(child);
        // It is dead. The process is waited for whenever another one ends.
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
            if cfg!(target_os = "linux") { stat.is_ok_and(|stat| !stat.contains(") Z ")) } else { false }
        };
        while is_alive() {
            std::thread::yield_now();
        }
    }
}
