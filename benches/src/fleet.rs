//! Many connections with a few calls each: the server in a process of its own, both with two workers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{
    Result, arena, cli, load,
    message::Message,
    peer::{Doorplate, Peer},
    process,
    sample::Sample,
    slice::Slice,
    workload::Workload,
};

/// So many connections are made at a time.
const OPENERS: usize = 16;

/// Measures one peer from this process; the server is one that this starts.
pub(crate) fn measure<P: Peer>(slice: Slice) -> Result<Sample> {
    enough_files(slice.workload, process::open_files()?)?;
    let server = ServerProcess::start(P::NAME, slice.workload)?;
    let runtime = arena::two_workers()?;
    let client = runtime.spawn(async move {
        let clients = connect::<P>(slice.workload, server.address).await?;
        let message = Arc::new(Message::new(slice.workload.size()));
        load::phase(&clients, &message, slice.workload, slice.warm_up()).await?;
        let before = server.cpu_time();
        let mut phase = load::phase(&clients, &message, slice.workload, slice.time).await?;
        phase.add_cpu(server.cpu_time().zip(before).map(|(now, then)| now.saturating_sub(then)));
        let connections = Some(clients.len() as f64);
        Ok(Sample { connections, ..phase.sample(slice.workload) })
    });
    runtime.block_on(client)?
}

/// Is the server of a measurement: prints its address, and serves until the standard input ends, which it also does
/// when the process that started this one is gone.
pub(crate) fn serve<P: Peer>(workload: Workload) -> Result<()> {
    enough_files(workload, process::open_files()?)?;
    let runtime = arena::two_workers()?;
    let (doorplate, address, _) = Doorplate::<P>::new();
    runtime.spawn(arena::serve(workload, doorplate));
    writeln!(io::stdout(), "{}", runtime.block_on(address)?)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A smaller fleet would be another measurement.
fn enough_files(workload: Workload, limit: usize) -> Result<()> {
    let needed = workload.files();
    if limit >= needed {
        return Ok(());
    }
    let message = format!(
        "{workload} needs {needed} open files in each process, but the hard limit of this system is {limit}: \
         raise it (`ulimit -Hn {needed}` as root), or name a smaller fleet"
    );
    Err(message.into())
}

/// Makes the connections, each with one exchange.
async fn connect<P: Peer>(workload: Workload, server: SocketAddr) -> Result<Vec<P>> {
    let Workload::Fleet { connections, .. } = workload else { return Err("this is no fleet".into()) };
    let mut openers = JoinSet::<Result<Vec<P>>>::new();
    for index in 0..OPENERS {
        let count = connections / OPENERS + usize::from(index < connections % OPENERS);
        openers.spawn(async move {
            let (message, mut clients) = (Message::new(workload.size()), Vec::with_capacity(count));
            for _ in 0..count {
                let mut client = P::connect(workload, server).await?;
                client.echo(&message).await?;
                clients.push(client);
            }
            Ok(clients)
        });
    }
    let mut clients = Vec::with_capacity(connections);
    while let Some(opened) = openers.join_next().await {
        clients.extend(opened??);
    }
    Ok(clients)
}

/// The process of the server, which ends with this.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(peer: &str, workload: Workload) -> Result<Self> {
        let mut command = process::again(workload.files())?;
        command.args(cli::serve_args(peer, workload));
        Self::from(&mut command)
    }

    /// Starts it, and reads where it listens.
    fn from(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            // It has said why on standard error, which is ours too.
            Err(_) => Err(format!("the server's process does not listen: {}", child.wait()?).into()),
        }
    }

    fn cpu_time(&self) -> Option<Duration> {
        process::cpu_time_of(&self.child.id().to_string())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: Workload = Workload::Fleet { connections: 5000, calls: 1 };

    #[test]
    fn too_few_files_are_said_with_the_number_that_is_needed() {
        enough_files(FLEET, FLEET.files()).unwrap();
        let error = enough_files(FLEET, 1024).unwrap_err().to_string();
        assert!(error.starts_with("fleet-5000x1 needs 5256 open files in each process"), "{error}");
        assert!(error.contains("limit of this system is 1024"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn the_server_says_where_it_listens_and_ends_with_its_handle() {
        let mut command = Command::new("sh");
        let server = ServerProcess::from(command.args(["-c", "echo 127.0.0.1:9; cat"])).unwrap();
        assert_eq!(server.address, SocketAddr::from(([127, 0, 0, 1], 9)));
        let stat = format!("/proc/{}/stat", server.child.id());
        drop(server);
        assert!(!std::path::Path::new(&stat).exists());
    }

    #[test]
    #[cfg(unix)]
    fn a_server_that_does_not_start_is_an_error() {
        let mut command = Command::new("sh");
        let error = ServerProcess::from(command.args(["-c", "exit 3"])).err().unwrap().to_string();
        assert!(error.contains("does not listen") && error.contains('3'), "{error}");
    }
}
