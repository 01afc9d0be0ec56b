//! How old connections get.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{connection::shared::ConnectionShared, support::random};

/// When the connections of a server are replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgeLimit {
    /// `None` if they may get as old as they like.
    max: Option<Duration>,
    /// How long calls under way may go on then.
    grace: Duration,
}

impl Default for AgeLimit {
    fn default() -> Self {
        Self { max: None, grace: Duration::MAX }
    }
}

impl AgeLimit {
    pub(super) fn set_max(&mut self, age: Duration) {
        self.max = Some(age.max(MIN_AGE));
    }

    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Has a connection that begins now go away at its age. A task of the current runtime waits for that, and ends with
    /// the connection.
    pub(super) fn watch(&self, shared: &Arc<ConnectionShared>) {
        let Some(max) = self.max else { return };
        // A time beyond the end of time never comes.
        let Some(due) = Instant::now().checked_add(spread(max, random::next())) else { return };
        let (shared, grace) = (Arc::clone(shared), self.grace);
        tokio::spawn(async move {
            tokio::select! {
                _ = shared.session().closed() => {}
                () = sleep_until(due) => {
                    tracing::debug!(peer = %shared.peer(), "a connection goes away, because of its age");
                    shared.drain(grace).await;
                }
            }
        });
    }
}

/// Returns an age within a tenth of this one, so that connections that began at once do not end at once.
fn spread(age: Duration, random: u64) -> Duration {
    // 53 bits are what a float holds exactly.
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    (age - age / 10).saturating_add((age / 5).mul_f64(share))
}

/// The least age: clients take a connection that ends sooner for one that was of no use.
const MIN_AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::{io::duplex, task::JoinSet, time::sleep};

    use super::*;
    use crate::{Code, Peer, Reconnect, support::random::split_mix};

    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[crate::service(crate = "crate")]
    trait Work {
        async fn echo(&self, number: usize) -> usize;
        async fn sleep(&self, ms: u64);
    }

    /// Counts the calls that it has run.
    #[derive(Clone, Default)]
    struct Worker(Arc<AtomicUsize>);

    impl Work for Worker {
        async fn echo(&self, number: usize) -> usize {
            sleep(MILLI * (number % 5) as u32).await;
            self.0.fetch_add(1, Ordering::SeqCst);
            number
        }

        async fn sleep(&self, ms: u64) {
            sleep(MILLI * ms as u32).await;
        }
    }

    /// The serving ends of connections in memory, which may get so old.
    #[derive(Clone)]
    struct Place {
        limit: AgeLimit,
        worker: Worker,
        far: Arc<Mutex<Vec<Peer>>>,
    }

    impl Place {
        fn new(max: Duration, grace: Duration) -> Self {
            let mut limit = AgeLimit::default();
            limit.set_max(max);
            limit.set_grace(grace);
            Self { limit, worker: Worker::default(), far: Arc::default() }
        }

        fn client(&self, connections: usize) -> Reconnect {
            let place = self.clone();
            let connector = move || {
                let (near, far) = duplex(64 * 1024);
                let server = WorkServer::new(place.worker.clone());
                let far = Peer::builder().serve(server).server(far).unwrap();
                place.limit.watch(far.shared());
                place.far.lock().unwrap().push(far);
                ready(Ok(near))
            };
            Reconnect::builder().connector(connector).connections(connections).build().unwrap()
        }

        fn far(&self, index: usize) -> Peer {
            self.far.lock().unwrap()[index].clone()
        }

        fn connections(&self) -> usize {
            self.far.lock().unwrap().len()
        }
    }

    #[test]
    fn ages_are_spread_over_a_tenth_to_both_sides() {
        let (age, mut seed) = (1000 * SECOND, 4711);
        let ages: Vec<_> = (0..1000).map(|_| spread(age, split_mix(&mut seed))).collect();
        assert!(ages.iter().all(|age| (900 * SECOND..=1100 * SECOND).contains(age)));
        for part in 0..10 {
            let (from, to) = (900 * SECOND + part * 20 * SECOND, 920 * SECOND + part * 20 * SECOND);
            let count = ages.iter().filter(|age| (from..to).contains(*age)).count();
            assert!((60..140).contains(&count), "{count} from {from:?}");
        }
        assert_eq!((spread(age, 0), spread(age, u64::MAX)), (900 * SECOND, 1100 * SECOND));
        assert!(spread(Duration::MAX, u64::MAX) >= Duration::MAX / 10 * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_fails_while_connections_come_of_age() {
        let place = Place::new(SECOND, 30 * SECOND);
        let channel = place.client(3);
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let work = WorkClient::new(channel.clone());
            callers.spawn(async move {
                for number in 0..1_000 {
                    assert_eq!(work.echo(number + caller).await, Ok(number + caller));
                    sleep(MILLI * 20).await;
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        // None was executed twice, either.
        assert_eq!(place.worker.0.load(Ordering::SeqCst), 16_000);
        assert!(place.connections() >= 3 * 15, "{}", place.connections());
        assert_eq!(channel.generation(), place.connections() as u64);
        assert_eq!(channel.peers().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_go_away_at_an_age_of_their_own_and_are_replaced_at_once() {
        let place = Place::new(100 * SECOND, SECOND);
        let _channel = place.client(1);
        sleep(1000 * SECOND).await;
        let ages: Vec<_> = (1..place.connections())
            .map(|index| place.far(index).connected_at() - place.far(index - 1).connected_at())
            .collect();
        assert!((9..=11).contains(&ages.len()), "{ages:?}");
        assert!(ages.iter().all(|age| (90 * SECOND..=110 * SECOND + MILLI).contains(age)), "{ages:?}");
        assert!(ages.windows(2).any(|pair| pair[0] != pair[1]), "{ages:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_under_way_finish_within_the_grace_and_are_cut_after_it() {
        let place = Place::new(10 * SECOND, 5 * SECOND);
        let work = WorkClient::new(place.client(1));
        work.echo(0).await.unwrap();
        let (short, long) = (work.clone(), work.clone());
        let short = tokio::spawn(async move { short.sleep(12_000).await });
        let long = tokio::spawn(async move { long.sleep(60_000).await });
        let first = place.far(0);
        first.going_away().await;
        let aged = Instant::now();
        assert_eq!(work.echo(1).await, Ok(1));
        assert_eq!((place.connections(), aged.elapsed()), (2, MILLI));
        assert_eq!(short.await.unwrap(), Ok(()));
        let error = long.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, true));
        assert_eq!(aged.elapsed(), 5 * SECOND);
        assert!(first.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_grace_a_call_may_go_on_for_ever_and_without_an_age_so_may_a_connection() {
        let place = Place::new(10 * SECOND, Duration::MAX);
        let work = WorkClient::new(place.client(1));
        let call = tokio::spawn(async move { work.sleep(3_600_000).await });
        sleep(1800 * SECOND).await;
        assert!(place.far(0).is_going_away() && !place.far(0).is_closed());
        assert_eq!(call.await.unwrap(), Ok(()));
        place.far(0).closed().await;

        let place = Place { limit: AgeLimit::default(), ..place };
        let before = place.connections();
        let work = WorkClient::new(place.client(1));
        assert_eq!(work.sleep(36_000_000).await, Ok(()));
        assert_eq!(place.connections(), before + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_with_its_connection() {
        let place = Place::new(3600 * SECOND, SECOND);
        let channel = place.client(1);
        channel.connected().await.unwrap();
        let held = Arc::downgrade(place.far(0).shared());
        drop(channel);
        place.far(0).closed().await;
        place.far.lock().unwrap().clear();
        sleep(SECOND).await;
        assert!(held.upgrade().is_none());
    }
}
