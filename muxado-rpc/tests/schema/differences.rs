//! Whom a change breaks.

use muxado_rpc::{
    ServiceId, ServiceSchema, Shape,
    schema::{Comparison, Document, MethodSchema, ParameterSchema, Severity},
};
use serde_json::{Value, json};

/// A service with one method.
fn service(method: MethodSchema) -> ServiceSchema {
    let mut service = ServiceSchema::new("S", ServiceId::new(7));
    service.methods.push(method);
    service
}

fn method() -> MethodSchema {
    let mut method = MethodSchema::new("m", Shape::Unary);
    (method.params, method.output) = (Some(Vec::new()), Some(json!({"type": "null"})));
    method
}

/// The lines of a comparison of two versions of a method.
fn compared(old: impl Fn(&mut MethodSchema), new: impl Fn(&mut MethodSchema)) -> String {
    let changed = |change: &dyn Fn(&mut MethodSchema)| {
        let mut method = method();
        change(&mut method);
        service(method)
    };
    Comparison::of_services(&changed(&old), &changed(&new)).to_string()
}

fn parameter(name: &str, required: bool) -> ParameterSchema {
    let mut parameter = ParameterSchema::new(name, json!({"type": "string"}));
    parameter.required = required;
    parameter
}

fn params(list: &[(&str, bool)]) -> Option<Vec<ParameterSchema>> {
    Some(list.iter().map(|(name, required)| parameter(name, *required)).collect())
}

/// Lines for a value in a parameter and in the result.
#[track_caller]
fn check_value(old: &Value, new: &Value, read: &str, written: &str) {
    let read_in = |value: &Value| {
        let value = value.clone();
        move |method: &mut MethodSchema| method.params = Some(vec![ParameterSchema::new("p", value.clone())])
    };
    let written_in = |value: &Value| {
        let value = value.clone();
        move |method: &mut MethodSchema| method.output = Some(value.clone())
    };
    let found = compared(read_in(old), read_in(new));
    assert_eq!(found.trim_end().replace("S/m.params.p", "@"), read, "read");
    let found = compared(written_in(old), written_in(new));
    assert_eq!(found.trim_end().replace("S/m.output", "@"), written, "written");
}

#[test]
fn nothing_differs_in_what_is_the_same() {
    assert_eq!(compared(|_| {}, |_| {}), "");
    let described = |method: &mut MethodSchema| {
        method.description = Some("text".to_owned());
        method.output = Some(json!({"type": "null", "description": "text", "title": "Title"}));
    };
    assert_eq!(compared(|_| {}, described), "");
}

#[test]
fn services_and_methods_come_and_go() {
    let (old, new) = (Document::new("t", "1"), Document::new("t", "2"));
    let old = old.service(service(method())).service(ServiceSchema::new("Old", ServiceId::new(1)));
    let mut changed = service(MethodSchema::new("other", Shape::Unary));
    changed.id = ServiceId::new(8);
    let new = new.service(changed).service(ServiceSchema::new("New", ServiceId::new(1)));
    let comparison = Comparison::between(&old, &new);
    let lines = "\
breaking (callers, servers) S: the id is 0x00000008 instead of 0x00000007
breaking (callers) S/m: the method is removed
compatible S/other: the method is new
breaking (callers) Old: the service is removed
compatible New: the service is new
";
    assert_eq!(comparison.to_string(), lines);
    assert_eq!(comparison.severity(), Some(Severity::Breaking));
    assert!(comparison.breaks_callers() && comparison.breaks_servers());
    let written = serde_json::to_value(&comparison).unwrap();
    let first = json!({
        "path": "S",
        "severity": "breaking",
        "callers": true,
        "servers": true,
        "message": "the id is 0x00000008 instead of 0x00000007",
    });
    assert_eq!(written["changes"][0], first);
}

#[test]
fn options_and_shapes() {
    assert_eq!(
        compared(|_| {}, |method| method.shape = Shape::ServerStreaming),
        "breaking (callers, servers) S/m: the shape is server_streaming instead of unary\n"
    );
    assert_eq!(
        compared(|method| method.idempotent = true, |_| {}),
        "breaking (callers) S/m: it is no longer idempotent: old callers may call it twice\n"
    );
    assert_eq!(
        compared(|_| {}, |method| method.idempotent = true),
        "risky (servers) S/m: it is idempotent now: old servers may be called twice\n"
    );
    assert_eq!(
        compared(|_| {}, |method| method.no_cancel = true),
        "risky (callers) S/m: a call that is cancelled runs to its end\n"
    );
    assert_eq!(
        compared(|method| method.timeout_ms = Some(500), |method| method.timeout_ms = Some(250)),
        "risky (callers) S/m: the time limit of calls that set none is 250 ms instead of 500 ms\n"
    );
    assert_eq!(
        compared(|method| method.timeout_ms = Some(500), |_| {}),
        "compatible S/m: the time limit of calls that set none is none instead of 500 ms\n"
    );
    assert_eq!(
        compared(|_| {}, |method| method.deprecated = Some("use n\nor o".to_owned())),
        "compatible S/m: it is deprecated: use n\\nor o\n"
    );
    assert_eq!(
        compared(|_| {}, |method| method.params = None),
        "risky (callers, servers) S/m: the new version has no schemas: what the method takes is not compared\n"
    );
}

#[test]
fn parameters() {
    let a = |method: &mut MethodSchema| method.params = params(&[("a", true)]);
    let compare = |list: &'static [(&str, bool)]| compared(a, move |method| method.params = params(list));
    assert_eq!(
        compare(&[("a", true), ("b", true)]),
        "breaking (callers) S/m.params.b: a required parameter is new\n"
    );
    assert_eq!(
        compare(&[("a", true), ("b", false)]),
        "compatible S/m.params.b: an optional parameter is new\n"
    );
    assert_eq!(compare(&[]), "breaking (servers) S/m.params.a: a required parameter is removed\n");
    assert_eq!(
        compare(&[("a", false)]),
        "risky (servers) S/m.params.a: the parameter is optional: old servers need it\n"
    );
    assert_eq!(
        compare(&[("b", false), ("a", true)]),
        "compatible S/m.params.b: an optional parameter is new\n\
         risky (callers, servers) S/m.params: parameters have other positions, which matters to callers that do not \
         name them\n"
    );
    assert_eq!(
        compared(|method| method.params = params(&[("a", false)]), a),
        "breaking (callers) S/m.params.a: the parameter is required\n"
    );
    assert_eq!(
        compared(|method| method.params = params(&[("a", false)]), |_| {}),
        "compatible S/m.params.a: an optional parameter is removed\n"
    );
}

#[test]
fn numbers_and_texts() {
    let (byte, word) = (
        json!({"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255}),
        json!({"type": "integer", "format": "int64"}),
    );
    check_value(
        &byte,
        &word,
        "risky (servers) @: it is -2^63 to 2^63-1 instead of 0 to 255",
        "breaking (callers) @: it is -2^63 to 2^63-1 instead of 0 to 255",
    );
    check_value(
        &word,
        &byte,
        "breaking (callers) @: it is 0 to 255 instead of -2^63 to 2^63-1",
        "risky (servers) @: it is 0 to 255 instead of -2^63 to 2^63-1",
    );
    check_value(
        &word,
        &json!({"type": "number", "format": "double"}),
        "risky (servers) @: it may be a fraction\n\
         risky (servers) @: it is any number instead of -2^63 to 2^63-1",
        "breaking (callers) @: it may be a fraction\n\
         breaking (callers) @: it is any number instead of -2^63 to 2^63-1",
    );
    check_value(
        &json!({"type": "string"}),
        &word,
        "breaking (callers, servers) @: it is an integer instead of a string",
        "breaking (callers, servers) @: it is an integer instead of a string",
    );
    check_value(
        &json!({"type": "string"}),
        &json!({"type": "string", "format": "uuid"}),
        "breaking (callers) @: its format is `uuid`",
        "risky (servers) @: its format is `uuid`",
    );
    check_value(
        &json!({"type": "string"}),
        &json!(true),
        "risky (servers) @: it is any value",
        "breaking (callers) @: it is any value",
    );
}

#[test]
fn options_arrays_and_maps() {
    check_value(
        &json!({"type": "string"}),
        &json!({"type": ["string", "null"]}),
        "risky (servers) @: it may be null",
        "breaking (callers) @: it may be null",
    );
    let list = |items: Value| json!({"type": "array", "items": items});
    check_value(
        &list(json!({"type": "string"})),
        &list(json!({"type": "boolean"})),
        "breaking (callers, servers) @[]: it is a boolean instead of a string",
        "breaking (callers, servers) @[]: it is a boolean instead of a string",
    );
    let tuple = |items: Value| json!({"type": "array", "items": items});
    check_value(
        &tuple(json!([{"type": "string"}, {"type": "null"}])),
        &tuple(json!([{"type": "string"}])),
        "breaking (callers, servers) @: it has 1 elements instead of 2",
        "breaking (callers, servers) @: it has 1 elements instead of 2",
    );
    let map = |values: &str| json!({"type": "object", "additionalProperties": {"type": values}});
    check_value(
        &map("string"),
        &map("null"),
        "breaking (callers, servers) @.*: it is null instead of a string",
        "breaking (callers, servers) @.*: it is null instead of a string",
    );
}

#[test]
fn structures() {
    let with = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required});
    let text = json!({"type": "string"});
    let one = with(json!({"a": text}), json!(["a"]));
    check_value(
        &one,
        &with(json!({"a": text, "b": text}), json!(["a", "b"])),
        "breaking (callers) @.b: a required field is new",
        "breaking (servers) @.b: a required field is new",
    );
    check_value(
        &one,
        &with(json!({"a": text, "b": text}), json!(["a"])),
        "compatible @.b: an optional field is new",
        "compatible @.b: an optional field is new",
    );
    check_value(
        &one,
        &with(json!({}), json!([])),
        "breaking (servers) @.a: a required field is removed",
        "breaking (callers) @.a: a required field is removed",
    );
    check_value(
        &one,
        &with(json!({"a": text}), json!([])),
        "risky (servers) @.a: it may be left out",
        "breaking (callers) @.a: it may be left out",
    );
    check_value(
        &one,
        &with(json!({"a": {"type": "null"}}), json!(["a"])),
        "breaking (callers, servers) @.a: it is null instead of a string",
        "breaking (callers, servers) @.a: it is null instead of a string",
    );
}

#[test]
fn enumerations_of_all_kinds() {
    let variant = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name], "additionalProperties": false});
    let external = |names: &[&str], more: &[&str]| {
        let mut all: Vec<_> = more.iter().map(|name| variant(name)).collect();
        all.insert(0, json!({"type": "string", "enum": names}));
        json!({"oneOf": all})
    };
    check_value(
        &external(&["A"], &["B"]),
        &external(&["A", "C"], &["B", "D"]),
        "risky (servers) @: it may be `\"C\"`\nrisky (servers) @: it may be the variant `D`",
        "breaking (callers) @: it may be `\"C\"`\nbreaking (callers) @: it may be the variant `D`",
    );
    check_value(
        &external(&["A"], &["B", "C"]),
        &external(&["A"], &["C"]),
        "breaking (callers) @: it is no longer the variant `B`",
        "risky (servers) @: it is no longer the variant `B`",
    );
    let tagged = |kind: &str| {
        json!({
            "type": "object",
            "properties": {"kind": {"type": "string", "const": "A"}, "a": {"type": kind}},
            "required": ["kind", "a"],
        })
    };
    check_value(
        &json!({"oneOf": [tagged("string")]}),
        &json!({"oneOf": [tagged("null")]}),
        "breaking (callers, servers) @<A>.a: it is null instead of a string",
        "breaking (callers, servers) @<A>.a: it is null instead of a string",
    );
}

#[test]
fn definitions_are_followed_and_recursion_ends() {
    let list = |kind: &str| {
        let mut list = service(method());
        let node = json!({
            "type": "object",
            "properties": {"value": {"type": kind}, "next": {"anyOf": [{"$ref": "#/definitions/Node"}, {"type": "null"}]}},
            "required": ["value"],
        });
        list.definitions.insert("Node".to_owned(), node);
        list.methods[0].output =
            Some(json!({"allOf": [{"$ref": "#/definitions/Node"}], "description": "text"}));
        list
    };
    assert_eq!(Comparison::of_services(&list("string"), &list("string")).to_string(), "");
    assert_eq!(
        Comparison::of_services(&list("string"), &list("null")).to_string(),
        "breaking (callers, servers) S/m.output.value: it is null instead of a string\n"
    );
    let mut circle = service(method());
    circle.definitions.insert("Node".to_owned(), json!({"$ref": "#/definitions/Node"}));
    circle.methods[0].output = Some(json!({"$ref": "#/definitions/Node"}));
    assert!(Comparison::of_services(&circle, &circle).changes().is_empty());
}

#[test]
fn errors_are_risky_at_most() {
    let failing =
        |kind: &'static str| move |method: &mut MethodSchema| method.error = Some(json!({"type": kind}));
    assert_eq!(
        compared(failing("string"), failing("null")),
        "risky (callers, servers) S/m.error: it is null instead of a string\n"
    );
    assert_eq!(compared(|_| {}, failing("null")), "risky (callers) S/m.error: it is new\n");
}

/// Two versions of a service, as a program has them.
mod versions {
    pub(super) mod old {
        use muxado_rpc::schema::schemars::JsonSchema;
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) enum Kind {
            Plain,
            Loud { times: u8 },
        }

        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Line {
            pub(crate) kind: Kind,
            pub(crate) data: Vec<u8>,
        }

        #[muxado_rpc::service(schema)]
        pub(crate) trait Chat {
            async fn say(&self, line: Line) -> Line;
        }
    }

    pub(super) mod new {
        use muxado_rpc::schema::schemars::JsonSchema;
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) enum Kind {
            Plain,
            Loud { times: u32 },
            Quiet,
        }

        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct Line {
            pub(crate) kind: Kind,
            pub(crate) data: String,
            #[serde(default)]
            pub(crate) room: String,
        }

        #[muxado_rpc::service(schema)]
        pub(crate) trait Chat {
            async fn say(&self, line: Line) -> Line;
        }
    }
}

#[test]
fn versions_of_a_service_are_compared_by_their_types() {
    let (old, new) = (versions::old::ChatServer::schema(), versions::new::ChatServer::schema());
    let comparison = Comparison::of_services(&old, &new);
    let found: Vec<_> = comparison.changes().iter().map(|change| (&*change.path, change.severity)).collect();
    let expected = [
        ("Chat/say.params.line.data", Severity::Breaking),
        ("Chat/say.params.line.data", Severity::Risky),
        ("Chat/say.params.line.data", Severity::Risky),
        ("Chat/say.params.line.kind", Severity::Risky),
        ("Chat/say.params.line.kind.Loud.times", Severity::Risky),
        ("Chat/say.params.line.room", Severity::Compatible),
        ("Chat/say.output.data", Severity::Risky),
        ("Chat/say.output.data", Severity::Breaking),
        ("Chat/say.output.data", Severity::Breaking),
        ("Chat/say.output.kind", Severity::Breaking),
        ("Chat/say.output.kind.Loud.times", Severity::Breaking),
        ("Chat/say.output.room", Severity::Breaking),
    ];
    assert_eq!(found, expected, "{comparison}");
}
