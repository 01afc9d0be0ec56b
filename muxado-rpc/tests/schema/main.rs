//! Descriptions of services, documents of them, and what differs between two.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod described;
mod differences;
mod documents;
mod service;

use boon::{Compiler, Draft, Schemas};
use muxado_rpc::ServiceSchema;
use serde_json::Value;

/// Whether a schema of a service allows a value.
fn allows(service: &ServiceSchema, schema: &Value, value: &Value) -> bool {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("mem:///schema", service.standalone(schema)).unwrap();
    let index = compiler.compile("mem:///schema", &mut schemas).unwrap();
    schemas.validate(value, index).is_ok()
}
