//! Documents of programs.

use std::{env, fs};

use muxado_rpc::{
    ServiceSchema,
    schema::{Document, DocumentError},
};
use serde_json::{Value, json};

fn chat() -> ServiceSchema {
    super::service::ChatServer::schema()
}

mod first {
    use muxado_rpc::schema::schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    /// A point on a plane.
    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Point {
        pub(crate) x: i64,
    }

    #[muxado_rpc::service(schema)]
    pub(crate) trait Plane {
        /// Moves.
        #[method(idempotent, timeout_ms = 500)]
        #[deprecated(note = "stay")]
        async fn shift(&self, by: Point, #[serde(default)] times: u8) -> Result<Point, String>;
        async fn path(&self) -> impl muxado_rpc::Stream<Item = Point>;
        async fn draw(&self, points: muxado_rpc::Streaming<Point>);
    }
}

mod second {
    use muxado_rpc::schema::schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(crate) struct Point {
        pub(crate) z: i64,
    }

    #[muxado_rpc::service(schema, id = 9)]
    pub(crate) trait Space {
        async fn shift(&self, by: Point) -> Point;
    }

    #[muxado_rpc::service]
    pub(crate) trait Bare {
        async fn nothing(&self);
    }
}

fn both() -> Document {
    let document = Document::new("shapes", "1.2.3").description("Draws.");
    document.service(first::PlaneServer::schema()).service(second::SpaceServer::schema())
}

#[test]
fn a_document_is_openrpc_with_fields_of_its_own() {
    let mut document = serde_json::to_value(both()).unwrap();
    let point = json!({
        "type": "object",
        "description": "A point on a plane.",
        "properties": {"x": {"type": "integer", "format": "int64"}},
        "required": ["x"],
    });
    assert_eq!(document["components"]["schemas"]["Point"], point);
    assert_eq!(document["components"]["schemas"]["Space.Point"]["required"], json!(["z"]));
    assert_eq!(document["methods"][3]["result"]["schema"]["$ref"], "#/components/schemas/Space.Point");
    let methods = document["methods"].take();
    let shift = json!({
        "name": "Plane/shift",
        "description": "Moves.",
        "deprecated": true,
        "paramStructure": "either",
        "params": [
            {"name": "by", "required": true, "schema": {"$ref": "#/components/schemas/Point"}},
            {
                "name": "times",
                "required": false,
                "schema": {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255, "default": 0},
            },
        ],
        "result": {"name": "result", "schema": {"$ref": "#/components/schemas/Point"}},
        "x-muxado-shape": "unary",
        "x-muxado-error": {"type": "string"},
        "x-muxado-idempotent": true,
        "x-muxado-timeout-ms": 500,
        "x-muxado-deprecation": "stay",
    });
    assert_eq!(methods[0], shift);
    assert_eq!(
        (&methods[1]["x-muxado-shape"], &methods[1]["result"]["name"]),
        (&json!("server_streaming"), &json!("item"))
    );
    assert_eq!(methods[2]["x-muxado-input"], json!({"$ref": "#/components/schemas/Point"}));
    let head = json!({
        "openrpc": "1.3.2",
        "info": {"title": "shapes", "version": "1.2.3", "description": "Draws."},
        "x-muxado-version": 1,
        "x-muxado-services": [{"name": "Plane", "id": 0x4b7c_32e7_u32}, {"name": "Space", "id": 9}],
        "methods": null,
        "components": document["components"],
    });
    document["x-muxado-services"][0]["id"] = json!(0x4b7c_32e7_u32);
    assert_eq!(document, head);
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let path = env::temp_dir().join(format!("muxado-document-{}.json", std::process::id()));
    let document = Document::new("chat", "1.0.0").service(chat());
    document.write(&path).unwrap();
    assert_eq!(Document::read(&path).unwrap(), document);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\n  \"openrpc\": \"1.3.2\",") && text.ends_with("}\n"), "{text}");
    fs::remove_file(&path).unwrap();
}

#[test]
fn types_of_one_name_stay_apart() {
    let written = serde_json::to_value(both()).unwrap();
    let read: Document = serde_json::from_value(written.clone()).unwrap();
    let space = read.find("Space").unwrap();
    assert_eq!(space.definitions.keys().collect::<Vec<_>>(), ["Space.Point"]);
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
}

#[test]
fn a_service_without_schemas_keeps_its_names() {
    let router = muxado_rpc::Router::new().reflection().unwrap();
    let info = <second::BareServer<()> as Named>::info();
    let document = Document::new("bare", "0").services([info]).services(router.services());
    let read: Document = serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
    assert_eq!(read, document);
    assert_eq!(read.services[0].methods[0].params, None);
    assert_eq!(read.services[1].methods[0].params.as_deref(), Some(&[][..]));
}

/// The description of a service whose implementation is not there.
trait Named {
    fn info() -> &'static muxado_rpc::ServiceInfo;
}

impl second::Bare for () {
    async fn nothing(&self) {}
}

impl Named for second::BareServer<()> {
    fn info() -> &'static muxado_rpc::ServiceInfo {
        <Self as muxado_rpc::NamedService>::INFO
    }
}

#[test]
fn what_is_no_document_is_refused_by_name() {
    let path = env::temp_dir().join(format!("muxado-no-document-{}.json", std::process::id()));
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Document::read(&path).unwrap_err().to_string()
    };
    let name = path.display().to_string();
    let error = read("{");
    assert!(error.starts_with(&format!("{name} is no OpenRPC document of muxado services: EOF")), "{error}");
    let error = read(r#"{"openrpc":"2.0.0","info":{"title":"","version":""},"methods":[]}"#);
    assert!(error.contains("version 2.0.0 of OpenRPC is not known, 1.x is"), "{error}");
    let error = read(r#"{"openrpc":"1.2.6","info":{"title":"","version":""},"methods":[{"name":"add"}]}"#);
    assert!(error.contains("method `add` is not called `Service/method`"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = Document::read(&path).unwrap_err();
    assert!(matches!(error, DocumentError::Io { .. }) && error.to_string().starts_with(&name), "{error}");
}

#[test]
fn a_document_of_others_is_read_as_far_as_it_goes() {
    let document = json!({
        "openrpc": "1.2.6",
        "info": {"title": "t", "version": "1", "license": {"name": "MIT"}},
        "servers": [{"url": "localhost"}],
        "methods": [{"name": "Calc/add", "params": [{"name": "a", "schema": {"type": "number"}}]}],
    });
    let read: Document = serde_json::from_value(document).unwrap();
    let calc: &ServiceSchema = read.find("Calc").unwrap();
    assert_eq!(calc.id, muxado_rpc::ServiceId::from_name("Calc"));
    let add = calc.method("add").unwrap();
    assert_eq!((add.parameter("a").unwrap().required, &add.output), (false, &None::<Value>));
}
