//! How the values that two schemas allow differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    alternatives::{Alternative, alternatives, paired},
    range::{Range, counts, numbers},
};
use crate::message::service_schema::defined_name;

type Definitions = BTreeMap<String, Value>;
type Members = Map<String, Value>;

/// How many of the values are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    None,
    /// Those that use what differs, or maybe none: it is not known.
    Some,
    /// Every one.
    All,
}

/// A difference.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) message: String,
    /// Which values of the old version a reader of the new one refuses.
    pub(super) narrowed: Extent,
    /// Which values of the new version a reader of the old one refuses.
    pub(super) widened: Extent,
}

/// Returns the differences between the values of two schemas.
pub(super) fn compare_values(
    path: &str,
    schemas: (&Value, &Value),
    definitions: (&Definitions, &Definitions),
) -> Vec<Finding> {
    let mut comparing = Comparing { definitions, seen: BTreeSet::new(), found: Vec::new() };
    comparing.compare(path, schemas.0, schemas.1);
    comparing.found
}

struct Comparing<'a> {
    definitions: (&'a Definitions, &'a Definitions),
    /// Where pairs lie that are, or were, compared: types may be recursive.
    seen: BTreeSet<(usize, usize)>,
    found: Vec<Finding>,
}

impl<'a> Comparing<'a> {
    fn add(&mut self, path: &str, message: impl Into<String>, narrowed: Extent, widened: Extent) {
        self.found.push(Finding { path: path.to_owned(), message: message.into(), narrowed, widened });
    }

    fn compare(&mut self, path: &str, old: &'a Value, new: &'a Value) {
        let (old, new) = (resolve(old, self.definitions.0), resolve(new, self.definitions.1));
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => self.compare_alternatives(path, old, new),
            (old, new) => match (allows_all(old), allows_all(new)) {
                (true, false) => self.add(path, "it is no longer any value", Extent::Some, Extent::None),
                (false, true) => self.add(path, "it is any value", Extent::None, Extent::Some),
                _ => {}
            },
        }
    }

    fn compare_alternatives(&mut self, path: &str, old: &'a Members, new: &'a Members) {
        let (old, new) = (alternatives(old, self.definitions.0), alternatives(new, self.definitions.1));
        let (old, new) = match (old, new) {
            (Some(old), Some(new)) => (old, new),
            (None, None) => return,
            (None, Some(_)) => {
                return self.add(path, "it is no longer any value", Extent::Some, Extent::None);
            }
            (Some(_), None) => return self.add(path, "it is any value", Extent::None, Extent::Some),
        };
        let pairs = paired(&old, &new);
        let is_replaced = pairs.both.is_empty() && !pairs.old.is_empty() && !pairs.new.is_empty();
        if is_replaced {
            let shown = |list: &[&Alternative<'_>]| {
                list.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
            };
            let message = format!("it is {} instead of {}", shown(&pairs.new), shown(&pairs.old));
            return self.add(path, message, Extent::All, Extent::All);
        }
        for gone in &pairs.old {
            self.add(path, format!("it is no longer {gone}"), Extent::Some, Extent::None);
        }
        for more in &pairs.new {
            self.add(path, format!("it may be {more}"), Extent::None, Extent::Some);
        }
        for (old, new) in pairs.both {
            let path = format!("{path}{}", old.step());
            self.compare_typed(&path, old, new);
        }
    }

    fn compare_typed(&mut self, path: &str, old: &Alternative<'a>, new: &Alternative<'a>) {
        match (old.kind(), new.kind()) {
            ("integer", "number") => self.add(path, "it may be a fraction", Extent::None, Extent::Some),
            ("number", "integer") => self.add(path, "it is no longer a fraction", Extent::Some, Extent::None),
            _ => {}
        }
        let (old, kind, new) = (old.members(), old.kind(), new.members());
        let place = |members: &Members| std::ptr::from_ref(members).addr();
        if ["array", "object"].contains(&kind) && !self.seen.insert((place(old), place(new))) {
            return;
        }
        match kind {
            "integer" | "number" => self.compare_ranges(path, numbers(old), numbers(new)),
            "string" => self.compare_texts(path, old, new),
            "array" => self.compare_arrays(path, old, new),
            "object" => self.compare_objects(path, old, new),
            _ => {}
        }
        for keyword in OPAQUE {
            if old.get(*keyword) != new.get(*keyword) {
                let message = format!("`{keyword}` of its schema differs, which is not looked into");
                self.add(path, message, Extent::Some, Extent::Some);
            }
        }
    }

    fn compare_ranges(&mut self, path: &str, old: Range, new: Range) {
        let extent = |is: bool| if is { Extent::Some } else { Extent::None };
        let (narrowed, widened) = (!new.contains(&old), !old.contains(&new));
        if narrowed || widened {
            let message = format!("it is {new} instead of {old}");
            self.add(path, message, extent(narrowed), extent(widened));
        }
    }

    fn compare_texts(&mut self, path: &str, old: &'a Members, new: &'a Members) {
        self.compare_ranges(path, counts(old, "Length", "long"), counts(new, "Length", "long"));
        for keyword in ["format", "pattern", "contentEncoding"] {
            let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            match (old.get(keyword), new.get(keyword)) {
                (Some(old), None) => {
                    let message = format!("its {keyword} is no longer `{}`", shown(old));
                    self.add(path, message, Extent::None, Extent::Some);
                }
                (None, Some(new)) => {
                    let message = format!("its {keyword} is `{}`", shown(new));
                    self.add(path, message, Extent::Some, Extent::None);
                }
                (Some(old), Some(new)) if old != new => {
                    let message = format!("its {keyword} is `{}` instead of `{}`", shown(new), shown(old));
                    self.add(path, message, Extent::Some, Extent::Some);
                }
                _ => {}
            }
        }
    }

    fn compare_arrays(&mut self, path: &str, old: &'a Members, new: &'a Members) {
        let tuple = |members: &'a Members| {
            members.get("prefixItems").or_else(|| members.get("items")).and_then(Value::as_array)
        };
        match (tuple(old), tuple(new)) {
            (Some(old), Some(new)) => {
                if old.len() != new.len() {
                    let message = format!("it has {} elements instead of {}", new.len(), old.len());
                    return self.add(path, message, Extent::All, Extent::All);
                }
                for (i, (old, new)) in old.iter().zip(new).enumerate() {
                    self.compare(&format!("{path}[{i}]"), old, new);
                }
            }
            (None, None) => {
                self.compare_ranges(path, counts(old, "Items", "many"), counts(new, "Items", "many"));
                let path = format!("{path}[]");
                self.compare(&path, old.get("items").unwrap_or(&ANY), new.get("items").unwrap_or(&ANY));
            }
            (was_tuple, _) => {
                let message = if was_tuple.is_some() { "it is no longer a tuple" } else { "it is a tuple" };
                self.add(path, message, Extent::All, Extent::All);
            }
        }
    }

    fn compare_objects(&mut self, path: &str, old: &'a Members, new: &'a Members) {
        let names: BTreeSet<_> = [old, new].into_iter().flat_map(properties).map(|(name, _)| name).collect();
        for name in names {
            let path = format!("{path}.{name}");
            let (was_required, is_required) = (requires(old, name), requires(new, name));
            match (property(old, name), property(new, name)) {
                (Some(old), Some(new)) => {
                    match (was_required, is_required) {
                        (false, true) => self.add(&path, "it is required", Extent::Some, Extent::None),
                        (true, false) => self.add(&path, "it may be left out", Extent::None, Extent::Some),
                        _ => {}
                    }
                    self.compare(&path, old, new);
                }
                (Some(_), None) => {
                    let widened = if was_required { Extent::All } else { Extent::None };
                    let narrowed = if is_closed(new) { Extent::Some } else { Extent::None };
                    let what = if was_required { "a required" } else { "an optional" };
                    self.add(&path, format!("{what} field is removed"), narrowed, widened);
                }
                (None, Some(_)) => {
                    let narrowed = if is_required { Extent::All } else { Extent::None };
                    let widened = if is_closed(old) { Extent::Some } else { Extent::None };
                    let what = if is_required { "a required" } else { "an optional" };
                    self.add(&path, format!("{what} field is new"), narrowed, widened);
                }
                (None, None) => {}
            }
        }
        self.compare_other_names(path, old, new);
    }

    /// Compares what objects may have beside named fields: the values of maps.
    fn compare_other_names(&mut self, path: &str, old: &'a Members, new: &'a Members) {
        let path = format!("{path}.*");
        match (map_values(old), map_values(new)) {
            (Some((old_names, old)), Some((new_names, new))) => {
                if old_names != new_names {
                    self.add(&path, "the keys are of another form", Extent::Some, Extent::Some);
                }
                self.compare(&path, old, new);
            }
            (Some(_), None) => self.add(&path, "other names are ignored", Extent::None, Extent::None),
            (None, Some(_)) => self.add(&path, "other names are read", Extent::Some, Extent::None),
            (None, None) => match (is_closed(old), is_closed(new)) {
                (false, true) => self.add(&path, "other names are refused", Extent::Some, Extent::None),
                (true, false) => self.add(&path, "other names are ignored", Extent::None, Extent::Some),
                _ => {}
            },
        }
    }
}

/// Keywords whose meaning is not looked into.
const OPAQUE: &[&str] = &["allOf", "not", "if", "then", "else", "multipleOf", "dependentSchemas"];

const ANY: Value = Value::Bool(true);

fn allows_all(schema: &Value) -> bool {
    *schema == ANY
}

/// Follows references.
pub(super) fn resolve<'a>(mut schema: &'a Value, definitions: &'a Definitions) -> &'a Value {
    // A chain that is longer than there are definitions is a circle.
    for _ in 0..=definitions.len() {
        let reference = match schema {
            Value::Object(members) => members.get("$ref").and_then(Value::as_str),
            _ => None,
        };
        if let Some(definition) = reference.and_then(defined_name).and_then(|name| definitions.get(&name)) {
            schema = definition;
            continue;
        }
        // A reference with a description beside it.
        let only = match schema {
            Value::Object(members) if members.keys().all(|key| key == "allOf" || is_annotation(key)) => {
                members.get("allOf").and_then(Value::as_array)
            }
            _ => None,
        };
        match only.map(Vec::as_slice) {
            Some([only]) => schema = only,
            _ => break,
        }
    }
    schema
}

/// Whether a keyword says nothing of what values there are.
pub(super) fn is_annotation(keyword: &str) -> bool {
    ["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"]
        .contains(&keyword)
        || keyword.starts_with("x-")
}

pub(super) fn properties(members: &Members) -> impl Iterator<Item = (&str, &Value)> {
    let properties = members.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

fn property<'a>(members: &'a Members, name: &str) -> Option<&'a Value> {
    members.get("properties")?.get(name)
}

pub(super) fn requires(members: &Members, name: &str) -> bool {
    let required = members.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|required| required == name))
}

/// Whether an object may have no other names than those that are listed.
pub(super) fn is_closed(members: &Members) -> bool {
    members.get("additionalProperties") == Some(&Value::Bool(false))
        && !members.contains_key("patternProperties")
}

/// The form of the names of a map, and the schema of its values.
fn map_values(members: &Members) -> Option<(Option<&str>, &Value)> {
    if let Some(patterns) = members.get("patternProperties").and_then(Value::as_object) {
        return patterns.iter().next().map(|(pattern, schema)| (Some(pattern.as_str()), schema));
    }
    match members.get("additionalProperties") {
        Some(schema @ Value::Object(_)) => Some((None, schema)),
        _ => None,
    }
}
