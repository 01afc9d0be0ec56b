//! What a stall of the server does to the figures of the two loops.

use serde_json::Value;

use crate::{program::run, shop};

/// Returns how many calls took longer than a tenth of the stall.
fn stalled(figures: &Value) -> u64 {
    let bins = figures["histogram"].as_array().unwrap().iter();
    let slow = bins.filter(|bin| bin["from_us"].as_f64().unwrap() >= 100_000.0);
    slow.map(|bin| bin["calls"].as_u64().unwrap()).sum()
}

/// A server stalls for a second. Of 400 calls at 200 a second, half is due in that second: all of them have waited,
/// and the figures say so. Those of a closed loop know one slow call.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_counts_for_all_calls_that_were_due_in_it() {
    let mut figures = Vec::new();
    for rate in [&[][..], &["--rate", "200"], &["--rate", "200", "--arrivals", "poisson"]] {
        let (_server, address, counts) = shop::open().await;
        let mut args = vec!["bench", &*address, "Shop/stall", "--calls", "400", "--warm-up", "0", "--json"];
        args.extend(if rate.is_empty() { &["--in-flight", "1"][..] } else { &["--in-flight", "500"] });
        args.extend(rate);
        let run = run(&args).await;
        assert_eq!(run.code(), 0, "{run:?}");
        assert_eq!(*counts.calls.borrow(), 400);
        figures.push(run.json());
    }
    let [closed, open, random] = &figures[..] else { panic!("{figures:?}") };
    for figures in [closed, open, random] {
        assert_eq!((&figures["calls"], &figures["failed"]), (&400.into(), &0.into()));
        let slowest = figures["latency_us"]["max"].as_f64().unwrap();
        assert!(slowest >= 990_000.0, "{figures}");
    }
    assert!(stalled(closed) < 20, "{closed}");
    for open in [open, random] {
        assert!(stalled(open) > 100, "{open}");
        for quantile in ["p75", "p90", "p95", "p99"] {
            let of = |figures: &Value| figures["latency_us"][quantile].as_f64().unwrap();
            assert!(of(open) >= of(closed), "{quantile}: {open} {closed}");
        }
        assert_eq!(open["rate"]["held"], true);
    }
}

/// With one call in flight, a call that is due while another is under way begins late, and that is a part of its latency.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_others_count_from_when_they_were_due() {
    let (_server, address, _) = shop::open().await;
    let args = ["--calls", "400", "--warm-up", "0", "--json", "--rate", "200", "--in-flight", "1"];
    let run = run(&[&["bench", &*address, "Shop/stall"][..], &args].concat()).await;
    let figures = run.json();
    assert_eq!(figures["calls"], 400, "{run:?}");
    assert!(stalled(&figures) > 100, "{figures}");
    assert!(figures["rate"]["late_us"]["max"].as_f64().unwrap() > 500_000.0, "{figures}");
}
