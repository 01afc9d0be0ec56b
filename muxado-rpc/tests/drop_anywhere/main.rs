//! Calls that are given up, and connections that are cut, at every single await of theirs: nothing is
//! left behind, nothing hangs, and what is not cut goes on.
//!
//! `MUXADO_CALLS=1000000` sets how many calls the soak makes.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod rig;

use std::time::Duration;

use futures_util::{StreamExt, future::BoxFuture, stream};
use muxado_rpc::{Codec, Limits, Status};
use tokio::time::timeout;

use self::rig::{Disturbed, Dropped, KINDS, Kind, Rig};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// Bytes between the two ends: small, so that messages come in pieces.
const ROOM: usize = 64;

/// No call takes so long in virtual time, unless it hangs.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A test fails when something waits for what never comes.
async fn ends<F: Future>(future: F, of: &str) -> F::Output {
    timeout(FOR_EVER, future).await.unwrap_or_else(|_| panic!("{of} hangs"))
}

fn every_call() -> impl Iterator<Item = (Kind, Codec)> {
    KINDS.into_iter().flat_map(|kind| CODECS.map(|codec| (kind, codec)))
}

type Outcome = Result<u64, Status>;

/// Drops calls behind 0, 1, 2.. steps, until they are done before.
async fn drop_behind_each_step(dropped: fn(usize, BoxFuture<'static, Outcome>) -> Dropped<Outcome>) {
    for (kind, codec) in every_call() {
        // One call at a time: a place that is not given back stops the next one.
        let rig = Rig::new(ROOM, &Limits::default().max_in_flight(1), usize::MAX);
        let mut steps = 0;
        loop {
            let of = format!("{kind:?} in {codec}, dropped after {steps} steps");
            let outcome = ends(dropped(steps, rig.call(kind, codec)), &of).await;
            rig.assert_nothing_left(&of).await;
            assert_eq!(ends(rig.call(Kind::Unary, codec), &of).await, Ok(7), "{of}");
            rig.assert_nothing_left(&of).await;
            if let Some(outcome) = outcome {
                assert_eq!(outcome, kind.outcome(), "{of}");
                break;
            }
            steps += 1;
        }
        // One to ask, one to be answered.
        assert!(steps >= 2, "{kind:?} took {steps} steps: there was nothing to drop");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_behind_any_of_its_polls_leaves_nothing() {
    drop_behind_each_step(Dropped::after).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_turn_of_the_runtime_leaves_nothing() {
    drop_behind_each_step(Dropped::after_turns).await;
}

#[tokio::test(start_paused = true)]
async fn a_serving_end_that_closes_at_any_poll_of_a_call_leaves_nothing() {
    for (kind, codec) in every_call() {
        let mut polls = 0;
        loop {
            let of = format!("{kind:?} in {codec}, closed after {polls} polls");
            let rig = Rig::new(ROOM, &Limits::default(), usize::MAX);
            let far = rig.far.clone();
            let call = Disturbed::after(polls, rig.call(kind, codec), move || far.close());
            let (outcome, closed) = ends(call, &of).await;
            let whole = outcome == kind.outcome();
            assert!(whole || closed && outcome.is_err(), "{of}: {outcome:?}");
            rig.assert_nothing_left(&of).await;
            if !closed {
                break;
            }
            polls += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_at_any_poll_fails_the_call_and_leaves_nothing() {
    for (kind, codec) in every_call() {
        let mut polls = 0;
        loop {
            let of = format!("{kind:?} in {codec}, cut at poll {polls} of the transport");
            let rig = Rig::new(ROOM, &Limits::default(), polls);
            let outcome = ends(rig.call(kind, codec), &of).await;
            let whole = outcome == kind.outcome();
            assert!(whole || outcome.is_err(), "{of}: {outcome:?}");
            rig.assert_nothing_left(&of).await;
            if whole && rig.polls_left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                break;
            }
            polls += 1;
        }
        assert!(polls > 2, "{kind:?} took {polls} polls: there was nothing to cut");
    }
}

/// Calls of the soak unless the environment says otherwise.
const CALLS: u64 = 100_000;

fn calls() -> u64 {
    std::env::var("MUXADO_CALLS").ok().map_or(CALLS, |count| count.parse().expect("MUXADO_CALLS is a number"))
}

/// A number from a number: splitmix64.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_at_random_awaits_leave_nothing() {
    let rig = Rig::new(64 * 1024, &Limits::default().max_in_flight(16), usize::MAX);
    let outcomes = stream::iter(0..calls()).map(|seed| {
        let random = mix(seed);
        let (kind, codec) = (KINDS[random as usize % KINDS.len()], CODECS[(random >> 8) as usize % 2]);
        let polls = (random >> 16) as usize % 12;
        let call = Dropped::after(polls, rig.call(kind, codec));
        async move {
            match call.await {
                Some(outcome) if outcome != kind.outcome() => panic!("seed {seed}, {kind:?}: {outcome:?}"),
                Some(_) => 1,
                None => 0_u64,
            }
        }
    });
    let done = outcomes.buffer_unordered(64).fold(0, async |sum, done| sum + done).await;
    assert!(done > calls() / 100 && done < calls(), "{done} of {} were done", calls());
    rig.assert_nothing_left("the soak").await;
    assert_eq!(rig.call(Kind::Both, Codec::Json).await, Kind::Both.outcome());
}
