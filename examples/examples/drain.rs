//! A rolling restart under load: two servers, one client, no failed call.
//!
//! ```text
//! cargo run --release -p examples --example drain
//! ```
//!
//! The servers are replaced in turn, each drained before it ends, while the client calls as fast as it can. Each call
//! is a deposit with a number. At the end each deposit must have been made exactly once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use muxado_rpc::{Address, Reconnect, Server};
use tokio::{task::JoinSet, time::sleep};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[muxado_rpc::service]
pub trait Bank {
    /// Makes a deposit. Not idempotent: to deposit twice would be wrong.
    async fn deposit(&self, number: u64) -> u64;
}

/// Counts how often each deposit was made, on all servers together.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<HashMap<u64, u32>>>);

impl Bank for Vault {
    async fn deposit(&self, number: u64) -> u64 {
        *self.0.lock().expect("nobody panics with it").entry(number).or_default() += 1;
        sleep(Duration::from_millis(number % 3)).await;
        number
    }
}

async fn listen(vault: &Vault, address: Address) -> Result<Server> {
    Ok(Server::builder().serve(BankServer::new(vault.clone())).listen(address).await?)
}

/// Makes calls until `stop` is set.
async fn call(bank: BankClient<Reconnect>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if bank.deposit(number).await? != number {
            return Err(format!("deposit {number} got another's answer").into());
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let vault = Vault::default();
    let any: Address = "tcp://127.0.0.1:0".parse()?;
    let mut servers = [listen(&vault, any.clone()).await?, listen(&vault, any).await?];
    let addresses = servers.each_ref().map(|server| server.local_addr().clone());
    let channel =
        Reconnect::builder().address(&addresses[0]).address(&addresses[1]).connections(2).build()?;

    // No call takes this long. A lost call would end the example with an error.
    let bank = BankClient::new(channel).with_timeout(Duration::from_secs(10));

    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        callers.spawn(call(bank.clone(), Arc::clone(&next), Arc::clone(&stop)));
    }

    println!("restart  server                    served  finished while draining  cut  took");
    for restart in 0..10 {
        sleep(Duration::from_millis(200)).await;
        let which = restart % 2;
        let begin = Instant::now();
        let drained = servers[which].shutdown(Duration::from_secs(5)).await;
        let (served, took) = (servers[which].call_stats().served, begin.elapsed());
        let (finished, cut) = (drained.finished, drained.cut);
        println!("{restart:>7}  {:<24} {served:>7}  {finished:>23}  {cut:>3}  {took:.1?}", addresses[which]);
        if !drained.is_clean() {
            return Err("a call was cut".into());
        }
        servers[which] = listen(&vault, addresses[which].clone()).await?;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }

    let made = vault.0.lock().expect("nobody panics with it").clone();
    let (calls, once) = (next.load(Ordering::Relaxed), made.values().filter(|times| **times == 1).count());
    println!("\n{calls} calls, none failed; {once} deposits made once, {} more often", made.len() - once);
    if once as u64 != calls || made.len() != once {
        return Err("not every deposit was made exactly once".into());
    }
    Ok(())
}
