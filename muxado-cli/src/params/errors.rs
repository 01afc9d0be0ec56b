//! What a validator finds, in words: which part of a value is wrong, and how.

use std::fmt;

use boon::{ErrorKind, InstanceToken, Type, Types, ValidationError};
use serde_json::Value;

use crate::suggest::{did_you_mean, similar};

/// What is wrong with a part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Such as `parcel.sizes[2]`; empty for the value as a whole.
    path: String,
    text: String,
}

impl Problem {
    pub(super) fn new(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.text),
            path => write!(f, "{path}: {}", self.text),
        }
    }
}

/// Returns what is wrong with a value, in the order of its parts. `path` leads to the value itself.
pub(super) fn problems(error: &ValidationError<'_, '_>, value: &Value, path: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    gather(error, value, path, &mut found);
    found.dedup();
    found
}

fn gather(error: &ValidationError<'_, '_>, value: &Value, root: &str, found: &mut Vec<Problem>) {
    let path = || path(root, error);
    match &error.kind {
        ErrorKind::AnyOf | ErrorKind::OneOf(None) => of_alternatives(error, value, root, found),
        ErrorKind::Required { want } => {
            let given = at(value, error).and_then(Value::as_object);
            for name in want {
                let inner = join_path(&path(), name);
                let given = given.into_iter().flat_map(|given| given.keys().map(String::as_str));
                let hint = similar(name, given)
                    .first()
                    .map_or_else(String::new, |given| format!("; is it `{given}` that is meant?"));
                found.push(Problem::new(&inner, format!("is missing{hint}")));
            }
        }
        _ if error.causes.is_empty() => {
            let text = text(&error.kind, at(value, error));
            found.push(Problem { path: path(), text });
        }
        _ => error.causes.iter().for_each(|cause| gather(cause, value, root, found)),
    }
}

/// None of several alternatives fits. That one is spoken of whose tag is given, or which is right the furthest down; if
/// there is none, all are.
fn of_alternatives(error: &ValidationError<'_, '_>, value: &Value, root: &str, found: &mut Vec<Problem>) {
    let here = error.instance_location.tokens.len();
    let depth = |cause: &ValidationError<'_, '_>| deepest(cause);
    let mut causes: Vec<_> = error.causes.iter().collect();
    if let Some(tag) = tag(error) {
        let of_others = |cause: &&ValidationError<'_, '_>| constants_at(cause, &tag).next().is_some();
        if causes.iter().all(of_others) {
            let values: Vec<_> = constants_at(error, &tag).cloned().collect();
            let got = at(value, error).and_then(|value| value.get(&tag));
            let inner = join_path(&path(root, error), &tag);
            return found.push(Problem { path: inner, text: not_among(&values, got) });
        }
        causes.retain(|cause| !of_others(cause));
        if let [cause] = causes[..] {
            return gather(cause, value, root, found);
        }
    }
    let best = causes.into_iter().max_by_key(|cause| depth(cause));
    let got = at(value, error);
    match best {
        Some(best) if depth(best) > here => gather(best, value, root, found),
        // Alternatives that are objects differ in what they require.
        _ if got.is_some_and(Value::is_object) && named(error).is_some() => {
            let names = named(error).unwrap_or_default();
            let given = got.and_then(Value::as_object).into_iter().flat_map(|given| given.keys());
            let hint = given
                .filter_map(|name| did_you_mean(name, names.iter().map(String::as_str)))
                .next()
                .map_or_else(String::new, |hint| format!("; {hint}"));
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            found
                .push(Problem { path: path(root, error), text: format!("has to have one of {names}{hint}") });
        }
        _ => {
            let values = constants(error);
            let text = if values.is_empty() {
                format!("{} fits none of the alternatives: {}", shown(got), wanted(error).join(", or "))
            } else {
                not_among(&values, got)
            };
            found.push(Problem { path: path(root, error), text });
        }
    }
}

/// Returns the field whose value says which of the alternatives an object is, if there is one.
fn tag(error: &ValidationError<'_, '_>) -> Option<String> {
    let here = error.instance_location.tokens.len();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for cause in &error.causes {
        leaves(cause, &mut |leaf| {
            let tokens = &leaf.instance_location.tokens;
            let is_constant = matches!(leaf.kind, ErrorKind::Const { .. });
            if let Some(InstanceToken::Prop(name)) = tokens.get(here)
                && is_constant
                && tokens.len() == here + 1
            {
                match counts.iter_mut().find(|(known, _)| known == name) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((name, 1)),
                }
            }
        });
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
}

/// Returns the constants that alternatives require of the field `name`, and do not find there.
fn constants_at<'e>(error: &'e ValidationError<'_, '_>, name: &str) -> impl Iterator<Item = &'e Value> {
    let mut values = Vec::new();
    leaves(error, &mut |leaf| {
        let is_here =
            matches!(leaf.instance_location.tokens.last(), Some(InstanceToken::Prop(last)) if last == name);
        if let ErrorKind::Const { want } = &leaf.kind
            && is_here
        {
            values.push(*want);
        }
    });
    values.into_iter()
}

/// How many steps it is to the part of the value that the deepest error is about.
fn deepest(error: &ValidationError<'_, '_>) -> usize {
    let own = error.instance_location.tokens.len();
    error.causes.iter().map(deepest).max().unwrap_or(own).max(own)
}

/// The fields of which alternatives require one each.
fn named(error: &ValidationError<'_, '_>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    leaves(error, &mut |leaf| {
        if let ErrorKind::Required { want } = &leaf.kind {
            names.extend(want.iter().map(|name| (*name).to_owned()));
        }
    });
    (!names.is_empty()).then_some(names)
}

/// The constants that the alternatives are.
fn constants(error: &ValidationError<'_, '_>) -> Vec<Value> {
    let mut values = Vec::new();
    leaves(error, &mut |leaf| match &leaf.kind {
        ErrorKind::Enum { want } => values.extend((*want).clone()),
        ErrorKind::Const { want } => values.push((*want).clone()),
        _ => {}
    });
    values
}

/// What each alternative says.
fn wanted(error: &ValidationError<'_, '_>) -> Vec<String> {
    let mut texts = Vec::new();
    leaves(error, &mut |leaf| {
        let said = match &leaf.kind {
            ErrorKind::Type { want, .. } => types(*want),
            other => text(other, None),
        };
        if !texts.contains(&said) {
            texts.push(said);
        }
    });
    texts
}

fn leaves<'e, 's, 'v>(
    error: &'e ValidationError<'s, 'v>,
    found: &mut impl FnMut(&'e ValidationError<'s, 'v>),
) {
    if error.causes.is_empty() {
        found(error);
    }
    error.causes.iter().for_each(|cause| leaves(cause, &mut *found));
}

/// Says what is wrong with a value that no other part of is in question.
fn text(kind: &ErrorKind<'_, '_>, got: Option<&Value>) -> String {
    match kind {
        ErrorKind::Type { want, .. } => format!("expected {}, got {}", types(*want), shown(got)),
        ErrorKind::Enum { want } => not_among(want, got),
        ErrorKind::Const { want } => format!("expected {want}, got {}", shown(got)),
        ErrorKind::Minimum { want, .. } => format!("{} is less than {want}", shown(got)),
        ErrorKind::Maximum { want, .. } => format!("{} is more than {want}", shown(got)),
        ErrorKind::AdditionalProperties { got } => match &got[..] {
            [name] => format!("`{name}` is no field or key of it"),
            names => format!("`{}` are no fields or keys of it", names.join("`, `")),
        },
        ErrorKind::Format { want, err, .. } => format!("{} is no {want}: {err}", shown(got)),
        ErrorKind::MinItems { got, want } | ErrorKind::MinLength { got, want } => {
            format!("has a length of {got}, and needs {want}")
        }
        ErrorKind::MaxItems { got, want } | ErrorKind::MaxLength { got, want } => {
            format!("has a length of {got}, and may have {want}")
        }
        ErrorKind::AdditionalItems { got } => format!("has {got} elements too many"),
        ErrorKind::Pattern { want, .. } => format!("{} does not match {want}", shown(got)),
        ErrorKind::OneOf(Some(_)) => format!("{} fits more than one of the alternatives", shown(got)),
        ErrorKind::FalseSchema => "nothing is taken here".to_owned(),
        ErrorKind::ContentEncoding { want, .. } => format!("{} is no {want}", shown(got)),
        other => other.to_string(),
    }
}

fn not_among(values: &[Value], got: Option<&Value>) -> String {
    let hint = got.and_then(Value::as_str).and_then(|got| {
        did_you_mean(got, values.iter().filter_map(Value::as_str)).map(|hint| format!("; {hint}"))
    });
    let values = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{} is none of {values}{}", shown(got), hint.unwrap_or_default())
}

fn types(types: Types) -> String {
    let names: Vec<_> = types
        .iter()
        .map(|name| match name {
            Type::Null => "null",
            Type::Boolean => "true or false",
            Type::Number => "a number",
            Type::Integer => "an integer",
            Type::String => "a text",
            Type::Array => "an array",
            Type::Object => "an object",
        })
        .collect();
    names.join(" or ")
}

/// Shows a value in short.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(Value::Array(_)) => "an array".to_owned(),
        Some(Value::String(text)) if text.chars().count() > 40 => {
            format!("\"{}..\"", text.chars().take(40).collect::<String>())
        }
        Some(value) => value.to_string(),
    }
}

/// Returns the part of the value that an error is about.
fn at<'v>(value: &'v Value, error: &ValidationError<'_, '_>) -> Option<&'v Value> {
    error.instance_location.tokens.iter().try_fold(value, |value, token| match token {
        InstanceToken::Prop(name) => value.get(&**name),
        InstanceToken::Item(at) => value.get(*at),
    })
}

fn join_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Returns where that is.
fn path(root: &str, error: &ValidationError<'_, '_>) -> String {
    let mut path = root.to_owned();
    for token in &error.instance_location.tokens {
        match token {
            InstanceToken::Prop(name) if path.is_empty() => path.push_str(name),
            InstanceToken::Prop(name) => path.extend([".", name]),
            InstanceToken::Item(at) => path.push_str(&format!("[{at}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use boon::{Compiler, Schemas};
    use serde_json::json;

    use super::*;

    /// What is said of a value that is checked against `schema`.
    fn said(schema: &Value, value: &Value) -> Vec<String> {
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("mem:///0", schema.clone()).unwrap();
        let index = compiler.compile("mem:///0", &mut schemas).unwrap();
        let error = schemas.validate(value, index).unwrap_err();
        problems(&error, value, "order").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_an_object_with_a_tag_the_alternative_that_it_names_is_spoken_of() {
        let alternative = |kind: &str, field: &str| {
            json!({
                "type": "object",
                "properties": {"kind": {"const": kind}, field: {"type": "integer", "minimum": 0}},
                "required": ["kind", field],
            })
        };
        let bare =
            json!({"type": "object", "properties": {"kind": {"const": "cancel"}}, "required": ["kind"]});
        let schema = json!({"oneOf": [alternative("limit", "price"), alternative("market", "size"), bare]});
        for (value, text) in [
            (json!({"kind": "market", "size": -2}), "order.size: -2 is less than 0"),
            (json!({"kind": "limit"}), "order.price: is missing"),
            (
                json!({"kind": "limt", "price": 1}),
                r#"order.kind: "limt" is none of "limit", "market", "cancel"; did you mean `limit`?"#,
            ),
        ] {
            assert_eq!(said(&schema, &value), [text]);
        }
    }

    #[test]
    fn keys_that_fit_no_pattern_are_named() {
        let schema = json!({
            "type": "object",
            "patternProperties": {r"^\d+$": {"type": "boolean"}},
            "additionalProperties": false,
        });
        assert_eq!(said(&schema, &json!({"x": true})), ["order: `x` is no field or key of it"]);
        assert_eq!(said(&schema, &json!({"7": 1})), ["order.7: expected true or false, got 1"]);
    }
}
