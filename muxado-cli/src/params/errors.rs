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
                let inner = if path().is_empty() { (*name).to_owned() } else { format!("{}.{name}", path()) };
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

/// None of several alternatives fits. That one is spoken of which is right the furthest down; if none is, all are.
fn of_alternatives(error: &ValidationError<'_, '_>, value: &Value, root: &str, found: &mut Vec<Problem>) {
    let here = error.instance_location.tokens.len();
    let depth = |cause: &ValidationError<'_, '_>| deepest(cause);
    let best = error.causes.iter().max_by_key(|cause| depth(cause));
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
        ErrorKind::AdditionalProperties { got } => format!("there is no field {}", got.join(", ")),
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
