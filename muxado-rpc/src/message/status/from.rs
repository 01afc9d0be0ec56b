//! Statuses from the errors of layers and of the transport.

use std::error::Error;

use muxado::{ErrorCode, OpenError, ReadError};

use super::{Origin, Status};
use crate::{BoxError, MethodInfo};

/// What a layer's error means. A status that went through layers comes out as it was.
pub(crate) fn from_box_error(error: BoxError) -> Status {
    use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};

    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    if error.is::<Elapsed>() {
        Status::deadline_exceeded("the time limit of a timeout layer passed")
    } else if error.is::<Overloaded>() {
        Status::resource_exhausted("overloaded: a load shedding layer refused the call").not_executed()
    } else if let Some(status) = source_status(&*error) {
        status
    } else {
        Status::unknown(error.to_string())
    }
}

/// A status inside another error, such as that of a buffer whose service failed.
fn source_status(error: &(dyn Error + 'static)) -> Option<Status> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(status) = error.downcast_ref::<Status>() {
            return Some(status.clone());
        }
        source = error.source();
    }
    None
}

/// No stream could be opened: nothing was sent.
pub(crate) fn from_open_error(method: &MethodInfo, error: &OpenError) -> Status {
    Status::unavailable(format!("{method}: {error}")).with_origin(Origin::Transport).not_executed()
}

/// The stream ended without an answer.
pub(crate) fn from_read_error(method: &MethodInfo, error: &ReadError) -> Status {
    let unavailable = || Status::unavailable(format!("{method}: {error}"));
    match error {
        ReadError::Reset(
            ErrorCode::STREAM_REFUSED | ErrorCode::ACCEPT_QUEUE_FULL | ErrorCode::REMOTE_GONE_AWAY,
        ) => unavailable().with_origin(Origin::Peer).not_executed(),
        ReadError::Reset(ErrorCode::CANCELLED) => {
            Status::cancelled(format!("{method}: cancelled by the peer")).with_origin(Origin::Peer)
        }
        ReadError::Reset(ErrorCode::ENHANCE_YOUR_CALM) => Status::resource_exhausted(format!(
            "{method}: {error}: the other side had no room for what waited to be read (its \
             Limits::max_response_memory, ServerBuilder::max_memory or muxado::Config::session_receive_memory)"
        ))
        .with_origin(Origin::Peer),
        ReadError::Reset(ErrorCode::WRITE_TIMEOUT) => Status::unavailable(format!(
            "{method}: {error}: nothing moved on it for too long (the peer's muxado::Config::stall_timeout)"
        ))
        .with_origin(Origin::Peer),
        ReadError::Reset(_) => unavailable().with_origin(Origin::Peer),
        ReadError::ResetLocally(ErrorCode::ENHANCE_YOUR_CALM) => {
            Status::resource_exhausted(format!("{method}: {error}"))
        }
        ReadError::ResetLocally(_) => unavailable(),
        _ => unavailable().with_origin(Origin::Transport),
    }
}

#[cfg(test)]
mod tests {
    use muxado::SessionError;

    use super::*;
    use crate::Code;

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);

    #[test]
    fn a_status_survives_layers_that_box_errors() {
        let boxed: BoxError = Box::new(Status::not_found("x").not_executed());
        let status = from_box_error(boxed);
        assert_eq!((status.code(), status.may_have_executed()), (Code::NotFound, false));
    }

    #[test]
    fn a_status_inside_a_layer_error_is_found() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Status);
        assert_eq!(from_box_error(Box::new(Outer(Status::aborted("x")))), Status::aborted("x"));
    }

    #[test]
    fn errors_of_stock_layers_have_their_codes() {
        use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};
        assert_eq!(from_box_error(Box::new(Elapsed::new())).code(), Code::DeadlineExceeded);
        let shed = from_box_error(Box::new(Overloaded::new()));
        assert_eq!((shed.code(), shed.may_have_executed()), (Code::ResourceExhausted, false));
        assert_eq!(from_box_error("odd".into()), Status::unknown("odd"));
    }

    #[test]
    fn ends_of_streams_say_whether_the_call_may_have_run() {
        let of = |error| {
            let status = from_read_error(&METHOD, &error);
            (status.code(), status.origin(), status.may_have_executed())
        };
        let reset = |code| of(ReadError::Reset(code));
        assert_eq!(reset(ErrorCode::STREAM_REFUSED), (Code::Unavailable, Origin::Peer, false));
        assert_eq!(reset(ErrorCode::ACCEPT_QUEUE_FULL), (Code::Unavailable, Origin::Peer, false));
        assert_eq!(reset(ErrorCode::CANCELLED), (Code::Cancelled, Origin::Peer, true));
        assert_eq!(reset(ErrorCode::ENHANCE_YOUR_CALM), (Code::ResourceExhausted, Origin::Peer, true));
        assert_eq!(reset(ErrorCode::INTERNAL_ERROR), (Code::Unavailable, Origin::Peer, true));
        assert_eq!(reset(ErrorCode::WRITE_TIMEOUT), (Code::Unavailable, Origin::Peer, true));
        assert_eq!(reset(ErrorCode::ENHANCE_YOUR_CALM), (Code::ResourceExhausted, Origin::Peer, true));
        for (code, setting) in [
            (ErrorCode::WRITE_TIMEOUT, "Config::stall_timeout"),
            (ErrorCode::ENHANCE_YOUR_CALM, "Config::session_receive_memory"),
        ] {
            for error in [ReadError::Reset(code), ReadError::ResetLocally(code)] {
                let status = from_read_error(&METHOD, &error);
                assert!(status.message().contains(setting), "{status}");
            }
        }
        let ended = of(ReadError::SessionClosed(SessionError::PeerEof { mid_frame: false }));
        assert_eq!(ended, (Code::Unavailable, Origin::Transport, true));
    }
}
