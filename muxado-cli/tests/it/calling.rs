//! Calls of all shapes, in both codecs.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use crate::{
    services::{Master, PlainServer},
    world::{World, command, ended, muxado},
};

const CODECS: [&str; 2] = ["json", "msgpack"];

#[test]
fn a_unary_call_takes_parameters_by_name_and_by_position() {
    let world = World::new();
    let thing = r#"{"name":"nail","count":3,"picture":"AAEC","kind":{"sized":{"width":1,"height":2}},"inner":{"name":"é","count":0,"picture":"","kind":"large"}}"#;
    for codec in CODECS {
        let call = |data: &str| world.call("Workshop/echo", &["--codec", codec, "-d", data]).ok();
        assert_eq!(call(&format!("{{\"thing\":{thing}}}")), format!("{thing}\n"), "{codec}");
        assert_eq!(call(&format!("[\n{thing}\n]")), format!("{thing}\n"), "{codec}");
        // A dot does as well as a slash.
        assert_eq!(world.call("Workshop.nothing", &["--codec", codec]).ok(), "null\n");
    }
}

#[test]
fn numbers_keep_all_their_digits() {
    let world = World::new();
    let data = r#"{"large":18446744073709551615,"small":-9223372036854775808,"huge":18446744073709551614,"float":0.1}"#;
    for codec in CODECS {
        let answer = world.call("Workshop/numbers", &["--codec", codec, "-d", data]).ok();
        assert_eq!(
            answer, "[18446744073709551615,-9223372036854775808,18446744073709551614,0.1]\n",
            "{codec}"
        );
        let huge = r#"[1,2,340282366920938463463374607431768211455,1.0]"#;
        let answer = world.call("Workshop/numbers", &["--codec", codec, "-d", huge]).ok();
        assert_eq!(answer, "[1,2,340282366920938463463374607431768211455,1.0]\n", "{codec}");
    }
}

#[test]
fn bytes_are_base64_in_both_codecs() {
    let world = World::new();
    for codec in CODECS {
        assert_eq!(
            world.call("Workshop/length", &["--codec", codec, "-d", r#"["AAECAw=="]"#]).ok(),
            "4\n",
            "{codec}"
        );
    }
}

#[test]
fn parameters_come_from_standard_input_and_from_files() {
    let world = World::new();
    assert_eq!(world.call_with("Workshop/length", &["-d", "@"], "{\n\"bytes\":\n\"AAEC\"}").ok(), "3\n");
    let dir = crate::world::Dir::new();
    let file = dir.file("params.json");
    std::fs::write(&file, "[\"AAEC\"]").unwrap();
    assert_eq!(world.call("Workshop/length", &["-d", &format!("@{file}")]).ok(), "3\n");
}

#[test]
fn a_stream_of_answers_is_one_json_value_per_line() {
    let world = World::new();
    for codec in CODECS {
        assert_eq!(world.call("Workshop/count_to", &["--codec", codec, "-d", "[3]"]).ok(), "1\n2\n3\n");
        assert_eq!(world.call("Workshop/count_to", &["--codec", codec, "-d", "[0]"]).ok(), "");
    }
}

#[test]
fn a_stream_of_items_is_read_from_arguments_and_from_standard_input() {
    let world = World::new();
    for codec in CODECS {
        let codec = ["--codec", codec];
        let sum =
            |args: &[&str], input| world.call_with("Workshop/sum", &[&codec, args].concat(), input).ok();
        assert_eq!(sum(&["-d", "1 2", "-d", "3"], ""), "6\n");
        assert_eq!(sum(&[], "1\n2 3\n\n4"), "10\n");
        assert_eq!(sum(&[], ""), "0\n");
        // Parameters beside the stream are the first value.
        let sum_from =
            |args: &[&str], input| world.call_with("Workshop/sum_from", &[&codec, args].concat(), input).ok();
        assert_eq!(sum_from(&["-d", r#"{"start":100}"#, "-d", "@"], "1 2"), "103\n");
        assert_eq!(sum_from(&["-d", "[100] 1 2"], ""), "103\n");
    }
}

#[test]
fn items_both_ways_go_as_soon_as_they_are_there() {
    let world = World::new();
    for codec in CODECS {
        let mut child = command()
            .args(["call", &world.address, "Workshop/paint", "--codec", codec])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        for name in ["nail", "hammer"] {
            // Without a line feed: the value is whole with its last bracket.
            write!(stdin, "{{\"name\":\"{name}\",\"count\":1}}").unwrap();
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert_eq!(line, format!("\"{name} is red\"\n"));
        }
        drop(stdin);
        assert_eq!(ended(child).ok(), "");
    }
}

#[test]
fn metadata_goes_with_the_call_and_comes_with_the_answer() {
    let world = World::new();
    let run = world.call("Workshop/metadata", &["-d", r#"["user"]"#, "-H", "user: ann", "-H", "b:c", "-v"]);
    assert_eq!((run.status, &*run.stdout), (Some(0), "\"ann\"\n"));
    for said in [
        "* Workshop/metadata at ",
        "> parameters (json): {\"name\":\"user\"}",
        "> user: ann",
        "> b: c",
        "< seen: yes",
        "called in",
    ] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[test]
fn frames_are_shown_if_that_is_asked_for() {
    let world = World::new();
    let run = world.call("Workshop/nothing", &["-vv"]);
    assert_eq!((run.status, &*run.stdout), (Some(0), "null\n"));
    assert!(run.stderr.lines().any(|line| line.starts_with("--> DATA   stream ")), "{}", run.stderr);
    assert!(run.stderr.lines().any(|line| line.starts_with("<-- DATA   stream ")), "{}", run.stderr);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let world = World::new();
    let mut child =
        command().args(["call", &world.address, "Workshop/count_to", "-d", "[1000000000]"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    assert_eq!(line, "1\n");
    let run = ended(child);
    assert_eq!((run.status, &*run.stderr), (Some(141), ""));
}

#[test]
fn colours_are_for_terminals_unless_they_are_asked_for() {
    let world = World::new();
    assert_eq!(
        world.call("Workshop/count_to", &["-d", "[1]", "--color", "always"]).ok(),
        "\x1b[35m1\x1b[0m\n"
    );
    let run = muxado(&["--color", "always", "call", &world.address, "Workshop/ecko"]);
    assert!(run.stderr.starts_with("\x1b[1;31merror:\x1b[0m"), "{}", run.stderr);
}

#[test]
fn an_old_method_is_called_as_any_other() {
    let world = World::new();
    let answer = world.call("Workshop/old", &["-d", r#"{"map":{"a":-1},"pair":[true,"x"]}"#]).ok();
    assert_eq!(answer, "\"{\\\"a\\\": -1} (true, \\\"x\\\")\"\n");
}

#[test]
fn who_needs_a_token_sends_it_with_reflection_and_health_as_well() {
    let health = muxado_rpc::Health::new();
    let world = World::with(|server| {
        server.reflection().health(&health).authorize(|call| match call.metadata().get("token") {
            Some("secret") => Ok(()),
            _ => Err(muxado_rpc::Status::unauthenticated("no token")),
        })
    });
    let at = &*world.address;
    let token = ["-H", "token: secret"];
    for args in [
        &["list", at][..],
        &["describe", at, "Workshop/echo"],
        &["call", at, "Workshop/nothing"],
        &["health", at],
        &["schema", "export", at],
        &["schema", "diff", at, at],
    ] {
        muxado(&[args, &token].concat()).ok();
        let without = if args[0] == "health" { 3 } else { 80 };
        let stderr = muxado(args).failed(without);
        assert!(stderr.contains("no token"), "{stderr}");
    }
}

#[test]
fn a_service_without_schemas_is_called_by_its_names_and_shapes() {
    let world = World::with(|server| server.reflection().serve(PlainServer::new(Master::default())));
    for codec in CODECS {
        let call = |method, args: &[&str]| world.call(method, &[&["--codec", codec], args].concat());
        assert_eq!(call("Plain/add", &["-d", r#"{"a":1,"b":2}"#]).ok(), "3\n");
        assert_eq!(call("Plain/add", &["--params", "[1,2]"]).ok(), "3\n");
        // Which value would be the parameters is not known.
        let args = ["--params", r#"{"between":"-"}"#, "-d", r#""a" "b""#];
        assert_eq!(call("Plain/join", &args).ok(), "\"a-b\"\n");
        assert!(call("Plain/add", &["--params", "[1] [2]"]).failed(2).contains("--params is one value"));
        // What is wrong is for the server to say.
        assert!(call("Plain/add", &["-d", "[1,true]"]).failed(67).contains("invalid_argument"));
    }
    let text = muxado(&["describe", &world.address, "Plain"]).ok();
    assert!(text.contains("join(.., stream ..) -> .."), "{text}");
    assert!(text.contains("not described"), "{text}");
}
