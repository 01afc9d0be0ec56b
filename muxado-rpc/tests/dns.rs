//! Servers found by DNS: a name server in this process whose answers change.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{
    Address, Balanced, Server,
    balanced::{BalancedState, DnsResolver, Resolved, Resolver},
};
use tokio::{net::UdpSocket, time::sleep};

const MILLI: Duration = Duration::from_millis(1);
const A: u16 = 1;
const SRV: u16 = 33;

#[muxado_rpc::service]
trait Who {
    async fn is_it(&self) -> usize;
}

struct It(usize);

impl Who for It {
    async fn is_it(&self) -> usize {
        self.0
    }
}

/// What there is of a name and a type: times to live and contents.
type Records = HashMap<(String, u16), Vec<(u32, Vec<u8>)>>;

/// A name server.
#[derive(Clone)]
struct NameServer {
    at: SocketAddr,
    records: Arc<Mutex<Records>>,
    /// `SERVFAIL`, for all names.
    is_broken: Arc<Mutex<bool>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            at: socket.local_addr().unwrap(),
            records: Arc::default(),
            is_broken: Arc::default(),
            asked: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            let mut query = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let answer = serving.answer(&query[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        server
    }

    fn set(&self, name: &str, kind: u16, records: impl IntoIterator<Item = (u32, Vec<u8>)>) {
        self.records.lock().unwrap().insert((name.to_owned(), kind), records.into_iter().collect());
    }

    fn set_hosts(&self, name: &str, hosts: &[u8]) {
        self.set(name, A, hosts.iter().map(|host| (0, vec![127, 0, 0, *host])));
    }

    /// The answer to a query with one question (RFC 1035 §4).
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let name = labels.join(".");
        let records = self.records.lock().unwrap();
        let is_known = records.keys().any(|(known, _)| *known == name);
        let found = records.get(&(name, kind)).cloned().unwrap_or_default();
        let code: u16 = if *self.is_broken.lock().unwrap() {
            2
        } else if is_known {
            0
        } else {
            3
        };
        let found = if code == 0 { found } else { Vec::new() };
        let mut answer = query[..2].to_vec();
        let counts = [0x8580 | code, 1, u16::try_from(found.len()).unwrap(), 0, 0];
        counts.iter().for_each(|count| answer.extend(count.to_be_bytes()));
        answer.extend(&query[12..at + 5]);
        for (time, content) in found {
            // The name is that of the question; the class is that of the Internet.
            answer.extend([0xC0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(time.to_be_bytes());
            answer.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            answer.extend(content);
        }
        answer
    }
}

fn service(priority: u16, port: u16, target: &str) -> Vec<u8> {
    let mut content = Vec::new();
    [priority, 0, port].iter().for_each(|number| content.extend(number.to_be_bytes()));
    for label in target.split('.') {
        content.push(u8::try_from(label.len()).unwrap());
        content.extend(label.bytes());
    }
    content.push(0);
    content
}

async fn listen(id: usize, at: SocketAddr) -> Server {
    Server::builder().serve(WhoServer::new(It(id))).listen(Address::from(at)).await.unwrap()
}

/// Three servers at one port of three addresses.
async fn servers() -> (u16, [Server; 3]) {
    let first = listen(1, SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let port = first.local_addr().socket_addr().unwrap().port();
    let at = |host| SocketAddr::from(([127, 0, 0, host], port));
    (port, [first, listen(2, at(2)).await, listen(3, at(3)).await])
}

/// Waits, in real time, until it is so.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        sleep(MILLI).await;
    }
    unreachable!("it never came so");
}

fn names(channel: &Balanced) -> Vec<String> {
    let mut names: Vec<_> = channel.endpoints().iter().map(|server| server.name().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_addresses_of_a_name_are_the_servers_and_follow_its_changes() {
    let (dns, (port, _servers)) = (NameServer::start().await, servers().await);
    dns.set_hosts("workers.example", &[1, 2, 2]);
    let resolver = DnsResolver::new(format!("tcp://workers.example:{port}")).unwrap().name_servers([dns.at]);
    let channel = Balanced::builder().resolver(resolver).resolve_apart(20 * MILLI).build().unwrap();
    channel.connected_to(2).await.unwrap();
    let named =
        |hosts: [u8; 2]| hosts.map(|host| format!("tcp://{}:{port}", Ipv4Addr::from([127, 0, 0, host])));
    assert_eq!(names(&channel), named([1, 2]));
    let client = WhoClient::new(channel.clone());
    let calling = tokio::spawn({
        let client = client.clone();
        async move {
            let mut answered = [0_usize; 4];
            while answered[3] < 50 {
                answered[client.is_it().await.unwrap()] += 1;
            }
            answered
        }
    });
    dns.set_hosts("workers.example", &[2, 3]);
    until(|| names(&channel) == named([2, 3])).await;
    let answered = calling.await.unwrap();
    assert!(answered[1] > 0 && answered[2] > 0, "{answered:?}");
    // A name server that fails, or knows no such name any more, changes nothing.
    *dns.is_broken.lock().unwrap() = true;
    let asked = dns.asked.load(Ordering::SeqCst);
    until(|| dns.asked.load(Ordering::SeqCst) > asked + 4).await;
    *dns.is_broken.lock().unwrap() = false;
    dns.records.lock().unwrap().clear();
    let asked = dns.asked.load(Ordering::SeqCst);
    until(|| dns.asked.load(Ordering::SeqCst) > asked + 4).await;
    assert_eq!(names(&channel), named([2, 3]));
    assert_ne!(client.is_it().await.unwrap(), 1);
}

#[tokio::test]
async fn services_have_ports_and_priorities() {
    let (dns, (port, [first, ..])) = (NameServer::start().await, servers().await);
    let other = listen(9, SocketAddr::from(([127, 0, 0, 9], 0))).await;
    let other_port = other.local_addr().socket_addr().unwrap().port();
    dns.set_hosts("a.example", &[1]);
    dns.set_hosts("b.example", &[9]);
    let records = [service(1, port, "a.example"), service(5, other_port, "b.example")];
    dns.set("_rpc._tcp.example", SRV, records.map(|content| (0, content)));
    let resolver = DnsResolver::srv("tcp://_rpc._tcp.example").unwrap().name_servers([dns.at]);
    let channel = Balanced::builder().resolver(resolver).resolve_apart(20 * MILLI).build().unwrap();
    until(|| channel.endpoints().iter().filter(|server| server.is_connected()).count() == 2).await;
    let client = WhoClient::new(channel.clone());
    // Of the lower number as long as it is there.
    until(|| channel.state() == BalancedState::Ready { servers: 1 }).await;
    for _ in 0..20 {
        assert_eq!(client.is_it().await, Ok(1));
    }
    first.shutdown(Duration::from_secs(1)).await;
    for _ in 0..20 {
        assert_eq!(client.is_it().await, Ok(9));
    }
    let _first = listen(1, first.local_addr().socket_addr().unwrap()).await;
    let is_back = || channel.endpoints().iter().all(|server| server.is_connected());
    until(is_back).await;
    until(|| channel.state() == BalancedState::Ready { servers: 1 }).await;
    assert_eq!(client.is_it().await, Ok(1));
}

#[tokio::test]
async fn an_answer_holds_as_long_as_its_shortest_record() {
    let dns = NameServer::start().await;
    dns.set("one.example", A, [(70, vec![10, 0, 0, 1]), (40, vec![10, 0, 0, 2])]);
    let mut resolver = DnsResolver::new("tcp://one.example:7").unwrap().name_servers([dns.at]);
    let address = |host: u8, port: u16| Address::from(SocketAddr::from(([10, 0, 0, host], port)));
    let found = resolver.resolve().await.unwrap();
    let expected = Resolved::new([address(1, 7), address(2, 7)]).valid_for(Duration::from_secs(40));
    assert_eq!(found, expected, "{found:?}");
    // Nothing is kept: whoever asks again has a reason.
    dns.set("one.example", A, [(70, vec![10, 0, 0, 3])]);
    let found = resolver.resolve().await.unwrap();
    assert_eq!(found, Resolved::new([address(3, 7)]).valid_for(Duration::from_secs(70)), "{found:?}");
    // The service holds less long than its hosts, and one of these has no address.
    let records = [service(0, 8, "one.example"), service(0, 8, "gone.example")];
    dns.set("_rpc._tcp.example", SRV, records.map(|content| (30, content)));
    let mut resolver = DnsResolver::srv("tcp://_rpc._tcp.example").unwrap().name_servers([dns.at]);
    let found = resolver.resolve().await.unwrap();
    assert_eq!(found, Resolved::new([address(3, 8)]).valid_for(Duration::from_secs(30)), "{found:?}");
    // Over TLS the name stays, for its certificate.
    let mut resolver = DnsResolver::srv("tls://_rpc._tcp.example").unwrap().name_servers([dns.at]);
    let found = resolver.resolve().await.unwrap();
    assert_eq!(format!("{found:?}"), r#"["tls://one.example:8 (10.0.0.3:8)"]"#);
    let error = DnsResolver::new("tcp://gone.example:7").unwrap().name_servers([dns.at]).resolve().await;
    assert!(error.is_err());
}

#[test]
fn what_is_no_name_is_said_at_once() {
    for (result, text) in [
        (DnsResolver::new("unix:///run/app.sock"), "no host to look up"),
        (DnsResolver::new("workers:7"), "scheme"),
        (DnsResolver::srv("_rpc._tcp.example"), "no scheme"),
        (DnsResolver::srv("tcp://_rpc._tcp.example:7"), "the port is that of the records"),
        (DnsResolver::srv("unix://_rpc._tcp.example"), "no service"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
