//! `muxado bench` against a server that it has never seen.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use crate::{
    program::{Run, Scratch, run, start},
    shop,
};

const CODECS: [&str; 2] = ["json", "msgpack"];

/// Measures some calls of a method.
async fn bench(address: &str, method: &str, args: &[&str]) -> Run {
    run(&[&["bench", address, method, "--warm-up", "0"], args].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_are_made_as_were_asked_for_in_both_codecs() {
    for codec in CODECS {
        let (_server, address, counts) = shop::open().await;
        let args = [
            "-d",
            r#"{"text": "hello"}"#,
            "--calls",
            "500",
            "--connections",
            "3",
            "--codec",
            codec,
            "--json",
        ];
        let run = bench(&address, "Shop/echo", &args).await;
        assert_eq!(run.code(), 0, "{run:?}");
        let figures = run.json();
        assert_eq!(*counts.calls.borrow(), 500);
        assert_eq!((&figures["calls"], &figures["failed"]), (&json!(500), &json!(0)));
        assert_eq!(figures["statuses"], json!({"ok": 500}));
        // "hello" is 7 bytes in JSON, and 6 in MessagePack.
        assert_eq!(figures["bytes_received"], if codec == "json" { 3500 } else { 3000 });
        assert_eq!((&figures["ended_by"], &figures["connections"]), (&json!("calls"), &json!(3)));
    }
}

/// What scripts rely on.
#[tokio::test(flavor = "multi_thread")]
async fn the_json_has_all_figures_under_their_names() {
    let (_server, address, _) = shop::open().await;
    let args = ["-d", r#"["hello"]"#, "--calls", "300", "--rate", "3000", "--arrivals", "poisson", "--json"];
    let figures = bench(&address, "Shop/echo", &args).await.json();
    let names: Vec<_> = figures.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "address",
        "bytes_received",
        "calls",
        "calls_per_s",
        "codec",
        "connections",
        "course",
        "elapsed_s",
        "ended_by",
        "failed",
        "failures",
        "histogram",
        "in_flight",
        "items_received",
        "items_received_per_s",
        "items_sent",
        "latency_us",
        "method",
        "rate",
        "shape",
        "statuses",
        "threads",
        "unfinished",
        "warm_up_s",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let rate = &figures["rate"];
    for (name, value) in
        [("asked_per_s", json!(3000.0)), ("arrivals", json!("poisson")), ("not_begun", json!(0))]
    {
        assert_eq!(rate[name], value, "{rate}");
    }
    let latency = &figures["latency_us"];
    let names = ["min", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max"];
    let times: Vec<_> = names.iter().map(|name| latency[name].as_f64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{latency}");
    assert!(latency["mean"].is_f64() && latency["deviation"].is_f64());
    let bins = figures["histogram"].as_array().unwrap();
    assert_eq!(bins.iter().map(|bin| bin["calls"].as_u64().unwrap()).sum::<u64>(), 300);
    assert!(bins.iter().all(|bin| bin["from_us"].as_f64() < bin["to_us"].as_f64()));
    for part in figures["course"].as_array().unwrap() {
        let names: Vec<_> = part.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 4, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_sent_and_read_to_their_ends() {
    for codec in CODECS {
        let (_server, address, counts) = shop::open().await;
        let args = |data| ["-d", data, "--calls", "20", "--codec", codec, "--json"];
        let count = bench(&address, "Shop/count", &args(r#"{"to": 7}"#)).await.json();
        assert_eq!((&count["items_received"], &count["items_sent"]), (&json!(140), &json!(0)), "{count}");
        let double = bench(&address, "Shop/double", &args("1 2 3")).await.json();
        assert_eq!((&double["items_received"], &double["items_sent"]), (&json!(60), &json!(60)), "{double}");
        // Without schemas it is not known that there are parameters beside the items.
        let sum = [&args("1 2 3")[..], &["--params", r#"{"start": 10}"#]].concat();
        let sum = bench(&address, "Shop/sum", &sum).await.json();
        assert_eq!((&sum["items_received"], &sum["items_sent"]), (&json!(0), &json!(60)), "{sum}");
        for figures in [count, double, sum] {
            assert_eq!(figures["statuses"], json!({"ok": 20}));
        }
        assert_eq!(*counts.calls.borrow(), 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_status_and_shown_with_a_message() {
    let (_server, address, _) = shop::open().await;
    let some = bench(&address, "Shop/moody", &["--calls", "100", "--json"]).await;
    assert_eq!(some.code(), 0, "{some:?}");
    let figures = some.json();
    assert_eq!(figures["statuses"], json!({"ok": 50, "unavailable": 50}));
    let failure = json!({"status": "unavailable", "calls": 50, "message": "not in the mood"});
    assert_eq!(figures["failures"], json!([failure]));

    // Where nothing has succeeded the exit status says so.
    let all = bench(&address, "Shop/refuse", &["-d", r#"["Eve"]"#, "--calls", "10"]).await;
    assert_eq!(all.code(), 64 + 7, "{all:?}");
    assert!(all.stdout.contains("failed     10 (100.00 %)"), "{}", all.stdout);
    assert!(all.stdout.contains("permission_denied   10\n      not to you"), "{}", all.stdout);
    assert!(all.stderr.contains("not to you"), "{}", all.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_fits_into_60_columns() {
    let (_server, address, _) = shop::open().await;
    let args = ["-d", r#"["hello"]"#, "--calls", "200", "--rate", "2000"];
    let run = bench(&address, "Shop/echo", &args).await;
    for part in
        ["Shop/echo at ", "200, ", "2000/s asked, constant", "99.9 %", "Latency, from when each call was due"]
    {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 60), "{}", run.stdout);
    // No bar where nobody looks.
    assert_eq!(run.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_that_a_rate_could_not_be_held() {
    let (_server, address, _) = shop::open().await;
    // 20 ms for a call, one at a time: 50 a second.
    let args = ["--rate", "2000", "--in-flight", "1", "--duration", "500ms"];
    let run = bench(&address, "Shop/slow", &args).await;
    assert!(run.stdout.contains("The rate could not be held: "), "{}", run.stdout);
    let figures = bench(&address, "Shop/slow", &[&args[..], &["--json"]].concat()).await.json();
    assert_eq!((&figures["rate"]["held"], &figures["ended_by"]), (&json!(false), &json!("time")));
    let (calls, not_begun) =
        (figures["calls"].as_u64().unwrap(), figures["rate"]["not_begun"].as_u64().unwrap());
    // All that were due are in the latencies.
    assert_eq!(calls + not_begun, 1000, "{figures}");
    assert!(calls < 500, "{figures}");
    assert!(figures["latency_us"]["p50"].as_f64().unwrap() > 100_000.0, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_shows_what_there_is_and_cancels_what_is_under_way() {
    let (_server, address, counts) = shop::open().await;
    for args in [&["--json"][..], &["--json", "--rate", "500"]] {
        counts.calls.send_replace(0);
        let args = [&["bench", &*address, "Shop/slow", "--duration", "1h", "--warm-up", "0"], args].concat();
        let program = start(&args);
        counts.calls.subscribe().wait_for(|calls| *calls >= 200).await.unwrap();
        program.interrupt().await;
        let run = program.finish().await;
        assert_eq!(run.code(), 130, "{run:?}");
        let figures = run.json();
        assert_eq!(figures["ended_by"], "interrupted");
        let calls = figures["calls"].as_u64().unwrap();
        assert!((1..=*counts.calls.borrow()).contains(&calls), "{figures}");
        gone(&counts).await;
    }
}

/// Waits until no handler is left.
async fn gone(counts: &shop::Counts) {
    let gone = async {
        while counts.under_way.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_ends_with_its_server() {
    let (server, address, counts) = shop::open().await;
    let program = start(&["bench", &address, "Shop/slow", "--duration", "1h", "--warm-up", "0", "--json"]);
    counts.calls.subscribe().wait_for(|calls| *calls >= 100).await.unwrap();
    drop(server);
    let run = program.finish().await;
    assert_eq!(run.code(), 64 + 14, "{run:?}");
    let figures = run.json();
    assert_eq!(figures["ended_by"], "disconnected");
    assert!(figures["statuses"]["unavailable"].as_u64().unwrap() > 0, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_need_nothing_else() {
    let (_server, address, _) = shop::open().await;
    for (name, begin) in [("bench.html", "<!DOCTYPE html>"), ("bench.svg", "<svg xmlns=")] {
        let file = Scratch::new(name);
        let args = ["-d", r#"["hello"]"#, "--duration", "400ms", "--report", file.path()];
        let run = bench(&address, "Shop/echo", &args).await;
        assert_eq!(run.code(), 0, "{run:?}");
        assert!(run.stderr.contains(file.path()), "{}", run.stderr);
        let report = file.text();
        assert!(report.starts_with(begin), "{report}");
        assert!(report.contains("Shop/echo") && report.contains("Latency by quantile"), "{report}");
        let outside = report.replace("http://www.w3.org/2000/svg", "");
        for reference in ["http:", "https:", "src=", "href=", "NaN", "inf"] {
            assert!(!outside.contains(reference), "{reference}: {report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_refused_before_anything_is_sent() {
    let (_server, address, counts) = shop::open().await;
    for (method, args, said) in [
        ("Shop/ecko", &["-d", "[]"][..], "did you mean `echo`?"),
        ("Shop/echo", &["-d", "3"], "parameters are an object by name, or an array by position"),
        ("Shop/echo", &["-d", "[1] [2]"], "takes no stream"),
        ("Shop/echo", &["--rate", "0"], "not a number of calls a second"),
        ("Shop/echo", &["--duration", "0s"], "a measurement takes some time"),
        ("Shop/echo", &["--in-flight", "0"], "--in-flight"),
        ("Shop/echo", &["--arrivals", "poisson"], "--rate"),
        ("Shop/echo", &["--report", "a.pdf"], "ends with .html or .svg"),
    ] {
        let run = bench(&address, method, args).await;
        assert_eq!(run.code(), 2, "{run:?}");
        assert!(run.stderr.contains(said) && run.stdout.is_empty(), "{said}: {run:?}");
    }
    let run = bench(&address, "Shop/echo", &["--report", "/nowhere/at/all.svg"]).await;
    assert!(run.code() == 1 && run.stderr.contains("cannot write the report /nowhere/at/all.svg"), "{run:?}");
    assert_eq!(*counts.calls.borrow(), 0);
}

/// A measurement warms up with calls that are in no figure.
#[tokio::test(flavor = "multi_thread")]
async fn the_warm_up_is_in_no_figure() {
    let (_server, address, counts) = shop::open().await;
    let args =
        ["bench", &*address, "Shop/echo", "-d", r#"["a"]"#, "--calls", "10", "--warm-up", "100ms", "--json"];
    let figures: Value = run(&args).await.json();
    assert_eq!(figures["calls"], 10);
    assert!(*counts.calls.borrow() > 10);
}
