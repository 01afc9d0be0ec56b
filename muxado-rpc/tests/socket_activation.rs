//! Sockets that another process has opened. This program runs itself with sockets in its file descriptors 3 and 4, as
//! systemd would: a shell moves them there.
#![cfg_attr(unix, expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that checks itself"))]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main]
async fn main() -> unix::Outcome {
    match std::env::args().nth(1) {
        Some(mode) if mode == "serve" => unix::serve().await,
        _ => {
            unix::sockets_that_were_passed_are_listened_on().await?;
            unix::what_was_not_passed_is_named()?;
            println!("2 checks passed");
            Ok(())
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        env,
        error::Error,
        io::{BufRead, BufReader, Read},
        net::TcpListener,
        os::{fd::OwnedFd, unix::net::UnixListener},
        process::{Child, Command, Stdio},
    };

    use muxado_rpc::{Server, connect};

    pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

    #[muxado_rpc::service]
    trait Ping {
        async fn ping(&self) -> u32;
    }

    struct Pong;

    impl Ping for Pong {
        async fn ping(&self) -> u32 {
            std::process::id()
        }
    }

    /// Listens on the addresses given, says where that is, and serves until the input ends.
    pub(super) async fn serve() -> Outcome {
        let addresses: Vec<_> = env::args().skip(2).collect();
        let server = match Server::builder().serve(PingServer::new(Pong)).listen(&addresses).await {
            Ok(server) => server,
            Err(error) => {
                println!("{error}");
                return Ok(());
            }
        };
        let again = Server::builder().listen(&addresses[0]).await.unwrap_err().to_string();
        assert!(again.ends_with("the socket is in use by this process already"), "{again}");
        for address in server.local_addrs() {
            println!("{address}");
        }
        println!("ready");
        std::future::pending().await
    }

    /// Starts this program with the sockets as 3 and 4.
    fn start(tcp: TcpListener, unix: UnixListener, addresses: &[&str]) -> Outcome<Child> {
        let script = "exec 3<&0 4<&1 1>&2 2>/dev/null 0</dev/null; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(env::current_exe()?).arg("serve").args(addresses);
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "rpc:local");
        command.stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(unix)).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    fn sockets(name: &str) -> Outcome<(TcpListener, UnixListener, String)> {
        let path = env::temp_dir().join(format!("muxado-rpc-activation-{}-{name}", std::process::id()));
        let text = path.to_str().ok_or("the path is no text")?.to_owned();
        Ok((TcpListener::bind("127.0.0.1:0")?, UnixListener::bind(path)?, text))
    }

    pub(super) async fn sockets_that_were_passed_are_listened_on() -> Outcome {
        for addresses in [&["fd:3", "fd:4"][..], &["sd-listen"], &["sd-listen:rpc", "sd-listen:local"]] {
            let (tcp, unix, path) = sockets("listen")?;
            let expected = [format!("tcp://{}", tcp.local_addr()?), format!("unix://{path}")];
            let mut child = start(tcp, unix, addresses)?;
            let mut lines = BufReader::new(child.stderr.take().ok_or("no output")?).lines();
            for expected in &expected {
                assert_eq!(&lines.next().ok_or("the server has ended")??, expected);
            }
            assert_eq!(lines.next().ok_or("the server has ended")??, "ready");
            for address in &expected {
                let peer = connect(address).await?;
                assert_eq!(PingClient::new(peer.channel()).ping().await?, child.id());
            }
            child.kill()?;
            child.wait()?;
            // The file is that of the process that made it.
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    pub(super) fn what_was_not_passed_is_named() -> Outcome {
        for (address, problem) in [
            ("fd:5", "cannot listen on fd:5: 2 sockets were passed to this process (LISTEN_FDS), from 3 on"),
            ("fd:2", "cannot listen on fd:2: the first file descriptor that can be passed is 3"),
            (
                "sd-listen:web",
                "cannot listen on sd-listen:web: no socket of this name was passed to this process (LISTEN_FDNAMES: \
                 rpc:local)",
            ),
        ] {
            let (tcp, unix, path) = sockets("missing")?;
            let mut child = start(tcp, unix, &[address])?;
            let mut text = String::new();
            child.stderr.take().ok_or("no output")?.read_to_string(&mut text)?;
            child.wait()?;
            assert_eq!(text.trim_end(), problem);
            std::fs::remove_file(path)?;
        }
        let output = Command::new(env::current_exe()?).args(["serve", "sd-listen"]).output()?;
        assert!(
            String::from_utf8(output.stdout)?.contains("no socket was passed to this process (LISTEN_FDS")
        );
        Ok(())
    }
}
