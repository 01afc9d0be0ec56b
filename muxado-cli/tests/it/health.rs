//! `muxado health` and `muxado ping`.

use std::io::{BufRead, BufReader};

use muxado_rpc::{Health, HealthStatus};
use serde_json::Value;

use crate::world::{World, command, ended, muxado};

#[test]
fn the_exit_status_is_that_of_grpc_health_probe() {
    let health = Health::new();
    let world = World::with(|server| server.health(&health));
    health.set("Workshop", HealthStatus::NotServing);
    let address = &*world.address;
    assert_eq!(muxado(&["health", address]).ok(), "SERVING\n");
    let run = muxado(&["health", address, "Workshop"]);
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (Some(4), "NOT_SERVING\n", ""));
    let stderr = muxado(&["health", address, "Workshp"]).failed(3);
    assert!(stderr.starts_with("error: not_found"), "{stderr}");
    muxado(&["health", "tcp://127.0.0.1:1"]).failed(2);
    muxado(&["health", "nowhere"]).failed(1);
    muxado(&["health"]).failed(1);
    assert_eq!(
        muxado(&["health", address, "--json", "Workshop"]).stdout,
        "{\"service\":\"Workshop\",\"status\":\"NOT_SERVING\"}\n"
    );
    assert_eq!(
        muxado(&["health", address, "--all"]).ok(),
        "(server)       SERVING\nWorkshop       NOT_SERVING\nmuxado.Health  SERVING\n"
    );

    let without = World::new();
    let stderr = muxado(&["health", &without.address]).failed(3);
    assert!(stderr.contains(".health(&health)"), "{stderr}");
}

#[test]
fn a_watch_says_each_change() {
    let health = Health::new();
    let world = World::with(|server| server.health(&health));
    let mut child = command().args(["health", &world.address, "Workshop", "--watch"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(next(), "SERVING\n");
    health.set("Workshop", HealthStatus::NotServing);
    assert_eq!(next(), "NOT_SERVING\n");
    health.set("Workshop", HealthStatus::Serving);
    assert_eq!(next(), "SERVING\n");
    child.kill().unwrap();
    ended(child);
}

#[test]
fn a_ping_measures_round_trips_and_sums_them_up() {
    let world = World::new();
    let text = muxado(&["ping", &world.address, "-c", "3", "-i", "0"]).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with(&format!("connected to {}", world.address)), "{text}");
    assert!(lines[3].starts_with("3: ") && lines[4].starts_with("3 round trips: min "), "{text}");
    let json = muxado(&["ping", &world.address, "-c", "2", "-i", "1ms", "--json"]).ok();
    let summary: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(summary["count"], 2);
    assert!(summary["max_us"].as_f64() > Some(0.0));
}
