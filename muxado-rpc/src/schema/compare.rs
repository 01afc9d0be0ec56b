//! What differs between two versions of the services of a program, and whom it breaks.

mod alternatives;
mod range;
mod values;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::values::{Extent, Finding, compare_values};
use super::Document;
use crate::{MethodSchema, ParameterSchema, ServiceSchema, support::truncate::Escaped};

/// What differs between two [documents](Document), and whom it breaks.
///
/// A service has callers and servers, and not all of them are replaced at once. So each change is judged twice: for
/// callers of the old version that call servers of the new one, and for servers of the old version that are called by
/// callers of the new one.
///
/// | change | callers of the old version | servers of the old version |
/// |---|---|---|
/// | a service or method is removed, or the id of a service differs | break | |
/// | a service or method is added | | compatible: `unimplemented`, not executed |
/// | the shape of a method differs | break | break |
/// | a parameter is added | break if it is required | compatible: they ignore it |
/// | a parameter is removed | compatible: it is ignored | break if it was required |
/// | parameters have another order | risky: by position | risky: by position |
/// | a parameter, or an item of the caller, takes fewer values | break | compatible |
/// | it takes more values | compatible | risky: they refuse those |
/// | a result, or an item that is returned, may be more | break | compatible |
/// | it may be less | compatible | risky; break if all of it is concerned, as by a new field |
/// | an error differs | risky: a status with its code comes instead of its value | risky |
/// | a method is no longer idempotent | break: they may call twice | |
/// | a method becomes idempotent | | risky: they may be called twice |
/// | `no_cancel` or the time limit differs | risky | |
/// | something is deprecated | compatible | compatible |
///
/// Structures are compared as their readers take them: fields that are not known are ignored. Whether a reader has a
/// default for a field of a *result* is not in a document, so a new field there counts as one that its reader needs.
///
/// ```
/// use muxado_rpc::schema::{Comparison, Document};
///
/// mod old {
///     #[muxado_rpc::service(schema)]
///     pub trait Chat { async fn say(&self, text: &str) -> u64; }
/// }
/// mod new {
///     #[muxado_rpc::service(schema)]
///     pub trait Chat { async fn say(&self, text: &str, room: &str) -> u64; }
/// }
///
/// let old = Document::new("chat", "1.0.0").service(old::ChatServer::schema());
/// let new = Document::new("chat", "2.0.0").service(new::ChatServer::schema());
/// let comparison = Comparison::between(&old, &new);
/// assert!(comparison.breaks_callers() && !comparison.breaks_servers());
/// assert_eq!(
///     comparison.to_string(),
///     "breaking (callers) Chat/say.params.room: a required parameter is new\n",
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    changes: Vec<Change>,
}

/// A difference between two versions; see [`Comparison`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Where it is: `Service`, `Service/method`, and behind it what of the method, as in `Chat/say.params.line.text`,
    /// `Chat/history.output.at` or `Chat/join.error`. `[]` stands for the elements of an array, `.*` for the values of a
    /// map.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it breaks, or may break, callers of the old version that call servers of the new one.
    pub callers: bool,
    /// Whether it breaks, or may break, servers of the old version that are called by callers of the new one.
    pub servers: bool,
    /// What differs, in one line.
    pub message: String,
}

/// How bad a [`Change`] is. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All go on as before.
    Compatible,
    /// It may break some calls, or changes what they mean.
    Risky,
    /// It breaks calls.
    Breaking,
}

impl Comparison {
    /// Compares the services of two documents, by their names.
    pub fn between(old: &Document, new: &Document) -> Self {
        let mut comparison = Self::default();
        for service in &old.services {
            match new.find(&service.name) {
                Some(other) => comparison.compare_services(service, other),
                None => comparison.add(&service.name, Verdict::breaks_callers("the service is removed")),
            }
        }
        for service in new.services.iter().filter(|service| old.find(&service.name).is_none()) {
            comparison.add(&service.name, Verdict::compatible("the service is new"));
        }
        comparison
    }

    /// Compares two versions of a service.
    pub fn of_services(old: &ServiceSchema, new: &ServiceSchema) -> Self {
        let mut comparison = Self::default();
        comparison.compare_services(old, new);
        comparison
    }

    /// Returns what differs: in the order of the old document, what is new of each service at its end.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns how bad the worst change is. `None` if nothing differs.
    pub fn severity(&self) -> Option<Severity> {
        self.changes.iter().map(|change| change.severity).max()
    }

    /// Returns whether a change breaks callers of the old version that call servers of the new one: whether servers may
    /// not be replaced before their callers.
    pub fn breaks_callers(&self) -> bool {
        self.changes.iter().any(|change| change.severity == Severity::Breaking && change.callers)
    }

    /// Returns whether a change breaks servers of the old version that are called by callers of the new one: whether
    /// callers may not be replaced before their servers.
    pub fn breaks_servers(&self) -> bool {
        self.changes.iter().any(|change| change.severity == Severity::Breaking && change.servers)
    }

    fn add(&mut self, path: &str, verdict: Verdict) {
        let Verdict { severity, callers, servers, message } = verdict;
        self.changes.push(Change { path: path.to_owned(), severity, callers, servers, message });
    }

    fn compare_services(&mut self, old: &ServiceSchema, new: &ServiceSchema) {
        let name = &old.name;
        if old.id != new.id {
            let message = format!("the id is {} instead of {}", new.id, old.id);
            self.add(name, Verdict::breaks_both(message));
        }
        self.compare_deprecations(name, old.deprecated.as_deref(), new.deprecated.as_deref());
        for method in &old.methods {
            let path = format!("{name}/{}", method.name);
            match new.method(&method.name) {
                Some(other) => {
                    Methods { path: &path, services: (old, new), methods: (method, other) }.compare(self);
                }
                None if method.deprecated.is_some() => {
                    self.add(&path, Verdict::breaks_callers("the method, which was deprecated, is removed"));
                }
                None => self.add(&path, Verdict::breaks_callers("the method is removed")),
            }
        }
        for method in new.methods.iter().filter(|method| old.method(&method.name).is_none()) {
            self.add(&format!("{name}/{}", method.name), Verdict::compatible("the method is new"));
        }
    }

    fn compare_deprecations(&mut self, path: &str, old: Option<&str>, new: Option<&str>) {
        match (old, new) {
            (None, Some("")) => self.add(path, Verdict::compatible("it is deprecated")),
            (None, Some(note)) => self.add(path, Verdict::compatible(format!("it is deprecated: {note}"))),
            (Some(_), None) => self.add(path, Verdict::compatible("it is no longer deprecated")),
            _ => {}
        }
    }
}

/// What is said of a change.
struct Verdict {
    severity: Severity,
    callers: bool,
    servers: bool,
    message: String,
}

impl Verdict {
    fn new(severity: Severity, (callers, servers): (bool, bool), message: impl Into<String>) -> Self {
        Self { severity, callers, servers, message: message.into() }
    }

    fn compatible(message: impl Into<String>) -> Self {
        Self::new(Severity::Compatible, (false, false), message)
    }

    fn breaks_callers(message: impl Into<String>) -> Self {
        Self::new(Severity::Breaking, (true, false), message)
    }

    fn breaks_servers(message: impl Into<String>) -> Self {
        Self::new(Severity::Breaking, (false, true), message)
    }

    fn breaks_both(message: impl Into<String>) -> Self {
        Self::new(Severity::Breaking, (true, true), message)
    }

    fn risky_for_callers(message: impl Into<String>) -> Self {
        Self::new(Severity::Risky, (true, false), message)
    }
}

/// Two versions of a method.
struct Methods<'a> {
    path: &'a str,
    services: (&'a ServiceSchema, &'a ServiceSchema),
    methods: (&'a MethodSchema, &'a MethodSchema),
}

/// Who reads a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The server: a parameter, or an item of the caller.
    Server,
    /// The caller: a result, or an item of the server.
    Caller,
    /// The caller, who gets a status where it cannot read the value.
    CallerOfError,
}

impl Methods<'_> {
    fn compare(&self, to: &mut Comparison) {
        let (old, new) = self.methods;
        self.compare_options(to);
        if old.shape != new.shape {
            let message = format!("the shape is {} instead of {}", new.shape, old.shape);
            return to.add(self.path, Verdict::breaks_both(message));
        }
        match (&old.params, &new.params) {
            (Some(old), Some(new)) => self.compare_parameters(old, new, to),
            (None, None) => return,
            (old, _) => {
                let version = if old.is_none() { "old" } else { "new" };
                let message =
                    format!("the {version} version has no schemas: what the method takes is not compared");
                return to.add(self.path, Verdict::new(Severity::Risky, (true, true), message));
            }
        }
        let places = [
            ("input", &old.input, &new.input, Reader::Server),
            ("output", &old.output, &new.output, Reader::Caller),
            ("error", &old.error, &new.error, Reader::CallerOfError),
        ];
        for (place, old, new, reader) in places {
            let path = format!("{}.{place}", self.path);
            match (old, new) {
                (Some(old), Some(new)) => self.compare_schemas(&path, (old, new), reader, to),
                (None, Some(_)) => {
                    to.add(&path, Verdict::new(Severity::Risky, (true, false), "it is new"));
                }
                (Some(_), None) => {
                    to.add(&path, Verdict::new(Severity::Risky, (false, true), "it is removed"));
                }
                (None, None) => {}
            }
        }
    }

    fn compare_options(&self, to: &mut Comparison) {
        let ((old, new), path) = (self.methods, self.path);
        to.compare_deprecations(path, old.deprecated.as_deref(), new.deprecated.as_deref());
        match (old.idempotent, new.idempotent) {
            (true, false) => to.add(
                path,
                Verdict::breaks_callers("it is no longer idempotent: old callers may call it twice"),
            ),
            (false, true) => {
                let message = "it is idempotent now: old servers may be called twice";
                to.add(path, Verdict::new(Severity::Risky, (false, true), message));
            }
            _ => {}
        }
        match (old.no_cancel, new.no_cancel) {
            (true, false) => {
                to.add(
                    path,
                    Verdict::risky_for_callers("a call that is cancelled no longer runs to its end"),
                );
            }
            (false, true) => {
                to.add(path, Verdict::risky_for_callers("a call that is cancelled runs to its end"));
            }
            _ => {}
        }
        if old.timeout_ms != new.timeout_ms {
            let shown = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |ms| format!("{ms} ms"));
            let (was, is) = (shown(old.timeout_ms), shown(new.timeout_ms));
            let shorter = new.timeout_ms.is_some_and(|new| old.timeout_ms.is_none_or(|old| new < old));
            let message = format!("the time limit of calls that set none is {is} instead of {was}");
            let verdict =
                if shorter { Verdict::risky_for_callers(message) } else { Verdict::compatible(message) };
            to.add(path, verdict);
        }
    }

    fn compare_parameters(&self, old: &[ParameterSchema], new: &[ParameterSchema], to: &mut Comparison) {
        let path = |name: &str| format!("{}.params.{name}", self.path);
        for parameter in old {
            let path = path(&parameter.name);
            let Some(other) = self.methods.1.parameter(&parameter.name) else {
                let verdict = if parameter.required {
                    Verdict::breaks_servers("a required parameter is removed")
                } else {
                    Verdict::compatible("an optional parameter is removed")
                };
                to.add(&path, verdict);
                continue;
            };
            match (parameter.required, other.required) {
                (false, true) => to.add(&path, Verdict::breaks_callers("the parameter is required")),
                (true, false) => to.add(
                    &path,
                    Verdict::new(
                        Severity::Risky,
                        (false, true),
                        "the parameter is optional: old servers need it",
                    ),
                ),
                _ => {}
            }
            self.compare_schemas(&path, (&parameter.schema, &other.schema), Reader::Server, to);
        }
        for parameter in new.iter().filter(|parameter| self.methods.0.parameter(&parameter.name).is_none()) {
            let verdict = if parameter.required {
                Verdict::breaks_callers("a required parameter is new")
            } else {
                Verdict::compatible("an optional parameter is new")
            };
            to.add(&path(&parameter.name), verdict);
        }
        if old
            .iter()
            .zip(new)
            .any(|(old, new)| old.name != new.name && self.methods.1.parameter(&old.name).is_some())
        {
            let message = "parameters have other positions, which matters to callers that do not name them";
            to.add(&format!("{}.params", self.path), Verdict::new(Severity::Risky, (true, true), message));
        }
    }

    fn compare_schemas(&self, path: &str, (old, new): (&Value, &Value), reader: Reader, to: &mut Comparison) {
        let definitions = (&self.services.0.definitions, &self.services.1.definitions);
        for finding in compare_values(path, (old, new), definitions) {
            let path = finding.path.clone();
            to.add(&path, judge(finding, reader));
        }
    }
}

/// Says whom a difference between values breaks.
fn judge(finding: Finding, reader: Reader) -> Verdict {
    let Finding { message, narrowed, widened, .. } = finding;
    // Who is written to in the old way and reads in the new one, and the other way round.
    let (callers, servers) = match reader {
        Reader::Server => (narrowed, widened),
        Reader::Caller | Reader::CallerOfError => (widened, narrowed),
    };
    let who = (callers != Extent::None, servers != Extent::None);
    let severity = match (reader, callers, servers) {
        (_, Extent::None, Extent::None) => Severity::Compatible,
        (Reader::CallerOfError, ..) => Severity::Risky,
        (_, Extent::Some | Extent::All, _) | (_, _, Extent::All) => Severity::Breaking,
        _ => Severity::Risky,
    };
    Verdict::new(severity, who, message)
}

/// One line for each change.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// How bad it is, for whom, where, and what: `breaking (callers) Chat/say: the method is removed`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match (self.callers, self.servers) {
            (true, true) => " (callers, servers)",
            (true, false) => " (callers)",
            (false, true) => " (servers)",
            (false, false) => "",
        };
        write!(f, "{}{whom} {}: {}", self.severity, Escaped(&self.path), Escaped(&self.message))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compatible => "compatible",
            Self::Risky => "risky",
            Self::Breaking => "breaking",
        })
    }
}
