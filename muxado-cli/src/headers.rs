//! Metadata that goes with every call: of the method that is meant, of reflection, of health.

use clap::Args;
use muxado_rpc::{
    Channel, Metadata, Peer,
    layers::{AddMetadata, AddMetadataLayer},
};
use tower_layer::Layer;

/// Metadata of calls, such as a token.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct HeaderArgs {
    /// Metadata that is sent with each call, such as a token; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header, help_heading = "Call")]
    headers: Vec<(String, String)>,
}

/// A channel whose calls have the metadata.
pub(crate) type LabelledChannel = AddMetadata<Channel>;

impl HeaderArgs {
    /// Returns the names and values.
    pub(crate) fn all(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns a channel whose calls have the metadata.
    pub(crate) fn channel(&self, peer: &Peer) -> LabelledChannel {
        let mut metadata = Metadata::new();
        for (name, value) in &self.headers {
            metadata.insert(name, value);
        }
        AddMetadataLayer::new(metadata).layer(peer.channel())
    }
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("metadata is written NAME:VALUE".to_owned()),
    }
}
