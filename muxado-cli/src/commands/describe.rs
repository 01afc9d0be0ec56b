//! `muxado describe`: services, methods and types, for people; `--json` for programs.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use muxado_rpc::{MethodSchema, ServiceSchema};
use serde_json::Value;

use crate::{
    catalog::{self, Catalog, is_own},
    connect::{ConnectOptions, Place},
    exit::Failure,
    headers::HeaderArgs,
    output::{Output, Style, columns, visible, wrap},
    request::CALL,
    suggest::did_you_mean,
    types::{example, fields, signature, type_of, used},
};

/// Where descriptions come from.
#[derive(Clone, Debug, Args)]
pub(crate) struct FromArgs {
    /// Where the peer is, or a FILE: an OpenRPC document as `muxado schema export` writes it
    #[arg(value_name = "ADDRESS")]
    place: String,
    #[command(flatten)]
    options: ConnectOptions,
    #[command(flatten)]
    headers: HeaderArgs,
    /// What describes the services, where reflection is off: an OpenRPC document
    #[arg(long, value_name = "FILE", help_heading = CALL)]
    schema: Option<PathBuf>,
}

impl FromArgs {
    pub(crate) async fn catalog(&self, output: &Output) -> Result<Catalog, Failure> {
        match &self.schema {
            Some(path) => Catalog::of_file(path),
            None => Place::parse(&self.place)?.catalog(&self.options, &self.headers, output).await,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  muxado describe localhost:7000
  muxado describe localhost:7000 Post
  muxado describe localhost:7000 Post/send
  muxado describe post.openrpc.json Parcel

A question mark behind a name says that it may be left out, behind a type that the value may be null.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    from: FromArgs,
    /// A service, a method (SERVICE/METHOD, or its name alone) or a type; all services if there is none
    symbol: Option<String>,
    /// Write the schemas as JSON
    #[arg(long)]
    json: bool,
}

/// What a name stands for.
enum Found {
    Service(Arc<ServiceSchema>),
    Method(Arc<ServiceSchema>, MethodSchema),
    Type(Arc<ServiceSchema>, String),
}

impl DescribeArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let catalog = self.from.catalog(output).await?;
        let found = match &self.symbol {
            Some(symbol) => find(&catalog, symbol).await?,
            None => {
                let services = catalog.all().await?;
                // What muxado itself serves is the same everywhere.
                let others = services.iter().filter(|service| !is_own(&service.name)).count();
                let shown = services.into_iter().filter(|service| others == 0 || !is_own(&service.name));
                shown.map(Found::Service).collect()
            }
        };
        let address = &self.from.place;
        for (at, found) in found.iter().enumerate() {
            if self.json {
                output.json(&found.to_json())?;
                continue;
            }
            let mut page = Page { output, lines: Vec::new() };
            match found {
                Found::Service(service) => page.service(service),
                Found::Method(service, method) => page.method(service, method, address),
                Found::Type(service, name) => page.types(service, [name.as_str()]),
            }
            if at > 0 {
                output.line("")?;
            }
            output.line(page.lines.join("\n").trim_end())?;
        }
        Ok(())
    }
}

/// Finds what a name stands for: exactly one service or method, else all methods and types that are called so.
async fn find(catalog: &Catalog, symbol: &str) -> Result<Vec<Found>, Failure> {
    let services = catalog.all().await?;
    if let Some(service) = services.iter().find(|service| service.name == symbol) {
        return Ok(vec![Found::Service(Arc::clone(service))]);
    }
    if let Some((service, name)) = catalog::split(symbol)
        && let Some(service) = services.iter().find(|known| known.name == service)
    {
        if service.definitions.contains_key(name) {
            return Ok(vec![Found::Type(Arc::clone(service), name.to_owned())]);
        }
        let method = catalog.method(symbol).await?;
        return Ok(vec![Found::Method(method.service, method.schema)]);
    }
    let mut found = Vec::new();
    for service in &services {
        let method = service.method(symbol);
        found.extend(method.map(|method| Found::Method(Arc::clone(service), method.clone())));
        if service.definitions.contains_key(symbol) {
            found.push(Found::Type(Arc::clone(service), symbol.to_owned()));
        }
    }
    if found.is_empty() { Err(unknown(&services, symbol)) } else { Ok(found) }
}

fn unknown(services: &[Arc<ServiceSchema>], symbol: &str) -> Failure {
    let mut names: Vec<String> = Vec::new();
    for service in services {
        names.push(service.name.clone());
        names.extend(service.methods.iter().map(|method| format!("{}/{}", service.name, method.name)));
        names.extend(service.methods.iter().map(|method| method.name.clone()));
        names.extend(service.definitions.keys().cloned());
    }
    let failure = Failure::usage(format!("there is no service, method or type `{symbol}`"));
    match did_you_mean(symbol, names.iter().map(String::as_str)) {
        Some(hint) => failure.hint(visible(&hint)),
        None => failure.hint("`muxado list` shows the services"),
    }
}

impl Found {
    fn to_json(&self) -> String {
        let json = match self {
            Self::Service(service) => serde_json::to_string(&**service),
            Self::Method(service, method) => {
                let mut alone = ServiceSchema::clone(service);
                let names: Vec<_> =
                    used(service, &schemas_of(method)).into_iter().map(str::to_owned).collect();
                alone.methods = vec![method.clone()];
                alone.definitions.retain(|name, _| names.contains(name));
                serde_json::to_string(&alone)
            }
            Self::Type(service, name) => {
                let mut schema = service.standalone(&service.definitions[name]);
                if let Value::Object(members) = &mut schema {
                    members.insert("title".to_owned(), name.as_str().into());
                }
                serde_json::to_string(&schema)
            }
        };
        // Values of JSON are always JSON.
        json.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

/// All schemas of a method.
fn schemas_of(method: &MethodSchema) -> Vec<&Value> {
    let params = method.params.iter().flatten().map(|parameter| &parameter.schema);
    params.chain([&method.input, &method.output, &method.error].into_iter().flatten()).collect()
}

/// Returns the first line of a doc comment.
pub(super) fn first_line(text: &str) -> String {
    visible(text.trim_start().lines().next().unwrap_or_default())
}

/// A description that is being written.
struct Page<'a> {
    output: &'a Output,
    lines: Vec<String>,
}

impl Page<'_> {
    fn service(&mut self, service: &ServiceSchema) {
        let name = self.output.paint(Style::Name, &visible(&service.name));
        self.lines.push(format!("service {name}"));
        self.text(service.description.as_deref(), 2);
        self.deprecation(service.deprecated.as_deref(), 2);
        for method in &service.methods {
            self.lines.push(String::new());
            self.signature("", method, 2);
            self.text(method.description.as_deref(), 4);
            self.deprecation(method.deprecated.as_deref(), 4);
            self.options(method, 4);
        }
        let schemas: Vec<_> = service.methods.iter().flat_map(schemas_of).collect();
        self.types(service, used(service, &schemas));
        if !service.has_schemas() && !service.methods.is_empty() {
            self.lines.push(String::new());
            self.lines.push(
                "Parameters and results are not described: the service is not `#[service(schema)]`.".into(),
            );
        }
    }

    fn method(&mut self, service: &ServiceSchema, method: &MethodSchema, address: &str) {
        self.signature(&format!("{}/", service.name), method, 0);
        self.text(method.description.as_deref(), 2);
        self.deprecation(method.deprecated.as_deref(), 2);
        self.options(method, 2);
        let documented = method.params.iter().flatten().filter(|parameter| parameter.description.is_some());
        for (at, parameter) in documented.enumerate() {
            if at == 0 {
                self.lines.push(String::new());
            }
            self.lines.push(format!("  {}", self.output.paint(Style::Key, &visible(&parameter.name))));
            self.text(parameter.description.as_deref(), 4);
        }
        self.types(service, used(service, &schemas_of(method)));
        self.lines.push(String::new());
        self.lines.push(self.output.paint(Style::Dim, &visible(&call_line(service, method, address))));
    }

    /// Writes the signature, over several lines if it is too long for one.
    fn signature(&mut self, prefix: &str, method: &MethodSchema, indent: usize) {
        let line = visible(&format!("{prefix}{}", signature(method)));
        let (name, rest) = line.split_once('(').unwrap_or((&line, ""));
        let margin = " ".repeat(indent);
        let painted = self.output.paint(Style::Name, name);
        if columns(&line) + indent <= self.output.width() {
            self.lines.push(format!("{margin}{painted}({rest}"));
            return;
        }
        let (params, result) = rest.rsplit_once(") -> ").unwrap_or((rest, ""));
        self.lines.push(format!("{margin}{painted}("));
        for parameter in split_outermost(params) {
            self.lines.push(format!("{margin}  {parameter},"));
        }
        self.lines.push(format!("{margin}) -> {result}"));
    }

    fn options(&mut self, method: &MethodSchema, indent: usize) {
        let limit = method.timeout_ms.map(|limit| format!("time limit {limit} ms"));
        let options = [
            method.idempotent.then(|| "idempotent".to_owned()),
            method.no_cancel.then(|| "runs to its end even if the call is cancelled".to_owned()),
            limit,
        ];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !options.is_empty() {
            let line = format!("{}[{options}]", " ".repeat(indent));
            self.lines.push(self.output.paint(Style::Dim, &line));
        }
    }

    fn deprecation(&mut self, reason: Option<&str>, indent: usize) {
        match reason {
            Some("") => self.text(Some("Deprecated."), indent),
            Some(reason) => self.text(Some(&format!("Deprecated: {reason}")), indent),
            None => {}
        }
    }

    fn text(&mut self, text: Option<&str>, indent: usize) {
        let margin = " ".repeat(indent);
        for line in wrap(text.unwrap_or_default(), self.output.width().saturating_sub(indent)) {
            self.lines.push(format!("{margin}{line}").trim_end().to_owned());
        }
    }

    fn types<'a>(&mut self, service: &'a ServiceSchema, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let Some(schema) = service.definitions.get(name) else { continue };
            if !self.lines.is_empty() {
                self.lines.push(String::new());
            }
            self.definition(name, schema);
        }
    }

    fn definition(&mut self, name: &str, schema: &Value) {
        let name = self.output.paint(Style::Type, &visible(name));

        let fields = schema.as_object().map(fields).unwrap_or_default();
        let mut shown = schema.clone();
        let alternatives = ["oneOf", "anyOf"].iter().find_map(|word| schema.get(word)?.as_array());
        if !fields.is_empty() && alternatives.is_none() {
            self.comment(description(schema), 0);
            self.lines.push(format!("type {name} {{"));
            for field in fields {
                self.comment(description(field.schema), 2);
                let shown = type_of(field.schema);
                self.lines.push(format!("  {}: {shown}", self.output.paint(Style::Key, &field.label())));
            }
            self.lines.push("}".to_owned());
            return;
        }
        self.comment(description(schema), 0);
        match alternatives {
            Some(alternatives) if fields.is_empty() && alternatives.len() > 1 => {
                self.lines.push(format!("type {name} ="));
                for alternative in alternatives {
                    self.comment(description(alternative), 4);
                    self.lines.push(format!("  | {}", type_of(alternative)));
                }
            }
            _ => {
                if let Value::Object(members) = &mut shown {
                    members.remove("description");
                }
                self.lines.push(format!("type {name} = {}", type_of(&shown)));
            }
        }
    }

    fn comment(&mut self, text: Option<&str>, indent: usize) {
        let margin = " ".repeat(indent);
        let width = self.output.width().saturating_sub(indent + 3);
        for line in wrap(text.unwrap_or_default(), width) {
            let line = format!("{margin}// {line}");
            self.lines.push(self.output.paint(Style::Dim, line.trim_end()));
        }
    }
}

/// Splits parameters at the commas that are in no brackets.
fn split_outermost(params: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, char) in params.char_indices() {
        match char {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(params[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(params[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// A call of the method, to begin with.
fn call_line(service: &ServiceSchema, method: &MethodSchema, address: &str) -> String {
    let quoted = |value: &Value| format!(" -d '{}'", value.to_string().replace('\'', "'\\''"));
    let mut line = format!("muxado call {address} {}/{}", service.name, method.name);
    let params = method.params.as_deref().unwrap_or_default();
    let required = params.iter().filter(|parameter| parameter.required);
    let example_of = |schema: &Value| example(service, schema);
    let values: serde_json::Map<_, _> =
        required.map(|parameter| (parameter.name.clone(), example_of(&parameter.schema))).collect();
    if !values.is_empty() || method.shape.streams_input() && !params.is_empty() {
        line.push_str(&quoted(&Value::Object(values)));
    }
    if let (true, Some(schema)) = (method.shape.streams_input(), &method.input) {
        line.push_str(&quoted(&example_of(schema)));
    }
    line
}

/// Returns what the doc comment says.
fn description(schema: &Value) -> Option<&str> {
    schema.get("description")?.as_str()
}
