//! The calls of a measurement: one method with the same parameters again and again, encoded once.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use muxado_rpc::{
    Body, BodyFrame, CallError, Channel, Codec, Metadata, MethodInfo, RawError, Request, Response, Status,
};
use tower_service::Service;

use super::{
    load::Caller,
    recorder::{Failed, Moved},
};

/// A call, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) method: MethodInfo,
    pub(crate) codec: Codec,
    pub(crate) params: Bytes,
    /// What the caller sends behind the parameters, if the method takes a stream.
    pub(crate) items: Option<Arc<[Bytes]>>,
    pub(crate) metadata: Metadata,
    pub(crate) timeout: Option<Duration>,
}

/// Makes the call over one connection.
#[derive(Debug)]
pub(crate) struct MethodCaller {
    channel: Channel,
    /// Without its body, which is made for each call.
    request: Box<Request>,
    codec: Codec,
    items: Option<Arc<[Bytes]>>,
}

impl Prepared {
    /// Returns who makes the call over a connection. Each has all that it needs for itself: threads that count references
    /// to the same things get in each other's way.
    pub(crate) fn caller(&self, channel: Channel) -> Result<MethodCaller, Status> {
        let params = Bytes::copy_from_slice(&self.params);
        let mut request = Request::from_raw(self.method.clone(), self.codec, params)?;
        if !self.metadata.is_empty() {
            *request.metadata_mut() = self.metadata.clone();
        }
        request.set_timeout(self.timeout);
        Ok(MethodCaller { channel, request: Box::new(request), codec: self.codec, items: self.items.clone() })
    }
}

impl MethodCaller {
    fn request(&self) -> Result<Request, Status> {
        let request = self.request.try_clone();
        let mut request =
            request.ok_or_else(|| Status::internal("a request that was prepared has a body"))?;
        if let Some(items) = &self.items {
            let items = Arc::clone(items);
            let frames = (0..items.len()).map(move |at| BodyFrame::Item(items[at].clone()));
            request.set_body(Some(Body::from_frames(self.codec, stream::iter(frames))));
        }
        Ok(request)
    }
}

impl Caller for MethodCaller {
    async fn call(&mut self) -> Result<Moved, Failed> {
        let items_sent = self.items.as_ref().map_or(0, |items| items.len() as u64);
        let moved = Moved { items_sent, ..Moved::default() };
        let request = self.request().map_err(|status| failed(&status, moved))?;
        let ready = poll_fn(|cx| self.channel.poll_ready(cx)).await;
        ready.map_err(|status| failed(&status, moved))?;
        let response = self.channel.call(request).await.map_err(|status| failed(&status, moved))?;
        if response.is_ok() { received(response, moved).await } else { Err(refused(response, moved)) }
    }

    fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

/// Takes what came, to the last item, without decoding it.
async fn received(mut response: Response, mut moved: Moved) -> Result<Moved, Failed> {
    let Some(body) = response.body_mut() else {
        moved.bytes_received = response.payload().len() as u64;
        return Ok(moved);
    };
    while let Some(frame) = body.next_frame().await {
        match frame {
            BodyFrame::Item(item) => {
                moved.items_received += 1;
                moved.bytes_received += item.len() as u64;
            }
            BodyFrame::End { result: Err(error), .. } => return Err(of_error(error, moved)),
            _ => {}
        }
    }
    Ok(moved)
}

fn failed(status: &Status, moved: Moved) -> Failed {
    Failed { code: status.code(), message: status.message().to_owned(), moved }
}

#[cold]
fn refused(response: Response, moved: Moved) -> Failed {
    match response.into_bytes() {
        Err(error) => of_error(error, moved),
        Ok(_) => failed(&Status::internal("a value came in place of an error"), moved),
    }
}

#[cold]
fn of_error(error: CallError<RawError>, moved: Moved) -> Failed {
    match error {
        CallError::App(error) => Failed { code: error.code(), message: error.message().to_owned(), moved },
        CallError::Status(status) => failed(&status, moved),
    }
}
