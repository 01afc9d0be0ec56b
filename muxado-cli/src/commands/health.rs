//! `muxado health`: whether a server takes calls, as `grpc_health_probe` says it.

use std::time::Duration;

use clap::Args;
use muxado_rpc::{Code, HealthClient, HealthStatus, Status};
use serde_json::json;

use crate::{
    connect::{ConnectArgs, duration},
    exit::{Failure, Kind, WRONG_ARGUMENTS},
    headers::{HeaderArgs, LabelledChannel},
    output::{Output, Style, columns, visible},
};

type Client = HealthClient<LabelledChannel>;

// The exit statuses of `grpc_health_probe`, beside that of wrong arguments.
const NO_CONNECTION: u8 = 2;
const CALL_FAILED: u8 = 3;
const NOT_SERVING: u8 = 4;

const HELP: &str = "\
Examples:
  muxado health localhost:7000
  muxado health unix:app.sock Post --watch
  muxado health localhost:7000 --all

Exit status, as that of grpc_health_probe:
  0    SERVING
  1    the command line is wrong
  2    no connection could be made
  3    the call failed, there is no such service, or the
       server has no health
  4    the service is there, and is not SERVING";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    headers: HeaderArgs,
    /// A service; without it the server as a whole is meant
    service: Option<String>,
    /// Write the status now and whenever it changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Write the status of every service; the exit status is that of the server as a whole
    #[arg(short, long, conflicts_with_all = ["watch", "service"])]
    all: bool,
    /// How long the answer may take, as in 500ms, 2s
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    timeout: Duration,
    /// Write one JSON object per line
    #[arg(long)]
    json: bool,
}

impl HealthArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let peer = self.connect.connect(output).await.map_err(|failure| match failure.kind() {
            Kind::Usage => failure.exit_with(WRONG_ARGUMENTS),
            _ => failure.exit_with(NO_CONNECTION),
        })?;
        let client = Client::new(self.headers.channel(&peer));
        let name = self.service.as_deref().unwrap_or_default();
        let status = if self.watch {
            self.watch(&client, name, output).await?
        } else if self.all {
            self.all(&client, output).await?
        } else {
            let status = self.in_time(client.check(name)).await?;
            self.write(name, status, output)?;
            status
        };
        if status == HealthStatus::Serving { Ok(()) } else { Err(Failure::silent(NOT_SERVING)) }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(call_failed),
            Err(_) => {
                let limit =
                    Status::new(Code::DeadlineExceeded, format!("no answer within {:?}", self.timeout));
                Err(call_failed(limit))
            }
        }
    }

    /// Writes each status. Returns the last one, if the watched side says that there is no other to come.
    async fn watch(&self, client: &Client, name: &str, output: &Output) -> Result<HealthStatus, Failure> {
        let mut watch = self.in_time(client.watch(name)).await?;
        let mut last = HealthStatus::Unknown;
        while let Some(status) = watch.next().await.map_err(call_failed)? {
            self.write(name, status, output)?;
            last = status;
        }
        Ok(last)
    }

    async fn all(&self, client: &Client, output: &Output) -> Result<HealthStatus, Failure> {
        let statuses = self.in_time(client.list()).await?;
        let width = statuses.keys().map(|name| columns(called(name))).max().unwrap_or(0);
        for (name, status) in &statuses {
            if self.json {
                self.write(name, *status, output)?;
            } else {
                let name = visible(called(name));
                output.line(&format!("{name:width$}  {}", painted(*status, output)))?;
            }
        }
        Ok(statuses.get("").copied().unwrap_or(HealthStatus::Unknown))
    }

    fn write(&self, service: &str, status: HealthStatus, output: &Output) -> Result<(), Failure> {
        if self.json {
            output.line(&json!({"service": service, "status": status}).to_string())
        } else {
            output.line(&painted(status, output))
        }
    }
}

/// How the server as a whole is called.
fn called(name: &str) -> &str {
    if name.is_empty() { "(server)" } else { name }
}

fn painted(status: HealthStatus, output: &Output) -> String {
    let style = if status == HealthStatus::Serving { Style::Text } else { Style::Error };
    output.paint(style, &status.to_string())
}

fn call_failed(status: Status) -> Failure {
    let code = status.code();
    let failure = Failure::from(status).exit_with(CALL_FAILED);
    match code {
        Code::Unimplemented => failure.hint("the server has no health: `Server::builder().health(&health)`"),
        Code::NotFound => failure.hint("`muxado health ADDRESS --all` shows the services"),
        _ => failure,
    }
}
