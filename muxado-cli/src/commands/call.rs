//! `muxado call`: calls a method of any shape.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::stream;
use muxado_rpc::{Codec, Metadata, Peer, RawCall, RawError, Shape, Streaming};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::{
    catalog::{Catalog, Method},
    connect::ConnectArgs,
    exit::Failure,
    input::{Data, Given, Values},
    output::{Output, visible},
    params::{Checker, Encoded, Warnings, shape::with_large_integers},
    request::{CALL, RequestArgs, one_value_only},
};

const EXAMPLES: &str = "\
Examples:
  muxado call localhost:7000 Post/follow -d '[7]'
  muxado call localhost:7000 Post/follow -d '{\"number\":7}'
  muxado call localhost:7000 Post/follow -d '[7]' | jq .
  muxado call localhost:7000 Post/whereto -d '1 2 3'
  muxado call unix:app.sock Chat/join -d '[\"room\"]' -d @

Parameters and items are checked against the schema before anything is sent.

A method that takes a stream reads it from standard input if there is no -d: each value is sent as soon as it is \
whole, and Ctrl-D ends the stream. Ctrl-C cancels the call.

Answers are JSON, one value per line, and indented on a terminal.

Exit status: 0; 2 wrong parameters; 3 no connection; 64 + n if the call failed with status n of gRPC; 130 Ctrl-C. \
`muxado --help` has the whole list.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The method, as SERVICE/METHOD
    #[arg(value_name = "SERVICE/METHOD")]
    method: String,
    /// The parameters, if all values of -d are items of a stream; needed for methods with a stream and other parameters
    /// of which the server says no schemas
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true, help_heading = CALL)]
    params: Option<Data>,
    #[command(flatten)]
    request: RequestArgs,
}

impl CallArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let begun = Instant::now();
        let peer = self.connect.connect(output).await?;
        let connected = begun.elapsed();
        let catalog = Catalog::open(
            &peer,
            &self.connect.address,
            self.request.schema.as_deref(),
            &self.request.headers,
        )?;
        let checker = Checker::new(catalog.method(&self.method).await?);
        let described = begun.elapsed() - connected;
        let shape = checker.method().schema.shape;
        if shape == Shape::Unknown {
            return Err(Failure::other("the shape of the method is one that this version does not know"));
        }
        let mut values = self.request.values(shape.streams_input());
        let params = self.params(&checker, &mut values, output).await?;
        let sent = Instant::now();
        if output.verbosity() > 0 {
            self.show_request(&peer, &checker, &params, output);
        }
        let call = self.request.call(peer.channel(), checker.method(), params);
        let answers = exchange(self.request.clone(), call, &checker, values, output).await;
        if output.verbosity() > 0 {
            let times = [("connected", connected), ("described", described), ("called", sent.elapsed())];
            let times = times.map(|(what, time)| format!("{what} in {}", shown(time)));
            let count =
                answers.as_ref().map_or_else(|_| "failed".to_owned(), |count| format!("answers: {count}"));
            output.aside(&format!("* {}; {count}", times.join(", ")));
        }
        answers.map(drop)
    }

    /// Returns the parameters: the first value, if the method has any.
    async fn params(
        &self,
        checker: &Checker,
        values: &mut Values,
        output: &Output,
    ) -> Result<Encoded, Failure> {
        let takes_stream = checker.method().schema.shape.streams_input();
        if takes_stream && !self.request.has_data() && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            let first = if checker.takes_params() && self.params.is_none() {
                "the parameters, then items"
            } else {
                "items"
            };
            output.aside(&format!("type {first} as JSON; Ctrl-D ends the stream"));
        }
        if let Some(data) = &self.params {
            let given = Values::new([data.clone()]).all().await?;
            let [params] = &*given else {
                return Err(Failure::usage(format!("--params is one value, and there are {}", given.len())));
            };
            if !takes_stream && self.request.has_data() {
                return Err(one_value_only(checker.method()));
            }
            let (params, warnings) = checker.params(Some(&params.json))?;
            warn(&warnings, output);
            return Ok(params);
        }
        if takes_stream && !checker.takes_params() {
            return Ok(checker.params(None)?.0);
        }
        let (params, warnings) = loop {
            let Some(given) = values.next().await? else { break checker.params(None)? };
            match checker.params(Some(&given.json)) {
                Err(failure) if given.is_typed => try_again(&failure, values, output),
                checked => break checked?,
            }
        };
        warn(&warnings, output);
        if !takes_stream && !values.all().await?.is_empty() {
            return Err(one_value_only(checker.method()));
        }
        Ok(params)
    }

    fn show_request(&self, peer: &Peer, checker: &Checker, params: &Encoded, output: &Output) {
        let method = checker.method();
        let info = peer.peer_info();
        output.aside(&format!("* {} at {info}, {}", method.name(), method.schema.shape));
        output.aside(&format!("> parameters ({}): {}", self.request.codec(), visible(params.json())));
        for (name, value) in self.request.headers() {
            output.aside(&format!("> {}: {}", visible(name), visible(value)));
        }
    }
}

/// Makes the call: sends the items as they come, and writes the answers as they come. Returns how many there were.
async fn exchange(
    request: RequestArgs,
    call: RawCall,
    checker: &Checker,
    values: Values,
    output: &Output,
) -> Result<u64, Failure> {
    let shape = checker.method().schema.shape;
    let (sender, mut receiver) = mpsc::channel(1);
    let (call, feeding) = if shape.streams_input() {
        let items = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        (request.with_items(call, items), Some(feed(values, checker, sender, output)))
    } else {
        (call, None)
    };
    let feeding = async {
        if let Some(feeding) = feeding {
            feeding.await?;
        }
        // What is left is up to the peer.
        pending::<Result<(), Failure>>().await
    };
    let answering = async {
        let write = |json: &RawValue| write_answer(json.get(), checker.method(), request.codec(), output);
        if shape.streams_output() {
            stream_answers(call, write, output).await
        } else {
            one_answer(call, write, output).await
        }
    };
    // A failure of either drops the other: the call is cancelled, or no further item is read.
    tokio::select! {
        biased;
        answers = answering => answers,
        Err(failure) = feeding => Err(failure),
    }
}

/// Sends the items. Ends with the last one, or when nobody takes them any more.
async fn feed(
    mut values: Values,
    checker: &Checker,
    items: mpsc::Sender<Encoded>,
    output: &Output,
) -> Result<(), Failure> {
    while let Some(Given { json, place, is_typed }) = values.next().await? {
        match checker.item(&json, &place) {
            Ok((item, warnings)) => {
                warn(&warnings, output);
                if output.verbosity() > 0 {
                    output.aside(&format!("> {}", visible(item.json())));
                }
                if items.send(item).await.is_err() {
                    break;
                }
            }
            Err(failure) if is_typed => try_again(&failure, &mut values, output),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Says what is wrong with a value that was typed, and waits for another one.
fn try_again(failure: &Failure, values: &mut Values, output: &Output) {
    values.skip_line();
    output.failure(failure);
    output.aside("it was not sent; type it again");
}

fn warn(warnings: &Warnings, output: &Output) {
    warnings.iter().for_each(|warning| output.warn(warning));
}

/// Writes a result or an item.
fn write_answer(json: &str, method: &Method, codec: Codec, output: &Output) -> Result<(), Failure> {
    let schema = method.schema.output.as_ref().filter(|_| codec == Codec::MessagePack);
    match schema.and_then(|schema| with_large_integers(&method.service, schema, json)) {
        Some(json) => output.json(&json),
        None => output.json(json),
    }
}

async fn one_answer(
    call: RawCall,
    write: impl Fn(&RawValue) -> Result<(), Failure>,
    output: &Output,
) -> Result<u64, Failure> {
    let response = call.with_response::<Box<RawValue>>().await;
    show_metadata(response.metadata(), output);
    write(&response.into_result()?)?;
    Ok(1)
}

async fn stream_answers(
    call: RawCall,
    write: impl Fn(&RawValue) -> Result<(), Failure>,
    output: &Output,
) -> Result<u64, Failure> {
    let mut items: Streaming<Box<RawValue>, RawError> = call.items().await?;
    show_metadata(items.metadata(), output);
    let mut count = 0;
    let end = loop {
        match items.try_next().await {
            Ok(Some(item)) => write(&item)?,
            Ok(None) => break Ok(count),
            Err(error) => break Err(error.into()),
        }
        count += 1;
    };
    show_metadata(items.trailer(), output);
    end
}

fn show_metadata(metadata: &Metadata, output: &Output) {
    if output.verbosity() > 0 {
        for (name, value) in metadata.iter() {
            output.aside(&format!("< {}: {}", visible(name), visible(value)));
        }
    }
}

/// Shows a time with three digits.
pub(super) fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} us"),
        1e3..1e4 => format!("{:.2} ms", micros / 1e3),
        1e4..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
