//! Where inputs come from without libFuzzer: frames that fit together, then spoilt; or plain choices.

use fastrand::Rng;
use muxado_tests::{DATA, EXT, FIN, Frame, GOAWAY, RST, SYN, WNDINC, hex};

/// Frame types that are tried; nobody knows the last.
const KINDS: [u8; 5] = [RST, DATA, WNDINC, GOAWAY, 9];

/// Bytes that choose the settings of a run.
const SETTINGS: usize = 17;

/// Longest list of choices, in bytes.
const MOST_CHOICES: usize = 6000;

/// Longest list of acts, in bytes.
const MOST_ACTS: usize = 1000;

/// Beginnings of connections, as both sides of several implementations send them.
const CORPUS: &[&str] = &[
    // A stream with a word, credit, the answer's end.
    "00000512 00000003 68656c6c6f 00000420 00000003 00020000 00000011 00000003",
    "00000512 00000002 68656c6c6f 00000420 00000002 00020000 00000011 00000002",
    // The same of peers that know EXT1; a second stream, reset.
    "0000051a 00000003 68656c6c6f 0000001a 00000005 00000400 00000005 00000006",
    "0000051a 00000002 68656c6c6f 0000001a 00000004 00000400 00000004 00000006",
    // Opened and finished in one, as the Go original does.
    "00000513 00000003 68656c6c6f",
    "00000513 00000002 68656c6c6f",
    // Types, one of them a heartbeat's, one in pieces.
    "00000812 00000003 ffffffff 9e3779b9 00000412 00000005 00000007 00000111 00000005 61",
    "00000212 00000002 0000 00000210 00000002 0007 00000111 00000002 61",
    // Go-aways: with the pad and what runs on; with a text; early.
    "00000112 00000003 61 00000830 00000000 00000004 00000000 00000011 7fffffff 00000111 00000003 62",
    "00001130 00000000 00000005 00000001 626164206672616d65",
    // Late and unknown frames, and frames that are not.
    "00000110 00000007 61 00000420 00000007 00000001 00000400 00000007 00000004 000003e0 00000003 616263",
    "00000510 00000003 68",
    "00000412 80000003 61626364",
    "00000320 00000003 616263",
];

/// For the target `bytes`: settings, then frames or what is left of them.
pub(crate) fn bytes(rng: &mut Rng) -> Vec<u8> {
    let mut input: Vec<u8> = (0..SETTINGS).map(|_| rng.u8(..)).collect();
    match rng.u8(..8) {
        0 => input.extend((0..rng.usize(..600)).map(|_| rng.u8(..))),
        1 | 2 => {
            for _ in 0..rng.usize(1..4) {
                input.extend(hex(CORPUS[rng.usize(..CORPUS.len())]));
            }
        }
        _ => {
            let style =
                Style { side: rng.u32(..2), ids: [4, 40, 300][rng.usize(..3)], flood: rng.u8(..20) == 0 };
            let most = if style.flood { 12_000 } else { 60 };
            let kind = KINDS[rng.usize(..KINDS.len())];
            let mut next = 2 + style.side;
            for _ in 0..rng.usize(..most) {
                let kind = if style.flood { kind } else { KINDS[rng.usize(..KINDS.len())] };
                input.extend(frame(rng, &style, kind, &mut next));
            }
        }
    }
    if rng.bool() {
        (0..rng.usize(1..6)).for_each(|_| spoil(rng, &mut input));
    }
    input
}

/// For the other targets: numbers by which they choose. Some runs repeat a few of them.
pub(crate) fn choices(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.bool() { rng.usize(..300) } else { rng.usize(..MOST_CHOICES) };
    let mut input: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
    for _ in 0..rng.usize(..4) {
        spoil(rng, &mut input);
    }
    input
}

/// For `calls`: numbers by which it chooses. A few of its acts are enough: each has many bytes of its own.
pub(crate) fn acts(rng: &mut Rng) -> Vec<u8> {
    let mut input: Vec<u8> = (0..rng.usize(..MOST_ACTS)).map(|_| rng.u8(..)).collect();
    for _ in 0..rng.usize(..3) {
        spoil(rng, &mut input);
    }
    input
}

struct Style {
    side: u32,
    ids: u32,
    flood: bool,
}

fn frame(rng: &mut Rng, style: &Style, kind: u8, next: &mut u32) -> Vec<u8> {
    let id = if rng.u8(..30) == 0 { rng.u32(..) } else { 2 + rng.u32(..style.ids) };
    let len = match kind {
        DATA if style.flood => rng.usize(..3),
        DATA => [0, 1, 3, 4, 5, 300, 1024, 20_000][rng.usize(..8)],
        _ => rng.usize(..40),
    };
    // The types of heartbeats, of control streams, and any.
    let payload = vec![[0xFF, 0xFF, 9, rng.u8(..)][rng.usize(..4)]; len];
    match kind {
        DATA if rng.bool() => {
            let flags = [0, FIN, EXT, FIN | EXT][rng.usize(..4)];
            *next += 2;
            Frame::new(DATA, SYN | flags, *next - 2, payload).encode()
        }
        DATA => Frame::new(DATA, rng.u8(..4) & rng.u8(..4), id, payload).encode(),
        GOAWAY if rng.u8(..8) > 0 => Vec::new(),
        GOAWAY => Frame::go_away(rng.u32(..100), rng.u32(..17), "a reason").encode(),
        RST | WNDINC => {
            let bits = rng.u32(1..32);
            Frame::new(kind, 0, id, rng.u32(..1 << bits).to_be_bytes()).encode()
        }
        _ => Frame::new(kind, rng.u8(..16), id, payload).encode(),
    }
}

/// One change: a byte, a bit, a piece that is missing, doubled or moved.
fn spoil(rng: &mut Rng, input: &mut Vec<u8>) {
    if input.is_empty() {
        return;
    }
    let at = rng.usize(..input.len());
    let end = (at + rng.usize(1..40)).min(input.len());
    match rng.u8(..6) {
        0 => input[at] = rng.u8(..),
        1 => input[at] ^= 1 << rng.u8(..8),
        2 => drop(input.drain(at..end)),
        3 => input.truncate(at),
        4 => {
            let piece = input[at..end].to_vec();
            let to = rng.usize(..=input.len());
            input.splice(to..to, piece);
        }
        _ => {
            let (piece, times) = (input[at..end].to_vec(), rng.usize(1..30));
            input.splice(at..at, piece.repeat(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SETTINGS;
    use crate::settings::Settings;

    #[test]
    fn settings_and_cuts_take_as_many_bytes_as_are_put_in_front_of_the_frames() {
        let mut input = arbitrary::Unstructured::new(&[9; SETTINGS]);
        Settings::take(&mut input);
        input.arbitrary::<u32>().unwrap();
        assert!(input.is_empty());
    }
}
