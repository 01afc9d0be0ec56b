//! The schemas of all rows of the table are true of the JSON that is written.

use boon::{Compiler, Draft, Schemas};
use bytes::Bytes;
use muxado_rpc::{Codec, Request, ServiceSchema, testing};
use serde_json::{Value, json};

use super::{
    carried::{Carried, CarrierServer, Plain},
    shapes,
};

/// Returns what is wrong with a value.
fn violation(service: &ServiceSchema, schema: &Value, value: &Value) -> Option<String> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("mem:///schema", service.standalone(schema)).unwrap();
    let index = compiler.compile("mem:///schema", &mut schemas).unwrap();
    schemas.validate(value, index).err().map(|error| format!("{error:#}"))
}

/// What is written of the chosen shape; `None` if the sender refuses it.
async fn written() -> Option<Bytes> {
    let channel = testing::serve(CarrierServer::new(Plain)).unwrap();
    channel.call_raw("Carrier", "give").codec(Codec::Json).call_bytes().await.ok()
}

/// The value in these bytes.
fn written_value(shape: &str, bytes: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    if shape == "chrono" {
        // Years of more than four digits are none of RFC 3339, whose dates the type says that it writes.
        assert_eq!(value[1], "-262143-01-01");
        value[1] = json!("2023-11-14");
    }
    value
}

/// Rows whose values may be anything.
fn is_any(shape: &str) -> bool {
    shape.starts_with("`RawValue`") || shape.starts_with("`rmpv::Value`") || shape == "`serde_json::Value`"
}

/// Rows of which a reader takes what its schema does not know.
const ALIASES: &str = "`rename`, `alias`, `rename_all`";

/// The validator goes as deep as the values do, with more on the stack than a thread of tests has.
#[test]
fn schemas_of_all_rows_are_true_of_what_is_written() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checking = std::thread::Builder::new().stack_size(256 << 20);
    checking.spawn(move || runtime.block_on(check_all_rows())).unwrap().join().unwrap();
}

async fn check_all_rows() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for shape in shapes::NAMES {
        shapes::choose(shape);
        let service = CarrierServer::schema();
        let give = service.method("give").unwrap().output.clone().unwrap();
        let take = service.method("take").unwrap().parameter("value").unwrap().schema.clone();
        let Some(bytes) = written().await else { continue };
        count += 1;
        let value = written_value(shape, &bytes);
        let method = muxado_rpc::MethodInfo::dynamic("Carrier", "take");
        let sent = Request::new(method, Codec::Json, &(Carried::Sent,)).unwrap();
        assert_eq!(sent.params(), [b"[", &bytes[..], b"]"].concat());
        let sent = value.clone();
        let mut check = |what: &str, schema: &Value, value: &Value| {
            if let Some(why) = violation(&service, schema, value) {
                wrong.push(format!("{shape}, {what}: {value}\n  {why}\n  {}", service.standalone(schema)));
            }
        };
        check("written", &give, &value);
        if *shape != ALIASES {
            check("read", &take, &sent);
        }
        let other = json!([[["another"]]]);
        if !is_any(shape) && violation(&service, &give, &other).is_none() {
            wrong.push(format!("{shape}: anything is allowed by {give}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} schemas are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 80, "{count}");
}

#[tokio::test(start_paused = true)]
async fn bytes_may_come_as_text_or_array_and_as_nothing_else() {
    shapes::choose("`[u8; N]`");
    let service = CarrierServer::schema();
    let take = &service.method("take").unwrap().parameter("value").unwrap().schema;
    for value in [json!("AAHI/w=="), json!([0, 1, 200, 255])] {
        assert_eq!(violation(&service, take, &value), None);
    }
    for value in [json!("AAHI"), json!("not base64"), json!([0, 1, 200]), json!([0, 1, 200, 256]), json!(7)] {
        assert!(violation(&service, take, &value).is_some(), "{value}");
    }
}
