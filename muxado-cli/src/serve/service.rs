//! The service that gives canned responses, whatever is called.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use muxado_rpc::{
    Body, BodyFrame, CallError, Codec, Metadata, MethodSchema, RawError, Request, Response, ServiceSchema,
    Status,
};
use serde_json::Value;
use tokio::time::sleep;
use tower_service::Service;

use super::file::{Answer, Canned, CannedError, CannedItems};
use crate::{json::tree::Tree, output::visible};

/// A Tower service for all calls that are not served otherwise.
#[derive(Clone, Debug)]
pub(crate) struct CannedResponses {
    canned: Arc<Canned>,
    /// Says of each call how it was answered.
    log: bool,
}

impl CannedResponses {
    pub(crate) fn new(canned: Canned, log: bool) -> Self {
        Self { canned: Arc::new(canned), log }
    }

    /// Returns what is known of the services: names and shapes.
    pub(crate) fn describe(&self) -> Vec<ServiceSchema> {
        let described = self.canned.services().map(|(id, service)| {
            let mut schema = ServiceSchema::new(service.name.clone(), id);
            let methods =
                service.methods.iter().map(|(name, method)| MethodSchema::new(name.clone(), method.shape));
            schema.methods = methods.collect();
            schema
        });
        described.collect()
    }
}

impl Service<Request> for CannedResponses {
    type Response = Response;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { canned, log } = self.clone();
        Box::pin(async move {
            let called = log.then(|| format!("{} {}", name_of(&canned, &request), shown_params(&request)));
            let outcome = respond(&canned, request).await;
            if let Some(called) = called {
                let how = match &outcome {
                    Ok(response) if response.is_ok() => "answered".to_owned(),
                    Ok(_) => "answered with its error".to_owned(),
                    Err(status) => status.to_string(),
                };
                // Whether somebody reads it makes no difference.
                _ = writeln!(io::stderr().lock(), "{}", visible(&format!("{called}: {how}")));
            }
            outcome
        })
    }
}

/// Returns `Service/method` of a request, which knows the service by its id only.
fn name_of(canned: &Canned, request: &Request) -> String {
    let method = request.method();
    let service =
        canned.service(method.service_id()).map_or_else(|| method.service(), |service| &service.name);
    format!("{service}/{}", method.name())
}

fn shown_params(request: &Request) -> String {
    let mut text =
        request.decode_params::<Value>().map_or_else(|_| "?".to_owned(), |params| params.to_string());
    if let Some((end, _)) = text.char_indices().nth(MAX_SHOWN) {
        text.truncate(end);
        text.push_str("..");
    }
    text
}

/// Characters of parameters that are shown.
const MAX_SHOWN: usize = 200;

/// Finds the response of a call, and answers with it.
async fn respond(canned: &Arc<Canned>, mut request: Request) -> Result<Response, Status> {
    let name = name_of(canned, &request);
    let (service, method) = (request.method().service_id(), request.method().name().to_owned());
    let found = canned.service(service).and_then(|service| service.methods.get(&method));
    let Some(found) = found else {
        return Err(Status::unimplemented(format!("there is no canned response for {name}")).not_executed());
    };
    // What JSON cannot hold, as bytes in MessagePack, fits those only that are for all parameters.
    let params = request.decode_params().unwrap_or(Value::Null);
    let Some(response) = found.find(&params) else {
        let params = shown_params(&request);
        return Err(Status::invalid_argument(format!(
            "no canned response of {name} is for the parameters {params}"
        )));
    };
    if let Some(delay) = response.delay {
        sleep(delay).await;
    }
    let (codec, input) = (request.codec(), request.take_body());
    let metadata = response.metadata.clone();
    match &response.answer {
        Answer::Error(error) => answer_error(error, codec),
        Answer::Result(value) => {
            if let Some(mut input) = input {
                while next_item(&mut input).await?.is_some() {}
            }
            let mut answer = Response::new(codec, value)?;
            *answer.metadata_mut() = metadata;
            Ok(answer)
        }
        Answer::Items(items) => {
            // It outlives this call of a function, and the file has all that it needs.
            let play = Play::new(codec, items, metadata, input)?;
            Ok(Response::from_body(Body::from_frames(codec, stream::unfold(play, Play::next))))
        }
    }
}

/// Returns the next item that the caller sends; `None` after the last.
async fn next_item(input: &mut Body) -> Result<Option<Bytes>, Status> {
    loop {
        match input.next_frame().await {
            Some(BodyFrame::Item(item)) => return Ok(Some(item)),
            Some(BodyFrame::End { result: Err(error), .. }) => return Err(error.into()),
            Some(BodyFrame::End { .. }) | None => return Ok(None),
            _ => {}
        }
    }
}

fn answer_error(error: &CannedError, codec: Codec) -> Result<Response, Status> {
    match encode_error(error, codec) {
        CallError::App(error) => Ok(Response::from_raw_error(error)),
        CallError::Status(status) => Err(status),
    }
}

/// Returns an error of the file as it goes to the caller.
fn encode_error(error: &CannedError, codec: Codec) -> CallError<RawError> {
    if let Some(value) = &error.value {
        let encoded = RawError::encode(codec, error.code, &*error.message, value);
        return encoded.map_or_else(CallError::Status, CallError::App);
    }
    let status = Status::new(error.code, &*error.message);
    CallError::Status(match &error.details {
        Some(details) => status.with_details(details),
        None => status,
    })
}

/// A stream of canned items on its way.
struct Play {
    /// What goes in front of the items.
    metadata: Option<Metadata>,
    /// The caller's items, as long as each of them is answered.
    input: Option<Body>,
    each: Vec<Bytes>,
    /// What follows when the caller's stream has ended.
    rest: Vec<Bytes>,
    ready: VecDeque<Bytes>,
    interval: Option<std::time::Duration>,
    /// No item was sent yet.
    is_first: bool,
    /// How it ends; `None` once it has.
    end: Option<Result<(), CallError<RawError>>>,
}

impl Play {
    fn new(
        codec: Codec,
        items: &CannedItems,
        metadata: Metadata,
        input: Option<Body>,
    ) -> Result<Self, Status> {
        let encode =
            |items: &[Tree]| items.iter().map(|item| encode(codec, item)).collect::<Result<Vec<_>, _>>();
        let end = items.error.as_ref().map_or(Ok(()), |error| Err(encode_error(error, codec)));
        let input = match input {
            Some(input) if items.each.is_empty() => {
                // Nobody waits for it, but the caller has to be able to send it.
                tokio::spawn(discard(input));
                None
            }
            input => input,
        };
        Ok(Self {
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
            input,
            each: encode(&items.each)?,
            rest: encode(&items.items)?,
            ready: VecDeque::new(),
            interval: items.interval,
            is_first: true,
            end: Some(end),
        })
    }

    /// Returns the next frame, and what is left.
    async fn next(mut self) -> Option<(BodyFrame, Self)> {
        if let Some(metadata) = self.metadata.take() {
            return Some((BodyFrame::Metadata(metadata), self));
        }
        loop {
            if let Some(item) = self.ready.pop_front() {
                if let (Some(interval), false) = (self.interval, self.is_first) {
                    sleep(interval).await;
                }
                self.is_first = false;
                return Some((BodyFrame::Item(item), self));
            }
            let next = match &mut self.input {
                Some(input) => next_item(input).await,
                None => Ok(None),
            };
            match next {
                Ok(Some(_)) => self.ready.extend(self.each.iter().cloned()),
                Ok(None) if !self.rest.is_empty() => {
                    self.input = None;
                    self.ready.extend(self.rest.drain(..));
                }
                Ok(None) => {
                    let result = self.end.take()?;
                    return Some((BodyFrame::End { result, trailer: Metadata::new() }, self));
                }
                Err(status) => {
                    // What the caller's stream ended with goes before what the file says.
                    _ = self.end.take()?;
                    let result = Err(CallError::Status(status));
                    return Some((BodyFrame::End { result, trailer: Metadata::new() }, self));
                }
            }
        }
    }
}

/// Encodes an item.
fn encode(codec: Codec, item: &Tree) -> Result<Bytes, Status> {
    Response::new(codec, item)?.into_bytes().map_err(Status::from)
}

async fn discard(mut input: Body) {
    while let Ok(Some(_)) = next_item(&mut input).await {}
}
