//! What is wrong with one call is an error of that call: the connection and other calls live.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fmt::Debug;

use muxado_rpc::{CallError, Code, Codec, Limits, Origin, Peer, Status};
use support::{CODECS, DivideError, Pair, Work as _, assert_alive};

/// The status of a call that must fail.
fn status<T: Debug, E: Debug>(result: Result<T, CallError<E>>) -> Status {
    match result {
        Err(CallError::Status(status)) => status,
        other => panic!("not a status: {other:?}"),
    }
}

/// Newer than the `Work` that is served: another method, another type of a parameter.
mod newer {
    #[muxado_rpc::service]
    pub(crate) trait Work {
        async fn echo(&self, text: u64) -> u64;
        async fn echo_twice(&self, text: String) -> String;
        #[method(name = "hanging")]
        async fn hanging_as_text(&self) -> String;
        #[method(name = "divide")]
        async fn divide_with_other_error(&self, a: f64, b: f64) -> Result<f64, Vec<u8>>;
    }

    #[muxado_rpc::service(name = "Work")]
    pub(crate) trait Infallible {
        async fn divide(&self, a: f64, b: f64) -> f64;
    }

    #[muxado_rpc::service]
    pub(crate) trait Stranger {
        async fn hello(&self) -> String;
    }
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented_and_named() {
    let pair = Pair::new();
    for codec in CODECS {
        let stranger = newer::StrangerClient::new(pair.near.channel()).with_codec(codec);
        let status = status(stranger.hello().await);
        assert_eq!((status.code(), status.origin()), (Code::Unimplemented, Origin::Peer));
        let id = muxado_rpc::ServiceId::from_name("Stranger").to_string();
        assert!(status.message().contains(&id) && status.message().contains("served: Work"), "{status}");
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn a_peer_that_serves_nothing_says_so() {
    let (near, far) = tokio::io::duplex(1024);
    let near = Peer::builder().client(near).unwrap();
    let _far = Peer::builder().server(far).unwrap();
    let status = status(newer::StrangerClient::new(near.channel()).hello().await);
    assert!(status.message().ends_with("served: none"), "{status}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_named() {
    let pair = Pair::new();
    for codec in CODECS {
        let newer = newer::WorkClient::new(pair.near.channel()).with_codec(codec);
        let status = status(newer.echo_twice("x".to_owned()).await);
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(
            status.message().contains("Work has no method \"echo_twice\"; it has: echo, divide"),
            "{status}"
        );
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn parameters_that_cannot_be_decoded_are_an_invalid_argument() {
    let pair = Pair::new();
    for codec in CODECS {
        let newer = newer::WorkClient::new(pair.near.channel()).with_codec(codec);
        let status = status(newer.echo(7).await);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("Work.echo: cannot decode the parameters"), "{status}");
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_is_internal() {
    let pair = Pair::new();
    for codec in CODECS {
        let newer = newer::WorkClient::new(pair.near.channel()).with_codec(codec);
        let status = status(newer.hanging_as_text().await);
        assert_eq!((status.code(), status.origin()), (Code::Internal, Origin::Local));
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn a_panic_is_internal_and_keeps_its_text() {
    let pair = Pair::new();
    for codec in CODECS {
        let status = status(pair.client(codec).panic().await);
        assert_eq!((status.code(), status.message()), (Code::Internal, "Work.panic: the handler panicked"));
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn an_application_error_comes_back_typed() {
    let pair = Pair::new();
    for codec in CODECS {
        let error = pair.client(codec).divide(3.0, 0.0).await.unwrap_err();
        assert_eq!(error.app(), Some(&DivideError::ByZero { dividend: 3.0 }));
    }
}

#[tokio::test]
async fn a_status_that_a_method_returns_comes_back_as_one() {
    let pair = Pair::new();
    for codec in CODECS {
        let status = status(pair.client(codec).find("x".to_owned()).await);
        assert_eq!(status, Status::not_found("no x"));
        assert_eq!((status.origin(), status.details::<String>().as_deref()), (Origin::Peer, Some("x")));
    }
}

#[tokio::test]
async fn an_application_error_of_an_unknown_type_shows_its_text() {
    let pair = Pair::new();
    for codec in CODECS {
        let newer = newer::WorkClient::new(pair.near.channel()).with_codec(codec);
        let infallible = newer::InfallibleClient::new(pair.near.channel()).with_codec(codec);
        for status in
            [status(newer.divide_with_other_error(3.0, 0.0).await), status(infallible.divide(3.0, 0.0).await)]
        {
            assert_eq!(status.code(), Code::Internal);
            assert!(status.message().contains(r#"{"ByZero":{"dividend":3.0}}"#), "{status}");
            assert_eq!(status.details(), Some(DivideError::ByZero { dividend: 3.0 }));
        }
    }
}

/// A pair whose near and far ends have these limits of the message size.
fn limited(near: usize, far: usize) -> Pair {
    let limits = |size| Limits::default().max_message_size(size);
    Pair::with(Peer::builder().limits(limits(near)), Peer::builder().limits(limits(far)))
}

#[tokio::test]
async fn a_request_over_the_callers_limit_is_not_sent() {
    let pair = limited(2000, 1 << 20);
    for codec in CODECS {
        let status = status(pair.client(codec).echo("x".repeat(2000)).await);
        assert_eq!((status.code(), status.origin()), (Code::ResourceExhausted, Origin::Local));
        assert!(!status.may_have_executed());
        assert!(
            status.message().contains("this side's limit of 2000 (Limits::max_message_size)"),
            "{status}"
        );
    }
    assert_eq!(pair.near.stats().streams_opened, 0);
}

#[tokio::test]
async fn a_request_over_the_servers_limit_is_refused() {
    let pair = limited(1 << 24, 2000);
    for codec in CODECS {
        // The second is larger than window and buffers: the answer comes while it is being written.
        for size in [2000, 2_000_000] {
            let status = status(pair.client(codec).echo("x".repeat(size)).await);
            assert_eq!((status.code(), status.origin()), (Code::ResourceExhausted, Origin::Peer), "{status}");
            assert!(status.message().contains("serving side's limit of 2000"), "{status}");
            assert_alive(&pair.client(codec)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_over_the_servers_limit_is_not_sent() {
    let pair = limited(1 << 20, 2000);
    for codec in CODECS {
        let status = status(pair.client(codec).grow(2000).await);
        assert_eq!((status.code(), status.origin()), (Code::ResourceExhausted, Origin::Peer));
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn an_answer_over_the_callers_limit_is_not_buffered() {
    let pair = limited(2000, 1 << 24);
    for codec in CODECS {
        for size in [2000, 2_000_000] {
            let status = status(pair.client(codec).grow(size).await);
            assert_eq!((status.code(), status.origin()), (Code::ResourceExhausted, Origin::Local));
            assert!(status.message().contains("calling side's limit of 2000"), "{status}");
            assert_alive(&pair.client(codec)).await;
        }
    }
}

#[tokio::test]
async fn metadata_over_a_limit_is_an_error_of_the_call() {
    let small = Limits::default().max_metadata_size(10);
    let metadata = muxado_rpc::Metadata::from([("name", "a long value")]);
    for codec in CODECS {
        let pair = Pair::with(Peer::builder().limits(small.clone()), Peer::builder());
        let client = pair.client(codec).with_metadata(metadata.clone());
        let local = status(client.metadata().await);
        assert_eq!((local.code(), local.may_have_executed()), (Code::ResourceExhausted, false));

        let pair = Pair::with(Peer::builder(), Peer::builder().limits(small.clone()));
        let client = pair.client(codec).with_metadata(metadata.clone());
        let remote = status(client.metadata().await);
        assert_eq!((remote.code(), remote.origin()), (Code::ResourceExhausted, Origin::Peer));
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test]
async fn parameters_that_a_codec_cannot_encode_fail_locally() {
    let pair = Pair::new();
    let client = support::WorkClient::new(pair.near.channel()).with_codec(Codec::Json);
    // JSON has no infinity: it becomes null, which is no number to the server.
    let status = status(client.divide(f64::INFINITY, 1.0).await);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(support::Worker::default().divide(f64::INFINITY, 1.0).await, Ok(f64::INFINITY));
}
