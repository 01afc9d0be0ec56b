//! Allocations of calls, those of both ends together.

use std::{sync::Arc, time::Duration};

use muxado_rpc::{Codec, Metadata};

use crate::{
    at_most,
    rig::IN_FLIGHT,
    service::{CODECS, Peers, WorkClient},
};

/// Calls of each task. What they allocate is counted together, so a buffer that grows is seen.
const ROUNDS: usize = 100;

const NAME: &str = "Alice";

/// How a call is made.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    WithTimeLimit,
    WithMetadata,
    WithContext,
    /// With a text for a parameter, which the caller has.
    ByReference,
    ByValue,
    /// With several parameters by reference.
    AllByReference,
}

fn client(peers: &Peers, codec: Codec, kind: Kind) -> WorkClient {
    let client = peers.client(codec);
    match kind {
        Kind::Plain | Kind::WithContext | Kind::ByReference | Kind::ByValue | Kind::AllByReference => client,
        Kind::WithTimeLimit => client.with_timeout(Duration::from_secs(10)),
        Kind::WithMetadata => client.with_metadata(Metadata::from([("tenant", "blue")])),
    }
}

/// Bounds for a hundred calls, in the order of [`CODECS`].
fn gate(kind: Kind, bounds: [u64; 2]) {
    for (codec, bound) in CODECS.into_iter().zip(bounds) {
        for in_flight in IN_FLIGHT {
            let peers = Peers::new();
            // A clone of a client would clone its metadata.
            let client = Arc::new(client(&peers, codec, kind));
            let cost = peers.rig.cost(in_flight, ROUNDS, move || {
                let client = Arc::clone(&client);
                async move {
                    match kind {
                        Kind::WithContext => assert_eq!(client.add_in_context(1, 2).await, Ok(3)),
                        Kind::ByReference => assert_eq!(client.greet(NAME).await, Ok(5)),
                        Kind::ByValue => assert_eq!(client.greet_owned(NAME.to_owned()).await, Ok(5)),
                        Kind::AllByReference => {
                            assert_eq!(client.store(NAME, b"\x01\xff", Some(NAME)).await, Ok(12));
                        }
                        _ => assert_eq!(client.add(1, 2).await, Ok(3)),
                    }
                }
            });
            let calls = (in_flight * ROUNDS) as u64;
            let what = format!("allocations of {calls} calls in {codec}, {kind:?}, {in_flight} in flight");
            at_most(what, cost.allocations, calls * bound / 100);
        }
    }
}

/// On the calling side the answer's bytes out of the read buffer; on the serving side the request's bytes out of
/// the read buffer, and the future of the handler. What is encoded goes into one buffer in turn.
#[test]
fn a_call_allocates_little() {
    gate(Kind::Plain, [150, 150]);
}

/// A text by reference costs nothing beside the call: the client encodes what it is lent, and the server lends on what
/// it has received. By value it is allocated at both ends.
#[test]
fn a_parameter_by_reference_allocates_nothing() {
    gate(Kind::ByReference, [150, 150]);
    gate(Kind::ByValue, [350, 350]);
}

/// Bytes in JSON are decoded, and so allocated, on the serving side; all else is lent in place.
#[test]
fn several_parameters_by_reference_allocate_next_to_nothing() {
    gate(Kind::AllByReference, [150, 250]);
}

/// The deadline with its timer on the calling side.
#[test]
fn a_time_limit_allocates_little() {
    gate(Kind::WithTimeLimit, [150, 150]);
}

/// For an entry on each side a place beside the request, a list, a name and a value, and on the calling side the
/// buffer they are encoded in.
#[test]
fn metadata_allocate_little() {
    gate(Kind::WithMetadata, [1050, 1050]);
}

/// The context, the scope of the call, and a future of its own on the serving side.
#[test]
fn a_context_allocates_little() {
    gate(Kind::WithContext, [450, 450]);
}

/// Buffers of many items each.
#[test]
fn items_allocate_next_to_nothing() {
    for (codec, bound) in CODECS.into_iter().zip([201, 385]) {
        let peers = Peers::new();
        let [few, many] = [1000, 11_000].map(|count| {
            let client = peers.client(codec);
            let cost = peers.rig.cost(1, 1, move || {
                let client = client.clone();
                async move {
                    let mut items = client.items(count).await.unwrap();
                    let mut left = count;
                    while let Some(item) = items.next().await {
                        assert_eq!(item.unwrap(), [7; 32]);
                        left -= 1;
                    }
                    assert_eq!(left, 0);
                }
            });
            cost.allocations
        });
        at_most(format_args!("allocations of 10000 items in {codec}"), many - few, bound);
    }
}
