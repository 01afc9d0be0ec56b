//! How the program fails, and with which exit status.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use muxado_rpc::{CallError, Code, ConnectError, Origin, RawError, Status};

/// The part of the help on exit statuses.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0    success
  1    another failure, such as a file that cannot be
       written
  2    wrong arguments or parameters; nothing was sent
  3    no connection could be made
  64+  the call failed; beside 64 it is gRPC's number:
       65 cancelled            66 unknown
       67 invalid_argument     68 deadline_exceeded
       69 not_found            70 already_exists
       71 permission_denied    72 resource_exhausted
       73 failed_precondition  74 aborted
       75 out_of_range         76 unimplemented
       77 internal             78 unavailable
       79 data_loss            80 unauthenticated
  130  interrupted (Ctrl-C), 143 terminated: the call
       was cancelled
`health` and `schema diff` have their own: see their help.";

/// Why the program ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    /// Empty where nothing is to be said.
    message: String,
    /// What is wrong in particular, each a line.
    problems: Vec<String>,
    /// What can be done, each a line.
    hints: Vec<String>,
    status: Option<Box<FailedCall>>,
}

/// The status that a call failed with, and the error of the method if there is one.
#[derive(Debug)]
pub(crate) struct FailedCall {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Whose failure it is; `None` for an error of the method itself.
    pub(crate) origin: Option<Origin>,
    pub(crate) may_have_executed: bool,
    /// JSON.
    pub(crate) details: Option<String>,
}

/// What kind of failure it is, which decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Other,
    Usage,
    Connection,
    Call(Code),
    /// Nobody reads the output any more.
    BrokenPipe,
    /// A signal of this number.
    Signal(u8),
    /// A command with exit statuses of its own, such as `health`.
    Own(u8),
}

/// The exit status of `muxado health` where the command line is wrong, as that of grpc_health_probe.
pub(crate) const WRONG_ARGUMENTS: u8 = 1;

impl Kind {
    fn exit_status(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Connection => 3,
            Self::Call(code) => 64 + number(code),
            // As if the signal of a broken pipe had ended the process, which does so with other programs.
            Self::BrokenPipe => 141,
            Self::Signal(number) => 128 + number,
            Self::Own(status) => status,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Other | Self::Own(_) => "other",
            Self::Usage => "usage",
            Self::Connection => "connection",
            Self::Call(_) => "call",
            Self::BrokenPipe => "broken_pipe",
            Self::Signal(_) => "interrupted",
        }
    }
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), problems: Vec::new(), hints: Vec::new(), status: None }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn connection(message: impl Into<String>) -> Self {
        Self::new(Kind::Connection, message)
    }

    /// The connection was lost.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(Kind::Call(Code::Unavailable), message)
    }

    /// A signal of this number came.
    pub(crate) fn signal(number: u8) -> Self {
        Self::new(Kind::Signal(number), "")
    }

    /// Ends with this status, and says nothing.
    pub(crate) fn silent(exit_status: u8) -> Self {
        Self::new(Kind::Own(exit_status), "")
    }

    /// Adds a line on what can be done.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a line on what is wrong in particular.
    pub(crate) fn problem(mut self, problem: impl Into<String>) -> Self {
        self.problems.push(problem.into());
        self
    }

    /// Says something else in place of the status of the call.
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self.status = None;
        self
    }

    /// Ends with this status in place of that of its kind.
    pub(crate) fn exit_with(mut self, exit_status: u8) -> Self {
        if !matches!(self.kind, Kind::BrokenPipe | Kind::Signal(_)) {
            self.kind = Kind::Own(exit_status);
        }
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn failed_call(&self) -> Option<&FailedCall> {
        self.status.as_deref()
    }

    pub(crate) fn exit_status(&self) -> u8 {
        self.kind.exit_status()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.exit_status().into()
    }
}

impl From<io::Error> for Failure {
    /// For errors of writing to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::BrokenPipe, ""),
            _ => Self::other(error.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Address(_) | ConnectError::NoAddress => Self::usage(error.to_string()),
            _ => Self::connection(error.to_string()),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.details::<Box<serde_json::value::RawValue>>().map(|json| json.get().to_owned());
        let mut failure = Self::new(Kind::Call(status.code()), status.to_string());
        failure.status = Some(Box::new(FailedCall {
            code: status.code(),
            message: status.message().to_owned(),
            origin: Some(status.origin()),
            may_have_executed: status.may_have_executed(),
            details,
        }));
        failure
    }
}

impl From<CallError<RawError>> for Failure {
    fn from(error: CallError<RawError>) -> Self {
        let error = match error {
            CallError::Status(status) => return status.into(),
            CallError::App(error) => error,
        };
        let details = error.decode::<Box<serde_json::value::RawValue>>().ok();
        let mut failure = Self::new(Kind::Call(error.code()), error.to_string());
        failure.status = Some(Box::new(FailedCall {
            code: error.code(),
            message: error.message().to_owned(),
            origin: None,
            may_have_executed: true,
            details: details.map(|json| json.get().to_owned()),
        }));
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns the number of gRPC for a code.
pub(crate) fn number(code: Code) -> u8 {
    match code {
        Code::Cancelled => 1,
        Code::InvalidArgument => 3,
        Code::DeadlineExceeded => 4,
        Code::NotFound => 5,
        Code::AlreadyExists => 6,
        Code::PermissionDenied => 7,
        Code::ResourceExhausted => 8,
        Code::FailedPrecondition => 9,
        Code::Aborted => 10,
        Code::OutOfRange => 11,
        Code::Unimplemented => 12,
        Code::Internal => 13,
        Code::Unavailable => 14,
        Code::DataLoss => 15,
        Code::Unauthenticated => 16,
        // `Unknown`, and what later versions add.
        _ => 2,
    }
}

/// Shows what clap has to say: help, or what is wrong with the arguments.
pub(crate) fn of_arguments(error: &clap::Error) -> ExitCode {
    let has = |word: &str| std::env::args().skip(1).any(|arg| arg == word);
    let status = match error.exit_code() {
        0 => 0,
        // It ends as grpc_health_probe.
        _ if std::env::args().nth(1).is_some_and(|command| command == "health") => WRONG_ARGUMENTS,
        _ => Kind::Usage.exit_status(),
    };
    if status != 0 && has("--format-error") {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default();
        let json = serde_json::json!({"kind": Kind::Usage.name(), "exit": status, "message": message});
        // Whoever does not read it does not want it.
        _ = writeln!(io::stderr().lock(), "{json}");
    } else {
        _ = error.print();
    }
    status.into()
}

/// Runs the command until it ends or a signal comes. It is dropped then, and with it its calls.
pub(crate) async fn interruptible(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        outcome = command => outcome,
        signal = interrupted() => Err(Failure::signal(signal)),
    }
}

/// Waits for Ctrl-C or a request to end. Returns the number of the signal.
pub(crate) async fn interrupted() -> u8 {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminated = async {
            match signal(SignalKind::terminate()) {
                Ok(mut signal) => _ = signal.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ctrl_c() => 2,
            () = terminated => 15,
        }
    }
    #[cfg(not(unix))]
    {
        ctrl_c().await;
        2
    }
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        // It ends the process then, as it does without a handler.
        std::future::pending::<()>().await;
    }
}
