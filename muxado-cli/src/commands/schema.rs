//! `muxado schema`: the document of a program, and what a new version of it breaks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use muxado_rpc::{
    ServiceSchema,
    schema::{Comparison, Document, Severity},
};

use super::describe::FromArgs;
use crate::{
    catalog::is_own,
    connect::{ConnectOptions, Place},
    exit::Failure,
    headers::HeaderArgs,
    output::{Output, Style},
};

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Write one OpenRPC document of the services of a peer
    Export(Box<ExportArgs>),
    /// Say what differs between two versions, and whom it breaks
    Diff(Box<DiffArgs>),
}

const EXPORT: &str = "\
Examples:
  muxado schema export localhost:7000 -o post.json
  muxado schema export localhost:7000 | jq .methods[].name

The document is OpenRPC 1.3, with what OpenRPC has no word for in fields that begin with x-muxado-. `--schema FILE` of \
other commands, and `schema diff`, read it.";

#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
struct ExportArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Write the document into this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The name of the program in the document
    #[arg(long, default_value = "services")]
    title: String,
    /// The version of the program in the document
    #[arg(long = "program-version", value_name = "VERSION", default_value = "0.0.0")]
    version: String,
    /// A service that is exported; may be repeated [default: all but those of muxado itself]
    #[arg(short, long = "service", value_name = "SERVICE")]
    services: Vec<String>,
}

const DIFF: &str = "\
OLD and NEW are files, or addresses of peers that have reflection; the services of muxado itself are left out.

`callers` are those of the old version that call servers of the new one: if they break, servers must not be replaced \
before their callers. `servers` are those of the old version that are called by callers of the new one.

Examples:
  muxado schema diff post.json localhost:7000
  muxado schema diff old.json new.json --fail-on risky

Exit status: 0 if there is nothing of the severity of --fail-on, or worse; 1 if there is; 2 if a file cannot be read; \
3 and 64+ as for all commands.";

#[derive(Debug, Args)]
#[command(after_help = DIFF)]
struct DiffArgs {
    /// The old version
    old: String,
    /// The new version
    new: String,
    #[command(flatten)]
    options: ConnectOptions,
    #[command(flatten)]
    headers: HeaderArgs,
    /// What makes the exit status 1
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Leave out what breaks nothing
    #[arg(short, long)]
    quiet: bool,
    /// Write one JSON object per change and line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Something breaks calls
    #[default]
    Breaking,
    /// Something breaks calls, or may break some
    Risky,
    /// Anything differs
    Any,
    /// Nothing
    Never,
}

/// The exit status of a comparison that found what is not wanted.
const FOUND: u8 = 1;

impl SchemaArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        match self.command {
            SchemaCommand::Export(args) => args.run(output).await,
            SchemaCommand::Diff(args) => args.run(output).await,
        }
    }
}

impl ExportArgs {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let catalog = self.from.catalog(output).await?;
        let mut document = Document::new(self.title, self.version);
        if self.services.is_empty() {
            let services = catalog.all().await?;
            let services = services.iter().filter(|service| !is_own(&service.name));
            document.services.extend(services.map(|service| ServiceSchema::clone(service)));
        }
        for name in &self.services {
            document.services.push(ServiceSchema::clone(&*catalog.service(name).await?));
        }
        if let Some(path) = &self.output {
            return document.write(path).map_err(|error| Failure::other(error.to_string()));
        }
        let json =
            serde_json::to_string_pretty(&document).map_err(|error| Failure::other(error.to_string()))?;
        if output.is_terminal() { output.json(&json) } else { output.line(&json) }
    }
}

impl DiffArgs {
    async fn run(self, output: &Output) -> Result<(), Failure> {
        let old = self.document(&self.old, output).await?;
        let new = self.document(&self.new, output).await?;
        let comparison = Comparison::between(&old, &new);
        for change in comparison.changes() {
            if self.quiet && change.severity == Severity::Compatible {
                continue;
            }
            if self.json {
                let json =
                    serde_json::to_string(change).map_err(|error| Failure::other(error.to_string()))?;
                output.line(&json)?;
                continue;
            }
            let style = match change.severity {
                Severity::Compatible => Style::Dim,
                Severity::Risky => Style::Warning,
                Severity::Breaking => Style::Error,
            };
            let line = change.to_string();
            let (severity, rest) = line.split_once(' ').unwrap_or((&line, ""));
            output.line(&format!("{} {rest}", output.paint(style, severity)))?;
        }
        if self.is_found(comparison.severity()) { Err(Failure::silent(FOUND)) } else { Ok(()) }
    }

    fn is_found(&self, worst: Option<Severity>) -> bool {
        match self.fail_on {
            FailOn::Breaking => worst == Some(Severity::Breaking),
            FailOn::Risky => worst >= Some(Severity::Risky),
            FailOn::Any => worst.is_some(),
            FailOn::Never => false,
        }
    }

    async fn document(&self, place: &str, output: &Output) -> Result<Document, Failure> {
        let place = Place::parse(place)?;
        let catalog = place.catalog(&self.options, &self.headers, output).await?;
        let mut document = Document::new(place.to_string(), "");
        let services = catalog.all().await?;
        document.services = services.iter().map(|service| ServiceSchema::clone(service)).collect();
        document.services.retain(|service| !is_own(&service.name));
        Ok(document)
    }
}
