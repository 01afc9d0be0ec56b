use std::{
    sync::atomic::AtomicU32,
    task::{Wake, Waker},
    time::Duration,
};

use super::*;

fn of(memory: &Arc<CallMemory>) -> Reservation {
    Reservation::of(memory, Purpose::Request)
}

fn exhausted(limit: usize, bound: Bound) -> Exhausted {
    Exhausted { limit, bound }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A response of so many bytes that waits, and what is woken when it is to go.
fn waiting(memory: &Arc<CallMemory>, bytes: usize) -> (Reservation, Arc<Woken>) {
    let woken = Arc::<Woken>::default();
    let mut reservation = Reservation::of(memory, Purpose::Response);
    let waker = Waker::from(Arc::clone(&woken));
    assert_eq!(reservation.poll_hold(&mut Context::from_waker(&waker), bytes), Poll::Pending);
    (reservation, woken)
}

fn end_of(reservation: &Reservation) -> Option<Exhausted> {
    match reservation.poll_evicted(&mut Context::from_waker(Waker::noop()), true) {
        Poll::Ready(reason) => Some(reason),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn reservations_of_one_connection_share_its_limit_to_the_byte() {
    let memory = CallMemory::of_each(100);
    let (mut a, mut b) = (of(&memory), of(&memory));
    assert_eq!((a.grow(60), b.grow(41)), (Ok(()), Err(exhausted(100, Bound::Requests))));
    assert_eq!((b.grow(40), memory.request_bytes()), (Ok(()), 100));
    assert_eq!((a.grow(50), a.grow(61)), (Ok(()), Err(exhausted(100, Bound::Requests))));
    drop(b);
    assert_eq!((a.grow(100), memory.request_bytes()), (Ok(()), 100));
    drop(a);
    assert_eq!(memory.request_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_is_counted_once() {
    let memory = CallMemory::of_each(100);
    let mut reservation = of(&memory);
    reservation.grow(70).unwrap();
    let taken = reservation.take().unwrap();
    assert_eq!((memory.request_bytes(), reservation.take().is_none()), (70, true));
    reservation.grow(30).unwrap();
    drop(taken);
    assert_eq!(memory.request_bytes(), 30);
    reservation.clear();
    reservation.clear();
    assert_eq!(memory.request_bytes(), 0);
    reservation.grow(20).unwrap();
    assert_eq!(memory.request_bytes(), 20);
}

#[test]
fn without_a_budget_nothing_is_counted() {
    let mut reservation = Reservation::default();
    assert_eq!(reservation.grow(usize::MAX), Ok(()));
    assert!(reservation.take().is_none() && end_of(&reservation).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_response_that_held_most_for_longest_gives_way_to_another() {
    let memory = CallMemory::of_each(10_000);
    let (old, old_woken) = waiting(&memory, 3000);
    tokio::time::advance(Duration::from_secs(1)).await;
    let (large, large_woken) = waiting(&memory, 6000);
    let (new, _) = waiting(&memory, 4000);
    assert_eq!(
        (end_of(&old), old_woken.0.load(Ordering::Relaxed)),
        (Some(exhausted(10_000, Bound::Responses)), 1)
    );
    assert_eq!((end_of(&large), large_woken.0.load(Ordering::Relaxed)), (None, 0));
    assert_eq!((end_of(&new), memory.response_bytes()), (None, 10_000));
    drop((old, large, new));
    assert_eq!(memory.response_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_above_the_whole_limit_takes_nothing_from_others() {
    let memory = CallMemory::of_each(10_000);
    let (other, _) = waiting(&memory, 3000);
    let mut large = Reservation::of(&memory, Purpose::Response);
    assert_eq!(large.grow(10_001), Err(exhausted(10_000, Bound::Responses)));
    assert_eq!((end_of(&other), memory.response_bytes()), (None, 3000));
}

#[tokio::test(start_paused = true)]
async fn further_calls_are_refused_until_half_of_the_responses_is_out() {
    let memory = CallMemory::of_each(10_000);
    let (first, _) = waiting(&memory, 6000);
    assert_eq!(memory.refusal(), None);
    let (second, _) = waiting(&memory, 5000);
    // The first is to go. It held 6 000 of them.
    assert_eq!(memory.refusal(), Some(exhausted(10_000, Bound::Responses)));
    drop(first);
    assert_eq!(memory.refusal(), Some(exhausted(10_000, Bound::Responses)));
    drop(second);
    assert_eq!(memory.refusal(), None);
}

#[tokio::test(start_paused = true)]
async fn small_responses_are_not_counted() {
    let memory = CallMemory::of_each(10_000);
    let (_held, _) = waiting(&memory, MIN_COUNTED - 1);
    assert_eq!(memory.response_bytes(), 0);
}

fn connection(server: &Arc<ServerMemory>, limit: usize) -> Arc<CallMemory> {
    let limits = MemoryLimits { requests: limit, unauthorised: limit / 4, responses: limit };
    CallMemory::new(limits, Some(Arc::clone(server)))
}

#[tokio::test(start_paused = true)]
async fn over_the_servers_limit_the_connection_that_holds_most_gives_way() {
    let server = ServerMemory::new(10_000);
    let (greedy, modest) = (connection(&server, 10_000), connection(&server, 10_000));
    let (oldest, woken) = waiting(&greedy, 4000);
    tokio::time::advance(Duration::from_secs(1)).await;
    let (younger, _) = waiting(&greedy, 4000);
    let mut wanted = of(&modest);
    assert_eq!(wanted.grow(3000), Ok(()));
    assert_eq!(
        (end_of(&oldest), woken.0.load(Ordering::Relaxed)),
        (Some(exhausted(10_000, Bound::Server)), 1)
    );
    assert_eq!((end_of(&younger), server.used()), (None, 7000));
    // The one that holds most does not get more by what others have.
    let mut more = of(&greedy);
    assert_eq!(more.grow(4000), Err(exhausted(10_000, Bound::Server)));
    assert_eq!((greedy.request_bytes(), greedy.response_bytes(), modest.request_bytes()), (0, 4000, 3000));
    assert_eq!(server.used(), 7000);
    drop((oldest, younger, wanted, more));
    assert_eq!(server.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_peer_gives_way_before_a_handler_that_runs() {
    let server = ServerMemory::new(10_000);
    let (greedy, modest) = (connection(&server, 10_000), connection(&server, 10_000));
    let mut handled = of(&greedy);
    handled.grow(6000).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(handled.poll_evicted(&mut cx, false).is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut half_sent = of(&greedy);
    half_sent.grow(2000).unwrap();
    assert!(half_sent.poll_evicted(&mut cx, true).is_pending());
    let mut wanted = of(&modest);
    assert_eq!(wanted.grow(3000), Ok(()));
    assert_eq!((end_of(&half_sent), end_of(&handled)), (Some(exhausted(10_000, Bound::Server)), None));
    assert_eq!(wanted.grow(5000), Ok(()));
    assert_eq!(end_of(&handled), Some(exhausted(10_000, Bound::Server)));
    assert_eq!(server.used(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_woken_keeps_its_memory_and_the_new_one_is_refused() {
    let server = ServerMemory::new(10_000);
    let (greedy, modest) = (connection(&server, 10_000), connection(&server, 10_000));
    let mut must_finish = of(&greedy);
    must_finish.grow(9000).unwrap();
    assert_eq!(of(&modest).grow(2000), Err(exhausted(10_000, Bound::Server)));
    assert_eq!((server.used(), modest.request_bytes()), (9000, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_authorised_has_a_part_of_the_room_until_somebody_does() {
    let server = ServerMemory::new(10_000);
    let memory = connection(&server, 1000);
    let mut stranger = Reservation::of(&memory, Purpose::Unauthorised);
    assert_eq!(stranger.grow(250), Ok(()));
    let mut other = Reservation::of(&memory, Purpose::Unauthorised);
    assert_eq!(other.grow(1), Err(exhausted(250, Bound::Unauthorised)));
    stranger.authorise();
    assert_eq!((other.grow(250), stranger.grow(750)), (Ok(()), Ok(())));
    assert_eq!((memory.request_bytes(), server.used()), (1000, 1000));
    drop((stranger, other));
    assert_eq!((memory.request_bytes(), server.used(), memory.unauthorised.used()), (0, 0, 0));
}
