//! `muxado serve`: a server of canned responses.

use std::path::PathBuf;

use clap::Args;
use muxado_rpc::{Server, ServerTls, ServiceSchema};

use crate::{
    catalog::Catalog,
    connect::CONNECTION,
    exit::Failure,
    output::Output,
    serve::{self, CannedResponses},
};

const FORMAT: &str = r#"The file is one JSON object: a response for each SERVICE/METHOD, or an array of
which the first that fits answers.

  {
    "Calculator/add": {"result": 3},
    "Calculator/divide": [
      {"params": {"b": 0}, "error": {"code": "out_of_range", "message": "by 0"}},
      {"result": 2.5, "delay": "20ms"}
    ],
    "Log/follow": {"items": ["first", "second"], "interval": "1s"},
    "Adder/sum": {"shape": "client_streaming", "result": 6},
    "Chat/talk": {"each": ["heard"], "items": ["bye"]}
  }

  result    the value that the method returns; items that the caller sends are
            read to their end first
  items     the items of a stream
  each      items that are sent for each item of the caller's; those of `items`
            follow when its stream has ended
  error     {"code": .., "message": ..}; behind items, how the stream ends. With
            "value" it is the method's own error, with "details" a status with
            details
  params    the parameters that it is for, or a part of them: what is not written
            may be anything. An array is for parameters by position
  times     how many calls it answers; the next one that fits answers the rest
  delay     the time until it answers; interval: the time between items
  metadata  {"name": "value"}, sent with the response
  shape     unary, server_streaming, client_streaming or bidirectional, for
            reflection, where it does not follow from the response

{"$bytes": "aGVsbG8="} in a value stands for bytes, in base64. A service with an
id of its own has it in "service_ids": {"Calculator": 7}. With --serve FILE, a
command that connects answers the calls that come back over its connection."#;

/// Serves canned responses from a file.
#[derive(Debug, Args)]
#[command(after_help = FORMAT)]
pub(crate) struct ServeCommandArgs {
    /// The file of canned responses
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to listen: tcp://host:port, tls://, ws://, wss://, unix://; may be repeated
    #[arg(short, long, value_name = "ADDRESS", default_value = "tcp://127.0.0.1:7000")]
    listen: Vec<String>,
    /// What reflection says of the services, as an OpenRPC document; without it, names and shapes
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The certificate of the server (PEM), with its chain, for tls:// and wss://
    #[arg(long, value_name = "FILE", requires = "key", help_heading = CONNECTION)]
    cert: Option<PathBuf>,
    /// The key of the server (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = CONNECTION)]
    key: Option<PathBuf>,
    /// Take clients only that have a certificate of one of the authorities in this file (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = CONNECTION)]
    client_ca: Option<PathBuf>,
}

impl ServeCommandArgs {
    /// Serves until a signal comes.
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let responses = serve::responses(&self.file, output)?;
        let described = self.describe(&responses).await?;
        let mut builder = Server::builder().fallback(responses).describe_fallback(described).reflection();
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let mut tls = ServerTls::from_files(cert, key);
            if let Some(authorities) = &self.client_ca {
                tls = tls.client_ca_file(authorities);
            }
            builder = builder.tls(tls);
        }
        let server =
            builder.listen(self.listen).await.map_err(|error| Failure::connection(error.to_string()))?;
        for address in server.local_addrs() {
            output.line(&format!("listening on {address}"))?;
        }
        server.wait().await;
        Ok(())
    }

    /// Returns what reflection says: what the document says, and the names of what it does not know.
    async fn describe(&self, responses: &CannedResponses) -> Result<Vec<ServiceSchema>, Failure> {
        let known = match &self.schema {
            Some(path) => Catalog::of_file(path)?.all().await?,
            None => Vec::new(),
        };
        let mut described: Vec<_> = known.iter().map(|schema| ServiceSchema::clone(schema)).collect();
        for schema in responses.describe() {
            if described.iter().all(|known| known.id != schema.id) {
                described.push(schema);
            }
        }
        Ok(described)
    }
}
