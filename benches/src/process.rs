//! What the system says of this process. Linux only; elsewhere nothing is known.

use std::{fs, io, time::Duration};

/// The unit of processor time in `/proc`, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Bytes of memory that are in use, page by page.
pub(crate) fn resident() -> io::Result<u64> {
    let maps = fs::read_to_string("/proc/self/smaps_rollup")?;
    let rss = maps.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kibibytes = rss.and_then(|rss| rss.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.map(|n| n * 1024).ok_or_else(|| io::Error::other("no resident size in smaps_rollup"))
}

/// How many files this process may have open.
pub(crate) fn open_files() -> io::Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|limits| limits.split_whitespace().next());
    match soft {
        Some("unlimited") => Ok(usize::MAX),
        soft => soft
            .and_then(|files| files.parse().ok())
            .ok_or_else(|| io::Error::other("no limit of open files in limits")),
    }
}

/// Processor time of all threads, to 10 ms.
pub(crate) fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, is the second field and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(TICK * (user + system))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_all() {
        assert!(resident().unwrap() > 0);
        assert!(open_files().unwrap() > 0);
        assert!(cpu_time().is_some());
    }
}
