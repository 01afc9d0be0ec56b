//! What the service of health says (`PROTOCOL §10.15`), in the words of `grpc.health.v1`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The name of the service.
pub(crate) const NAME: &str = "muxado.Health";

/// The names of its methods.
pub(crate) const CHECK: &str = "check";
pub(crate) const WATCH: &str = "watch";
pub(crate) const LIST: &str = "list";

/// Whether a service takes calls, in the words of `grpc.health.v1`.
///
/// ```
/// use muxado_rpc::HealthStatus;
///
/// assert_eq!(HealthStatus::NotServing.to_string(), "NOT_SERVING");
/// assert_eq!(serde_json::to_value(HealthStatus::Serving)?, "SERVING");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthStatus {
    /// It takes calls.
    Serving,
    /// It takes no calls now, for instance because a database is missing, or the server shuts down.
    NotServing,
    /// There is no such service; only a watcher gets it, since it may come.
    ServiceUnknown,
    /// It is not known.
    #[serde(other)]
    Unknown,
}

/// Shows the word for it, such as `NOT_SERVING`.
impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// The parameters of [`CHECK`] and [`WATCH`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct HealthParams {
    /// Empty for the server as a whole.
    #[serde(default)]
    pub(crate) service: String,
}

/// What [`CHECK`] returns, and each item of [`WATCH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    pub(crate) status: HealthStatus,
}

/// What [`LIST`] returns.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) statuses: BTreeMap<String, Checked>,
}
