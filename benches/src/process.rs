//! What the system says of this process. Linux only; elsewhere nothing is known.

use std::{env, fs, io, process::Command, time::Duration};

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

/// A command that starts this program again, with room for so many open files if the hard limit allows that.
pub(crate) fn again(files: usize) -> io::Result<Command> {
    let program = env::current_exe()?;
    if open_files().unwrap_or(usize::MAX) >= files {
        return Ok(Command::new(program));
    }
    // Only a process itself can raise its limit. If it cannot, it says so when it comes to it.
    let mut shell = Command::new("sh");
    let limit = files.to_string();
    shell
        .args(["-c", r#"ulimit -S -n "$0" 2>/dev/null || ulimit -S -n "$(ulimit -H -n)"; exec "$@""#, &limit])
        .arg(program);
    Ok(shell)
}

/// Processor time of all threads, to 10 ms.
pub(crate) fn cpu_time() -> Option<Duration> {
    cpu_time_of("self")
}

/// Processor time of all threads of a process, by its id, to 10 ms.
pub(crate) fn cpu_time_of(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
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
        assert_eq!(cpu_time_of("0"), None);
    }

    #[test]
    fn a_process_gets_the_files_that_it_needs() {
        assert_eq!(again(1).unwrap().get_program(), env::current_exe().unwrap().as_os_str());
        if open_files().unwrap() < usize::MAX {
            assert_eq!(again(usize::MAX).unwrap().get_program(), "sh");
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let script = again(usize::MAX).unwrap();
        let Some(script) = script.get_args().nth(1) else { return };
        for (wanted, got) in [("150", "150\n"), ("250", "200\n")] {
            let limited = r#"ulimit -S -n 100; ulimit -H -n 200; exec sh -c "$0" "$1" sh -c "ulimit -n""#;
            let output = Command::new("sh").arg("-c").arg(limited).arg(script).arg(wanted).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), got, "{output:?}");
        }
    }
}
