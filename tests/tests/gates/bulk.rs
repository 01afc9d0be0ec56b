//! Allocations and copies of large data. A copy goes to memory that was allocated for it, so allocated bytes
//! tell how often a byte was copied.

use bytes::Bytes;
use muxado_rpc::Codec;
use tokio::join;

use crate::{
    at_most,
    rig::Cost,
    service::{CODECS, Peers},
    streams::Sessions,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Exchanges of each task.
const ROUNDS: usize = 10;

/// Allocations, and allocated bytes in percent of the payload.
fn gate(what: &str, cost: &Cost, payload: usize, exchanges: usize, bounds: [u64; 2]) {
    let exchanges = exchanges as u64;
    at_most(format_args!("allocations of {exchanges} {what}"), cost.allocations, bounds[0] * exchanges);
    let percent = cost.allocated * 100 / (payload as u64 * exchanges);
    at_most(format_args!("allocated bytes of {what}, in percent of the payload"), percent, bounds[1]);
}

/// Each side reads into memory that is passed on as it is.
#[test]
fn bulk_is_hardly_copied() {
    let sessions = Sessions::new();
    let (session, data) = (sessions.near.clone(), Bytes::from(vec![7; MIB]));
    let cost = sessions.rig.cost(1, ROUNDS, move || {
        let (session, data) = (session.clone(), data.clone());
        async move {
            let (mut sending, mut receiving) = session.open().await.unwrap().into_split();
            let write = async {
                sending.write_chunk(data).await.unwrap();
                sending.finish().unwrap();
            };
            let read = async {
                let mut left = MIB;
                while let Some(chunk) = receiving.read_chunk().await.unwrap() {
                    left -= chunk.len();
                }
                assert_eq!(left, 0);
            };
            join!(write, read);
        }
    });
    gate("echoes of 1 MiB", &cost, MIB, ROUNDS, [68, 32]);
}

fn echoes(codec: Codec, len: usize, in_flight: usize) -> Cost {
    echoes_of(&Peers::new(), codec, len, in_flight)
}

fn echoes_of(peers: &Peers, codec: Codec, len: usize, in_flight: usize) -> Cost {
    let (client, text) = (peers.client(codec), "x".repeat(len));
    peers.rig.cost(in_flight, ROUNDS, move || {
        let (client, text) = (client.clone(), text.clone());
        async move { assert_eq!(client.echo(text).await.unwrap().len(), len) }
    })
}

/// What has to be: the text itself, and on each side what is read, into buffers that are used again. In MessagePack a
/// large text that comes in several pieces is gathered where it is decoded, and sent from where it is, and the buffers
/// of what was sent are used again. In JSON there is the encoded text, too, whose buffer grows by doubling, and a message
/// that came in several pieces is put together in another one.
#[test]
fn large_calls_are_copied_a_few_times() {
    const CASES: [(usize, usize, [[u64; 2]; 2]); 5] = [
        (16 * KIB, 1, [[17, 910], [21, 1312]]),
        (64 * KIB, 1, [[15, 302], [19, 903]]),
        (64 * KIB, 16, [[32, 308], [32, 1307]]),
        (MIB, 1, [[72, 190], [76, 1514]]),
        (MIB, 4, [[88, 154], [95, 1670]]),
    ];
    for (len, in_flight, bounds) in CASES {
        for (codec, bounds) in CODECS.into_iter().zip(bounds) {
            let cost = echoes(codec, len, in_flight);
            let what = format!("calls of {} KiB in {codec}, {in_flight} in flight", len / KIB);
            gate(&what, &cost, len, in_flight * ROUNDS, bounds);
        }
    }
}

/// How often this thread had to wait for the system to give it a page.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Behind the name, which may have anything in it: the state is the third field, this the tenth.
    let (_, behind) = stat.rsplit_once(')').unwrap();
    behind.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// By default glibc gives memory back to the system whenever two such messages are freed, to ask for it again at once: in a
/// process that has done nothing else that was 44 pages a call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_memory_of_large_calls_is_used_again() {
    let peers = Peers::new();
    let _ = echoes_of(&peers, Codec::MessagePack, 64 * KIB, 16);
    let before = page_faults();
    let _ = echoes_of(&peers, Codec::MessagePack, 64 * KIB, 16);
    let (faults, calls) = (page_faults() - before, 16 * ROUNDS as u64);
    at_most(format_args!("page faults of {calls} calls of 64 KiB"), faults, 2 * calls);
}
