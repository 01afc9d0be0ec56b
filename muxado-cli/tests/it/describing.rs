//! What `list` and `describe` say.

use serde_json::Value;

use crate::world::{World, muxado};

#[test]
fn services_and_methods_are_listed_a_name_on_each_line() {
    let world = World::new();
    assert_eq!(muxado(&["list", &world.address]).ok(), "Workshop\nmuxado.Reflection\n");
    let methods = muxado(&["list", &world.address, "Workshop"]).ok();
    assert!(methods.starts_with("Workshop/echo\nWorkshop/numbers\n"), "{methods}");
    let long = muxado(&["list", "-l", &world.address]).ok();
    assert!(long.starts_with("Workshop           16 methods  Methods of every shape.\n"), "{long}");
    let long = muxado(&["list", "-l", &world.address, "Workshop"]).ok();
    assert!(long.contains("Workshop/sum_from        client streaming  Adds to a total.\n"), "{long}");
    let json = muxado(&["list", "--json", &world.address, "Workshop"]).ok();
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["shape"], "unary");
}

#[test]
fn a_method_is_described_with_its_types_and_a_call_to_begin_with() {
    let world = World::new();
    let text = muxado(&["describe", &world.address, "Workshop/echo"]).ok();
    assert_eq!(
        text,
        format!(
            "\
Workshop/echo(thing: Thing) -> Thing_output
  Returns what it is given.

type Kind =
  | \"small\" | \"large\"
  | {{ sized: {{ width: u8, height: u8 }} }}

// What a thing is.
type Thing {{
  name: string
  // How many there are.
  count: u64
  inner?: Thing?
  kind?: Kind
  picture?: bytes
}}

// What a thing is.
type Thing_output {{
  name: string
  // How many there are.
  count: u64
  picture: bytes
  kind: Kind
  inner?: Thing_output?
}}

muxado call {} Workshop/echo -d '{{\"thing\":{{\"count\":0,\"name\":\"text\"}}}}'
",
            world.address
        )
    );
}

#[test]
fn what_can_be_called_with_the_line_that_describe_shows_can_be_called() {
    let world = World::new();
    for method in ["echo", "numbers", "length", "nothing", "count_to", "sum", "sum_from", "paint", "old"] {
        let text = muxado(&["describe", &world.address, method]).ok();
        let line = text.lines().last().unwrap();
        let args = line.strip_prefix("muxado ").unwrap();
        let shell = std::process::Command::new("sh")
            .args(["-c", &format!("{} {args}", env!("CARGO_BIN_EXE_muxado"))])
            .output()
            .unwrap();
        assert!(shell.status.success(), "{line}: {}", String::from_utf8_lossy(&shell.stderr));
    }
}

#[test]
fn a_service_is_described_with_all_its_methods() {
    let world = World::new();
    let text = muxado(&["describe", &world.address, "Workshop"]).ok();
    for line in [
        "service Workshop",
        "  Methods of every shape.",
        "  numbers(",
        "    note?: string?,",
        "  ) -> (u64, i64, u128, f64)",
        "  length(bytes: bytes) -> usize",
        "  nothing() -> null",
        "  fail(by: u64) -> null throws Wrong",
        "    [time limit 50 ms]",
        "  count_to(end: u64) -> stream u64",
        "    [idempotent]",
        "  sum_from(start: u64, stream u64) -> u64",
        "  paint(stream Thing) -> stream string",
        "    Deprecated: use `echo`",
        "  old(map: { [string]: i32 }, pair: (bool, string)) -> string",
        "type Wrong = { TooLarge: { by: u64 } }",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
    // All services, without those of muxado itself.
    assert_eq!(muxado(&["describe", &world.address]).ok(), text);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn types_are_described_and_schemas_are_json() {
    let world = World::new();
    let text = muxado(&["describe", &world.address, "Wrong"]).ok();
    assert_eq!(text, "type Wrong = { TooLarge: { by: u64 } }\n");
    let json = muxado(&["describe", &world.address, "Workshop.Thing", "--json"]).ok();
    let schema: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json.lines().count(), &schema["title"]), (1, &"Thing".into()));
    let json = muxado(&["describe", &world.address, "Workshop/fail", "--json"]).ok();
    let schema: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(schema["methods"][0]["name"], "fail");
    assert_eq!(schema["definitions"].as_object().unwrap().len(), 1);
    let stderr = muxado(&["describe", &world.address, "Thingy"]).failed(2);
    assert!(stderr.contains("did you mean `Thing`?"), "{stderr}");
}

#[test]
fn help_and_manual_say_the_exit_statuses() {
    let help = muxado(&["--help"]).ok();
    assert!(help.contains("130  interrupted (Ctrl-C)") && help.contains("80 unauthenticated"), "{help}");
    for command in ["list", "describe", "call", "health", "ping", "schema"] {
        assert!(help.contains(&format!("  {command} ")), "{help}");
        muxado(&[command, "--help"]).ok();
    }
    let page = muxado(&["man"]).ok();
    assert!(page.contains(".TH muxado 1") && page.contains("130"), "{page}");
    let dir = crate::world::Dir::new();
    assert_eq!(muxado(&["man", "--dir", dir.0.to_str().unwrap()]).ok(), "");
    assert!(dir.0.join("muxado-call.1").is_file());
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(muxado(&["completions", shell]).ok().contains("describe"), "{shell}");
    }
}
