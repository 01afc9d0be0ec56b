//! TCP connections: the addresses of a name, tried side by side, and the options of their sockets.

use std::{error, fmt, io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    time::Instant,
};

use super::race::{no_answer, race};
use crate::support::{timer, truncate::Escaped};

/// How long a connection is silent before the system asks whether the peer is there. How often it asks then, some ten
/// times in ten minutes, is the system's setting.
pub(crate) const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 32;

/// Connects to `host`, a name or an IP address and a port.
///
/// All addresses of the name are tried, IPv6 and IPv4 in turn, as RFC 8305 has it.
///
/// # Errors
///
/// Returns an error that names each address that was tried, and why there is no connection to it.
pub(crate) async fn connect(
    host: &str,
    keepalive: Option<Duration>,
    deadline: Option<Instant>,
) -> io::Result<TcpStream> {
    let stream = connect_by(&System, host, deadline).await?;
    configure(&stream, keepalive);
    Ok(stream)
}

/// Has small messages not wait for acknowledgements, and the system find out about peers that are gone.
///
/// Heartbeats find a dead peer sooner. Keepalive is for connections without them, and for those that have not begun
/// their session: it needs nothing of the peer but a system that is up.
pub(crate) fn configure(stream: &TcpStream, keepalive: Option<Duration>) {
    let keep_alive = |time: Duration| {
        SockRef::from(stream)
            .set_tcp_keepalive(&TcpKeepalive::new().with_time(time.max(Duration::from_secs(1))))
    };
    let set = stream.set_nodelay(true).and_then(|()| keepalive.map_or(Ok(()), keep_alive));
    if let Err(error) = set {
        // The socket is broken already; its first read says so better.
        tracing::debug!("cannot set TCP_NODELAY and SO_KEEPALIVE: {error}");
    }
}

/// What names mean and where packets go. Tests have their own.
trait Network {
    type Stream;

    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

struct System;

impl Network for System {
    type Stream = TcpStream;

    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(host).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

async fn connect_by<N: Network>(network: &N, host: &str, deadline: Option<Instant>) -> io::Result<N::Stream> {
    let Some(found) = timer::before(deadline, network.resolve(host)).await else {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer from the resolver within connect_timeout",
        ));
    };
    let found =
        found.map_err(|error| io::Error::new(error.kind(), format!("cannot resolve the name: {error}")))?;
    let addresses = in_turn(found);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let connecting = |address: &SocketAddr| network.connect(*address);
    race(addresses, deadline, connecting).await.map_err(|failed| explain(host, failed))
}

/// Sorts addresses so that the families take turns, IPv6 first; each family keeps its order, which is the system's.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut sorted: Vec<SocketAddr> = Vec::new();
    while v6.len() + v4.len() > 0 && sorted.len() < MAX_ADDRESSES {
        for address in [v6.next(), v4.next()].into_iter().flatten() {
            if !sorted.contains(&address) {
                sorted.push(address);
            }
        }
    }
    sorted
}

/// Returns one error for all addresses. If there is one address, and it was not looked up, the error is its own.
fn explain(host: &str, mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let was_given = host.parse::<SocketAddr>().is_ok();
    let kind = match failed.as_slice() {
        [(_, first), rest @ ..] if rest.iter().all(|(_, error)| error.kind() == first.kind()) => first.kind(),
        failed if failed.iter().any(|(_, error)| error.kind() == io::ErrorKind::TimedOut) => {
            io::ErrorKind::TimedOut
        }
        _ => io::ErrorKind::Other,
    };
    match failed.pop() {
        Some((_, error)) if was_given && failed.is_empty() => late(error),
        last => {
            failed.extend(last);
            io::Error::new(kind, Unreachable { failed })
        }
    }
}

/// Says which limit has passed.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
        return io::Error::new(error.kind(), format!("{} within connect_timeout", no_answer()));
    }
    error
}

/// The addresses of one name, none of which could be reached.
#[derive(Debug)]
pub(super) struct Unreachable {
    failed: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, error)) in self.failed.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{address}: {}", Escaped(error))?;
            if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
                f.write_str(" within connect_timeout")?;
            }
        }
        Ok(())
    }
}

impl error::Error for Unreachable {}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use tokio::time::sleep;

    use super::*;

    /// A name with addresses, of which each does one thing.
    #[derive(Default)]
    struct Fake {
        addresses: Vec<(SocketAddr, Does)>,
        tried: Mutex<Vec<SocketAddr>>,
    }

    #[derive(Clone, Copy)]
    enum Does {
        Answer(u64),
        Refuse,
        Nothing,
    }

    impl Fake {
        fn new(addresses: &[(&str, Does)]) -> Self {
            let parsed = addresses.iter().map(|(address, does)| (address.parse().unwrap(), *does));
            Self { addresses: parsed.collect(), tried: Mutex::default() }
        }

        async fn connect(&self) -> (io::Result<SocketAddr>, u128) {
            let begin = Instant::now();
            let result = connect_by(self, "server.example:7", Some(begin + Duration::from_secs(10))).await;
            (result, begin.elapsed().as_millis())
        }

        fn tried(&self) -> Vec<String> {
            self.tried.lock().unwrap().iter().map(ToString::to_string).collect()
        }
    }

    impl Network for Fake {
        type Stream = SocketAddr;

        async fn resolve(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
            Ok(self.addresses.iter().map(|(address, _)| *address).collect())
        }

        async fn connect(&self, address: SocketAddr) -> io::Result<SocketAddr> {
            self.tried.lock().unwrap().push(address);
            match self.addresses.iter().find(|(known, _)| *known == address).unwrap().1 {
                Does::Answer(after) => sleep(Duration::from_millis(after)).await,
                Does::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
                Does::Nothing => pending().await,
            }
            Ok(address)
        }
    }

    const V6: [&str; 2] = ["[2001:db8::1]:7", "[2001:db8::2]:7"];
    const V4: [&str; 2] = ["192.0.2.1:7", "192.0.2.2:7"];

    #[tokio::test(start_paused = true)]
    async fn a_name_with_a_dead_first_address_connects_within_half_a_second() {
        let network = Fake::new(&[(V4[0], Does::Nothing), (V4[1], Does::Answer(20))]);
        let (connected, after) = network.connect().await;
        assert_eq!(connected.unwrap().to_string(), V4[1]);
        assert!((250..=500).contains(&after), "{after} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_followed_by_the_next_address_at_once() {
        let refusing = [(V6[0], Does::Refuse), (V6[1], Does::Refuse), (V4[0], Does::Answer(1))];
        let (connected, after) = Fake::new(&refusing).connect().await;
        assert_eq!(connected.unwrap().to_string(), V4[0]);
        assert!(after <= 5, "{after} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn families_take_turns_and_each_address_is_tried_once() {
        let network = Fake::new(&[
            (V4[0], Does::Refuse),
            (V4[0], Does::Refuse),
            (V4[1], Does::Refuse),
            (V6[0], Does::Refuse),
            (V6[1], Does::Refuse),
        ]);
        let (failed, _) = network.connect().await;
        assert_eq!(network.tried(), [V6[0], V4[0], V6[1], V4[1]]);
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_address_may_still_win() {
        let network = Fake::new(&[(V6[0], Does::Answer(400)), (V4[0], Does::Nothing)]);
        let (connected, after) = network.connect().await;
        assert_eq!((connected.unwrap().to_string(), network.tried().len()), (V6[0].to_owned(), 2));
        assert!((400..=405).contains(&after), "{after} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_names_each_address_and_why_there_is_no_connection_to_it() {
        let network = Fake::new(&[(V6[0], Does::Refuse), (V4[0], Does::Nothing)]);
        let (failed, after) = network.connect().await;
        let error = failed.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (
                io::ErrorKind::TimedOut,
                format!("{}: connection refused; {}: no answer within connect_timeout", V6[0], V4[0])
            )
        );
        assert!((10_000..10_010).contains(&after), "{after} ms");
        let (failed, _) = Fake::default().connect().await;
        assert_eq!(failed.unwrap_err().to_string(), "the name has no address");
    }
}
