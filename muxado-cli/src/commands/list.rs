//! `muxado list`: the services of a peer, or the methods of one.

use clap::Args;
use serde_json::json;

use super::describe::{FromArgs, first_line};
use crate::{
    exit::Failure,
    output::{Output, Style, columns, visible},
};

const EXAMPLES: &str = "\
Examples:
  muxado list localhost:7000
  muxado list localhost:7000 Post
  muxado list -l post.openrpc.json

Without -l each line is a name, for scripts: a service, or SERVICE/METHOD.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    from: FromArgs,
    /// List the methods of this service
    service: Option<String>,
    /// Say what each is
    #[arg(short, long)]
    long: bool,
    /// Write one JSON object per line
    #[arg(long, conflicts_with = "long")]
    json: bool,
}

/// A line of the list.
struct Row {
    name: String,
    /// Of a service, how many methods; of a method, its shape.
    extent: String,
    description: String,
    json: serde_json::Value,
}

impl ListArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let catalog = self.from.catalog(output).await?;
        if self.service.is_none() && !self.long && !self.json {
            for name in catalog.names().await? {
                output.line(&visible(&name))?;
            }
            return Ok(());
        }
        let mut rows = Vec::new();
        if let Some(name) = &self.service {
            let service = catalog.service(name).await?;
            for method in &service.methods {
                let name = format!("{}/{}", service.name, method.name);
                let description = method.description.clone().unwrap_or_default();
                rows.push(Row {
                    json: json!({"name": name, "shape": method.shape, "description": method.description}),
                    name,
                    extent: method.shape.to_string().replace('_', " "),
                    description,
                });
            }
        } else {
            for service in catalog.all().await? {
                let methods = service.methods.len();
                rows.push(Row {
                    name: service.name.clone(),
                    extent: format!("{methods} method{}", if methods == 1 { "" } else { "s" }),
                    description: service.description.clone().unwrap_or_default(),
                    json: json!({"name": service.name, "methods": methods, "description": service.description}),
                });
            }
        }
        self.write(&rows, output)
    }

    fn write(&self, rows: &[Row], output: &Output) -> Result<(), Failure> {
        let width = |of: fn(&Row) -> &str| rows.iter().map(|row| columns(of(row))).max().unwrap_or(0);
        let (name_width, extent_width) = (width(|row| &row.name), width(|row| &row.extent));
        for row in rows {
            let name = visible(&row.name);
            if self.json {
                output.line(&row.json.to_string())?;
            } else if self.long {
                let name = output.paint(Style::Name, &format!("{name:name_width$}"));
                let room = output.width().saturating_sub(name_width + extent_width + 4);
                let extent = output.paint(Style::Dim, &format!("{:extent_width$}", row.extent));
                let description = cut(&first_line(&row.description), room);
                output.line(format!("{name}  {extent}  {description}").trim_end())?;
            } else {
                output.line(&name)?;
            }
        }
        Ok(())
    }
}

/// Cuts a text that is too long for the line; one that would hardly be seen is left out.
fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    if room < 8 {
        return String::new();
    }
    text.chars().take(room - 2).chain("..".chars()).collect()
}
