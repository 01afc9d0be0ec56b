//! A hub and its agents, known to each other by certificates (mutual TLS).
//!
//! ```text
//! cargo run --release -p examples --example fleet
//! ```
//!
//! Agents connect, as from behind a NAT, and register. The hub calls each by the name in its certificate. When it is
//! killed, the agents find the next one and register again. A stranger is refused.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muxado_rpc::{Access, Channel, ClientTls, Context, Peer, Reconnect, Server, ServerTls, Status, TlsError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tokio::{sync::Mutex, time::sleep};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[muxado_rpc::service]
pub trait Hub {
    /// Has the hub call its caller from now on.
    async fn register(&self, cx: &Context) -> Result<(), Status>;
}

#[muxado_rpc::service]
pub trait Agent {
    async fn run(&self, command: &str) -> String;
}

/// The agents that have registered, by the names in their certificates.
#[derive(Clone, Default)]
struct Fleet(Arc<Mutex<BTreeMap<String, Channel>>>);
impl Hub for Fleet {
    async fn register(&self, cx: &Context) -> Result<(), Status> {
        let name = cx.peer_info().identity().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.0.lock().await.insert(name.to_owned(), cx.channel());
        Ok(())
    }
}

impl Fleet {
    /// Has all agents run a command, once there are three.
    async fn run(&self, command: &str) -> Result<Vec<String>> {
        while self.0.lock().await.len() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
        let mut results = Vec::new();
        for (name, channel) in self.0.lock().await.clone() {
            results.push(format!("{name}: {}", AgentClient::new(channel).run(command).await?));
        }
        Ok(results)
    }
}

struct Machine;
impl Agent for Machine {
    async fn run(&self, command: &str) -> String {
        format!("{command}: done")
    }
}

/// Makes a certificate authority, also in PEM.
fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let (mut params, key) = (CertificateParams::default(), KeyPair::generate()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok((params.self_signed(&key)?.pem(), Issuer::new(params, key)))
}
/// Makes a certificate and its key, in PEM.
fn certificate(ca: &Issuer<'_, KeyPair>, name: SanType) -> Result<(String, String)> {
    let (mut params, key) = (CertificateParams::default(), KeyPair::generate()?);
    params.subject_alt_names = vec![name];
    Ok((params.signed_by(&key, ca)?.pem(), key.serialize_pem()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (ca_pem, ca) = authority("fleet")?;
    let (cert, key) = certificate(&ca, SanType::IpAddress([127, 0, 0, 1].into()))?;
    let tls = ServerTls::from_pem(cert, key).client_ca(&ca_pem);
    let hub = |fleet: &Fleet| {
        Server::builder().serve(HubServer::new(fleet.clone())).tls(tls.clone()).access(|peer| {
            let is_agent = peer.identity().is_some_and(|id| id.starts_with("spiffe://fleet/agent/"));
            if is_agent { Access::all() } else { Access::refuse() }
        })
    };
    let fleet = Fleet::default();
    let server = hub(&fleet).listen("tls://127.0.0.1:0").await?;
    let address = server.local_addr().clone();
    let mut agents = Vec::new();
    for number in 1..=3 {
        let (cert, key) =
            certificate(&ca, SanType::URI(format!("spiffe://fleet/agent/{number}").try_into()?))?;
        let agent = Peer::builder().serve(AgentServer::new(Machine));
        let agent = agent.tls(ClientTls::with_ca(&ca_pem).identity(cert, key));
        let register = |hub: Peer| async move { HubClient::new(hub.channel()).register().await };
        agents.push(Reconnect::builder().address(&address).peer(agent).on_connect(register).build()?);
    }
    let results = fleet.run("uptime").await?;
    println!("{}", results.join("\n"));
    assert_eq!(results[2], "spiffe://fleet/agent/3: uptime: done");
    let (_, other) = authority("another")?;
    let (cert, key) = certificate(&other, SanType::URI("spiffe://fleet/agent/4".try_into()?))?;
    let stranger = Peer::builder().tls(ClientTls::with_ca(&ca_pem).identity(cert, key));
    let refused = stranger.connect(&address).await.err().ok_or("a stranger was let in")?;
    println!("a stranger: {refused}");
    assert!(matches!(TlsError::of(&refused), Some(TlsError::OwnCertificate(_))));
    drop(server); // at once, without a word to the agents
    let fleet = Fleet::default();
    let _next = hub(&fleet).listen(&address).await?;
    println!("after the hub was killed: {:?}", fleet.run("uptime").await?);
    Ok(())
}
