//! The calls that stream, as the generator writes them.

use std::{
    convert::Infallible,
    future, iter,
    task::{Context, Poll},
};

use futures_util::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use tonic::{Request, Response, Status, Streaming, body::Body, client, server, transport::Channel};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::{BIDI_ITEMS, BoxFuture, Text};
use crate::{
    Result,
    message::{Copies, Message},
    source,
};

type Items = BoxStream<'static, Result<Text, Status>>;

/// `message Ask { string text = 1; uint32 count = 2; }`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

/// Serves the call that streams its answer.
pub(super) fn items(
    request: http::Request<Body>,
    source: Source,
) -> BoxFuture<http::Response<Body>, Infallible> {
    Box::pin(async move {
        let mut grpc = server::Grpc::new(ProstCodec::<Text, Ask>::default());
        Ok(grpc.server_streaming(Give(source), request).await)
    })
}

/// Serves the call that streams both ways.
pub(super) fn bidi_items(request: http::Request<Body>) -> BoxFuture<http::Response<Body>, Infallible> {
    Box::pin(async {
        let mut grpc = server::Grpc::new(ProstCodec::<Text, Text>::default());
        Ok(grpc.streaming(GiveBack, request).await)
    })
}

/// Where the items come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// They are there.
    Ready,
    /// A task sends them.
    Channel,
}

struct Give(Source);

impl Service<Request<Ask>> for Give {
    type Response = Response<Items>;
    type Error = Status;
    type Future = future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Ask>) -> Self::Future {
        let Ask { text, count } = request.into_inner();
        let items = match self.0 {
            Source::Ready => copies(text, count).map(Ok).boxed(),
            Source::Channel => source::channel(Text { text }, count).map(Ok).boxed(),
        };
        future::ready(Ok(Response::new(items)))
    }
}

struct GiveBack;

impl Service<Request<Streaming<Text>>> for GiveBack {
    type Response = Response<Items>;
    type Error = Status;
    type Future = future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        future::ready(Ok(Response::new(request.into_inner().boxed())))
    }
}

fn copies(text: String, count: u32) -> impl stream::Stream<Item = Text> + Send + 'static {
    stream::iter(iter::repeat_n(Text { text }, count as usize))
}

/// Asks for items and checks them.
pub(super) async fn ask(
    grpc: &mut client::Grpc<Channel>,
    path: &'static str,
    message: &Message,
    count: u32,
) -> Result<()> {
    grpc.ready().await?;
    let request = Request::new(Ask { text: message.text().to_owned(), count });
    let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::<Ask, Text>::default());
    let answer = grpc.server_streaming(request, path, codec).await?;
    check(answer.into_inner(), message.copies(count)).await
}

/// Sends items and checks that they come back.
pub(super) async fn exchange(grpc: &mut client::Grpc<Channel>, message: &Message, count: u32) -> Result<()> {
    grpc.ready().await?;
    let request = Request::new(copies(message.text().to_owned(), count));
    let (path, codec) = (PathAndQuery::from_static(BIDI_ITEMS), ProstCodec::<Text, Text>::default());
    let answer = grpc.streaming(request, path, codec).await?;
    check(answer.into_inner(), message.copies(count)).await
}

async fn check(mut items: Streaming<Text>, mut copies: Copies<'_>) -> Result<()> {
    while let Some(item) = items.message().await? {
        copies.take(&item.text)?;
    }
    copies.end()
}
