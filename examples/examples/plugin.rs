//! A plug-in: a child process that serves its host over its standard input and output, and calls it.
//!
//! ```text
//! cargo run --release -p examples --example plugin
//! ```
//!
//! The program starts itself as the child.

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main]
async fn main() -> unix::Result {
    match std::env::args().nth(1).as_deref() {
        Some("child") => unix::plugin().await,
        _ => unix::host().await,
    }
}

#[cfg(unix)]
mod unix {
    use std::{env, error::Error, process::Command, time::Duration};

    use muxado_rpc::{Address, Context, Peer, Reconnect, Status};
    use tokio::{sync::mpsc, time::Instant};

    pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

    /// What the plug-in does for its host.
    #[muxado_rpc::service]
    pub trait Shout {
        async fn shout(&self, cx: &Context, text: &str) -> std::result::Result<String, Status>;
        async fn process_id(&self) -> u32;
        /// Never ends.
        async fn think(&self);
    }

    /// What the host does for its plug-ins.
    #[muxado_rpc::service]
    pub trait Host {
        async fn log(&self, line: &str);
    }

    struct Loud;

    impl Shout for Loud {
        async fn shout(&self, cx: &Context, text: &str) -> std::result::Result<String, Status> {
            HostClient::new(cx.channel()).log("shouting").await?;
            Ok(text.to_uppercase())
        }

        async fn process_id(&self) -> u32 {
            std::process::id()
        }

        async fn think(&self) {
            std::future::pending().await
        }
    }

    /// The child process. `println!` would break the connection; `eprintln!` does not.
    pub async fn plugin() -> Result {
        let host = Peer::builder().serve(ShoutServer::new(Loud)).stdio()?;
        eprintln!("plug-in: at work");
        host.closed().await;
        eprintln!("plug-in: the host has closed the connection");
        Ok(())
    }

    struct Log(mpsc::UnboundedSender<String>);

    impl Host for Log {
        async fn log(&self, line: &str) {
            let _ = self.0.send(line.to_owned());
        }
    }

    pub async fn host() -> Result {
        let (log, mut lines) = mpsc::unbounded_channel();
        let program = env::current_exe()?;
        // As text it would be "exec:/path/to/program child".
        let address = Address::exec(program.to_str().ok_or("the path of the program is no text")?, ["child"]);
        let peer = Peer::builder().serve(HostServer::new(Log(log)));
        let channel = Reconnect::builder().address(address).peer(peer).build()?;
        let plugin = ShoutClient::new(channel.clone());

        assert_eq!(plugin.shout("hello").await?, "HELLO");
        assert_eq!(lines.recv().await.as_deref(), Some("shouting"));

        // The plug-in is killed in the middle of a call: the call fails, and the next one starts another process.
        let first = plugin.process_id().await?;
        let thinking = tokio::spawn(plugin.think());
        assert_eq!(plugin.shout("still here").await?, "STILL HERE");
        Command::new("kill").args(["-9", &first.to_string()]).status()?;
        let Err(error) = thinking.await? else { return Err("a dead plug-in has answered".into()) };
        println!("host: {error}");
        assert_eq!(plugin.shout("again").await?, "AGAIN");
        let second = plugin.process_id().await?;
        assert_ne!(first, second);

        // A shutdown ends the process.
        let begin = Instant::now();
        channel.shutdown(Duration::from_secs(1)).await;
        while is_there(second)? {
            tokio::task::yield_now().await;
        }
        let took = begin.elapsed();
        println!("host: the plug-in has ended {took:?} after the shutdown began");
        assert!(took < Duration::from_millis(100), "the shutdown took {took:?}");
        assert!(!is_there(first)?, "the plug-in that was killed is a zombie");
        Ok(())
    }

    /// Whether there is such a process: a zombie, too, is one.
    fn is_there(id: u32) -> Result<bool> {
        Ok(Command::new("kill").args(["-0", &id.to_string()]).output()?.status.success())
    }
}
