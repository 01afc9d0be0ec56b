//! Names looked up by DNS itself: SRV records, and times to live.

use std::{fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record, rdata::SRV},
};

use super::{Resolved, Resolver, system::host_of};
use crate::{Address, AddressError, BoxError};

/// Looks servers up by DNS: each address of a host name, or all that the SRV records of a service name. Available with
/// the feature `dns`.
///
/// The name servers, search domains and the hosts file are those of the system, unless
/// [`name_servers`](Self::name_servers) says otherwise. Records are looked up again when their time to live is over, and
/// as [`Resolver`] says. A name without records is a failure: the servers stay as they are.
///
/// ```no_run
/// use muxado_rpc::{Balanced, balanced::DnsResolver};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // All A and AAAA records, such as those of a headless service of Kubernetes.
/// let workers = Balanced::builder().resolver(DnsResolver::new("tcp://workers.internal:7000")?).build()?;
/// // Hosts and ports of the SRV records.
/// let workers = Balanced::builder().resolver(DnsResolver::srv("tls://_rpc._tcp.workers.internal")?).build()?;
/// # Ok(())
/// # }
/// ```
pub struct DnsResolver {
    address: Address,
    query: Query,
    name_servers: Vec<SocketAddr>,
    /// Made when it is first needed, in the runtime that needs it.
    resolver: Option<TokioResolver>,
}

/// What is asked for.
enum Query {
    Hosts { host: String, port: u16 },
    Services { name: String },
}

impl DnsResolver {
    /// Creates a resolver of the host of an address of TCP, TLS or WebSocket: each of its IP addresses is
    /// a server; also of `ws://` and `wss://`. Over TLS the certificates are those of the host.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is not valid, or has no host.
    pub fn new(address: impl TryInto<Address, Error: Into<AddressError>>) -> Result<Self, AddressError> {
        let address = address.try_into().map_err(Into::into)?;
        let (host, port) = host_of(&address)?;
        Ok(Self::of(address, Query::Hosts { host, port }))
    }

    /// Creates a resolver of a service, `tcp://_service._tcp.domain` or `tls://_service._tcp.domain`: each IP address of
    /// each target of its SRV records is a server, at the port of the record. Over TLS the certificates are those of the
    /// target, which DNS has named; with `ClientTls::server_name` they are all those of one name.
    ///
    /// Targets of a priority are called if none of a lower number is connected. Weights are not looked at: calls go
    /// where few are under way.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme is another one, or if there is a port.
    pub fn srv(service: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError::other(service.to_owned(), problem, SRV_USAGE);
        let (_, name) = service.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        if name.contains(':') {
            return Err(wrong("the port is that of the records"));
        }
        if name.contains('/') {
            return Err(wrong("a service has no path"));
        }
        // The port is replaced by that of each record.
        let address: Address = format!("{service}:0").parse().map_err(|_| wrong("it is no service"))?;
        host_of(&address).map_err(|_| wrong("it is no service"))?;
        Ok(Self::of(address, Query::Services { name: name.to_owned() }))
    }

    fn of(address: Address, query: Query) -> Self {
        Self { address, query, name_servers: Vec::new(), resolver: None }
    }

    /// Sets the name servers that are asked, over UDP, and over TCP if an answer is too large. By default they are those
    /// of the system.
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.name_servers = servers.into_iter().collect();
        self
    }

    fn resolver(&mut self) -> Result<TokioResolver, NetError> {
        if let Some(resolver) = &self.resolver {
            return Ok(resolver.clone());
        }
        let mut builder = if self.name_servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.name_servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        // Whoever asks wants to know what is so now; how long it holds is heeded by asking no earlier.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build()?;
        Ok(self.resolver.insert(resolver).clone())
    }

    async fn hosts(&self, resolver: &TokioResolver, host: &str, port: u16) -> Result<Resolved, BoxError> {
        let mut found = Found::default();
        found.look_up(resolver, &self.address, Place { host, port, priority: 0 }).await?;
        Ok(found.into_resolved())
    }

    async fn services(&self, resolver: &TokioResolver, name: &str) -> Result<Resolved, BoxError> {
        let records = resolver.srv_lookup(name).await?;
        let (mut found, mut failed) = (Found::default(), None);
        for service in records.answers().iter().filter_map(service_of).take(MAX_SERVICES) {
            let (record, SRV { priority, port, target, .. }) = service;
            found.note(record);
            // A target of "." says that there is no such service.
            let host = target.to_ascii();
            let named = host.trim_end_matches('.');
            let Some(address) = self.address.with_host(named, *port).filter(|_| !named.is_empty()) else {
                continue;
            };
            let place = Place { host: &host, port: *port, priority: *priority };
            if let Err(error) = found.look_up(resolver, &address, place).await {
                tracing::debug!("the target {host} of {name} is left out: {error}");
                failed = Some(error);
            }
        }
        match failed {
            Some(error) if found.servers.is_empty() => Err(error.into()),
            _ => Ok(found.into_resolved()),
        }
    }
}

/// Where a server is: a host, whose addresses are still to be looked up.
#[derive(Clone, Copy)]
struct Place<'a> {
    host: &'a str,
    port: u16,
    priority: u16,
}

/// What was found, and how long it holds.
#[derive(Default)]
struct Found {
    servers: Resolved,
    time_to_live: Option<Duration>,
}

impl Found {
    fn note(&mut self, record: &Record) {
        self.time_to_live = super::sooner(self.time_to_live, Duration::from_secs(record.ttl.into()));
    }

    async fn look_up(
        &mut self,
        resolver: &TokioResolver,
        address: &Address,
        place: Place<'_>,
    ) -> Result<(), NetError> {
        let found = resolver.lookup_ip(place.host).await?;
        found.as_lookup().answers().iter().for_each(|record| self.note(record));
        for ip in found.iter() {
            let at = SocketAddr::new(ip, place.port);
            self.servers.push_prioritized(address.clone(), at, place.priority);
        }
        Ok(())
    }

    fn into_resolved(self) -> Resolved {
        match self.time_to_live {
            Some(time) => self.servers.valid_for(time),
            None => self.servers,
        }
    }
}

fn service_of(record: &Record) -> Option<(&Record, &SRV)> {
    match &record.data {
        RData::SRV(service) => Some((record, service)),
        _ => None,
    }
}

fn name_server(at: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.into())
}

#[async_trait]
impl Resolver for DnsResolver {
    async fn resolve(&mut self) -> Result<Resolved, BoxError> {
        let resolver = self.resolver()?;
        match &self.query {
            Query::Hosts { host, port } => self.hosts(&resolver, host, *port).await,
            Query::Services { name } => self.services(&resolver, name).await,
        }
    }

    fn name(&self) -> String {
        match &self.query {
            Query::Hosts { .. } => format!("DNS of {}", self.address),
            Query::Services { name } => format!("DNS of the service {name}"),
        }
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver")
            .field("name", &self.name())
            .field("name_servers", &self.name_servers)
            .finish_non_exhaustive()
    }
}

/// What the name of a service may be.
const SRV_USAGE: &str = "tcp://_service._tcp.domain or tls://_service._tcp.domain";

/// Records of one answer that are followed.
const MAX_SERVICES: usize = 256;
