//! What a service says of itself.

use muxado_rpc::{
    MethodSchema, NamedService, Peer, ReflectionClient, ServiceSchema, Shape, schema::schemars, testing,
};
use serde_json::{Value, json};

use super::{
    allows,
    service::{self, ChatServer},
};

fn chat() -> ServiceSchema {
    ChatServer::schema()
}

fn method<'a>(service: &'a ServiceSchema, name: &str) -> &'a MethodSchema {
    service.method(name).unwrap_or_else(|| panic!("no {name} in {service:?}"))
}

#[test]
fn names_docs_options_and_deprecations_are_those_of_the_trait() {
    let chat = chat();
    assert_eq!((&*chat.name, chat.id.as_u32(), chat.version), ("test.Chat", 7, 1));
    assert_eq!(chat.description.as_deref(), Some("Talks.\n\nIn two paragraphs."));
    assert_eq!(chat.deprecated.as_deref(), Some("talk to each other"));
    let names: Vec<_> = chat.methods.iter().map(|method| (&*method.name, method.shape)).collect();
    let expected = [
        ("speak", Shape::Unary),
        ("keep", Shape::Unary),
        ("rename", Shape::Unary),
        ("listen", Shape::ServerStreaming),
        ("send", Shape::ClientStreaming),
        ("talk", Shape::Bidirectional),
        ("never_fails", Shape::Unary),
    ];
    assert_eq!(names, expected);
    let (say, keep) = (method(&chat, "speak"), method(&chat, "keep"));
    assert_eq!(say.description.as_deref(), Some("Says something."));
    assert_eq!((say.idempotent, say.timeout_ms, say.no_cancel), (true, Some(500), false));
    assert_eq!(say.deprecated, None);
    assert_eq!(keep.description.as_deref(), Some("Keeps bytes."));
    assert_eq!((keep.idempotent, keep.timeout_ms, keep.no_cancel), (false, None, true));
    assert_eq!(keep.deprecated.as_deref(), Some("use a file"));
}

#[test]
fn parameters_are_in_order_without_the_context_and_say_what_may_be_left_out() {
    let chat = chat();
    let found = |name: &str| {
        let params = method(&chat, name).params.clone().unwrap();
        params.into_iter().map(|parameter| (parameter.name, parameter.required)).collect::<Vec<_>>()
    };
    let named =
        |list: &[(&str, bool)]| list.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect::<Vec<_>>();
    let expected = [("line", true), ("room", true), ("times", false), ("note", false), ("tag", false)];
    assert_eq!(found("speak"), named(&expected));
    let expected = [("data", true), ("more", true), ("class", true), ("foreign", true), ("maybe", false)];
    assert_eq!(found("keep"), named(&expected));
    assert_eq!(found("send"), []);
    let line = method(&chat, "speak").parameter("line").unwrap();
    assert_eq!(line.description.as_deref(), Some("What is said,\nword by word."));
}

#[test]
fn schemas_of_parameters_are_those_of_what_is_read() {
    let chat = chat();
    let say = method(&chat, "speak").params_schema().unwrap();
    let line = json!({"from": "Eve"});
    assert!(allows(&chat, &say, &json!({"line": line, "room": "hall"})));
    assert!(allows(&chat, &say, &json!({"line": line, "room": "hall", "note": null, "tag": 7, "more": 1})));
    assert!(allows(&chat, &say, &json!({"line": {"from": "Eve", "answers": line}, "room": "hall"})));
    for wrong in [
        json!({"line": line}),
        json!({"line": line, "room": 7}),
        json!({"line": {"loud": true}, "room": "hall"}),
        json!({"line": {"from": "Eve", "answers": {"loud": true}}, "room": "hall"}),
        json!({"line": line, "room": "hall", "tag": 256}),
    ] {
        assert!(!allows(&chat, &say, &wrong), "{wrong}");
    }
    let keep = method(&chat, "keep").params_schema().unwrap();
    let right = json!({"data": "AA==", "more": [1, 2], "class": "AAE=", "foreign": "x"});
    assert!(allows(&chat, &keep, &right));
    for (name, wrong) in
        [("data", json!("?")), ("more", json!("?")), ("class", json!("AAAAAA==")), ("foreign", json!(1))]
    {
        let mut params = right.clone();
        params[name] = wrong;
        assert!(!allows(&chat, &keep, &params), "{params}");
    }
}

#[test]
fn what_is_read_and_what_is_written_are_apart() {
    let chat = chat();
    let rename = method(&chat, "rename");
    let (read, written) = (&rename.params.as_ref().unwrap()[0].schema, rename.output.as_ref().unwrap());
    assert!(allows(&chat, read, &json!({"read": 1})) && !allows(&chat, read, &json!({"written": 1})));
    assert!(allows(&chat, written, &json!({"written": 1})) && !allows(&chat, written, &json!({"read": 1})));
    let names: Vec<_> = chat.definitions.keys().filter(|name| name.starts_with("Renamed")).collect();
    assert_eq!(names, ["Renamed", "Renamed_output"]);
}

#[test]
fn results_items_and_errors_are_those_of_the_signature() {
    let chat = chat();
    let error = |name: &str| method(&chat, name).error.clone();
    let failure = error("speak").unwrap();
    assert!(
        allows(&chat, &failure, &json!({"Full": {"limit": 7}})) && allows(&chat, &failure, &json!("Closed"))
    );
    assert_eq!(error("listen"), Some(failure));
    for name in ["send", "never_fails", "keep"] {
        assert_eq!(error(name), None, "{name}");
    }
    let output = |name: &str| method(&chat, name).output.clone().unwrap();
    assert!(allows(&chat, &output("send"), &Value::Null) && !allows(&chat, &output("send"), &json!(1)));
    assert!(allows(&chat, &output("keep"), &json!("AA==")));
    assert!(allows(&chat, &output("listen"), &json!({"from": "Eve", "loud": false, "answers": null})));
    assert_eq!(method(&chat, "speak").input, None);
    let (send, talk) = (method(&chat, "send"), method(&chat, "talk"));
    assert!(allows(&chat, send.input.as_ref().unwrap(), &json!({"length": 1})));
    assert!(!allows(&chat, talk.input.as_ref().unwrap(), &json!({"length": 1})));
    assert!(allows(&chat, talk.output.as_ref().unwrap(), &json!({"length": 1})));
}

#[test]
fn a_description_is_read_as_it_was_written() {
    let chat = chat();
    let text = serde_json::to_string(&chat).unwrap();
    assert_eq!(serde_json::from_str::<ServiceSchema>(&text).unwrap(), chat);
}

#[muxado_rpc::service(schema)]
trait Small {
    /// Doubles.
    async fn double(&self, number: i64) -> i64;
}

struct Plain;

impl Small for Plain {
    async fn double(&self, number: i64) -> i64 {
        2 * number
    }
}

#[tokio::test(start_paused = true)]
async fn reflection_tells_all_of_it() {
    assert_eq!(SmallServer::<Plain>::INFO.schema(), SmallServer::schema());
    let far = Peer::builder().serve(SmallServer::new(Plain)).reflection();
    let (near, _far) = testing::pair(Peer::builder(), far).unwrap();
    let reflection = ReflectionClient::new(near.channel());
    let list = reflection.services().await.unwrap();
    assert!(list.iter().all(|service| service.has_schema), "{list:?}");
    assert_eq!(reflection.describe("Small").await.unwrap(), SmallServer::schema());
}

#[tokio::test(start_paused = true)]
async fn reflection_describes_itself_truly() {
    let far = Peer::builder().serve(SmallServer::new(Plain)).reflection();
    let (near, _far) = testing::pair(Peer::builder(), far).unwrap();
    let own = ReflectionClient::new(near.channel()).describe(ReflectionClient::SERVICE).await.unwrap();
    let call = |name: &'static str| near.channel().call_raw(ReflectionClient::SERVICE, name);
    let output = |name: &str| method(&own, name).output.clone().unwrap();
    let peer: Value = call("peer").call().await.unwrap();
    assert!(allows(&own, &output("peer"), &peer), "{peer}");
    let params = json!({"service": "Small"});
    assert!(allows(&own, &method(&own, "describe").params_schema().unwrap(), &params));
    for (name, params) in [("services", json!({})), ("describe", params)] {
        let mut items = call(name).params(&params).items::<Value>().await.unwrap();
        let mut count = 0;
        while let Some(item) = items.try_next().await.unwrap() {
            assert!(allows(&own, &output(name), &item), "{item}");
            count += 1;
        }
        assert_eq!(count, 2, "{name}");
    }
}

/// The same names as in `service`, of a program that takes schemars from here.
#[test]
fn types_derive_their_schemas_with_the_crate_that_is_reexported() {
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    #[schemars(crate = "muxado_rpc::schema::schemars")]
    struct Own {
        line: service::Line,
    }

    #[muxado_rpc::service(schema)]
    trait Owner {
        async fn own(&self, own: Own);
    }
    assert!(OwnerServer::schema().definitions.contains_key("Own"));
}
