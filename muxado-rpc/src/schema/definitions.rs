//! Schemas that others refer to by names, and how those of several sources come together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    ServiceSchema,
    message::service_schema::{defined_name, each_reference, reference_to},
};

/// Schemas by their names.
pub(super) type Definitions = BTreeMap<String, Value>;

/// Adds definitions to others. Those that have a name that is taken get another, unless they are the same. Returns the
/// names that were replaced.
pub(super) fn merge(
    into: &mut Definitions,
    from: Definitions,
    rename: impl Fn(&str) -> String,
) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    for name in conflicting(into, &from) {
        let mut other = rename(&name);
        while into.contains_key(&other) || from.contains_key(&other) {
            other.push('_');
        }
        renamed.insert(name, other);
    }
    for (name, mut schema) in from {
        rename_references(&mut schema, &renamed);
        into.insert(renamed.get(&name).cloned().unwrap_or(name), schema);
    }
    renamed
}

/// Leaves a service those definitions that its methods refer to.
pub(super) fn prune(service: &mut ServiceSchema) {
    let mut used = Definitions::new();
    for method in &service.methods {
        let params = method.params.iter().flatten().map(|parameter| &parameter.schema);
        for schema in params.chain([&method.input, &method.output, &method.error].into_iter().flatten()) {
            if let Some(Value::Object(found)) = service.standalone(schema).get("definitions") {
                used.extend(found.iter().map(|(name, schema)| (name.clone(), schema.clone())));
            }
        }
    }
    service.definitions = used;
}

/// Names that do not mean the same in both: another schema, or the same that refers to another.
fn conflicting(into: &Definitions, from: &Definitions) -> BTreeSet<String> {
    let shared = || from.iter().filter(|(name, _)| into.contains_key(*name));
    let mut found: BTreeSet<_> =
        shared().filter(|(name, schema)| into[*name] != **schema).map(|(name, _)| name.clone()).collect();
    loop {
        let mut more = Vec::new();
        for (name, schema) in shared().filter(|(name, _)| !found.contains(*name)) {
            let mut refers = false;
            each_reference(schema, &mut |reference| {
                refers |= defined_name(reference).is_some_and(|name| found.contains(&name));
            });
            more.extend(refers.then(|| name.clone()));
        }
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Replaces names in all references of a schema.
pub(super) fn rename_references(schema: &mut Value, renamed: &BTreeMap<String, String>) {
    if !renamed.is_empty() {
        map_references(schema, &|reference| Some(reference_to(renamed.get(&defined_name(reference)?)?)));
    }
}

/// Replaces the references in a schema for which the function returns another.
pub(super) fn map_references(value: &mut Value, map: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(|element| map_references(element, map)),
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(other) = map(reference) {
                            *reference = other;
                        }
                    }
                    member => map_references(member, map),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definitions(value: Value) -> Definitions {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_same_is_there_once_and_others_are_renamed_with_all_that_refer_to_them() {
        let mut into = definitions(json!({
            "Same": {"type": "string"},
            "Other": {"type": "string"},
            "Around": {"items": {"$ref": "#/definitions/Other"}},
        }));
        let from = definitions(json!({
            "Same": {"type": "string"},
            "Other": {"type": "integer"},
            "Around": {"items": {"$ref": "#/definitions/Other"}},
            "New": {"$ref": "#/definitions/Around"},
        }));
        let renamed = merge(&mut into, from, |name| format!("B.{name}"));
        assert_eq!(
            renamed,
            [("Around", "B.Around"), ("Other", "B.Other")].map(|(a, b)| (a.into(), b.into())).into()
        );
        let expected = json!({
            "Same": {"type": "string"},
            "Other": {"type": "string"},
            "Around": {"items": {"$ref": "#/definitions/Other"}},
            "B.Other": {"type": "integer"},
            "B.Around": {"items": {"$ref": "#/definitions/B.Other"}},
            "New": {"$ref": "#/definitions/B.Around"},
        });
        assert_eq!(into, definitions(expected));
    }
}
