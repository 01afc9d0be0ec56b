//! What can be said of a service: its methods, and JSON Schemas of what they take and return.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{MethodInfo, ServiceId, ServiceInfo, Shape};

/// The description of a service: methods, shapes, options, and JSON Schemas of parameters, items, results and errors.
///
/// [`ServiceInfo::schema`] returns that of any service, `ChatServer::schema()` that of a service with
/// `#[service(schema)]`, and a [`ReflectionClient`](crate::ReflectionClient) asks the peer for those that it serves. A
/// service without `#[service(schema)]` has names, shapes and options only: [`has_schemas`](Self::has_schemas) is false.
///
/// The schemas are of draft 7 of JSON Schema, as OpenRPC has them, and describe what the JSON codec reads and writes. In MessagePack the same values
/// have the same forms, but for bytes, which are byte strings (`PROTOCOL §10.5`). References between schemas are
/// `#/definitions/Name`, and lead to [`definitions`](Self::definitions).
///
/// ```
/// use muxado_rpc::{NamedService, Shape};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: &str) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: &str) -> String { name.to_owned() } }
/// let schema = GreeterServer::<Polite>::INFO.schema();
/// assert_eq!((schema.name.as_str(), schema.methods[0].shape), ("Greeter", Shape::Unary));
/// println!("{}", serde_json::to_string_pretty(&schema)?);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceSchema {
    /// The version of this form of a description: [`ServiceSchema::VERSION`]. What later versions add is left out when it
    /// is read here.
    #[serde(default = "version")]
    pub version: u32,
    /// The name of the service.
    pub name: String,
    /// The id of the service on the wire.
    pub id: ServiceId,
    /// The doc comment of the trait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Why the service is deprecated, if it is; empty where no reason is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// The methods, in the order of the trait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<MethodSchema>,
    /// The schemas that others refer to, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub definitions: BTreeMap<String, Value>,
}

const fn version() -> u32 {
    ServiceSchema::VERSION
}

impl ServiceSchema {
    /// The version of the form that this release writes.
    pub const VERSION: u32 = 1;

    /// Creates the description of a service without methods.
    pub fn new(name: impl Into<String>, id: ServiceId) -> Self {
        let (name, version) = (name.into(), Self::VERSION);
        Self {
            version,
            name,
            id,
            description: None,
            deprecated: None,
            methods: Vec::new(),
            definitions: BTreeMap::new(),
        }
    }

    /// Describes what is known of every service.
    pub(crate) fn of_info(info: &ServiceInfo) -> Self {
        let methods = info.methods().iter().map(MethodSchema::of_info).collect();
        Self { methods, ..Self::new(info.name(), info.id()) }
    }

    /// Returns the method with this name on the wire.
    pub fn method(&self, name: &str) -> Option<&MethodSchema> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// Returns whether the methods have schemas. Without them, names, shapes and options are known.
    pub fn has_schemas(&self) -> bool {
        self.methods.iter().any(|method| method.params.is_some() || method.output.is_some())
    }

    /// Returns a schema of this description as one that stands by itself, with the definitions that it refers to in
    /// `definitions`: what a validator takes.
    ///
    /// ```
    /// use muxado_rpc::{ServiceId, ServiceSchema};
    /// use serde_json::json;
    ///
    /// let mut service = ServiceSchema::new("Chat", ServiceId::from_name("Chat"));
    /// service.definitions.insert("Line".to_owned(), json!({"type": "string"}));
    /// let whole = service.standalone(&json!({"$ref": "#/definitions/Line"}));
    /// assert_eq!(whole["definitions"], json!({"Line": {"type": "string"}}));
    /// ```
    #[must_use]
    pub fn standalone(&self, schema: &Value) -> Value {
        let mut names = Vec::new();
        self.collect_references(schema, &mut names);
        if names.is_empty() {
            return schema.clone();
        }
        let used = names.into_iter().map(|name| (name.to_owned(), self.definitions[name].clone()));
        let mut whole = Map::new();
        whole.insert("definitions".to_owned(), Value::Object(used.collect()));
        match schema {
            // What stands beside a reference may be ignored.
            Value::Object(members) if !members.contains_key("$ref") => whole.extend(members.clone()),
            schema => _ = whole.insert("allOf".to_owned(), Value::Array(vec![schema.clone()])),
        }
        Value::Object(whole)
    }

    /// Adds the names of the definitions that a schema refers to, also by others.
    fn collect_references<'a>(&'a self, value: &Value, names: &mut Vec<&'a str>) {
        each_reference(value, &mut |reference| {
            if let Some((name, definition)) =
                defined_name(reference).and_then(|name| self.definitions.get_key_value(&name))
                && !names.contains(&name.as_str())
            {
                names.push(name);
                self.collect_references(definition, names);
            }
        });
    }
}

/// The description of a method; see [`ServiceSchema`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodSchema {
    /// The name of the method on the wire.
    pub name: String,
    /// Which sides stream.
    pub shape: Shape,
    /// The doc comment of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Why the method is deprecated, if it is; empty where no reason is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// Whether a call may be executed twice without harm.
    #[serde(default, skip_serializing_if = "is_false")]
    pub idempotent: bool,
    /// Whether the handler runs to its end even if the call is cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_cancel: bool,
    /// The time limit of calls that set none, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The parameters, in the order by position. `None` if they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<ParameterSchema>>,
    /// The schema of the items that the caller sends, as the server reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The schema of what the method returns, or of each item of a stream that it returns, as the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The schema of the method's own error, as the server writes it into the details. `None` if it has no error but a
    /// status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl MethodSchema {
    /// Creates the description of a method of which no more is known.
    pub fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
            description: None,
            deprecated: None,
            idempotent: false,
            no_cancel: false,
            timeout_ms: None,
            params: None,
            input: None,
            output: None,
            error: None,
        }
    }

    pub(crate) fn of_info(info: &MethodInfo) -> Self {
        let timeout = info.default_timeout();
        Self {
            idempotent: info.is_idempotent(),
            no_cancel: info.is_no_cancel(),
            timeout_ms: timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            ..Self::new(info.name(), info.shape())
        }
    }

    /// Returns the parameter with this name.
    pub fn parameter(&self, name: &str) -> Option<&ParameterSchema> {
        self.params.as_deref()?.iter().find(|parameter| parameter.name == name)
    }

    /// Returns the schema of the parameters as one object, by name: what `params` of a request holds. `None` if they are
    /// not known.
    ///
    /// It says nothing of other names, which a server ignores. References lead to the definitions of the service; see
    /// [`ServiceSchema::standalone`].
    pub fn params_schema(&self) -> Option<Value> {
        let params = self.params.as_deref()?;
        let properties = params.iter().map(|parameter| (parameter.name.clone(), parameter.schema.clone()));
        let required = params.iter().filter(|parameter| parameter.required);
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), Value::Object(properties.collect()));
        schema.insert("required".to_owned(), required.map(|parameter| parameter.name.as_str()).collect());
        Some(Value::Object(schema))
    }
}

/// The description of a parameter; see [`MethodSchema::params`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterSchema {
    /// The name of the parameter on the wire.
    pub name: String,
    /// The doc comment of the parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a call without the parameter fails.
    #[serde(default)]
    pub required: bool,
    /// The schema of what the server reads.
    pub schema: Value,
}

impl ParameterSchema {
    /// Creates the description of a parameter that each call needs.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { name: name.into(), description: None, required: true, schema }
    }
}

/// Where references to definitions lead.
const DEFINITIONS: &str = "#/definitions/";

/// Returns the name of the definition that a reference leads to.
pub(crate) fn defined_name(reference: &str) -> Option<String> {
    Some(unescape(reference.strip_prefix(DEFINITIONS)?))
}

/// Returns a reference to the definition of this name.
#[cfg(feature = "schema")]
pub(crate) fn reference_to(name: &str) -> String {
    format!("{DEFINITIONS}{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Reads a segment of a JSON Pointer in a fragment.
pub(crate) fn unescape(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        match (first, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).replace("~1", "/").replace("~0", "~")
}

/// Calls a function with each reference in a schema.
pub(crate) fn each_reference(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| each_reference(element, &mut *found)),
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(reference) if key == "$ref" => found(reference),
                    member => each_reference(member, &mut *found),
                }
            }
        }
        _ => {}
    }
}

/// A function that describes a service; all that do are alike.
#[derive(Clone, Copy)]
pub(crate) struct Describe(pub(crate) Option<fn() -> ServiceSchema>);

impl PartialEq for Describe {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Describe {}

impl std::hash::Hash for Describe {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Describe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "described" } else { "not described" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_by_itself_has_what_it_refers_to_and_nothing_else() {
        let mut service = ServiceSchema::new("S", ServiceId::new(7));
        let definitions = json!({
            "A": {"items": {"$ref": "#/definitions/B~1C"}},
            "B/C": {"anyOf": [{"$ref": "#/definitions/A"}, {"type": "null"}]},
            "Other": true,
        });
        service.definitions = serde_json::from_value(definitions).unwrap();
        let whole = service.standalone(&json!({"$ref": "#/definitions/A"}));
        let names: Vec<_> = whole["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["A", "B/C"]);
        assert_eq!(service.standalone(&json!({"type": "null"})), json!({"type": "null"}));
    }

    #[test]
    fn what_later_versions_add_is_left_out() {
        let told = json!({"version": 9, "name": "S", "id": 7, "colour": "red", "methods": [
            {"name": "m", "shape": "sideways", "weight": 3},
        ]});
        let service: ServiceSchema = serde_json::from_value(told).unwrap();
        assert_eq!((service.version, service.methods[0].shape), (9, Shape::Unknown));
        assert!(!service.has_schemas());
    }

    #[test]
    fn references_are_read_whatever_is_escaped() {
        assert_eq!(defined_name("#/definitions/a~1b~0c%20d%").as_deref(), Some("a/b~c d%"));
        assert_eq!(defined_name("#/components/a"), None);
    }
}
