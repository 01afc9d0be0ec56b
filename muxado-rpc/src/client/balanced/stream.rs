//! Items of a call that may be made again: until something of them, or their end, has come.

use std::future::poll_fn;

use super::{
    call::{Attempts, BalancedFuture},
    seat::Seat,
};
use crate::{
    Body,
    message::response::Failure,
    stream::body::{BodyEvent, BodyStream},
    wire::single_response,
};

/// The items of this attempt, or of the first one after it that is not refused.
pub(super) fn until_begun(attempts: Attempts, seat: Seat, items: Body) -> Body {
    BodyStream::opening(items.codec(), begin(attempts, seat, BodyStream::of(items)))
}

/// The items that come, and the first thing of them. A refusal is none, as long as there is an attempt left.
async fn begin(
    mut attempts: Attempts,
    seat: Seat,
    mut items: Box<BodyStream>,
) -> (Box<BodyStream>, BodyEvent) {
    let (method, codec) = (attempts.method_ref(), items.codec());
    let event = poll_fn(|cx| items.poll_event(cx)).await;
    let (status, trailer) = match event.into_failure(&method, codec) {
        Ok(failure) => failure,
        Err(event) => {
            seat.note_answer();
            return (items, event);
        }
    };
    // Nothing holds its connection open while the call waits for another.
    drop(items);
    let next = match seat.leave() {
        Some(pending) => attempts.retry(pending, status),
        None => Err(attempts.failed(status)),
    };
    let result = match next {
        Ok(state) => BalancedFuture::going_on(attempts, state).await,
        Err(status) => Err(status),
    };
    let status = match result.map(|mut response| response.take_body()) {
        Ok(Some((items, _))) => {
            let mut items = BodyStream::of(items);
            let event = poll_fn(|cx| items.poll_event(cx)).await;
            return (items, event);
        }
        Ok(None) => single_response(&method),
        Err(status) => status,
    };
    (BodyStream::of(BodyStream::over(codec)), BodyEvent::End(Err(Failure::Status(status)), trailer))
}
