//! The multiplexer without I/O: bytes and commands in, bytes and events out.
//!
//! A [`Session`] performs no I/O, reads no clock, takes no lock, spawns nothing and knows no runtime. Its driver passes
//! in what the transport gave and the time, and after **every** call does two things:
//!
//! 1. drains [`Session::poll_event`] and wakes those whom the events concern;
//! 2. if [`Session::wants_transmit`], calls [`Session::transmit`] and writes what it filled in.
//!
//! These are all methods of a session, by kind:
//!
//! | kind | methods |
//! |---|---|
//! | input | [`receive`](Session::receive), [`receive_part`](Session::receive_part), [`opened_since`](Session::opened_since), [`handle_transport_end`](Session::handle_transport_end) |
//! | time | [`poll_timeout`](Session::poll_timeout), [`handle_timeout`](Session::handle_timeout), [`handle_tasks`](Session::handle_tasks), [`handle_write_stall`](Session::handle_write_stall) |
//! | output | [`wants_transmit`](Session::wants_transmit), [`transmit`](Session::transmit), [`poll_event`](Session::poll_event) |
//! | streams | [`open`](Session::open), [`accept`](Session::accept), [`look_at_next`](Session::look_at_next), [`waiting`](Session::waiting), [`accept_waiting`](Session::accept_waiting), [`refuse_waiting`](Session::refuse_waiting), [`announce`](Session::announce), [`write`](Session::write), [`write_with`](Session::write_with), [`poll_sent`](Session::poll_sent), [`finish`](Session::finish), [`read`](Session::read), [`read_chunk`](Session::read_chunk), [`await_rest`](Session::await_rest), [`stop_reading`](Session::stop_reading), [`reset`](Session::reset), [`release`](Session::release) |
//! | the session's end | [`go_away`](Session::go_away), [`close`](Session::close), [`close_draining`](Session::close_draining), [`close_refusing`](Session::close_refusing), [`close_when_sent`](Session::close_when_sent), [`stop_draining`](Session::stop_draining), [`handle_driver_dropped`](Session::handle_driver_dropped) |
//! | settings | [`set_typed`](Session::set_typed), [`accept_whole_only`](Session::accept_whole_only), [`refuse_streams`](Session::refuse_streams), [`start_heartbeat`](Session::start_heartbeat), [`start_probes`](Session::start_probes), [`set_control_type`](Session::set_control_type), [`set_peer_memory`](Session::set_peer_memory) |
//! | heartbeats, control streams | [`ping`](Session::ping), [`is_pinging`](Session::is_pinging), [`heartbeat_event`](Session::heartbeat_event), [`open_control`](Session::open_control), [`accept_control`](Session::accept_control) |
//! | housekeeping | [`announce_capacity`](Session::announce_capacity), [`shrink`](Session::shrink) |
//! | what a stream is | [`stream_id`](Session::stream_id), [`failure`](Session::failure), [`is_sent`](Session::is_sent), [`is_over`](Session::is_over), [`is_read_out`](Session::is_read_out) |
//! | what the session is | [`side`](Session::side), [`extensions_negotiated`](Session::extensions_negotiated), [`shows_extensions`](Session::shows_extensions), [`has_ended`](Session::has_ended), [`end`](Session::end), [`is_draining`](Session::is_draining), [`is_idle`](Session::is_idle), [`backlog_len`](Session::backlog_len), [`streams_in_use`](Session::streams_in_use), [`handles`](Session::handles), [`advertised_memory`](Session::advertised_memory) |
//! | what may be done now | [`may_open`](Session::may_open), [`open_capacity`](Session::open_capacity), [`open_capacity_at`](Session::open_capacity_at), [`refuses_opens`](Session::refuses_opens), [`best_read`](Session::best_read), [`has_unread`](Session::has_unread) |
//! | counters | [`stats`](Session::stats), [`frames_sent`](Session::frames_sent), [`frames_delivered`](Session::frames_delivered), [`position`](Session::position) |
//!
//! Nothing a peer sends makes a session panic, wait, or hold more than [`Config`](crate::Config) allows.
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

mod abuse;
mod accept;
mod buffer;
mod closing;
mod control;
mod counts;
mod error;
mod event;
mod flow_control;
mod frame;
mod growth;
mod heartbeat;
mod late_credit;
mod open_level;
mod outbox;
mod peer_memory;
mod probe;
mod recv;
mod reset_budget;
mod send;
mod session;
mod stall;
mod stats;
mod store;
mod stream;
mod timers;
mod waiting;

#[doc(hidden)]
pub use self::outbox::Source;
pub(crate) use self::send::FRAME;
pub use self::{
    error::ProtocolError,
    event::Event,
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, MAX_FRAME_LEN, StreamId},
    heartbeat::{HeartbeatConfig, HeartbeatEvent, OnFailure},
    open_level::OpenLevel,
    outbox::Outbox,
    recv::Read,
    send::Finish,
    session::Session,
    stats::SessionStats,
    store::{Side, StreamKey},
    waiting::Waiting,
};
