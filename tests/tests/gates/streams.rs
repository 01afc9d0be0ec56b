//! Allocations of streams, those of both ends together.

use std::sync::{Arc, atomic::AtomicU64};

use bytes::Bytes;
use muxado::{Config, Session};
use muxado_tests::write_final;

use crate::{
    at_most,
    rig::{IN_FLIGHT, Rig, Watched},
    wire::Wire,
};

const ROUNDS: usize = 100;

/// Two sessions, the far one of which sends back what comes.
pub struct Sessions {
    pub rig: Rig,
    pub near: Session,
    /// Wakes of both drivers, the near one's first.
    pub driver_wakes: [Arc<AtomicU64>; 2],
}

impl Sessions {
    pub fn new() -> Self {
        let ((near, near_meter), (far, far_meter)) = Wire::pair();
        let rig = Rig::new(near_meter, far_meter);
        let driver_wakes = [Arc::default(), Arc::default()];
        let (near, driver) = Session::client(near, Config::default());
        rig.runtime.spawn(Watched::new(&driver_wakes[0], driver));
        let (far, driver) = Session::server(far, Config::default());
        rig.runtime.spawn(Watched::new(&driver_wakes[1], driver));
        rig.runtime.spawn(echo(far));
        Self { rig, near, driver_wakes }
    }
}

/// One stream after the other, in one task: a task for each would count.
async fn echo(session: Session) {
    while let Some(mut stream) = session.accept().await {
        while let Some(chunk) = stream.read_chunk().await.unwrap() {
            stream.write_chunk(chunk).await.unwrap();
        }
        stream.finish().unwrap();
    }
}

/// Opens a stream, sends 32 bytes and has them back.
pub async fn exchange(session: &Session) {
    let mut stream = session.open().await.unwrap();
    write_final(&mut stream, Bytes::from_static(&[7; 32])).await.unwrap();
    let mut left = 32;
    while let Some(chunk) = stream.read_chunk().await.unwrap() {
        left -= chunk.len();
    }
    assert_eq!(left, 0);
}

/// The bytes out of the read buffer, on each side.
#[test]
fn a_stream_allocates_little() {
    for in_flight in IN_FLIGHT {
        let sessions = Sessions::new();
        let session = sessions.near.clone();
        let cost = sessions.rig.cost(in_flight, ROUNDS, move || {
            let session = session.clone();
            async move { exchange(&session).await }
        });
        let streams = (in_flight * ROUNDS) as u64;
        let what = format!("allocations of {streams} streams, {in_flight} at a time");
        // Once in a hundred streams a buffer that all of them share may grow.
        at_most(what, cost.allocations, 2 * streams + streams / 100);
    }
}
