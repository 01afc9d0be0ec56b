//! Harness of the tests: a scripted peer, pairs of sessions, and a transport that counts.
//!
//! Every test runs under [`run`] (or [`each_side`]): one thread, virtual time, and an end to what
//! would wait for ever. A [`Peer`] checks all that it reads against the [`Law`], so the list of
//! things a session must never send is asserted in every scripted test.

mod frame;
mod law;
mod peer;
mod recorder;
mod rig;
mod rng;
mod sim;

pub use self::{
    frame::{
        DATA, EXT, FIN, Frame, GOAWAY, HEADER, RST, SPARE, SYN, WNDINC, decode, encode, hex, raw_header,
    },
    law::Law,
    peer::Peer,
    recorder::{Recorder, WriteLog},
    rig::{
        DriverEnd, Pair, assert_pending, drain, each_side, local_id, read_exactly, remote_id, run, scripted,
        scripted_typed, scripted_with_driver, settle, write_final,
    },
    rng::Rng,
    sim::{End, Sim},
};

/// The examples of the READMEs are tests.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    pub struct Workspace;

    #[doc = include_str!("../../muxado/README.md")]
    pub struct Muxado;

    #[doc = include_str!("../../muxado-rpc/README.md")]
    pub struct MuxadoRpc;
}
