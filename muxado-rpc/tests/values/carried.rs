//! A service that carries the value of the shape that is chosen.

use muxado_rpc::{Status, Stream, Streaming};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shapes;

/// The chosen value on its way, or what arrived, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Carried {
    Sent,
    Arrived(String),
}

impl Carried {
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::Sent => "not sent",
            Self::Arrived(shown) => shown,
        }
    }
}

impl Serialize for Carried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shapes::serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shapes::deserialize(deserializer).map(Self::Arrived)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Carried {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Carried".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        shapes::json_schema(generator)
    }
}

#[cfg_attr(feature = "schema", muxado_rpc::service(schema))]
#[cfg_attr(not(feature = "schema"), muxado_rpc::service)]
pub(crate) trait Carrier {
    async fn take(&self, value: Carried) -> String;
    async fn give(&self) -> Carried;
    async fn fail(&self) -> Result<(), Carried>;
    async fn details(&self) -> Result<(), Status>;
    async fn give_items(&self) -> impl Stream<Item = Carried>;
    async fn take_items(&self, items: Streaming<Carried>) -> Result<String, Status>;
}

pub(crate) struct Plain;

impl Carrier for Plain {
    async fn take(&self, value: Carried) -> String {
        value.shown().to_owned()
    }

    async fn give(&self) -> Carried {
        Carried::Sent
    }

    async fn fail(&self) -> Result<(), Carried> {
        Err(Carried::Sent)
    }

    async fn details(&self) -> Result<(), Status> {
        Err(Status::aborted("see the details").with_details(&Carried::Sent))
    }

    async fn give_items(&self) -> impl Stream<Item = Carried> {
        futures_util::stream::iter([Carried::Sent])
    }

    async fn take_items(&self, mut items: Streaming<Carried>) -> Result<String, Status> {
        match items.try_next().await {
            Ok(item) => Ok(item.map_or_else(String::new, |item| item.shown().to_owned())),
            Err(error) => Err(Status::aborted(error.to_string())),
        }
    }
}
