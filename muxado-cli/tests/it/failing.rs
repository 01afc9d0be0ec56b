//! What is wrong, said before anything is sent, and exit statuses.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use crate::world::{Dir, World, muxado};

#[test]
fn wrong_parameters_are_named_before_anything_is_sent() {
    let world = World::new();
    for (method, data, said) in [
        ("echo", "{}", "thing: is missing, a Thing"),
        ("echo", r#"{"thing":{"name":"x"}}"#, "thing.count: is missing"),
        ("echo", r#"{"thing":{"name":7,"count":1}}"#, "thing.name: expected a text, got 7"),
        ("echo", r#"{"thing":{"name":"x","count":-1}}"#, "thing.count: -1 is less than 0"),
        ("echo", r#"{"thing":{"name":"x","count":18446744073709551616}}"#, "thing.count: "),
        (
            "echo",
            r#"{"thing":{"name":"x","count":1,"inner":{"name":"y","count":"z"}}}"#,
            "thing.inner.count: expected an integer, got \"z\"",
        ),
        ("echo", r#"{"thing":{"name":"x","count":1,"kind":"lagre"}}"#, "did you mean `large`?"),
        (
            "echo",
            r#"{"thing":{"name":"x","count":1,"kind":{"sized":{"width":256,"height":1}}}}"#,
            "thing.kind.sized.width: 256 is ",
        ),
        ("echo", r#"{"thing":{"name":"x","count":1,"kind":{"sizd":{}}}}"#, "did you mean `sized`?"),
        (
            "echo",
            r#"{"thnig":{"name":"x","count":1}}"#,
            "thnig: there is no such parameter; did you mean `thing`?",
        ),
        ("echo", r#"[{"name":"x","count":1},2]"#, "[1]: there are only 1 parameters"),
        ("numbers", "[1]", "small: is missing, a i64"),
        ("echo", "7", "parameters are an object by name, or an array by position"),
        ("echo", "{\"thing\":", "cannot be read as JSON"),
        ("length", "[\"\"] [\"\"]", "there is more than one value"),
        ("sum", "1 \"x\"", "expected an integer, got \"x\""),
    ] {
        let name = format!("Workshop/{method}");
        let stderr = world.call(&name, &["-d", data]).failed(2);
        assert!(stderr.contains(said), "{method} {data}: {stderr}");
    }
}

#[test]
fn fields_that_have_no_effect_are_warned_of() {
    let world = World::new();
    let run = world.call("Workshop/echo", &["-d", r#"{"thing":{"name":"x","count":1,"pcture":""}}"#]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let said =
        "warning: thing.pcture: there is no such field, so that it has no effect; did you mean `picture`?\n";
    assert_eq!(run.stderr, said);
}

#[test]
fn misspelt_names_come_with_what_may_be_meant() {
    let world = World::new();
    for (method, said) in [
        ("Workshop/ehco", "error: `Workshop` has no method `ehco`\n  hint: did you mean `echo`?\n"),
        ("Workshp/echo", "did you mean `Workshop`?"),
        ("echo", "`echo` is no method; write SERVICE/METHOD\n  hint: such as Workshop/echo\n"),
        ("Nothing/like/it", "there are Workshop, muxado.Reflection"),
        ("Workshop/zzzzzz", "hint: it has echo, numbers, "),
    ] {
        let stderr = world.call(method, &[]).failed(2);
        assert!(stderr.contains(said), "{method}: {stderr}");
    }
    let stderr = muxado(&["list", &world.address, "Workshoop"]).failed(2);
    assert!(stderr.contains("did you mean `Workshop`?"), "{stderr}");
}

#[test]
fn the_exit_status_says_what_failed() {
    let world = World::new();
    for (code, status) in [
        ("cancelled", 65),
        ("invalid_argument", 67),
        ("not_found", 69),
        ("permission_denied", 71),
        ("resource_exhausted", 72),
        ("unauthenticated", 80),
    ] {
        let data = format!("[\"{code}\",\"no \\u001b way\"]");
        let stderr = world.call("Workshop/status", &["-d", &data]).failed(status);
        assert_eq!(stderr, format!("error: {code}: no \\u{{1b}} way\n"));
    }
    let stderr = world.call("Workshop/fail", &["-d", "[5]"]).failed(73);
    assert_eq!(stderr, "error: failed_precondition: it is 5 too large\n  {\"TooLarge\":{\"by\":5}}\n");
    let late = world.call("Workshop/hang", &["--timeout", "50ms"]).failed(68);
    assert!(late.starts_with("error: deadline_exceeded: "), "{late}");
    // The method has a limit of its own.
    world.call("Workshop/sleep", &[]).failed(68);
    let run = world.call("Workshop/break_off", &["--codec", "msgpack"]);
    assert_eq!((run.status, &*run.stdout), (Some(73), "1\n2\n"));
    assert!(run.stderr.contains("it is 3 too large"), "{}", run.stderr);

    let stderr = muxado(&["list", "tcp://127.0.0.1:1"]).failed(3);
    assert!(stderr.starts_with("error: cannot connect to tcp://127.0.0.1:1: "), "{stderr}");
    for args in [&["list", "nowhere"][..], &["list"], &["call", &world.address], &["frobnicate"]] {
        muxado(args).failed(2);
    }
    let stderr = muxado(&["lst", &world.address]).failed(2);
    assert!(stderr.contains("list"), "{stderr}");
}

#[test]
fn errors_are_json_if_that_is_asked_for() {
    let world = World::new();
    let error = |args: &[&str], status: i32| -> Value {
        let stderr = muxado(&[&["--format-error"], args].concat()).failed(status);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        serde_json::from_str(&stderr).unwrap()
    };
    let failed = error(&["call", &world.address, "Workshop/fail", "-d", "[5]"], 73);
    let expected = serde_json::json!({
        "kind": "call", "exit": 73, "code": "failed_precondition", "message": "it is 5 too large",
        "origin": "method", "may_have_executed": true, "details": {"TooLarge": {"by": 5}},
    });
    assert_eq!(failed, expected);
    let wrong = error(&["call", &world.address, "Workshop/echo", "-d", "{\"thin\":1}"], 2);
    assert_eq!((&wrong["kind"], &wrong["exit"]), (&"usage".into(), &2.into()));
    assert_eq!(wrong["problems"][0], "thin: there is no such parameter; did you mean `thing`?");
    let away = error(&["list", "tcp://127.0.0.1:1"], 3);
    assert_eq!(away["kind"], "connection");
    let unknown = error(&["list", "--frobnicate"], 2);
    assert_eq!((&unknown["kind"], &unknown["exit"]), (&"usage".into(), &2.into()));
    assert!(unknown["message"].as_str().unwrap().contains("--frobnicate"), "{unknown}");
}

#[test]
fn without_reflection_a_file_describes_the_services() {
    let described = World::new();
    let dir = Dir::new();
    let file = dir.file("workshop.json");
    assert_eq!(muxado(&["schema", "export", &described.address, "-o", &file]).ok(), "");

    let world = World::with(|server| server);
    assert_eq!(world.call("Workshop/sum", &["--schema", &file, "-d", "1 2"]).ok(), "3\n");
    assert_eq!(
        world.call("Workshop/count_to", &["--schema", &file, "-d", "[1]", "--codec", "msgpack"]).ok(),
        "1\n"
    );
    let stderr = world.call("Workshop/sm", &["--schema", &file]).failed(2);
    assert!(stderr.contains("did you mean `sum`?"), "{stderr}");

    // Neither: one message that says what to do.
    for args in [
        &["call", &world.address, "Workshop/sum", "-d", "1"][..],
        &["list", &world.address],
        &["describe", &world.address],
    ] {
        let stderr = muxado(args).failed(76);
        let said = format!("error: {} does not say what it serves: reflection is off\n", world.address);
        assert!(stderr.starts_with(&said), "{stderr}");
        assert!(stderr.contains("--schema FILE") && stderr.contains(".reflection()"), "{stderr}");
    }
    // One service alone will do as well.
    let json = muxado(&["describe", &described.address, "Workshop", "--json"]).ok();
    std::fs::write(&file, json).unwrap();
    assert_eq!(world.call("Workshop/nothing", &["--schema", &file]).ok(), "null\n");
    let stderr = world.call("Workshop/nothing", &["--schema", &dir.file("none")]).failed(2);
    assert!(stderr.contains("none"), "{stderr}");
}

#[test]
fn a_port_of_another_protocol_is_no_connection() {
    let listen = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    };
    // It takes the connection, and says nothing.
    let (_silent, address) = listen();
    let stderr = muxado(&["list", &address, "--connect-timeout", "100ms"]).failed(3);
    assert!(stderr.contains("says nothing within 100ms"), "{stderr}");
    let (http, address) = listen();
    let server = thread::spawn(move || {
        let (mut stream, _) = http.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the other side goes away.
        _ = stream.read_to_end(&mut Vec::new());
    });
    let stderr = muxado(&["list", &address]).failed(3);
    assert!(stderr.contains("HTTP"), "{stderr}");
    server.join().unwrap();
}
