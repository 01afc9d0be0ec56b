//! Where to listen and where to connect to.

use std::{fmt, path::PathBuf, str::FromStr};

/// An address: `tcp://host:port` or `unix:///path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host, which may be a name, and port.
    Tcp(String),
    /// Path of a socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { address: address.to_owned(), problem };
        match address.split_once("://") {
            Some(("tcp", host)) => match host.trim_end_matches('/').rsplit_once(':') {
                Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
                }
                _ => Err(wrong("it needs a host and a port")),
            },
            Some(("unix", "")) => Err(wrong("it needs a path")),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong("its scheme is not known")),
            None => Err(wrong("it has no scheme")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is no address: {problem}; use tcp://host:port or unix:///path")]
pub struct AddressError {
    address: String,
    problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in ["tcp://127.0.0.1:7000", "tcp://[::1]:0", "tcp://example.org:80", "unix:///tmp/x.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_is_missing() {
        for (text, problem) in [
            ("127.0.0.1:7000", "no scheme"),
            ("tcp://127.0.0.1", "a port"),
            ("tcp://:80", "a host"),
            ("tcp://a:99999", "a port"),
            ("http://a:80", "not known"),
            ("unix://", "a path"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        }
    }
}
