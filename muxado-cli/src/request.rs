//! What a call is made with: values, metadata, codec, time limit. For all commands that make calls.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use futures_util::stream;
use muxado_rpc::{Body, BodyFrame, Channel, Codec, MethodInfo, RawCall, Stream};

use crate::{
    catalog::Method,
    connect::duration,
    exit::Failure,
    headers::HeaderArgs,
    input::{Data, Values},
    params::Encoded,
};

/// The part of the help on calls.
pub(crate) const CALL: &str = "Call";

/// What a call is made with.
#[derive(Clone, Debug, Args)]
pub(crate) struct RequestArgs {
    /// The parameters as JSON: an object by name, or an array by position; @FILE reads them from a file, @ from
    /// standard input. May be repeated, and hold several values: of a method that takes a stream, each is an item,
    /// behind the parameters if it has any
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true, help_heading = CALL)]
    data: Vec<Data>,
    #[command(flatten)]
    pub(crate) headers: HeaderArgs,
    /// How long the call may take, to the end of its stream, as in 500ms, 2s, 1m [default: that of the method, if any]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = CALL)]
    timeout: Option<Duration>,
    /// The encoding of the call
    #[arg(long, value_enum, default_value_t, help_heading = CALL)]
    codec: CodecName,
    /// What describes the services, where reflection is off: an OpenRPC document
    #[arg(long, value_name = "FILE", help_heading = CALL)]
    pub(crate) schema: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CodecName {
    #[default]
    Json,
    #[value(alias = "messagepack")]
    Msgpack,
}

impl RequestArgs {
    pub(crate) const fn codec(&self) -> Codec {
        match self.codec {
            CodecName::Json => Codec::Json,
            CodecName::Msgpack => Codec::MessagePack,
        }
    }

    /// Returns the metadata that is sent.
    pub(crate) fn headers(&self) -> &[(String, String)] {
        self.headers.all()
    }

    /// Returns whether values were given.
    pub(crate) fn has_data(&self) -> bool {
        !self.data.is_empty()
    }

    /// Returns the values that were given, or what standard input brings if there are none and they are needed.
    pub(crate) fn values(&self, are_needed: bool) -> Values {
        if self.data.is_empty() && are_needed {
            return Values::new([Data::StandardInput]);
        }
        Values::new(self.data.iter().cloned())
    }

    /// Begins a call with these settings.
    pub(crate) fn call(&self, channel: Channel, method: &Method, params: Encoded) -> RawCall {
        let info = MethodInfo::dynamic(method.service.name.clone(), method.schema.name.clone())
            .with_service_id(method.service.id)
            .with_shape(method.schema.shape);
        let mut call = RawCall::new(channel, info).codec(self.codec());
        call = match self.codec() {
            Codec::Json => call.raw_params(params.into_json_bytes()),
            _ => call.params(&params),
        };
        if let Some(timeout) = self.timeout.or_else(|| method.schema.timeout_ms.map(Duration::from_millis)) {
            call = call.timeout(timeout);
        }
        self.headers.all().iter().fold(call, |call, (name, value)| call.metadata(name, value))
    }

    /// Sets the items of a call.
    pub(crate) fn with_items(
        &self,
        call: RawCall,
        items: impl Stream<Item = Encoded> + Send + 'static,
    ) -> RawCall {
        use stream::StreamExt;
        match self.codec() {
            Codec::Json => {
                let frames = items.map(|item| BodyFrame::Item(item.into_json_bytes()));
                call.body(Body::from_frames(Codec::Json, frames))
            }
            _ => call.input(items),
        }
    }
}

/// Says that a method takes something else than what was given.
pub(crate) fn one_value_only(method: &Method) -> Failure {
    Failure::usage(format!("{} takes no stream, and there is more than one value", method.name()))
        .hint("all its parameters are one object, or one array")
}
