//! Streaming methods that `#[service]` generates work whatever the names around them and in them mean.

use futures_util::{StreamExt, stream};
use muxado_rpc::{CallError, Codec, NamedService, Shape, Streaming};

/// No prelude, and the names that generated code might lean on mean something else.
mod hostile {
    #![no_implicit_prelude]
    #![expect(dead_code, reason = "names are there to be in the way")]

    use ::futures_util::{StreamExt as _, stream};
    use ::std::iter::{IntoIterator as _, Iterator as _};

    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod futures_core {}
    pub(crate) mod muxado_rpc {}
    pub(crate) struct Result;
    pub(crate) struct Option;
    pub(crate) struct Stream;
    pub(crate) struct Streaming;
    pub(crate) struct Items;
    pub(crate) struct ItemSink;
    pub(crate) struct Ok;
    pub(crate) struct Err;
    pub(crate) struct Some;
    pub(crate) struct None;
    pub(crate) struct Box;
    pub(crate) trait Send {}
    pub(crate) trait Clone {}

    #[::muxado_rpc::service]
    pub(crate) trait Feed {
        async fn out(&self, to: u8) -> impl ::muxado_rpc::Stream<Item = u8>;
        async fn fails(&self) -> impl ::muxado_rpc::Stream<Item = ::core::result::Result<u8, u8>>;
        async fn maybe(&self, n: u8) -> ::core::result::Result<impl ::muxado_rpc::Stream<Item = u8>, u8>;
        async fn count(&self, items: ::muxado_rpc::Streaming<u8>) -> usize;
        async fn both(
            &self,
            cx: &::muxado_rpc::Context,
            items: ::muxado_rpc::Streaming<u8>,
        ) -> impl ::muxado_rpc::Stream<Item = usize>;
    }

    pub(crate) struct Impl;

    impl Feed for Impl {
        async fn out(&self, to: u8) -> impl ::muxado_rpc::Stream<Item = u8> {
            stream::iter(0..to)
        }

        async fn fails(&self) -> impl ::muxado_rpc::Stream<Item = ::core::result::Result<u8, u8>> {
            stream::iter([::core::result::Result::Ok(1), ::core::result::Result::Err(2)])
        }

        async fn maybe(&self, n: u8) -> ::core::result::Result<impl ::muxado_rpc::Stream<Item = u8>, u8> {
            if n == 0 {
                return ::core::result::Result::Err(7);
            }
            ::core::result::Result::Ok(stream::iter([n].into_iter().map(|n| n + 1)))
        }

        async fn count(&self, items: ::muxado_rpc::Streaming<u8>) -> usize {
            items.count().await
        }

        async fn both(
            &self,
            cx: &::muxado_rpc::Context,
            items: ::muxado_rpc::Streaming<u8>,
        ) -> impl ::muxado_rpc::Stream<Item = usize> {
            items.map(|_| cx.method().name().len())
        }
    }
}

/// All items and the error at the end.
async fn collect<T, E>(items: Streaming<T, E>) -> Vec<Result<T, CallError<E>>> {
    items.collect().await
}

#[tokio::test]
async fn no_name_in_scope_matters() {
    let client = hostile::FeedClient::new(hostile::FeedServer::new(hostile::Impl)).with_codec(Codec::Json);
    assert_eq!(collect(client.out(2).await.unwrap()).await, [Ok(0), Ok(1)]);
    assert_eq!(collect(client.fails().await.unwrap()).await, [Ok(1), Err(CallError::App(2))]);
    assert_eq!(collect(client.maybe(1).await.unwrap()).await, [Ok(2)]);
    assert!(matches!(client.maybe(0).await, Err(CallError::App(7))));
    assert_eq!(client.count(stream::iter([1, 2, 3])).await, Ok(3));
    assert_eq!(collect(client.both(stream::iter([1])).await.unwrap()).await, [Ok(4)]);
}

/// Methods and parameters named like what is generated beside and around them.
mod names {
    use futures_util::{Stream, StreamExt, stream};
    use muxado_rpc::{Context, Streaming};

    #[muxado_rpc::service]
    pub(crate) trait Names {
        async fn stream(&self, sink: u8, items: u8, codec: u8) -> impl Stream<Item = u8>;
        async fn stream_fallible(&self, error: u8) -> Result<impl Stream<Item = u8>, u8>;
        async fn call(&self, request: Streaming<u8>) -> usize;
        async fn items(&self, items: Streaming<u8>, params: u8) -> usize;
        async fn clone(&self, context: &Context, stream: Streaming<u8>) -> impl Stream<Item = u8>;
        async fn new(&self, service: Streaming<u8>, sink: u8) -> impl Stream<Item = Result<u8, u8>>;
        async fn next(&self, caller: Streaming<u8>) -> usize;
        async fn r#yield(&self, r#in: Streaming<u8>, r#type: u8) -> impl Stream<Item = u8>;
    }

    pub(crate) struct Impl;

    impl Names for Impl {
        async fn stream(&self, sink: u8, items: u8, codec: u8) -> impl Stream<Item = u8> {
            stream::iter([sink, items, codec])
        }

        async fn stream_fallible(&self, error: u8) -> Result<impl Stream<Item = u8>, u8> {
            if error > 0 { Err(error) } else { Ok(stream::iter([error])) }
        }

        async fn call(&self, request: Streaming<u8>) -> usize {
            request.count().await
        }

        async fn items(&self, items: Streaming<u8>, params: u8) -> usize {
            items.count().await + usize::from(params)
        }

        async fn clone(&self, _context: &Context, stream: Streaming<u8>) -> impl Stream<Item = u8> {
            stream.map(|item| item.unwrap_or(0))
        }

        async fn new(&self, service: Streaming<u8>, sink: u8) -> impl Stream<Item = Result<u8, u8>> {
            service.map(|item| item.map_err(|_| 0)).chain(stream::iter([Err(sink)]))
        }

        async fn next(&self, caller: Streaming<u8>) -> usize {
            caller.count().await
        }

        async fn r#yield(&self, r#in: Streaming<u8>, r#type: u8) -> impl Stream<Item = u8> {
            r#in.map(move |item| item.unwrap_or(0) + r#type)
        }
    }
}

#[tokio::test]
async fn methods_and_parameters_may_have_any_name() {
    let client: names::NamesClient<_> = From::from(names::NamesServer::new(names::Impl));
    let items = || stream::iter([1, 2]);
    assert_eq!(collect(client.stream(1, 2, 3).await.unwrap()).await, [Ok(1), Ok(2), Ok(3)]);
    assert!(matches!(client.stream_fallible(4).await, Err(CallError::App(4))));
    assert_eq!((client.call(items()).await, client.items(items(), 3).await), (Ok(2), Ok(5)));
    assert_eq!(collect(client.clone(items()).await.unwrap()).await, [Ok(1), Ok(2)]);
    let with_error = collect(client.new(items(), 9).await.unwrap()).await;
    assert_eq!(with_error, [Ok(1), Ok(2), Err(CallError::App(9))]);
    assert_eq!(client.next(items()).await, Ok(2));
    assert_eq!(collect(client.r#yield(items(), 5).await.unwrap()).await, [Ok(6), Ok(7)]);
    let info = names::NamesServer::<names::Impl>::INFO;
    assert_eq!(info.method("yield").map(|method| method.shape()), Some(Shape::Bidirectional));
}

/// A `cfg` on a stream decides over the shape of the method.
mod configured {
    use futures_util::{Stream, StreamExt, stream};
    use muxado_rpc::Streaming;

    #[muxado_rpc::service]
    pub(crate) trait Configured {
        async fn gone(&self, n: u8, #[cfg(any())] items: Streaming<Missing>) -> u8;
        async fn kept(&self, #[cfg(not(any()))] items: Streaming<u8>, #[cfg(any())] n: Missing) -> usize;
        async fn gone_both(&self, #[cfg(any())] items: Streaming<Missing>) -> impl Stream<Item = u8>;
        async fn kept_both(&self, #[cfg(not(any()))] items: Streaming<u8>) -> impl Stream<Item = u8>;
        async fn half(
            &self,
            #[cfg(not(any()))]
            #[cfg(any())]
            items: Streaming<Missing>,
        ) -> u8;
        #[cfg(any())]
        async fn nowhere(&self, items: Streaming<Missing>) -> impl Stream<Item = Missing>;
        #[cfg(not(any()))]
        async fn either(&self) -> impl Stream<Item = u8>;
        #[cfg(any())]
        async fn either(&self, items: Streaming<Missing>) -> u8;
    }

    pub(crate) struct Impl;

    impl Configured for Impl {
        async fn gone(&self, n: u8) -> u8 {
            n
        }

        async fn kept(&self, items: Streaming<u8>) -> usize {
            items.count().await
        }

        async fn gone_both(&self) -> impl Stream<Item = u8> {
            stream::iter([1])
        }

        async fn kept_both(&self, items: Streaming<u8>) -> impl Stream<Item = u8> {
            items.map(|item| item.unwrap_or(0))
        }

        async fn half(&self) -> u8 {
            3
        }

        async fn either(&self) -> impl Stream<Item = u8> {
            stream::iter([2])
        }
    }
}

#[tokio::test]
async fn cfg_applies_to_streams_of_items() {
    use configured::{ConfiguredClient, ConfiguredServer, Impl};

    let client = ConfiguredClient::new(ConfiguredServer::new(Impl));
    assert_eq!(client.gone(7).await, Ok(7));
    assert_eq!(client.kept(stream::iter([1, 2])).await, Ok(2));
    assert_eq!(collect(client.gone_both().await.unwrap()).await, [Ok(1)]);
    assert_eq!(collect(client.kept_both(stream::iter([5])).await.unwrap()).await, [Ok(5)]);
    assert_eq!(client.half().await, Ok(3));
    assert_eq!(collect(client.either().await.unwrap()).await, [Ok(2)]);

    let shapes: Vec<_> = ConfiguredServer::<Impl>::INFO
        .methods()
        .iter()
        .map(|method| (method.name(), method.shape()))
        .collect();
    assert_eq!(
        shapes,
        [
            ("gone", Shape::Unary),
            ("kept", Shape::ClientStreaming),
            ("gone_both", Shape::ServerStreaming),
            ("kept_both", Shape::Bidirectional),
            ("half", Shape::Unary),
            ("either", Shape::ServerStreaming),
        ]
    );
}

/// The runtime under another name, a trait made by `macro_rules!`.
mod places {
    pub(crate) use muxado_rpc as renamed;
}

#[tokio::test]
async fn the_crate_may_be_renamed() {
    use places::renamed;

    #[renamed::service(crate = "renamed", name = "places.Local")]
    trait Local {
        async fn count(&self, items: Streaming<u8>) -> impl renamed::Stream<Item = Result<u8, Odd>>;
    }

    #[derive(Debug, PartialEq, renamed::AppError, serde::Serialize, serde::Deserialize)]
    #[app_error(crate = "renamed")]
    #[code(OutOfRange)]
    struct Odd;

    struct Impl;

    impl Local for Impl {
        async fn count(&self, items: Streaming<u8>) -> impl renamed::Stream<Item = Result<u8, Odd>> {
            items.map(|item| item.map_err(|_| Odd).and_then(|n| if n % 2 == 0 { Ok(n) } else { Err(Odd) }))
        }
    }

    let client = LocalClient::new(LocalServer::new(Impl));
    let items = collect(client.count(stream::iter([2, 3, 4])).await.unwrap()).await;
    assert_eq!(items, [Ok(2), Err(CallError::App(Odd))]);
}

macro_rules! made_by_a_macro {
    ($service:ident, $method:ident, $argument:ident: $ty:ty) => {
        #[muxado_rpc::service]
        trait $service {
            async fn $method(
                &self,
                $argument: Streaming<$ty>,
                other: $ty,
            ) -> impl muxado_rpc::Stream<Item = $ty>;
        }
    };
}

made_by_a_macro!(Made, make, things: u8);

#[tokio::test]
async fn a_macro_may_make_the_trait() {
    struct Impl;

    impl Made for Impl {
        async fn make(&self, things: Streaming<u8>, other: u8) -> impl muxado_rpc::Stream<Item = u8> {
            things.map(move |thing| thing.unwrap_or(0) + other)
        }
    }

    let client = MadeClient::new(MadeServer::new(Impl));
    assert_eq!(collect(client.make(stream::iter([1, 2]), 3).await.unwrap()).await, [Ok(4), Ok(5)]);
}
