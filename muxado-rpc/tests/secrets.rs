//! `Debug` of whatever carries metadata shows names, never values: values may be tokens.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use muxado_rpc::{
    Codec, Context, Metadata, Peer, Request, Response, Router,
    layers::{AddMetadataLayer, TraceContext, TraceLayer},
};
use support::{Pair, WorkClient, WorkServer, Worker};
use tower::{Layer, service_fn};

const SECRET: &str = "s3cret";

fn secret() -> Metadata {
    Metadata::from([("token", SECRET)])
}

#[track_caller]
fn assert_names_only(what: &impl std::fmt::Debug) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(text.contains("token") && !text.contains(SECRET), "{text}");
    }
}

#[track_caller]
fn assert_no_secret(what: &impl std::fmt::Debug) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// Runs a call with the secret, and looks at the request on its way.
async fn seen_request(look: impl Fn(&Request) + Send + Sync + 'static) {
    let look = Arc::new(look);
    let channel = service_fn(move |request: Request| {
        look(&request);
        let response = Response::new(request.codec(), "").map(|mut response| {
            *response.metadata_mut() = secret();
            response
        });
        async move { response }
    });
    WorkClient::new(channel).with_metadata(secret()).echo(String::new()).await.unwrap();
}

#[tokio::test]
async fn a_request_and_a_response_show_no_values() {
    seen_request(|request| {
        assert_names_only(request);
        assert_names_only(request.metadata());
        assert_names_only(&request.try_clone().unwrap());
    })
    .await;
    let mut response = Response::new(Codec::Json, "").unwrap();
    *response.metadata_mut() = secret();
    assert_names_only(&response);
}

#[tokio::test]
async fn a_client_and_its_layers_show_no_values() {
    let pair = Pair::new();
    let client = pair.client(Codec::Json).with_metadata(secret());
    assert_names_only(&client);
    let layer = AddMetadataLayer::new(secret());
    assert_no_secret(&layer);
    let layered = layer.layer(pair.near.channel());
    assert_no_secret(&layered);
    assert_no_secret(&WorkClient::new(layered));
    assert_no_secret(&Peer::builder().layer(layer).layer(TraceLayer::server()));
    let state = TraceContext::from_metadata(&Metadata::from([
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=s3cret"),
    ]));
    assert_no_secret(&state.unwrap());
}

#[tokio::test]
async fn a_context_shows_no_values() {
    #[muxado_rpc::service]
    trait Shown {
        async fn shown(&self, cx: &Context) -> String;
    }

    struct Showing;

    impl Shown for Showing {
        async fn shown(&self, cx: &Context) -> String {
            cx.insert_metadata("token", SECRET);
            format!("{cx:?} {cx:#?}")
        }
    }

    let router = Router::new().add(ShownServer::new(Showing)).unwrap();
    let client = ShownClient::new(router).with_metadata(secret());
    let shown = client.shown().await.unwrap();
    assert!(shown.contains("token") && !shown.contains(SECRET), "{shown}");
    let (near, far) = tokio::io::duplex(1024);
    let _far = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    assert_no_secret(&near);
    assert_names_only(&WorkClient::new(near.channel()).with_metadata(secret()));
}
