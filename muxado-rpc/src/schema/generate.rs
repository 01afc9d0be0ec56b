//! The description of a service, made of what the attribute knows of it and of what its types say of themselves.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use super::{
    bytes::describe_bytes,
    definitions::{merge, prune, rename_references},
};
use crate::{MethodInfo, MethodSchema, ParameterSchema, ServiceInfo, ServiceSchema};

/// Gathers the description of a service.
#[derive(Debug)]
pub struct SchemaBuilder {
    service: ServiceSchema,
    /// Of what the server reads.
    input: SchemaGenerator,
    /// Of what it writes.
    output: SchemaGenerator,
}

impl SchemaBuilder {
    /// Begins with what the attribute knows.
    pub fn new(info: &'static ServiceInfo, docs: &[&str]) -> Self {
        let mut service = ServiceSchema::new(info.name(), info.id());
        service.description = description(docs);
        let settings = || SchemaSettings::draft07().with(|settings| settings.meta_schema = None);
        Self {
            service,
            input: settings().for_deserialize().into_generator(),
            output: settings().for_serialize().into_generator(),
        }
    }

    /// Notes that the service is deprecated.
    pub fn note_deprecated(&mut self, note: &str) {
        self.service.deprecated = Some(note.to_owned());
    }

    /// Returns the description.
    pub fn finish(mut self) -> ServiceSchema {
        let definitions = |generator: &mut SchemaGenerator| {
            let mut definitions = generator.take_definitions(true);
            definitions.values_mut().for_each(describe_bytes);
            definitions.into_iter().collect()
        };
        let mut service = self.service;
        service.definitions = definitions(&mut self.input);
        let renamed =
            merge(&mut service.definitions, definitions(&mut self.output), |name| format!("{name}_output"));
        for method in &mut service.methods {
            for schema in [&mut method.output, &mut method.error].into_iter().flatten() {
                rename_references(schema, &renamed);
            }
        }
        prune(&mut service);
        service
    }
}

/// Gathers the description of a method.
#[derive(Debug)]
pub struct MethodBuilder<'a> {
    of: &'a mut SchemaBuilder,
    method: MethodSchema,
    params: Vec<ParameterSchema>,
}

impl<'a> MethodBuilder<'a> {
    /// Begins with what the attribute knows.
    pub fn new(of: &'a mut SchemaBuilder, info: &'static MethodInfo, docs: &[&str]) -> Self {
        let mut method = MethodSchema::of_info(info);
        method.description = description(docs);
        Self { of, method, params: Vec::new() }
    }

    /// Notes that the method is deprecated.
    pub fn note_deprecated(&mut self, note: &str) {
        self.method.deprecated = Some(note.to_owned());
    }

    /// Adds the method to those of its service.
    pub fn finish(mut self) {
        self.method.params = Some(self.params);
        self.of.service.methods.push(self.method);
    }

    /// Adds a parameter of this type.
    pub(crate) fn add_parameter<T: JsonSchema + ?Sized>(
        &mut self,
        name: &str,
        docs: &[&str],
        required: bool,
    ) {
        let schema = self.of.input.subschema_for::<T>();
        let schema = finished(&mut self.of.input, schema);
        self.push_parameter(name, docs, required, schema);
    }

    /// Adds the parameters that a structure has as fields: one, as a rule, and more or none with some attributes.
    pub(crate) fn add_fields<S: JsonSchema>(&mut self, docs: &[&str]) {
        let schema = S::json_schema(&mut self.of.input);
        let schema = finished(&mut self.of.input, schema);
        let required: Vec<_> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
        let Some(Value::Object(properties)) = schema.get("properties") else { return };
        for (name, schema) in properties {
            self.push_parameter(
                name,
                docs,
                required.iter().any(|required| *required == name),
                schema.clone(),
            );
        }
    }

    fn push_parameter(&mut self, name: &str, docs: &[&str], required: bool, schema: Value) {
        let description = description(docs);
        self.params.push(ParameterSchema { description, required, ..ParameterSchema::new(name, schema) });
    }

    /// Sets the type of the items that the caller sends.
    pub(crate) fn set_input<T: JsonSchema>(&mut self) {
        let schema = self.of.input.subschema_for::<T>();
        self.method.input = Some(finished(&mut self.of.input, schema));
    }

    /// Sets the type of what the method returns, or of the items of a stream that it returns.
    pub(crate) fn set_output<T: JsonSchema>(&mut self) {
        let schema = self.of.output.subschema_for::<T>();
        self.method.output = Some(finished(&mut self.of.output, schema));
    }

    /// Sets the type of the method's own error.
    pub(crate) fn set_error<E: JsonSchema>(&mut self) {
        let schema = self.of.output.subschema_for::<E>();
        self.method.error = Some(finished(&mut self.of.output, schema));
    }
}

/// Brings a schema into the form of the draft, and says what bytes are. References stay as they are.
fn finished(generator: &mut SchemaGenerator, mut schema: Schema) -> Value {
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    let mut schema = schema.to_value();
    describe_bytes(&mut schema);
    schema
}

/// The lines of a doc comment as one text, without what all of them are indented by.
fn description(lines: &[&str]) -> Option<String> {
    let lines: Vec<_> = lines.iter().flat_map(|line| line.split('\n')).collect();
    let indent = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indentation(line)).min();
    let stripped = lines.iter().map(|line| line.get(indent.unwrap_or(0)..).unwrap_or("").trim_end());
    let text = stripped.collect::<Vec<_>>().join("\n");
    let text = text.trim_matches('\n');
    (!text.is_empty()).then(|| text.to_owned())
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_comments_lose_what_all_lines_are_indented_by() {
        let lines = [" Says.", "", "  * indented", " Ends. "];
        assert_eq!(description(&lines).as_deref(), Some("Says.\n\n * indented\nEnds."));
        assert_eq!(description(&["\n  one\n  two\n"]).as_deref(), Some("one\ntwo"));
        assert_eq!(description(&["", " "]), None);
    }
}
