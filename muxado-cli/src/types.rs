//! JSON Schemas as types: short, and readable at a glance.

use std::collections::BTreeSet;

use muxado_rpc::{MethodSchema, ServiceSchema};
use serde_json::{Map, Value};

use crate::output::visible;

/// How deep schemas are followed that have others in them.
const MAX_DEPTH: usize = 32;

/// Returns a schema as a type on one line, such as `[u32]`, `string?` or `{ to: string, label?: bytes }`.
pub(crate) fn type_of(schema: &Value) -> String {
    visible(&render(schema, MAX_DEPTH))
}

/// Returns the signature of a method, such as `send(parcel: Parcel) -> u64 throws Refused`.
pub(crate) fn signature(method: &MethodSchema) -> String {
    let mut takes: Vec<String> = match &method.params {
        None => vec!["..".to_owned()],
        Some(params) => params
            .iter()
            .map(|parameter| {
                let option = if parameter.required { "" } else { "?" };
                format!("{}{option}: {}", parameter.name, type_of(&parameter.schema))
            })
            .collect(),
    };
    if method.shape.streams_input() {
        takes.push(format!("stream {}", method.input.as_ref().map_or_else(|| "..".to_owned(), type_of)));
    }
    let stream = if method.shape.streams_output() { "stream " } else { "" };
    let output = method.output.as_ref().map_or_else(|| "..".to_owned(), type_of);
    let error = method.error.as_ref().map_or_else(String::new, |error| format!(" throws {}", type_of(error)));
    visible(&format!("{}({}) -> {stream}{output}{error}", method.name, takes.join(", ")))
}

/// Returns the definition that a reference leads to, and its name.
pub(crate) fn defined<'a>(service: &'a ServiceSchema, schema: &Value) -> Option<(&'a str, &'a Value)> {
    let name = reference(schema)?;
    service.definitions.get_key_value(&name).map(|(name, schema)| (&**name, schema))
}

/// Returns the names of the definitions that these schemas refer to, also by others.
pub(crate) fn used<'a>(service: &'a ServiceSchema, schemas: &[&Value]) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let mut left: Vec<&Value> = schemas.to_vec();
    while let Some(schema) = left.pop() {
        if let Some((name, definition)) = defined(service, schema)
            && names.insert(name)
        {
            left.push(definition);
        }
        match schema {
            Value::Array(elements) => left.extend(elements),
            Value::Object(members) => left.extend(members.values()),
            _ => {}
        }
    }
    names
}

/// Returns the name that a reference of a schema leads to.
fn reference(schema: &Value) -> Option<String> {
    let reference = schema.get("$ref")?.as_str()?;
    let segment = reference.rsplit('/').next()?;
    Some(percent_decoded(segment).replace("~1", "/").replace("~0", "~"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn render(schema: &Value, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else { return "..".to_owned() };
    let members = match schema {
        Value::Bool(false) => return "never".to_owned(),
        Value::Object(members) => members,
        _ => return "any".to_owned(),
    };
    if let Some(name) = reference(schema) {
        return name;
    }
    if let Some(value) = members.get("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = members.get("enum") {
        return join(values.iter().map(ToString::to_string));
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(Value::Array(alternatives)) = members.get(word) {
            return alternatives_of(members, alternatives, depth);
        }
    }
    if let Some(Value::Array(all)) = members.get("allOf") {
        return all.iter().map(|part| render(part, depth)).collect::<Vec<_>>().join(" & ");
    }
    match members.get("type") {
        Some(Value::String(name)) => of_type(name, members, depth),
        Some(Value::Array(names)) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            let others = names.iter().filter(|name| **name != "null");
            let shown = join(others.map(|name| of_type(name, members, depth)));
            if names.contains(&"null") { optional(&shown) } else { shown }
        }
        _ if members.contains_key("properties") => of_type("object", members, depth),
        _ => "any".to_owned(),
    }
}

/// `A | B`, or `A?` where the other one is null. What stands beside the alternatives holds for each of them.
fn alternatives_of(members: &Map<String, Value>, alternatives: &[Value], depth: usize) -> String {
    let is_null = |schema: &&Value| schema.get("type").is_some_and(|name| name == "null");
    let others = alternatives.iter().filter(|schema| !is_null(schema));
    let shown = join(others.map(|schema| render(schema, depth)));
    let shown = if members.contains_key("properties") {
        format!("{} & ({shown})", of_type("object", members, depth))
    } else {
        shown
    };
    if alternatives.iter().any(|schema| is_null(&schema)) { optional(&shown) } else { shown }
}

fn optional(shown: &str) -> String {
    if shown.contains(" | ") || shown.contains(" & ") { format!("({shown})?") } else { format!("{shown}?") }
}

fn join(types: impl Iterator<Item = String>) -> String {
    let mut seen = Vec::new();
    for shown in types {
        if !seen.contains(&shown) {
            seen.push(shown);
        }
    }
    // Bytes come as an array of numbers from older peers; people write base64.
    if seen.iter().any(|shown| shown == "bytes") {
        seen.retain(|shown| shown != "[u8]");
    }
    seen.join(" | ")
}

fn of_type(name: &str, members: &Map<String, Value>, depth: usize) -> String {
    let format = members.get("format").and_then(Value::as_str);
    match name {
        "string" if members.get("contentEncoding").is_some_and(|word| word == "base64") => "bytes".to_owned(),
        "string" => format.map_or_else(|| "string".to_owned(), |format| format!("string<{format}>")),
        "integer" => format.map_or("integer", number).to_owned(),
        "number" => format.map_or("number", number).to_owned(),
        "boolean" => "bool".to_owned(),
        "array" => array(members, depth),
        "object" => object(members, depth),
        name => name.to_owned(),
    }
}

/// Returns the word of Rust for a format of a number.
fn number(format: &str) -> &str {
    match format {
        "float" => "f32",
        "double" => "f64",
        "uint" => "usize",
        "int" => "isize",
        "uint8" => "u8",
        "uint16" => "u16",
        "uint32" => "u32",
        "uint64" => "u64",
        "uint128" => "u128",
        "int8" => "i8",
        "int16" => "i16",
        "int32" => "i32",
        "int64" => "i64",
        "int128" => "i128",
        other => other,
    }
}

fn array(members: &Map<String, Value>, depth: usize) -> String {
    match members.get("prefixItems").or_else(|| members.get("items")) {
        Some(Value::Array(elements)) => {
            let elements: Vec<_> = elements.iter().map(|element| render(element, depth)).collect();
            format!("({})", elements.join(", "))
        }
        Some(element) => format!("[{}]", render(element, depth)),
        None => "[any]".to_owned(),
    }
}

fn object(members: &Map<String, Value>, depth: usize) -> String {
    let mut fields: Vec<_> = fields(members)
        .into_iter()
        .map(|field| format!("{}: {}", field.label(), render(field.schema, depth)))
        .collect();
    if let Some(Value::Object(patterns)) = members.get("patternProperties") {
        fields.extend(patterns.iter().map(|(pattern, schema)| {
            let key = if pattern.contains("\\d+") { "integer" } else { "string" };
            format!("[{key}]: {}", render(schema, depth))
        }));
    }
    match members.get("additionalProperties") {
        Some(Value::Bool(_)) | None => {}
        Some(schema) => fields.push(format!("[string]: {}", render(schema, depth))),
    }
    if fields.is_empty() { "object".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_required: bool,
    pub(crate) schema: &'a Value,
}

impl Field<'_> {
    /// Returns the name, with a question mark if the field may be left out.
    pub(crate) fn label(&self) -> String {
        visible(&format!("{}{}", self.name, if self.is_required { "" } else { "?" }))
    }
}

/// Returns the fields of the schema of an object: those that are required first, as they were declared.
pub(crate) fn fields(members: &Map<String, Value>) -> Vec<Field<'_>> {
    let Some(Value::Object(properties)) = members.get("properties") else { return Vec::new() };
    let required: Vec<_> = members
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let place = |name: &str| required.iter().position(|required| *required == name);
    let mut fields: Vec<_> = properties
        .iter()
        .map(|(name, schema)| Field { name, is_required: place(name).is_some(), schema })
        .collect();
    fields.sort_by_key(|field| place(field.name).unwrap_or(usize::MAX));
    fields
}

/// Returns the smallest value that a schema may take, as a beginning for one that is meant.
pub(crate) fn example(service: &ServiceSchema, schema: &Value) -> Value {
    Sampler { service, left: 500 }.sample(schema, 8)
}

/// Makes examples, of a bounded size: schemas may refer to each other many times.
struct Sampler<'a> {
    service: &'a ServiceSchema,
    /// How many values may still be made.
    left: usize,
}

impl Sampler<'_> {
    fn sample(&mut self, schema: &Value, depth: usize) -> Value {
        let (Some(depth), Some(left)) = (depth.checked_sub(1), self.left.checked_sub(1)) else {
            return Value::Null;
        };
        self.left = left;
        if let Some((_, definition)) = defined(self.service, schema) {
            return self.sample(definition, depth);
        }
        let Value::Object(members) = schema else { return Value::Null };
        if let Some(value) = members.get("const").or_else(|| members.get("default")) {
            return value.clone();
        }
        let first = |word: &str| members.get(word).and_then(Value::as_array).and_then(|all| all.first());
        if let Some(value) = first("enum") {
            return value.clone();
        }
        if let Some(alternative) = first("oneOf").or_else(|| first("anyOf")).or_else(|| first("allOf")) {
            return self.sample(alternative, depth);
        }
        let name = match members.get("type") {
            Some(Value::Array(names)) => names.first().and_then(Value::as_str),
            name => name.and_then(Value::as_str),
        };
        match name {
            Some("string") => text(members).into(),
            Some("integer" | "number") => members.get("minimum").cloned().unwrap_or_else(|| 0.into()),
            Some("boolean") => false.into(),
            Some("array") => match members.get("items") {
                Some(Value::Array(elements)) => {
                    elements.iter().map(|element| self.sample(element, depth)).collect()
                }
                _ => Value::Array(Vec::new()),
            },
            Some("object") => {
                let fields = fields(members).into_iter().filter(|field| field.is_required);
                fields.map(|field| (field.name.to_owned(), self.sample(field.schema, depth))).collect()
            }
            _ => Value::Null,
        }
    }
}

fn text(members: &Map<String, Value>) -> &'static str {
    match members.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time" | "partial-time") => "00:00:00",
        Some("uuid") => "00000000-0000-0000-0000-000000000000",
        Some("ipv4" | "ip") => "127.0.0.1",
        Some("ipv6") => "::1",
        _ if members.contains_key("contentEncoding") => "AAEC",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use muxado_rpc::{ServiceId, Shape};
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_shown_as_types() {
        for (schema, shown) in [
            (json!(true), "any"),
            (json!({"type": "integer", "format": "uint64", "minimum": 0}), "u64"),
            (json!({"type": ["string", "null"]}), "string?"),
            (json!({"type": "string", "contentEncoding": "base64"}), "bytes"),
            (
                json!({"anyOf": [{"type": "string", "contentEncoding": "base64"}, {"items": {"type": "integer", "format": "uint8"}, "type": "array"}]}),
                "bytes",
            ),
            (json!({"type": "string", "format": "uuid"}), "string<uuid>"),
            (json!({"type": "array", "items": {"$ref": "#/definitions/A~1B"}}), "[A/B]"),
            (json!({"type": "array", "items": [{"type": "null"}, {"type": "boolean"}]}), "(null, bool)"),
            (json!({"anyOf": [{"$ref": "#/definitions/A"}, {"type": "null"}]}), "A?"),
            (json!({"oneOf": [{"const": "a"}, {"enum": ["b", "c"]}]}), "\"a\" | \"b\" | \"c\""),
            (
                json!({"type": "object", "additionalProperties": {"type": "number", "format": "double"}}),
                "{ [string]: f64 }",
            ),
            (
                json!({"type": "object", "patternProperties": {r"^-?\d+$": {"type": "boolean"}}, "additionalProperties": false}),
                "{ [integer]: bool }",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {}}, "required": ["b"]}),
                "{ b: any, a?: null }",
            ),
        ] {
            assert_eq!(type_of(&schema), shown, "{schema}");
        }
    }

    #[test]
    fn signatures_say_what_goes_in_and_out() {
        let mut method = MethodSchema::new("m", Shape::Bidirectional);
        assert_eq!(signature(&method), "m(.., stream ..) -> stream ..");
        method.params = Some(Vec::new());
        method.input = Some(json!({"type": "string"}));
        method.output = Some(json!({"type": "null"}));
        method.error = Some(json!({"$ref": "#/definitions/E"}));
        assert_eq!(signature(&method), "m(stream string) -> stream null throws E");
    }

    #[test]
    fn examples_have_what_is_required() {
        let mut service = ServiceSchema::new("S", ServiceId::new(1));
        let item = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}, "o": {}}, "required": ["n"]});
        service.definitions.insert("Item".to_owned(), item);
        service.definitions.insert("Loop".to_owned(), json!({"allOf": [{"$ref": "#/definitions/Loop"}]}));
        assert_eq!(example(&service, &json!({"$ref": "#/definitions/Item"})), json!({"n": 3}));
        assert_eq!(example(&service, &json!({"$ref": "#/definitions/Loop"})), Value::Null);
        assert_eq!(used(&service, &[&json!({"items": {"$ref": "#/definitions/Item"}})]).len(), 1);
    }
}
