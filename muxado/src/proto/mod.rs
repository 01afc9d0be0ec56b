//! The multiplexer without I/O: bytes and commands in, bytes and events out.
//!
//! A [`Session`] performs no I/O, reads no clock, takes no lock, spawns nothing and knows no
//! runtime. Whoever drives it passes in what the transport gave and the time, and after **every**
//! call does two things:
//!
//! 1. drains [`Session::poll_event`] and wakes whom the events name;
//! 2. if [`Session::wants_transmit`], calls [`Session::transmit`] and writes what it filled in.
//!
//! The methods are of four kinds:
//!
//! | kind | methods |
//! |---|---|
//! | input | [`receive`](Session::receive), [`handle_transport_end`](Session::handle_transport_end), [`handle_timeout`](Session::handle_timeout) |
//! | output | [`transmit`](Session::transmit), [`poll_event`](Session::poll_event), [`poll_timeout`](Session::poll_timeout) |
//! | commands | [`open`](Session::open), [`accept`](Session::accept), [`write`](Session::write), [`read`](Session::read), [`finish`](Session::finish), [`reset`](Session::reset), [`release`](Session::release), [`go_away`](Session::go_away), [`close`](Session::close), [`close_draining`](Session::close_draining) |
//! | getters | everything else |
//!
//! Nothing a peer sends makes it panic, wait, or hold more than `Config` allows.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::{Buf, BytesMut};
//! use muxado::{Config, Side, proto::{Outbox, Session}};
//!
//! let now = Instant::now();
//! let mut client = Session::new(Side::Client, Config::default());
//! let mut server = Session::new(Side::Server, Config::default());
//!
//! let stream = client.open(None)?;
//! client.write(stream, &mut &b"hello"[..])?;
//! let mut wire = Outbox::default();
//! client.transmit(&mut wire, now);
//!
//! let mut bytes = BytesMut::from(wire.chunk());
//! server.receive(&mut bytes, now);
//! let (accepted, _) = server.accept().expect("a stream is waiting");
//! assert_eq!(server.read_chunk(accepted, usize::MAX)?, muxado::proto::Read::Data(b"hello"[..].into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod app;
mod buffer;
mod control;
mod draining;
mod event;
mod frame;
mod growth;
mod heartbeat;
mod ids;
mod incoming;
mod input;
mod lifecycle;
mod open_level;
mod outbox;
mod output;
mod patience;
mod payload;
mod reset_budget;
mod session;
mod stats;
mod stream;
mod time;
mod waiting;

pub(crate) use self::output::FRAME;
pub use self::{
    app::{Finish, Read},
    event::Event,
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, MAX_FRAME_LEN, ProtocolError, StreamId},
    heartbeat::{HeartbeatConfig, HeartbeatEvent, OnFailure},
    ids::Side,
    open_level::OpenLevel,
    outbox::{Outbox, Source},
    session::Session,
    stats::SessionStats,
    stream::StreamKey,
    waiting::Waiting,
};
