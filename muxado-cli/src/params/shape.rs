//! A value beside its schema: where bytes are, and which fields nobody knows.

use muxado_rpc::ServiceSchema;
use serde_json::Value;

use crate::{json::tree::Tree, output::visible, suggest::did_you_mean, types::defined};

/// How many schemas are looked at for one value: those that refer to one another are never all read.
const MAX_SCHEMAS: usize = 256;

/// Returns all schemas that a value may be one of: the alternatives, and what references lead to.
fn all_of<'a>(service: &'a ServiceSchema, schemas: Vec<&'a Value>) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = Vec::new();
    let mut left = schemas;
    while let Some(schema) = left.pop() {
        if found.len() == MAX_SCHEMAS || found.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        found.push(schema);
        left.extend(defined(service, schema).map(|(_, definition)| definition));
        for word in ["allOf", "anyOf", "oneOf"] {
            left.extend(schema.get(word).and_then(Value::as_array).into_iter().flatten());
        }
    }
    found
}

/// Returns the schemas of a member of an object.
fn of_member<'a>(schemas: &[&'a Value], name: &str) -> Vec<&'a Value> {
    let mut found: Vec<_> = schemas.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect();
    if found.is_empty() {
        // Whether a key fits its pattern is checked by the validator.
        let patterns = schemas.iter().filter_map(|schema| schema.get("patternProperties")?.as_object());
        found.extend(patterns.flat_map(|patterns| patterns.values()));
    }
    if found.is_empty() {
        found.extend(schemas.iter().filter_map(|schema| schema.get("additionalProperties")));
    }
    found
}

/// Returns the schemas of an element of an array.
fn of_element<'a>(schemas: &[&'a Value], at: usize) -> Vec<&'a Value> {
    let element = |schema: &&'a Value| match schema.get("prefixItems").or_else(|| schema.get("items"))? {
        Value::Array(elements) => elements.get(at).or_else(|| schema.get("additionalItems")),
        all => Some(all),
    };
    schemas.iter().filter_map(element).collect()
}

fn is_bytes(schema: &Value) -> bool {
    schema.get("contentEncoding").is_some_and(|encoding| encoding == "base64")
}

/// Returns whether a schema takes texts that are no bytes.
fn takes_text(schema: &Value) -> bool {
    let is_text = |name: &Value| name == "string";
    let named = schema.get("type").is_some_and(|name| match name {
        Value::Array(names) => names.iter().any(is_text),
        name => is_text(name),
    });
    !is_bytes(schema) && (named || ["const", "enum"].iter().any(|word| schema.get(word).is_some()))
}

/// Makes bytes of what the schema says is base64.
pub(super) fn with_bytes(service: &ServiceSchema, schema: &Value, tree: Tree) -> Tree {
    cast(service, vec![schema], tree, &|schemas, text| {
        if !schemas.iter().any(|schema| is_bytes(schema)) || schemas.iter().any(|schema| takes_text(schema)) {
            return None;
        }
        data_encoding::BASE64.decode(text.as_bytes()).ok().map(Tree::Bytes)
    })
}

/// Makes numbers of integers that MessagePack has as 16 bytes, which are base64 in JSON.
pub(crate) fn with_large_integers(service: &ServiceSchema, schema: &Value, json: &str) -> Option<String> {
    let is_large =
        |schema: &&Value| schema.get("format").is_some_and(|name| name == "int128" || name == "uint128");
    let is_signed = |schema: &&Value| schema.get("format").is_some_and(|name| name == "int128");
    let whole = service.standalone(schema).to_string();
    if !whole.contains("int128") {
        return None;
    }
    let tree = cast(service, vec![schema], Tree::parse(json).ok()?, &|schemas, text| {
        let large = schemas.iter().find(|schema| is_large(schema))?;
        let bytes = <[u8; 16]>::try_from(data_encoding::BASE64.decode(text.as_bytes()).ok()?).ok()?;
        Some(Tree::Number(if is_signed(large) {
            i128::from_be_bytes(bytes).to_string()
        } else {
            u128::from_be_bytes(bytes).to_string()
        }))
    });
    Some(tree.to_json())
}

/// Puts something else in the place of texts, by what may be there.
fn cast(
    service: &ServiceSchema,
    schemas: Vec<&Value>,
    tree: Tree,
    replace: &dyn Fn(&[&Value], &str) -> Option<Tree>,
) -> Tree {
    let schemas = all_of(service, schemas);
    match tree {
        Tree::Text(text) => replace(&schemas, &text).unwrap_or(Tree::Text(text)),
        Tree::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            Tree::Array(
                elements
                    .map(|(at, element)| cast(service, of_element(&schemas, at), element, replace))
                    .collect(),
            )
        }
        Tree::Object(members) => {
            let cast_member = |(name, value): (String, Tree)| {
                let schemas = of_member(&schemas, &name);
                let value = cast(service, schemas, value, replace);
                (name, value)
            };
            Tree::Object(members.into_iter().map(cast_member).collect())
        }
        scalar => scalar,
    }
}

/// Says which fields of a value its schema does not know: servers ignore them, so that they may be misspelt.
pub(super) fn unknown_fields(
    service: &ServiceSchema,
    schema: &Value,
    value: &Value,
    path: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    find_unknown(service, vec![schema], value, path, &mut found);
    found
}

fn find_unknown(
    service: &ServiceSchema,
    schemas: Vec<&Value>,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    let schemas = all_of(service, schemas);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of_member = of_member(&schemas, name);
                if of_member.is_empty() {
                    found.extend(unknown(&schemas, name, members, &inner));
                } else {
                    find_unknown(service, of_member, member, &inner, found);
                }
            }
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                find_unknown(service, of_element(&schemas, at), element, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// Says that a field is not known, if it is known which fields there are.
fn unknown(
    schemas: &[&Value],
    name: &str,
    given: &serde_json::Map<String, Value>,
    path: &str,
) -> Option<String> {
    let known: Vec<&str> = schemas
        .iter()
        .filter_map(|schema| schema.get("properties")?.as_object())
        .flat_map(|properties| properties.keys().map(String::as_str))
        .collect();
    if known.is_empty() {
        return None;
    }
    let free = known.into_iter().filter(|known| !given.contains_key(*known));
    let hint = did_you_mean(name, free).map_or_else(String::new, |hint| format!("; {hint}"));
    Some(visible(&format!("{path}: there is no such field, so that it has no effect{hint}")))
}
