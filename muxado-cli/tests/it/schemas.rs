//! `muxado schema`.

use serde_json::Value;

use crate::world::{Dir, World, muxado};

#[test]
fn a_document_is_exported_and_has_no_differences_to_its_server() {
    let world = World::new();
    let dir = Dir::new();
    let file = dir.file("workshop.json");
    let args = ["schema", "export", &world.address, "--title", "workshop", "--program-version", "1.2.3"];
    let json = muxado(&args).ok();
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&document["info"]["title"], &document["info"]["version"]),
        (&"workshop".into(), &"1.2.3".into())
    );
    assert_eq!(document["methods"][0]["name"], "Workshop/echo");
    assert_eq!(document["x-muxado-services"].as_array().unwrap().len(), 1);
    muxado(&["schema", "export", &world.address, "-o", &file]).ok();
    assert_eq!(muxado(&["schema", "diff", &file, &world.address, "--fail-on", "any"]).ok(), "");
    // A file is described as a peer is.
    assert_eq!(muxado(&["list", &file]).ok(), "Workshop\n");
    let one = muxado(&["schema", "export", &world.address, "-s", "muxado.Reflection"]).ok();
    assert!(one.contains("\"muxado.Reflection/describe\""), "{one}");
}

#[test]
fn a_comparison_says_what_breaks_whom_and_ends_accordingly() {
    let world = World::new();
    let dir = Dir::new();
    let (old, new) = (dir.file("old.json"), dir.file("new.json"));
    let json = muxado(&["schema", "export", &world.address]).ok();
    std::fs::write(&old, &json).unwrap();
    let mut document: Value = serde_json::from_str(&json).unwrap();
    document["methods"].as_array_mut().unwrap().retain(|method| method["name"] != "Workshop/sum");
    std::fs::write(&new, document.to_string()).unwrap();

    let run = muxado(&["schema", "diff", &old, &new]);
    assert_eq!((run.status, &*run.stderr), (Some(1), ""));
    assert_eq!(run.stdout, "breaking (callers) Workshop/sum: the method is removed\n");
    // The other way round, a method is new.
    let added = muxado(&["schema", "diff", &new, &old]).ok();
    assert!(added.starts_with("compatible Workshop/sum: "), "{added}");
    assert_eq!(muxado(&["schema", "diff", &new, &old, "--quiet"]).ok(), "");
    assert_eq!(muxado(&["schema", "diff", &new, &old, "--fail-on", "any"]).status, Some(1));
    assert_eq!(muxado(&["schema", "diff", &old, &new, "--fail-on", "never"]).status, Some(0));
    let line = muxado(&["schema", "diff", &old, &world.address, "--json", "--fail-on", "any"]);
    assert_eq!((line.status, &*line.stdout), (Some(0), ""));
    let line = muxado(&["schema", "diff", &old, &new, "--json"]).stdout;
    let change: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&change["path"], &change["callers"]), (&"Workshop/sum".into(), &true.into()));
    muxado(&["schema", "diff", &old, &dir.file("none")]).failed(2);
}
