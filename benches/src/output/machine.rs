//! Where and of what the numbers are: the machine, the compiler, the versions of the peers.

use std::{fs, process::Command, thread};

/// The versions with which this was built.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Of a package in the lock file: ours has no source, and there are two of the name `muxado`.
pub(crate) fn version(package: &str, ours: bool) -> Option<&'static str> {
    LOCK.split("[[package]]").find_map(|block| {
        let field = |name: &str| {
            let value = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.map(|value| value.trim_matches('"'))
        };
        let found = field("name") == Some(package) && field("source").is_none() == ours;
        field("version").filter(|_| found)
    })
}

/// Processor, cores, kernel and compiler, a line each.
pub(crate) fn lines() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string());
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let virtual_machine = if cpuinfo.contains(" hypervisor") { ", a virtual machine" } else { "" };
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let congestion = match congestion.trim() {
        "" => String::new(),
        name => format!(", {name} as the congestion control of TCP"),
    };
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!("{cores} cores, {}{virtual_machine}", model.map_or("unknown", |(_, model)| model.trim())),
        format!("{} {}{congestion}", read("/proc/sys/kernel/ostype").trim(), release(&kernel)),
        rustc.unwrap_or_else(|_| "rustc unknown".to_owned()),
    ]
}

/// The part of a kernel's release that others have, too.
fn release(full: &str) -> String {
    full.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_kernel_has_is_left_out() {
        for (full, short) in [("6.18.3-custom-7\n", "6.18"), ("6.18", "6.18"), ("", "")] {
            assert_eq!(release(full), short);
        }
    }

    #[test]
    fn ours_and_the_registrys_are_told_apart() {
        assert_eq!(version("muxado", false), Some("0.5.4"));
        assert_eq!(version("muxado", true), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(version("no-such-package", false), None);
    }
}
