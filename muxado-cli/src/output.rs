//! What is written, where, and how it looks there.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{
    exit::{Failure, Kind},
    json::pretty,
};

/// How things are written; for all commands.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Say more on standard error: metadata and timing; -vv: frames, too
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 100, help_heading = "Output")]
    pub(crate) verbose: u8,
    /// Write errors as JSON, one line on standard error
    #[arg(long, global = true, display_order = 101, help_heading = "Output")]
    pub(crate) format_error: bool,
    /// When to use colours; a set NO_COLOR turns them off, too
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        display_order = 102,
        help_heading = "Output"
    )]
    pub(crate) color: When,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Where a command writes: answers to standard output, everything else to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    verbose: u8,
    format_error: bool,
    is_terminal: bool,
    color: bool,
    error_color: bool,
}

impl Output {
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let is_off = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = |is_terminal: bool| match args.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !is_off,
        };
        let is_terminal = io::stdout().is_terminal();
        Self {
            verbose: args.verbose,
            format_error: args.format_error,
            is_terminal,
            color: colored(is_terminal),
            error_color: colored(io::stderr().is_terminal()),
        }
    }

    /// Returns how often `-v` was given.
    pub(crate) const fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Returns whether standard output is a terminal: JSON is indented there.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns how many columns a line may have: those of the terminal, else 80.
    pub(crate) fn width(&self) -> usize {
        let columns = if self.is_terminal { terminal_size::terminal_size() } else { None };
        columns.map_or(80, |(width, _)| usize::from(width.0)).clamp(20, 120)
    }

    /// Writes in a style, for standard output.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        style.paint(text, self.color)
    }

    /// Writes to standard output, at once.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a line to standard output, at once.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.bytes(&bytes)
    }

    /// Writes a JSON value to standard output: on one line, and indented on a terminal.
    pub(crate) fn json(&self, json: &str) -> Result<(), Failure> {
        if self.is_terminal {
            self.line(&pretty::pretty(json, self.color))
        } else if self.color {
            self.line(&pretty::colored(json))
        } else {
            self.line(&pretty::compact(json))
        }
    }

    /// Writes a line to standard error. Whether somebody reads it makes no difference.
    pub(crate) fn note(&self, line: &str) {
        _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes a line to standard error that is of less interest.
    pub(crate) fn aside(&self, line: &str) {
        self.note(&Style::Dim.paint(line, self.error_color));
    }

    /// Warns of something that is no failure.
    pub(crate) fn warn(&self, line: &str) {
        self.note(&format!("{} {line}", Style::Warning.paint("warning:", self.error_color)));
    }

    /// Says why the program ends.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.format_error {
            if !matches!(failure.kind(), Kind::BrokenPipe | Kind::Own(_)) || !failure.message().is_empty() {
                self.note(&as_json(failure).to_string());
            }
            return;
        }
        if failure.message().is_empty() {
            return;
        }
        self.note(&format!("{} {failure}", Style::Error.paint("error:", self.error_color)));
        if let Some(details) = failure.failed_call().and_then(|call| call.details.as_deref()) {
            let details = match io::stderr().is_terminal() {
                true => pretty::pretty(details, self.error_color),
                false => pretty::compact(details),
            };
            details.lines().for_each(|line| self.note(&format!("  {line}")));
        }
        for problem in failure.problems() {
            self.note(&format!("  {problem}"));
        }
        for hint in failure.hints() {
            self.note(&format!("{} {hint}", Style::Hint.paint("  hint:", self.error_color)));
        }
    }
}

/// A failure for programs.
fn as_json(failure: &Failure) -> Value {
    let mut error = json!({"kind": failure.kind().name(), "exit": failure.exit_status()});
    let mut set = |name: &str, value: Value| {
        if let Some(members) = error.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    match failure.failed_call() {
        None => set("message", failure.message().into()),
        Some(call) => {
            set("code", call.code.as_str().into());
            set("message", call.message.as_str().into());
            set("origin", call.origin.map_or("method", origin).into());
            set("may_have_executed", call.may_have_executed.into());
            if let Some(details) = &call.details {
                set("details", serde_json::from_str(details).unwrap_or(Value::Null));
            }
        }
    }
    if !failure.problems().is_empty() {
        set("problems", failure.problems().into());
    }
    if !failure.hints().is_empty() {
        set("hints", failure.hints().into());
    }
    error
}

const fn origin(origin: muxado_rpc::Origin) -> &'static str {
    match origin {
        muxado_rpc::Origin::Peer => "peer",
        muxado_rpc::Origin::Transport => "transport",
        _ => "local",
    }
}

/// How a piece of text looks in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Error,
    Warning,
    Hint,
    Dim,
    /// The name of a service or method, a heading.
    Name,
    /// The name of a type.
    Type,
    /// The name of a member of a JSON object.
    Key,
    Text,
    Number,
    Word,
}

impl Style {
    /// Returns the style of a scalar in JSON.
    pub(crate) fn of_token(token: &str) -> Self {
        match token.as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b't' | b'f' | b'n') => Self::Word,
            _ => Self::Number,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Error => "1;31",
            Self::Warning => "1;33",
            Self::Hint => "1;36",
            Self::Dim => "2",
            Self::Name => "1",
            Self::Type => "36",
            Self::Key => "1;34",
            Self::Text => "32",
            Self::Number => "35",
            Self::Word => "33",
        }
    }

    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        match self.code() {
            code if color && !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Returns whether a character changes the terminal, or what is seen around it: controls, and those that turn the
/// direction of text.
pub(crate) fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Returns a text of the peer's as it can be shown; line feeds stay.
pub(crate) fn visible(text: &str) -> String {
    let show = |char: char| match char {
        '\n' => "\n".to_owned(),
        '\t' => " ".to_owned(),
        char if is_hidden(char) => char.escape_default().to_string(),
        char => char.into(),
    };
    text.chars().map(show).collect()
}

/// Breaks a text into lines of at most so many columns. Its paragraphs and lists stay apart.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut in_code = false;
    let mut joins = false;
    for source in visible(text).lines() {
        let trimmed = source.trim();
        in_code ^= trimmed.starts_with("```");
        let stands_alone =
            in_code || trimmed.starts_with(['|', '*', '-', '#', '`']) || source.starts_with("    ");
        if trimmed.is_empty() || stands_alone {
            lines.push(if in_code { source.trim_end() } else { trimmed }.to_owned());
            joins = !trimmed.is_empty() && !in_code && trimmed.starts_with(['*', '-']);
            continue;
        }
        for word in trimmed.split_whitespace() {
            match lines.last_mut() {
                Some(line) if joins && columns(line) + 1 + columns(word) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
            joins = true;
        }
    }
    lines
}

/// About how many columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_and_paragraphs_stay_apart() {
        let text = "Takes a parcel that is\nnot too heavy.\n\n* one\n* two\n\nReturns its number.";
        assert_eq!(
            wrap(text, 16),
            [
                "Takes a parcel",
                "that is not too",
                "heavy.",
                "",
                "* one",
                "* two",
                "",
                "Returns its",
                "number.",
            ]
        );
        assert_eq!(wrap("averyveryverylongword x", 5), ["averyveryverylongword", "x"]);
    }

    #[test]
    fn what_would_change_the_terminal_is_shown_as_what_it_is() {
        assert_eq!(visible("a\x1b[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\n");
    }
}
