//! Names looked up as every program of the system does.

use async_trait::async_trait;
use tokio::net::lookup_host;

use super::{Resolved, Resolver};
use crate::{Address, AddressError, BoxError};

/// Looks a host name up through the system (`getaddrinfo`): each of its addresses is a server.
///
/// It knows A and AAAA records, the hosts file and whatever else the system is set up for, and no times to live: the
/// name is looked up every 30 s. With the feature `dns`, `DnsResolver` knows SRV records and times to live.
///
/// ```no_run
/// use muxado_rpc::{Balanced, balanced::SystemResolver};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let workers = SystemResolver::new("tcp://workers.internal:7000")?;
/// let channel = Balanced::builder().resolver(workers).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SystemResolver {
    address: Address,
    host: String,
    port: u16,
}

impl SystemResolver {
    /// Creates a resolver of the host of an address of TCP, TLS or WebSocket.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is not valid, or has no host.
    pub fn new(address: impl TryInto<Address, Error: Into<AddressError>>) -> Result<Self, AddressError> {
        let address = address.try_into().map_err(Into::into)?;
        let (host, port) = host_of(&address)?;
        Ok(Self { address, host, port })
    }
}

/// Returns host and port of an address that has them.
pub(super) fn host_of(address: &Address) -> Result<(String, u16), AddressError> {
    let (host, port) = address.host_and_port().ok_or_else(|| {
        AddressError::other(
            address.to_string(),
            "it has no host to look up",
            "tcp://host:port, tls://host:port or ws://host/path",
        )
    })?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Ok((bare.unwrap_or(&host).to_owned(), port))
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&mut self) -> Result<Resolved, BoxError> {
        let mut found = Resolved::default();
        for at in lookup_host((self.host.as_str(), self.port)).await? {
            found.push_at(self.address.clone(), at);
        }
        Ok(found)
    }

    fn name(&self) -> String {
        format!("the system's resolver of {}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_address_of_a_name_is_a_server_and_tls_keeps_the_name() {
        let mut resolver = SystemResolver::new("tcp://[::1]:7").unwrap();
        assert_eq!(format!("{:?}", resolver.resolve().await.unwrap()), r#"["tcp://[::1]:7"]"#);
        let mut resolver = SystemResolver::new("tls://127.0.0.1:7").unwrap();
        assert_eq!(
            format!("{:?}", resolver.resolve().await.unwrap()),
            r#"["tls://127.0.0.1:7 (127.0.0.1:7)"]"#
        );
        let error = SystemResolver::new("unix:///run/app.sock").unwrap_err().to_string();
        assert!(error.contains("no host to look up"), "{error}");
    }
}
