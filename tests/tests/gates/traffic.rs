//! What calls cost on the transport and in wakes.

use std::sync::atomic::Ordering;

use muxado_rpc::Codec;

use crate::{
    at_most,
    rig::{Cost, IN_FLIGHT},
    service::{CODECS, Peers},
    streams::{Sessions, exchange},
};

const ROUNDS: usize = 100;

/// What [`ROUNDS`] rounds may take.
struct Bounds {
    writes: u64,
    reads: u64,
    nothing: u64,
}

fn calls(peers: &Peers, codec: Codec, in_flight: usize) -> Cost {
    let client = peers.client(codec);
    peers.rig.cost(in_flight, ROUNDS, move || {
        let client = client.clone();
        async move { assert_eq!(client.add(1, 2).await.unwrap(), 3) }
    })
}

#[test]
fn a_call_is_two_frames_and_few_bytes() {
    /// Parameters and value in both codecs: maps of one-byte names and numbers.
    const ENCODED: [u64; 2] = [1 + 3 + 3 + 1, br#"{"a":1,"b":2}3"#.len() as u64];
    // Headers, type and, in JSON, its names: that the bytes can be read has its price.
    for ((codec, encoded), bound) in CODECS.into_iter().zip(ENCODED).zip([37, 55]) {
        let peers = Peers::new();
        calls(&peers, codec, 1);
        let frames = || peers.near.stats().frames_sent + peers.far.stats().frames_sent;
        let before = frames();
        let cost = calls(&peers, codec, 1);
        // Those before the measured ones are new, too.
        let calls = 2 * ROUNDS as u64;
        at_most(format_args!("frames of {calls} calls in {codec}"), frames() - before, 2 * calls);
        let bytes = (cost.near.bytes_written + cost.far.bytes_written) / ROUNDS as u64;
        let what = format!("bytes of a call in {codec} beyond parameters and value");
        at_most(what, bytes - encoded, bound);
    }
}

#[test]
fn a_call_needs_few_reads_and_writes() {
    /// Of 100 rounds, for the calling and the serving end. A round of 64 calls takes several: by portions of 20, 20 and 24,
    /// so that each end has something to do while the other works. The first reads of nothing are of a calling end whose
    /// answer is not there yet.
    const BOUNDS: [[Bounds; 2]; 2] = [
        [Bounds { writes: 100, reads: 100, nothing: 200 }, Bounds { writes: 100, reads: 100, nothing: 100 }],
        [Bounds { writes: 200, reads: 199, nothing: 101 }, Bounds { writes: 300, reads: 200, nothing: 202 }],
    ];
    for (in_flight, bounds) in IN_FLIGHT.into_iter().zip(BOUNDS) {
        let peers = Peers::new();
        let cost = calls(&peers, Codec::MessagePack, in_flight);
        // Calls that are under way together share them.
        let rounds = ROUNDS as u64;
        let ends = [("calling", cost.near), ("serving", cost.far)];
        for ((end, traffic), bounds) in ends.into_iter().zip(bounds) {
            let gate = |what: &str, measured, bound| {
                let what = format!("{what} of the {end} end, {rounds} rounds of {in_flight} calls");
                at_most(what, measured, bound);
            };
            gate("writes", traffic.writes, bounds.writes);
            gate("reads", traffic.reads, bounds.reads);
            gate("reads of nothing", traffic.empty_reads, bounds.nothing);
        }
    }
}

#[test]
fn a_caller_is_woken_once_per_call() {
    for in_flight in IN_FLIGHT {
        let peers = Peers::new();
        let calls = calls(&peers, Codec::MessagePack, in_flight).wakes;
        let bound = (in_flight * (ROUNDS + 1)) as u64;
        // Each task is woken once more, to begin.
        at_most(format_args!("wakes of {in_flight} callers, {ROUNDS} calls each"), calls, bound);
    }
}

#[test]
fn an_exchange_wakes_each_driver_a_few_times() {
    for (in_flight, bounds) in IN_FLIGHT.into_iter().zip([[400, 400], [1385, 1372]]) {
        let sessions = Sessions::new();
        let session = sessions.near.clone();
        let run = || {
            let session = session.clone();
            sessions.rig.cost(in_flight, ROUNDS, move || {
                let session = session.clone();
                async move { exchange(&session).await }
            })
        };
        run();
        let wakes = || sessions.driver_wakes.each_ref().map(|wakes| wakes.load(Ordering::Relaxed));
        let before = wakes();
        let cost = run();
        let after = wakes();
        for ((end, bound), (before, after)) in
            ["opening", "accepting"].iter().zip(bounds).zip(before.into_iter().zip(after))
        {
            let what =
                format!("wakes of the {end} end's driver, {} rounds of {in_flight} exchanges", 2 * ROUNDS);
            at_most(what, after - before, bound);
        }
        let bound = (in_flight * (ROUNDS + 1)) as u64;
        at_most(format_args!("wakes of {in_flight} openers, {ROUNDS} exchanges each"), cost.wakes, bound);
    }
}
