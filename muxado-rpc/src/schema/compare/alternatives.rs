//! A schema as the list of what a value may be: types, constants, variants of an enumeration.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use super::values::{is_annotation, is_closed, properties, requires, resolve};

/// One of the things that a value may be.
#[derive(Debug)]
pub(super) struct Alternative<'a> {
    /// The type: `object`, `integer` and so on.
    kind: &'a str,
    label: Label<'a>,
    members: &'a Map<String, Value>,
}

/// What an alternative is told from others by.
#[derive(Clone, Debug, PartialEq)]
enum Label<'a> {
    /// Its type.
    Type,
    /// A constant, such as the variant of an enumeration without a value.
    Constant(Cow<'a, Value>),
    /// The only field of an object: a variant of an enumeration.
    Variant(&'a str),
    /// A field that is a constant: the tag of an enumeration.
    Tag(&'a str, &'a Value),
}

/// Returns what a value may be; `None` if it may be anything.
pub(super) fn alternatives<'a>(
    members: &'a Map<String, Value>,
    definitions: &'a BTreeMap<String, Value>,
) -> Option<Vec<Alternative<'a>>> {
    let mut found = Vec::new();
    collect(members, definitions, MAX_DEPTH, &mut found)?;
    Some(found)
}

/// Enumerations inside one another, without anything between them.
const MAX_DEPTH: usize = 32;

fn collect<'a>(
    members: &'a Map<String, Value>,
    definitions: &'a BTreeMap<String, Value>,
    depth: usize,
    found: &mut Vec<Alternative<'a>>,
) -> Option<()> {
    if let Some(values) = members.get("enum").and_then(Value::as_array) {
        let constant = |value| Alternative::constant(members, value);
        found.extend(values.iter().map(constant));
        return Some(());
    }
    if let Some(value) = members.get("const") {
        found.push(Alternative::constant(members, value));
        return Some(());
    }
    let branches = ["oneOf", "anyOf"].iter().find_map(|key| members.get(*key)?.as_array());
    if let (Some(branches), true) = (branches, depth > 0) {
        for branch in branches {
            match resolve(branch, definitions) {
                Value::Object(branch) => collect(branch, definitions, depth - 1, found)?,
                Value::Bool(true) => return None,
                _ => {}
            }
        }
        // The fields that a flattened enumeration stands beside are fields of each.
        if properties(members).next().is_some() {
            found.push(Alternative { kind: "object", label: Label::Type, members });
        }
        return Some(());
    }
    let kinds: Vec<_> = match members.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if members.keys().all(|key| is_annotation(key)) => return None,
        _ if members.contains_key("properties") => vec!["object"],
        _ => vec!["value"],
    };
    found.extend(kinds.into_iter().map(|kind| Alternative::of_type(members, kind)));
    Some(())
}

impl<'a> Alternative<'a> {
    fn constant(members: &'a Map<String, Value>, value: &'a Value) -> Self {
        Self { kind: "constant", label: Label::Constant(Cow::Borrowed(value)), members }
    }

    fn of_type(members: &'a Map<String, Value>, kind: &'a str) -> Self {
        let label = if kind == "object" { Label::of_object(members) } else { Label::Type };
        Self { kind, label, members }
    }

    pub(super) fn kind(&self) -> &'a str {
        self.kind
    }

    pub(super) fn members(&self) -> &'a Map<String, Value> {
        self.members
    }

    /// What stands for it in a path: the tag, since the name of a variant is that of its field.
    pub(super) fn step(&self) -> String {
        match &self.label {
            Label::Tag(_, Value::String(tag)) => format!("<{tag}>"),
            _ => String::new(),
        }
    }

    /// Whether both are the same thing, whatever differs inside.
    fn matches(&self, other: &Self) -> bool {
        let is_number = |kind: &str| kind == "integer" || kind == "number";
        let same_kind = self.kind == other.kind || is_number(self.kind) && is_number(other.kind);
        same_kind && self.label == other.label
    }
}

impl<'a> Label<'a> {
    fn of_object(members: &'a Map<String, Value>) -> Self {
        let constant = |schema: &'a Value| match schema.get("enum").and_then(Value::as_array) {
            Some(values) if values.len() == 1 => values.first(),
            _ => schema.get("const"),
        };
        let tag = properties(members)
            .filter(|(name, _)| requires(members, name))
            .find_map(|(name, schema)| Some((name, constant(schema)?)));
        if let Some((name, value)) = tag {
            return Self::Tag(name, value);
        }
        let mut all = properties(members);
        match (all.next(), all.next()) {
            (Some((name, _)), None) if requires(members, name) && is_closed(members) => Self::Variant(name),
            _ => Self::Type,
        }
    }
}

impl fmt::Display for Alternative<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, self.kind) {
            (Label::Constant(value), _) => write!(f, "`{value}`"),
            (Label::Variant(name), _) => write!(f, "the variant `{name}`"),
            (Label::Tag(tag, value), _) => write!(f, "the variant with `{tag}` = `{value}`"),
            (Label::Type, kind @ ("array" | "integer" | "object")) => write!(f, "an {kind}"),
            (Label::Type, "null") => f.write_str("null"),
            (Label::Type, kind) => write!(f, "a {kind}"),
        }
    }
}

/// Two lists of alternatives, side by side.
pub(super) struct Paired<'p, 'a> {
    /// Those that are in the old list only.
    pub(super) old: Vec<&'p Alternative<'a>>,
    /// Those that are in the new list only.
    pub(super) new: Vec<&'p Alternative<'a>>,
    /// Those that are in both.
    pub(super) both: Vec<(&'p Alternative<'a>, &'p Alternative<'a>)>,
}

/// Finds those that are in both lists. Of several that look the same, the first is paired with the first.
pub(super) fn paired<'p, 'a>(old: &'p [Alternative<'a>], new: &'p [Alternative<'a>]) -> Paired<'p, 'a> {
    let mut left: Vec<_> = new.iter().collect();
    let mut paired = Paired { old: Vec::new(), new: Vec::new(), both: Vec::new() };
    for one in old {
        match left.iter().position(|other| one.matches(other)) {
            Some(at) => paired.both.push((one, left.remove(at))),
            None => paired.old.push(one),
        }
    }
    paired.new = left;
    paired
}
