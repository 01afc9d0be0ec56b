//! Counts the words of a directory that the counting side cannot see.
//!
//! The connecting side serves `Files`, which lists and reads the text files under a directory. It calls `WordCount` of
//! the other side for the most frequent words. That side counts by calling `Files` back over the same connection, many
//! files at a time, through Tower layers. The job is done twice, in MessagePack and in JSON, with the same result.
//!
//! ```text
//! cargo run --release -p examples --example quickstart                       both sides here
//! cargo run --release -p examples --example quickstart -- serve ADDR         the counting side
//! cargo run --release -p examples --example quickstart -- connect ADDR DIR   the side with the files
//! ```
//!
//! `serve` ends by itself, a few seconds after its last client has gone.

use std::{
    collections::HashMap,
    env, fmt,
    path::{Component, Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use muxado_rpc::{Codec, Context, Peer, Server};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The text files of one directory.
#[muxado_rpc::service]
pub trait Files {
    /// Returns the paths of all files, relative to the directory.
    async fn list(&self) -> Vec<String>;
    /// Returns the text of a file.
    async fn read(&self, path: &str) -> Result<String, FileError>;
}

/// Counts words.
#[muxado_rpc::service]
pub trait WordCount {
    /// Returns the `n` most frequent words of the caller's files.
    async fn top(&self, cx: &Context, n: usize, codec: &str) -> Result<Counts, FileError>;
}

/// The error of a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileError {
    path: String,
    reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for FileError {}

/// The result of a count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    files: usize,
    words: u64,
    top: Vec<(String, u64)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        [] => run_both().await,
        ["serve", addr] => run_server(addr).await,
        ["connect", addr, dir] => run_client(addr, Path::new(dir)).await,
        _ => Err("usage: quickstart [serve ADDR | connect ADDR DIR]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs both sides in one process, over TCP. The directory is this repository.
async fn run_both() -> Result<()> {
    let server = start_server("127.0.0.1:0", Arc::new(Activity::default())).await?;
    let address = server.local_addr().to_string();
    run_client(&address, &Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).await?;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

// ---------------------------------------------------------------- the counting side

/// The activity of the counting side, by which it knows when to end.
#[derive(Default)]
struct Activity {
    counting: AtomicUsize,
    finished: AtomicUsize,
}

struct Counter {
    activity: Arc<Activity>,
}

impl WordCount for Counter {
    async fn top(&self, cx: &Context, n: usize, codec: &str) -> Result<Counts, FileError> {
        let _counting = Counting::new(&self.activity);
        count(cx, n, codec.parse().unwrap_or_default()).await
    }
}

/// A count under way. It may also end by being dropped, when the caller cancels the call.
struct Counting<'a>(&'a Activity);

impl<'a> Counting<'a> {
    fn new(activity: &'a Activity) -> Self {
        activity.counting.fetch_add(1, Ordering::SeqCst);
        Self(activity)
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::SeqCst);
        self.0.counting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls back for every file, sixteen at a time, each call with a limit of five seconds.
async fn count(cx: &Context, n: usize, codec: Codec) -> Result<Counts, FileError> {
    let channel = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(16))
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .service(cx.channel());
    let files = FilesClient::new(channel).with_codec(codec);
    let paths = files.list().await.map_err(|error| failed("the list", error))?;

    let mut reading = JoinSet::new();
    for path in paths {
        let files = files.clone();
        reading.spawn(async move {
            match files.read(&path).await {
                Ok(text) => Ok(words(&text)),
                Err(error) => Err(failed(&path, error)),
            }
        });
    }
    let (mut read, mut total) = (0, HashMap::<String, u64>::new());
    while let Some(result) = reading.join_next().await {
        read += 1;
        for (word, count) in result.map_err(|error| failed("a task", error))?? {
            *total.entry(word).or_default() += count;
        }
    }
    let words = total.values().sum();
    let mut top: Vec<_> = total.into_iter().collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(n);
    Ok(Counts { files: read, words, top })
}

fn words(text: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 2) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn failed(path: &str, error: impl fmt::Display) -> FileError {
    FileError { path: path.to_owned(), reason: error.to_string() }
}

async fn start_server(addr: &str, activity: Arc<Activity>) -> Result<Server> {
    let counter = WordCountServer::new(Counter { activity });
    Ok(Server::builder().serve(counter).listen(&format!("tcp://{addr}")).await?)
}

/// Serves until there was a client and then none for three seconds.
async fn run_server(addr: &str) -> Result<()> {
    let activity = Arc::new(Activity::default());
    let server = start_server(addr, Arc::clone(&activity)).await?;
    println!("listening on {}", server.local_addr().to_string().trim_start_matches("tcp://"));
    let mut finished = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = activity.finished.load(Ordering::SeqCst);
        if now > 0 && now == finished && activity.counting.load(Ordering::SeqCst) == 0 {
            break;
        }
        finished = now;
    }
    println!("{finished} counts served");
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

// ---------------------------------------------------------------- the side with the files

/// Serves the text files under `root`, and shows the progress of the other side.
struct Directory {
    root: PathBuf,
    paths: Vec<String>,
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Files for Arc<Directory> {
    async fn list(&self) -> Vec<String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.paths.clone()
    }

    async fn read(&self, path: &str) -> Result<String, FileError> {
        // The caller chooses the path: it must not lead out of the directory.
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(failed(path, "not a path inside the directory"));
        }
        let text = tokio::fs::read_to_string(self.root.join(path)).await;
        let text = text.map_err(|error| failed(path, error))?;
        let bytes = self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed) + text.len() as u64;
        let read = self.calls.fetch_add(1, Ordering::Relaxed);
        if read.is_multiple_of(25) || read as usize == self.paths.len() {
            eprintln!("  {read:>5} of {} files, {:.2} MB", self.paths.len(), bytes as f64 / 1e6);
        }
        Ok(text)
    }
}

async fn run_client(addr: &str, dir: &Path) -> Result<()> {
    let root = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
    let paths = text_files(&root)?;
    let addr = addr.trim_start_matches("tcp://");
    let mut results = Vec::new();
    for codec in [Codec::MessagePack, Codec::Json] {
        let directory = Arc::new(Directory {
            root: root.clone(),
            paths: paths.clone(),
            calls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let files = FilesServer::new(Arc::clone(&directory));
        let peer = Peer::builder().serve(files).connect(&format!("tcp://{addr}")).await?;
        let word_count = WordCountClient::new(peer.channel()).with_codec(codec);

        eprintln!("counting in {codec}");
        let started = Instant::now();
        let counts = word_count.top(12, &codec.to_string()).await?;
        let seconds = started.elapsed().as_secs_f64();
        let (calls, bytes) =
            (directory.calls.load(Ordering::Relaxed) + 1, directory.bytes.load(Ordering::Relaxed));
        println!("{codec}: {calls} calls, {bytes} bytes of text in {seconds:.3} s");
        results.push(counts);
        peer.shutdown(Duration::from_secs(1)).await;
    }
    if results[0] != results[1] {
        return Err("the two codecs do not agree".into());
    }
    print_table(&results[0]);
    println!("both codecs agree");
    Ok(())
}

fn print_table(counts: &Counts) {
    println!("\n{} words in {} files; the most frequent:\n", counts.words, counts.files);
    let most = counts.top.first().map_or(1, |(_, count)| *count).max(1);
    for (word, count) in &counts.top {
        println!("  {word:<16} {count:>7}  {}", "█".repeat((count * 40 / most) as usize));
    }
    println!();
}

/// Returns the text files below `root`, without hidden directories and build output.
fn text_files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type()?;
            if name.to_string_lossy().starts_with('.') || name == "target" {
                continue;
            }
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() && entry.metadata()?.len() < 1024 * 1024 {
                let is_text = std::fs::read(&path).is_ok_and(|bytes| String::from_utf8(bytes).is_ok());
                if let Some(relative) = path.strip_prefix(root)?.to_str().filter(|_| is_text) {
                    found.push(relative.to_owned());
                }
            }
        }
    }
    found.sort();
    Ok(found)
}
