//! Arbitrary bytes, arbitrarily cut, into a session of either side: it takes them, its bounds hold,
//! and where they were cut makes no difference.

use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use bytes::{Buf, BytesMut};
use muxado::proto::{Outbox, Read, Session, StreamKey};

use crate::{
    checked::Checked,
    settings::{CONTROL, Settings},
};

/// Handles that the application holds at most.
const MOST_HANDLES: usize = 64;

/// The first bytes choose the settings and where to cut; the rest is what the peer sends.
pub fn bytes(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let settings = Settings::take(&mut input);
    let seed = input.arbitrary().unwrap_or(0_u32);
    let rest = input.take_rest();
    run(settings.clone(), seed, rest);
    compare(&settings, seed, rest);
}

/// A session in use: streams are accepted, read, answered and dropped now and then.
fn run(settings: Settings, seed: u32, mut rest: &[u8]) {
    let mut rng = fastrand::Rng::with_seed(seed.into());
    let mut checked = Checked::new(settings);
    let mut inbox = BytesMut::new();
    let mut handles = Vec::new();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(cut(&mut rng, rest.len()));
        rest = later;
        inbox.extend_from_slice(piece);
        checked.receive(&mut inbox, piece);
        if rng.bool() {
            use_streams(&mut checked, &mut handles, &mut rng);
        }
        if rng.u8(..4) == 0 {
            checked.pass(Duration::from_millis(rng.u64(..4000)));
        }
        checked.transmit_all(drop);
    }
    if !checked.session.has_ended() {
        checked.session.handle_transport_end(None, inbox.len());
        checked.settle();
    }
    checked.check_end(handles);
}

fn cut(rng: &mut fastrand::Rng, len: usize) -> usize {
    let most = [1, 9, 100, 5000, usize::MAX][rng.usize(..5)];
    rng.usize(1..=len.min(most))
}

fn use_streams(checked: &mut Checked, handles: &mut Vec<StreamKey>, rng: &mut fastrand::Rng) {
    if handles.len() < MOST_HANDLES {
        handles.extend(checked.session.accept().map(|(key, _)| key));
        handles.extend(checked.accept_control());
        if checked.settings.control && checked.settings.typed && rng.u8(..16) == 0 {
            handles.extend(checked.open_control());
        }
        checked.settle();
    }
    if handles.is_empty() {
        return;
    }
    let index = rng.usize(..handles.len());
    let key = handles[index];
    match rng.u8(..8) {
        0 => {
            handles.swap_remove(index);
            checked.session.release(key);
        }
        1 => drop(checked.session.finish(key)),
        2 => checked.session.stop_reading(key),
        3..5 => drop(checked.session.read(key, &mut vec![0; rng.usize(..3000)].as_mut_slice())),
        _ => {
            if let Ok(Read::Data(chunk)) = checked.session.read_chunk(key, usize::MAX) {
                checked.session.write(key, &mut chunk.clone()).ok();
            }
        }
    }
    checked.settle();
}

/// The same bytes at once and in pieces: the same answers, the same end, the same data.
fn compare(settings: &Settings, seed: u32, rest: &[u8]) {
    // Which stream goes when memory is short depends on what has arrived by then.
    let config = settings.config().session_receive_memory(usize::MAX);
    let now = Instant::now();
    let outcome = |pieces: &mut dyn FnMut(usize) -> usize| {
        let mut session = Session::new(settings.side, config.clone());
        if settings.typed {
            session.set_typed(now);
        }
        if settings.control {
            session.set_control_type(CONTROL);
        }
        let (mut inbox, mut rest) = (BytesMut::new(), rest);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces(rest.len()));
            rest = later;
            inbox.extend_from_slice(piece);
            session.receive(&mut inbox, now);
        }
        outcome_of(&mut session, now)
    };
    let mut rng = fastrand::Rng::with_seed(seed.into());
    assert_eq!(outcome(&mut |len| len), outcome(&mut |len| cut(&mut rng, len)), "cuts make a difference");
}

/// Everything that can be seen of a session.
fn outcome_of(session: &mut Session, now: Instant) -> (String, Outcome) {
    let mut outbox = Outbox::default();
    let mut output = Vec::new();
    while session.wants_transmit() {
        session.transmit(&mut outbox, now);
        output.extend_from_slice(&outbox.copy_to_bytes(outbox.len()));
    }
    let state = format!("{:?} {:?}", session.stats(), session.end());
    let mut streams = Vec::new();
    let mut accepted: Vec<_> = session.accept_control().map(|key| (key, Some(CONTROL))).into_iter().collect();
    accepted.extend(std::iter::from_fn(|| session.accept()));
    for (key, stream_type) in accepted {
        let mut data = Vec::new();
        let end = loop {
            match session.read_chunk(key, usize::MAX) {
                Ok(Read::Data(chunk)) => data.extend_from_slice(&chunk),
                end => break format!("{end:?} {stream_type:?}"),
            }
        };
        streams.push((end, data));
    }
    (state, Outcome { output, streams })
}

#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    output: Vec<u8>,
    streams: Vec<(String, Vec<u8>)>,
}
