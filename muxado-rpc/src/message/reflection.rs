//! What the service of reflection says (`PROTOCOL §10.14`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Codec, Limits, MethodSchema, ServiceId, ServiceInfo, ServiceSchema};

/// The name of the service.
pub(crate) const NAME: &str = "muxado.Reflection";

/// The version of the service that this release serves.
pub(crate) const VERSION: u32 = 1;

/// The names of its methods.
pub(crate) const PEER: &str = "peer";
pub(crate) const SERVICES: &str = "services";
pub(crate) const DESCRIBE: &str = "describe";

/// What a peer with [reflection](crate::ServerBuilder::reflection) says of itself: versions, codecs, limits, transports.
///
/// A [`ReflectionClient`](crate::ReflectionClient) asks for it.
///
/// ```
/// # async fn example(channel: muxado_rpc::Channel) -> Result<(), muxado_rpc::Status> {
/// let peer = muxado_rpc::ReflectionClient::new(channel).peer().await?;
/// println!("{}: messages of up to {:?} bytes", peer.implementation, peer.limits.max_message_size);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerDescription {
    /// The version of the service of reflection. It grows when methods or kinds of answers are added.
    pub version: u32,
    /// What the peer is built with, such as `muxado-rpc 0.1.0`. For people.
    #[serde(default)]
    pub implementation: String,
    /// The codecs that it takes: `json`, `messagepack`.
    #[serde(default)]
    pub codecs: Vec<String>,
    /// What it takes of its callers.
    #[serde(default)]
    pub limits: DescribedLimits,
    /// The schemes of the addresses that it listens on, such as `tls`; none for a peer that has connected, or for one
    /// whose transport was made by the application.
    #[serde(default)]
    pub transports: Vec<String>,
}

/// The limits in a [`PeerDescription`]; each may be left out. They are those of [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DescribedLimits {
    /// Bytes of the largest message: [`Limits::max_message_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<u64>,
    /// Bytes of the metadata of a message: [`Limits::max_metadata_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_metadata_size: Option<u64>,
    /// Bytes of all requests of this connection together: [`Limits::max_request_memory`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_request_memory: Option<u64>,
    /// Calls of this connection that are served at a time: [`Limits::max_in_flight`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u64>,
    /// Milliseconds until the first byte of a call must be there: [`Limits::first_byte_timeout`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_ms: Option<u64>,
}

impl PeerDescription {
    /// Describes this side, to the callers of a connection with these limits, of a server that listens there.
    pub(crate) fn of_this_side(limits: Option<&Limits>, transports: &[String]) -> Self {
        Self {
            version: VERSION,
            implementation: concat!("muxado-rpc ", env!("CARGO_PKG_VERSION")).to_owned(),
            codecs: [Codec::Json, Codec::MessagePack].map(|codec| codec.to_string()).into(),
            limits: limits.map_or_else(DescribedLimits::default, DescribedLimits::of),
            transports: transports.to_vec(),
        }
    }
}

impl DescribedLimits {
    fn of(limits: &Limits) -> Self {
        let timeout = u64::try_from(limits.first_byte_timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            max_message_size: Some(limits.max_message_size as u64),
            max_metadata_size: Some(limits.max_metadata_size as u64),
            max_request_memory: Some(limits.request_memory() as u64),
            max_in_flight: Some(limits.max_in_flight as u64),
            first_byte_timeout_ms: Some(timeout),
        }
    }
}

/// A service that a peer with reflection lists; see [`ReflectionClient::services`](crate::ReflectionClient::services).
///
/// ```
/// # async fn example(channel: muxado_rpc::Channel) -> Result<(), muxado_rpc::Status> {
/// for service in muxado_rpc::ReflectionClient::new(channel).services().await? {
///     println!("{} with {} methods", service.name, service.methods);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceSummary {
    /// The name of the service.
    pub name: String,
    /// The id of the service on the wire.
    pub id: ServiceId,
    /// How many methods it has.
    #[serde(default)]
    pub methods: u64,
    /// Whether its description has schemas: `#[service(schema)]`.
    #[serde(default)]
    pub has_schema: bool,
}

impl ServiceSummary {
    pub(crate) fn of(info: &ServiceInfo) -> Self {
        Self {
            name: info.name().to_owned(),
            id: info.id(),
            methods: info.methods().len() as u64,
            has_schema: info.has_schema(),
        }
    }

    pub(crate) fn of_schema(schema: &ServiceSchema) -> Self {
        Self {
            name: schema.name.clone(),
            id: schema.id,
            methods: schema.methods.len() as u64,
            has_schema: schema.has_schemas(),
        }
    }
}

/// The parameters of [`DESCRIBE`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DescribeParams {
    pub(crate) service: String,
}

/// A part of the description of a service. A document may be larger than a message may be, so it goes in parts: what is
/// said of the service itself comes first. A part of which nothing is known here is one of a later version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Without methods and definitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<ServiceSchema>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<MethodSchema>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) definition: Option<Definition>,
}

/// A schema that others refer to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) schema: Value,
}

impl Part {
    /// Takes a description apart.
    pub(crate) fn all_of(mut schema: ServiceSchema) -> Vec<Self> {
        let methods = std::mem::take(&mut schema.methods);
        let definitions = std::mem::take(&mut schema.definitions);
        let mut parts = vec![Self { service: Some(schema), ..Self::default() }];
        parts.extend(methods.into_iter().map(|method| Self { method: Some(method), ..Self::default() }));
        parts.extend(definitions.into_iter().map(|(name, schema)| {
            let definition = Some(Definition { name, schema });
            Self { definition, ..Self::default() }
        }));
        parts
    }

    /// Adds the part to a description that begins with that of the service. Returns whether it has begun.
    pub(crate) fn add_to(self, schema: &mut Option<ServiceSchema>) -> bool {
        let Some(schema) = schema else {
            *schema = self.service;
            return schema.is_some();
        };
        schema.methods.extend(self.method);
        schema.definitions.extend(self.definition.map(|definition| (definition.name, definition.schema)));
        true
    }

    /// Returns about how many bytes the part takes in memory.
    pub(crate) fn size(&self) -> usize {
        let schemas = self.method.iter().flat_map(|method| {
            let params =
                method.params.iter().flatten().map(|parameter| size_of_value(&parameter.schema) + 128);
            let rest =
                [&method.input, &method.output, &method.error].into_iter().flatten().map(size_of_value);
            params.chain(rest).chain(method.description.iter().map(String::len))
        });
        let definition = self
            .definition
            .iter()
            .map(|definition| size_of_value(&definition.schema) + definition.name.len());
        512 + schemas.chain(definition).sum::<usize>()
    }
}

/// About how many bytes a value takes.
fn size_of_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(elements) => elements.iter().map(size_of_value).sum(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| 64 + name.len() + size_of_value(value)).sum()
            }
            _ => 0,
        }
}
