//! One document for the services of a program: OpenRPC 1.3.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::definitions::{Definitions, map_references, merge, prune, rename_references};
use crate::{
    MethodSchema, ParameterSchema, ServiceId, ServiceInfo, ServiceSchema, Shape,
    message::service_schema::{defined_name, reference_to, unescape},
    support::truncate::Brief,
};

/// The services of a program in one document: an [OpenRPC](https://spec.open-rpc.org) document of version 1.3, as JSON.
///
/// A method is called `Service/method` there. What OpenRPC has no word for is in fields that begin with `x-muxado-`: the
/// shape (`x-muxado-shape`), the items that a caller sends (`x-muxado-input`), the method's own error
/// (`x-muxado-error`), options, and the ids of services. Of a method that streams its response, `result` is one item.
///
/// It can be read again, and [compared](super::Comparison) with another.
///
/// ```
/// use muxado_rpc::{NamedService, schema::Document};
///
/// # #[muxado_rpc::service(schema)]
/// # pub trait Greeter { async fn hello(&self, name: &str) -> String; }
/// let document = Document::new("greeter", "1.0.0").service(GreeterServer::schema());
/// let json = serde_json::to_value(&document)?;
/// assert_eq!(json["methods"][0]["name"], "Greeter/hello");
/// assert_eq!(json["methods"][0]["x-muxado-shape"], "unary");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Document {
    /// The name of the program.
    pub title: String,
    /// The version of the program.
    pub version: String,
    /// What the program is.
    pub description: Option<String>,
    /// The services, in the order in which they were added.
    pub services: Vec<ServiceSchema>,
}

impl Document {
    /// Creates a document without services, with the name and the version of the program.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self { title: title.into(), version: version.into(), description: None, services: Vec::new() }
    }

    /// Sets what the program is.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds a service: `ChatServer::schema()`, or what a [`ReflectionClient`](crate::ReflectionClient) returns.
    #[must_use]
    pub fn service(mut self, service: ServiceSchema) -> Self {
        self.services.push(service);
        self
    }

    /// Adds all services of a [`Router`](crate::Router): [`Router::services`](crate::Router::services).
    #[must_use]
    pub fn services<'a>(mut self, services: impl IntoIterator<Item = &'a ServiceInfo>) -> Self {
        self.services.extend(services.into_iter().map(ServiceInfo::schema));
        self
    }

    /// Returns the service with this name.
    pub fn find(&self, name: &str) -> Option<&ServiceSchema> {
        self.services.iter().find(|service| service.name == name)
    }

    /// Writes the document into a file, indented, so that it can be kept and compared beside the sources.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), DocumentError> {
        let path = path.as_ref();
        let failed = |source| DocumentError::Io { path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        text.push('\n');
        fs::write(path, text).map_err(failed)
    }

    /// Reads a document from a file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is not an OpenRPC document of services.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DocumentError> {
        let path = path.as_ref();
        let text = fs::read(path).map_err(|source| DocumentError::Io { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|source| DocumentError::Invalid { path: path.to_owned(), source })
    }
}

/// The error of [`Document::read`] and [`Document::write`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read or written.
    #[error("{}: {source}", Brief(.path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no document of services.
    #[error("{} is no OpenRPC document of muxado services: {}", Brief(.path.display()), Brief(.source))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

/// The version of OpenRPC that is written. All of 1.x are read.
const OPENRPC: &str = "1.3.2";

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OpenRpc::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OpenRpc::deserialize(deserializer)?.into_document().map_err(de::Error::custom)
    }
}

/// The document as OpenRPC has it.
#[derive(Serialize, Deserialize)]
struct OpenRpc {
    openrpc: String,
    info: Info,
    #[serde(rename = "x-muxado-version", default = "version")]
    form: u32,
    #[serde(rename = "x-muxado-services", default)]
    services: Vec<Service>,
    methods: Vec<Method>,
    #[serde(default)]
    components: Components,
}

const fn version() -> u32 {
    ServiceSchema::VERSION
}

#[derive(Serialize, Deserialize)]
struct Info {
    title: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
struct Components {
    #[serde(default)]
    schemas: Definitions,
}

/// What is said of a service as a whole, beside its methods.
#[derive(Serialize, Deserialize)]
struct Service {
    name: String,
    #[serde(default)]
    id: Option<ServiceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deprecated: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Method {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    deprecated: bool,
    #[serde(rename = "paramStructure", default, skip_serializing_if = "Option::is_none")]
    param_structure: Option<String>,
    #[serde(default)]
    params: Vec<ParameterSchema>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Outcome>,
    #[serde(rename = "x-muxado-shape", default = "unary")]
    shape: Shape,
    #[serde(rename = "x-muxado-input", default, skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(rename = "x-muxado-error", default, skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    #[serde(rename = "x-muxado-idempotent", default, skip_serializing_if = "is_false")]
    idempotent: bool,
    #[serde(rename = "x-muxado-no-cancel", default, skip_serializing_if = "is_false")]
    no_cancel: bool,
    #[serde(rename = "x-muxado-timeout-ms", default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(rename = "x-muxado-deprecation", default, skip_serializing_if = "Option::is_none")]
    deprecation: Option<String>,
    /// The parameters are not known, which is not the same as that there are none.
    #[serde(rename = "x-muxado-undescribed", default, skip_serializing_if = "is_false")]
    undescribed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const fn unary() -> Shape {
    Shape::Unary
}

/// What a method returns.
#[derive(Serialize, Deserialize)]
struct Outcome {
    #[serde(default)]
    name: String,
    schema: Value,
}

impl OpenRpc {
    fn of(document: &Document) -> Self {
        let Document { title, version, description, services } = document;
        let (mut schemas, mut methods) = (Definitions::new(), Vec::new());
        for service in services {
            let renamed =
                merge(&mut schemas, service.definitions.clone(), |name| format!("{}.{name}", service.name));
            methods.extend(service.methods.iter().map(|method| Method::of(service, method, &renamed)));
        }
        schemas.values_mut().for_each(to_components);
        Self {
            openrpc: OPENRPC.to_owned(),
            info: Info { title: title.clone(), version: version.clone(), description: description.clone() },
            form: ServiceSchema::VERSION,
            services: services.iter().map(Service::of).collect(),
            methods,
            components: Components { schemas },
        }
    }

    fn into_document(self) -> Result<Document, String> {
        let Self { openrpc, info: Info { title, version, description }, form, services, methods, components } =
            self;
        if !openrpc.starts_with("1.") {
            return Err(format!("version {} of OpenRPC is not known, 1.x is", Brief(&openrpc)));
        }
        let mut schemas = components.schemas;
        schemas.values_mut().for_each(from_components);
        let mut services: Vec<_> = services.into_iter().map(|service| service.into_schema(form)).collect();
        for method in methods {
            let Some((service, name)) = method.name.rsplit_once('/') else {
                return Err(format!("method `{}` is not called `Service/method`", Brief(&method.name)));
            };
            let (service, name) = (service.to_owned(), name.to_owned());
            let at = services.iter().position(|known| known.name == service).unwrap_or_else(|| {
                services.push(ServiceSchema::new(&*service, ServiceId::from_name(&service)));
                services.len() - 1
            });
            services[at].methods.push(method.into_schema(name));
        }
        for service in &mut services {
            service.definitions.clone_from(&schemas);
            prune(service);
        }
        Ok(Document { title, version, description, services })
    }
}

impl Service {
    fn of(service: &ServiceSchema) -> Self {
        Self {
            name: service.name.clone(),
            id: Some(service.id),
            description: service.description.clone(),
            deprecated: service.deprecated.clone(),
        }
    }

    fn into_schema(self, form: u32) -> ServiceSchema {
        let id = self.id.unwrap_or_else(|| ServiceId::from_name(&self.name));
        let mut schema = ServiceSchema::new(self.name, id);
        (schema.version, schema.description, schema.deprecated) = (form, self.description, self.deprecated);
        schema
    }
}

impl Method {
    fn of(service: &ServiceSchema, method: &MethodSchema, renamed: &BTreeMap<String, String>) -> Self {
        let placed = |schema: &Value| {
            let mut schema = schema.clone();
            rename_references(&mut schema, renamed);
            to_components(&mut schema);
            schema
        };
        let params = method
            .params
            .iter()
            .flatten()
            .map(|parameter| ParameterSchema { schema: placed(&parameter.schema), ..parameter.clone() });
        let name = if method.shape.streams_output() { "item" } else { "result" };
        Self {
            name: format!("{}/{}", service.name, method.name),
            description: method.description.clone(),
            deprecated: method.deprecated.is_some(),
            param_structure: Some("either".to_owned()),
            params: params.collect(),
            result: method
                .output
                .as_ref()
                .map(|schema| Outcome { name: name.to_owned(), schema: placed(schema) }),
            shape: method.shape,
            input: method.input.as_ref().map(placed),
            error: method.error.as_ref().map(placed),
            idempotent: method.idempotent,
            no_cancel: method.no_cancel,
            timeout_ms: method.timeout_ms,
            deprecation: method.deprecated.clone().filter(|note| !note.is_empty()),
            undescribed: method.params.is_none(),
        }
    }

    fn into_schema(self, name: String) -> MethodSchema {
        let placed = |mut schema: Value| {
            from_components(&mut schema);
            schema
        };
        let params = self
            .params
            .into_iter()
            .map(|parameter| ParameterSchema { schema: placed(parameter.schema), ..parameter });
        MethodSchema {
            description: self.description,
            deprecated: self.deprecated.then(|| self.deprecation.unwrap_or_default()),
            idempotent: self.idempotent,
            no_cancel: self.no_cancel,
            timeout_ms: self.timeout_ms,
            params: (!self.undescribed).then(|| params.collect()),
            input: self.input.map(placed),
            output: self.result.map(|result| placed(result.schema)),
            error: self.error.map(placed),
            ..MethodSchema::new(name, self.shape)
        }
    }
}

/// Where OpenRPC has the schemas that others refer to.
const COMPONENTS: &str = "#/components/schemas/";

fn to_components(schema: &mut Value) {
    map_references(schema, &|reference| {
        let name = defined_name(reference)?;
        Some(format!("{COMPONENTS}{}", name.replace('~', "~0").replace('/', "~1")))
    });
}

fn from_components(schema: &mut Value) {
    map_references(schema, &|reference| Some(reference_to(&unescape(reference.strip_prefix(COMPONENTS)?))));
}

/// Shows the title, the version and the names of the services.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", Brief(&self.title), Brief(&self.version))?;
        self.services.iter().try_for_each(|service| write!(f, " {}", Brief(&service.name)))
    }
}
