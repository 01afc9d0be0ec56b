//! Parameters and items: checked against their schemas, and made ready for the codec of a call.

mod errors;
pub(crate) mod shape;

use std::fmt;

use boon::{Compiler, Draft, Format, SchemaIndex, Schemas, UrlLoader};
use bytes::Bytes;
use muxado_rpc::{ParameterSchema, ServiceSchema};
use serde::{Serialize, Serializer};
use serde_json::Value;

use self::errors::Problem;
use crate::{
    catalog::Method, exit::Failure, json::tree::Tree, output::visible, suggest::did_you_mean, types::type_of,
};

/// A value that is ready to be sent: what the schema says is bytes is bytes, and numbers have all their digits.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// Compact; numbers are as they were written.
    json: String,
    tree: Tree,
}

impl Encoded {
    fn of(tree: Tree) -> Self {
        Self { json: tree.to_json(), tree }
    }

    /// Returns the value as JSON.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Returns the value as bytes of JSON.
    pub(crate) fn into_json_bytes(self) -> Bytes {
        self.json.into()
    }
}

/// For MessagePack; JSON is sent as it was written.
impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.tree.serialize(serializer)
    }
}

/// Checks the parameters and the items of one method.
pub(crate) struct Checker {
    method: Method,
    schemas: Schemas,
    /// Of each parameter, in their order; `None` if its schema cannot be used.
    params: Vec<Option<SchemaIndex>>,
    item: Option<SchemaIndex>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("method", &self.method.name()).finish_non_exhaustive()
    }
}

/// What there is to say of a value that can be sent: fields that the schema does not know.
pub(crate) type Warnings = Vec<String>;

impl Checker {
    /// Makes ready what checks values for a method. Schemas that cannot be used check nothing.
    pub(crate) fn new(method: Method) -> Self {
        let mut schemas = Schemas::new();
        let (service, known) = (&method.service, method.schema.params.as_deref().unwrap_or_default());
        let params =
            known.iter().map(|parameter| compile(service, &parameter.schema, &mut schemas)).collect();
        let item = method.schema.input.as_ref().and_then(|schema| compile(service, schema, &mut schemas));
        Self { method, schemas, params, item }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Returns whether a call needs parameters, beside the items of a stream.
    pub(crate) fn takes_params(&self) -> bool {
        self.method.schema.params.as_ref().is_some_and(|params| !params.is_empty())
    }

    /// Checks parameters: an object by name, or an array by position. `None` stands for no parameters.
    pub(crate) fn params(&self, json: Option<&str>) -> Result<(Encoded, Warnings), Failure> {
        let (tree, value) = parse(json.unwrap_or("{}"), "the parameters")?;
        let Some(known) = &self.method.schema.params else {
            return match value {
                Value::Object(_) | Value::Array(_) => Ok((Encoded::of(tree), Vec::new())),
                other => Err(self.neither_object_nor_array(&other)),
            };
        };
        let mut problems = Vec::new();
        let tree = match (&value, tree) {
            (Value::Object(members), Tree::Object(parts)) => {
                self.check_names(known, members, &mut problems);
                let cast = |(name, part): (String, Tree)| {
                    let parameter = known.iter().find(|parameter| parameter.name == name);
                    let part = match parameter {
                        Some(parameter) => shape::with_bytes(&self.method.service, &parameter.schema, part),
                        None => part,
                    };
                    (name, part)
                };
                Tree::Object(parts.into_iter().map(cast).collect())
            }
            (Value::Array(elements), Tree::Array(parts)) => {
                self.check_count(known, elements.len(), &mut problems);
                let parts = known.iter().zip(parts).map(|(parameter, part)| {
                    (parameter.name.clone(), shape::with_bytes(&self.method.service, &parameter.schema, part))
                });
                // By name, those that are not required may be left out.
                Tree::Object(parts.collect())
            }
            (other, _) => return Err(self.neither_object_nor_array(other)),
        };
        let mut warnings = Vec::new();
        for (at, parameter) in known.iter().enumerate() {
            let value = match &value {
                Value::Object(members) => members.get(&parameter.name),
                Value::Array(elements) => elements.get(at),
                _ => None,
            };
            if let Some(value) = value {
                self.check(self.params[at], value, &parameter.name, &mut problems);
                warnings.extend(shape::unknown_fields(
                    &self.method.service,
                    &parameter.schema,
                    value,
                    &parameter.name,
                ));
            }
        }
        if problems.is_empty() { Ok((Encoded::of(tree), warnings)) } else { Err(self.refuse(problems)) }
    }

    /// Checks an item of the stream that the method takes. `what` says which it is.
    pub(crate) fn item(&self, json: &str, what: &str) -> Result<(Encoded, Warnings), Failure> {
        let (mut tree, value) = parse(json, what)?;
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        self.check(self.item, &value, "", &mut problems);
        if let Some(schema) = &self.method.schema.input {
            warnings = shape::unknown_fields(&self.method.service, schema, &value, "");
            tree = shape::with_bytes(&self.method.service, schema, tree);
        }
        if problems.is_empty() {
            return Ok((Encoded::of(tree), warnings));
        }
        let failure = Failure::usage(format!("{what} is not what {} takes", self.method.name()));
        let expected = self.method.schema.input.as_ref().map(type_of).unwrap_or_default();
        Err(with_problems(failure, problems).hint(format!("items are {expected}")))
    }

    fn check(&self, schema: Option<SchemaIndex>, value: &Value, path: &str, problems: &mut Vec<Problem>) {
        let Some(schema) = schema else { return };
        if let Err(error) = self.schemas.validate(value, schema) {
            problems.extend(errors::problems(&error, value, path));
        }
    }

    fn check_names(
        &self,
        known: &[ParameterSchema],
        given: &serde_json::Map<String, Value>,
        problems: &mut Vec<Problem>,
    ) {
        let names = || known.iter().map(|parameter| parameter.name.as_str());
        for name in given.keys().filter(|name| names().all(|known| known != name.as_str())) {
            let free = names().filter(|known| !given.contains_key(*known));
            let hint = did_you_mean(name, free).unwrap_or_else(|| match known {
                [] => "it takes no parameters".to_owned(),
                _ => format!("it takes {}", names().collect::<Vec<_>>().join(", ")),
            });
            problems.push(Problem::new(name, format!("there is no such parameter; {hint}")));
        }
        let missing =
            known.iter().filter(|parameter| parameter.required && !given.contains_key(&parameter.name));
        for parameter in missing {
            problems
                .push(Problem::new(&parameter.name, format!("is missing, a {}", type_of(&parameter.schema))));
        }
    }

    fn check_count(&self, known: &[ParameterSchema], given: usize, problems: &mut Vec<Problem>) {
        if given > known.len() {
            let at = known.len();
            problems.push(Problem::new(&format!("[{at}]"), format!("there are only {at} parameters")));
        }
        for parameter in known.iter().skip(given).filter(|parameter| parameter.required) {
            problems
                .push(Problem::new(&parameter.name, format!("is missing, a {}", type_of(&parameter.schema))));
        }
    }

    fn neither_object_nor_array(&self, value: &Value) -> Failure {
        let failure = Failure::usage("parameters are an object by name, or an array by position");
        match self.method.schema.params.as_deref() {
            Some([one]) => {
                failure.hint(visible(&format!("as in -d '{{\"{}\":{value}}}' or -d '[{value}]'", one.name)))
            }
            _ => failure,
        }
    }

    fn refuse(&self, problems: Vec<Problem>) -> Failure {
        let name = self.method.name();
        let failure = Failure::usage(format!("the parameters are not what {name} takes"));
        with_problems(failure, problems)
            .hint(visible(&format!("it is called as {}", crate::types::signature(&self.method.schema))))
    }
}

fn with_problems(failure: Failure, problems: Vec<Problem>) -> Failure {
    problems.into_iter().fold(failure, |failure, problem| failure.problem(visible(&problem.to_string())))
}

/// Reads a value: for the codec, and for the validator.
fn parse(json: &str, what: &str) -> Result<(Tree, Value), Failure> {
    match (Tree::parse(json), serde_json::from_str(json)) {
        (Ok(tree), Ok(value)) => Ok((tree, value)),
        (Err(error), _) | (_, Err(error)) => {
            let failure = Failure::usage(format!("{what} cannot be read as JSON: {error}"));
            let word = json.trim();
            let is_bare = word.starts_with(char::is_alphabetic) && !word.contains(['"', '{', '[']);
            Err(failure.hint(visible(&match is_bare {
                true => format!("a text is written in quotes: \"{}\"", beginning(word)),
                false => format!("it begins with {}", beginning(word)),
            })))
        }
    }
}

/// Returns the beginning of a text.
fn beginning(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(60).collect();
    if chars.next().is_some() { format!("{shown}..") } else { shown }
}

/// Loads nothing: a schema of a stranger must not read files here.
struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url} is not in the schema").into())
    }
}

fn compile(service: &ServiceSchema, schema: &Value, schemas: &mut Schemas) -> Option<SchemaIndex> {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler.use_loader(Box::new(NothingElse));
    INTEGERS.into_iter().for_each(|format| compiler.register_format(format));
    let location = format!("mem:///{}", schemas.size());
    compiler.add_resource(&location, service.standalone(schema)).ok()?;
    compiler.compile(&location, schemas).ok()
}

macro_rules! integers {
    ($($name:literal $type:ty),*) => {
        [$(Format { name: $name, func: |value| in_range(value, <$type>::MIN as f64, <$type>::MAX as f64) }),*]
    };
}

/// The formats of integers, which validators do not know.
const INTEGERS: [Format; 8] = integers!(
    "int8" i8, "int16" i16, "int32" i32, "int64" i64, "uint8" u8, "uint16" u16, "uint32" u32, "uint64" u64
);

fn in_range(value: &Value, min: f64, max: f64) -> Result<(), Box<dyn std::error::Error>> {
    // Integers of 64 bits are those that were read as such: what is larger has become a float.
    let is_huge = value.is_f64() && value.as_f64().is_some_and(|number| number.abs() >= i64::MAX as f64);
    match value.as_f64() {
        Some(number) if number < min || number > max || is_huge => {
            Err(format!("it is not between {min} and {max}").into())
        }
        _ => Ok(()),
    }
}
