//! What is known of the services of a peer: what it says itself, or what a file says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use muxado_rpc::{
    Code, HealthClient, MethodSchema, Peer, ReflectionClient, ServiceSchema, Status,
    schema::{Document, DocumentError},
};

use crate::{
    exit::Failure,
    headers::{HeaderArgs, LabelledChannel},
    output::visible,
    suggest::did_you_mean,
};

/// The services of a peer, which are asked for when they are needed.
#[derive(Debug)]
pub(crate) struct Catalog {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// What the peer says of itself.
    Reflection {
        address: String,
        client: ReflectionClient<LabelledChannel>,
        known: Mutex<BTreeMap<String, Arc<ServiceSchema>>>,
    },
    /// What a file says.
    File { path: PathBuf, services: Vec<Arc<ServiceSchema>> },
}

/// A method, and the service that it is of.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) service: Arc<ServiceSchema>,
    pub(crate) schema: MethodSchema,
}

impl Method {
    /// Returns the name, as `Service/method`.
    pub(crate) fn name(&self) -> String {
        visible(&format!("{}/{}", self.service.name, self.schema.name))
    }
}

impl Catalog {
    /// The services of the peer at this address.
    pub(crate) fn of_peer(peer: &Peer, address: &str, headers: &HeaderArgs) -> Self {
        let client = ReflectionClient::new(headers.channel(peer));
        Self { source: Source::Reflection { address: address.to_owned(), client, known: Mutex::default() } }
    }

    /// The services in a file: an OpenRPC document, or one service as `describe --json` writes it.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Failure> {
        let services = match Document::read(path) {
            Ok(document) => document.services,
            Err(error) => match one_service(path, &error) {
                Some(service) => vec![service],
                None => return Err(Failure::usage(error.to_string())),
            },
        };
        let services = services.into_iter().map(Arc::new).collect();
        Ok(Self { source: Source::File { path: path.to_owned(), services } })
    }

    /// The services in the file if one is given, else those that the peer says it has.
    pub(crate) fn open(
        peer: &Peer,
        address: &str,
        schema: Option<&Path>,
        headers: &HeaderArgs,
    ) -> Result<Self, Failure> {
        schema.map_or_else(|| Ok(Self::of_peer(peer, address, headers)), Self::of_file)
    }

    /// Returns the names of all services, in their order.
    pub(crate) async fn names(&self) -> Result<Vec<String>, Failure> {
        match &self.source {
            Source::File { services, .. } => {
                Ok(services.iter().map(|service| service.name.clone()).collect())
            }
            Source::Reflection { address, client, .. } => {
                let services = client.services().await.map_err(|status| no_reflection(status, address))?;
                Ok(services.into_iter().map(|service| service.name).collect())
            }
        }
    }

    /// Returns all services, in the order of their names.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<ServiceSchema>>, Failure> {
        let mut all = Vec::new();
        for name in self.names().await? {
            // One that has gone meanwhile is none.
            all.extend(self.get(&name).await?);
        }
        Ok(all)
    }

    /// Returns a service; `None` if there is no such service.
    async fn get(&self, name: &str) -> Result<Option<Arc<ServiceSchema>>, Failure> {
        let (address, client, known) = match &self.source {
            Source::File { services, .. } => {
                return Ok(services.iter().find(|service| service.name == name).cloned());
            }
            Source::Reflection { address, client, known } => (address, client, known),
        };
        let found = known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if found.is_some() {
            return Ok(found);
        }
        match client.describe(name).await {
            Ok(schema) => {
                let schema = Arc::new(schema);
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(name.to_owned(), Arc::clone(&schema));
                Ok(Some(schema))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(no_reflection(status, address)),
        }
    }

    /// Returns a service.
    pub(crate) async fn service(&self, name: &str) -> Result<Arc<ServiceSchema>, Failure> {
        match self.get(name).await? {
            Some(service) => Ok(service),
            None => Err(self.unknown_service(name).await),
        }
    }

    /// Returns a method: `Service/method`, or `Service.method`.
    pub(crate) async fn method(&self, symbol: &str) -> Result<Method, Failure> {
        let Some((service, name)) = split(symbol) else {
            let failure = Failure::usage(format!("`{symbol}` is no method; write SERVICE/METHOD"));
            return Err(self.with_methods_called(symbol, failure).await);
        };
        let service = self.service(service).await?;
        if let Some(schema) = service.method(name) {
            return Ok(Method { schema: schema.clone(), service });
        }
        let names = service.methods.iter().map(|method| method.name.as_str());
        let failure = Failure::usage(format!("`{}` has no method `{name}`", visible(&service.name)));
        Err(match did_you_mean(name, names.clone()) {
            Some(hint) => failure.hint(visible(&hint)),
            None => failure.hint(format!("it has {}", visible(&names.collect::<Vec<_>>().join(", ")))),
        })
    }

    async fn unknown_service(&self, name: &str) -> Failure {
        let of = match &self.source {
            Source::File { path, .. } => format!("in {}", path.display()),
            Source::Reflection { address, .. } => format!("at {address}"),
        };
        let failure = Failure::usage(format!("there is no service `{name}` {of}"));
        let Ok(names) = self.names().await else { return failure };
        match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(hint) => failure.hint(visible(&hint)),
            None if names.is_empty() => failure.hint("there is no service at all"),
            None => failure.hint(format!("there are {}", visible(&names.join(", ")))),
        }
    }

    /// Adds the methods with this name, of whatever service.
    async fn with_methods_called(&self, name: &str, failure: Failure) -> Failure {
        let Ok(services) = self.all().await else { return failure };
        let mut found = Vec::new();
        for service in &services {
            let is_meant = |method: &&MethodSchema| method.name == name || service.name == name;
            let methods = service.methods.iter().filter(is_meant);
            found.extend(methods.map(|method| format!("{}/{}", service.name, method.name)));
        }
        if found.is_empty() {
            return failure
                .hint("`muxado list` shows the services, `muxado list ADDRESS SERVICE` their methods");
        }
        failure.hint(visible(&format!("such as {}", found.join(", "))))
    }
}

/// Splits `Service/method`, where the service may have dots in its name; `Service.method` is taken as well.
pub(crate) fn split(symbol: &str) -> Option<(&str, &str)> {
    let (service, method) = symbol.rsplit_once('/').or_else(|| symbol.rsplit_once('.'))?;
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// Returns whether a service belongs to muxado itself, as reflection does.
pub(crate) fn is_own(service: &str) -> bool {
    service == ReflectionClient::SERVICE || service == HealthClient::SERVICE
}

/// Reads the description of one service, if that is what the file holds.
fn one_service(path: &Path, error: &DocumentError) -> Option<ServiceSchema> {
    match error {
        DocumentError::Invalid { .. } => serde_json::from_slice(&std::fs::read(path).ok()?).ok(),
        _ => None,
    }
}

/// Says what to do where reflection is off.
fn no_reflection(status: Status, address: &str) -> Failure {
    if status.code() != Code::Unimplemented {
        return status.into();
    }
    Failure::from(status)
        .saying(format!("{address} does not say what it serves: reflection is off"))
        .hint("give a file that describes it: --schema FILE, an OpenRPC document as written by")
        .hint("`muxado schema export` from a server that has reflection, or by `Document::write`,")
        .hint("or turn reflection on in the server: `Server::builder().reflection()`")
}
