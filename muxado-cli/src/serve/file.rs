//! The file of canned responses: read, and checked as a whole before anything is served.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use muxado_rpc::{Code, Metadata, ServiceId, Shape};
use serde_json::Value;

use crate::{exit::Failure, json::tree::Tree, options::duration, output::visible, suggest::did_you_mean};

/// All canned responses of a file.
#[derive(Debug)]
pub(crate) struct Canned {
    services: BTreeMap<ServiceId, CannedService>,
}

#[derive(Debug)]
pub(crate) struct CannedService {
    pub(crate) name: String,
    pub(crate) methods: BTreeMap<String, CannedMethod>,
}

/// The responses of a method: the first that fits answers.
#[derive(Debug)]
pub(crate) struct CannedMethod {
    pub(crate) shape: Shape,
    pub(crate) responses: Vec<CannedResponse>,
}

#[derive(Debug)]
pub(crate) struct CannedResponse {
    /// The parameters for which it is, or a part of them.
    params: Option<Value>,
    /// How many more calls it answers.
    left: Option<AtomicU64>,
    pub(crate) delay: Option<Duration>,
    pub(crate) metadata: Metadata,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Result(Tree),
    Error(CannedError),
    Items(CannedItems),
}

/// A stream.
#[derive(Debug, Default)]
pub(crate) struct CannedItems {
    /// Sent for each item that the caller sends.
    pub(crate) each: Vec<Tree>,
    /// Sent when the caller's stream has ended if there is something for each of its items, else at once.
    pub(crate) items: Vec<Tree>,
    /// The time in front of each item but the first.
    pub(crate) interval: Option<Duration>,
    /// How it ends, if not well.
    pub(crate) error: Option<CannedError>,
}

#[derive(Debug)]
pub(crate) struct CannedError {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The method's own error.
    pub(crate) value: Option<Tree>,
    /// The details of a status.
    pub(crate) details: Option<Tree>,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    path: String,
    what: String,
}

impl Canned {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("the canned responses cannot be read: {shown}: {error}"))
        })?;
        Self::parse(&text).map_err(|wrong| {
            Failure::usage(visible(&format!("the canned responses are wrong: {shown}: {wrong}")))
                .hint("`muxado serve --help` shows what a file looks like")
        })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let root = Place::root();
        let tree = Tree::parse(text).map_err(|error| root.wrong(format!("not JSON: {error}")))?;
        let members = root.object(tree)?;
        let mut ids = BTreeMap::new();
        let mut methods = Vec::new();
        for (name, value) in members {
            let place = root.member(&name);
            match (&*name, name.rsplit_once('/')) {
                (IDS, _) => ids = read_ids(&place, value)?,
                // For editors, and for people.
                ("$schema" | "$comment", _) => {}
                (_, Some((service, method))) if !service.is_empty() && !method.is_empty() => {
                    methods.push((service.to_owned(), method.to_owned(), CannedMethod::read(&place, value)?));
                }
                _ => return Err(place.wrong(format!("is neither SERVICE/METHOD nor `{IDS}`"))),
            }
        }
        let mut services = BTreeMap::new();
        for (name, method_name, method) in methods {
            let id = ids.remove(&name).unwrap_or_else(|| ServiceId::from_name(&name));
            let new = || CannedService { name: name.clone(), methods: BTreeMap::new() };
            let service: &mut CannedService = services.entry(id).or_insert_with(new);
            if service.name != name {
                let what = format!("has the same id, {id}, as {}", service.name);
                return Err(root.member(&name).wrong(what));
            }
            ids.insert(name, id);
            service.methods.insert(method_name, method);
        }
        match ids.keys().find(|name| services.values().all(|service| service.name != **name)) {
            Some(name) => {
                Err(root.member(IDS).member(name).wrong("no method of this service is in the file"))
            }
            None => Ok(Self { services }),
        }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (ServiceId, &CannedService)> {
        self.services.iter().map(|(id, service)| (*id, service))
    }

    pub(crate) fn service(&self, id: ServiceId) -> Option<&CannedService> {
        self.services.get(&id)
    }
}

/// Ids of services that do not follow from their names.
const IDS: &str = "service_ids";

fn read_ids(place: &Place, tree: Tree) -> Result<BTreeMap<String, ServiceId>, Wrong> {
    let mut ids = BTreeMap::new();
    for (name, value) in place.object(tree)? {
        let at = place.member(&name);
        let id = match &value {
            Tree::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        let id = ServiceId::new(id.ok_or_else(|| at.wrong("is no number of 32 bits"))?);
        ids.insert(name, id);
    }
    Ok(ids)
}

impl CannedMethod {
    fn read(place: &Place, tree: Tree) -> Result<Self, Wrong> {
        let parts = match tree {
            Tree::Array(parts) => {
                parts.into_iter().enumerate().map(|(at, part)| (place.element(at), part)).collect()
            }
            one => vec![(place.clone(), one)],
        };
        if parts.is_empty() {
            return Err(place.wrong("has no response"));
        }
        let (mut shape, mut responses) = (None, Vec::new());
        for (place, part) in parts {
            let (own, response) = CannedResponse::read(&place, part)?;
            shape = shape.or(own);
            responses.push(response);
        }
        let shape = shape.unwrap_or_else(|| shape_of(&responses));
        Ok(Self { shape, responses })
    }

    /// Returns the first response that fits these parameters and is not used up.
    pub(crate) fn find(&self, params: &Value) -> Option<&CannedResponse> {
        self.responses.iter().find(|response| response.fits(params) && response.take())
    }
}

/// Returns the shape that responses tell of: what the caller sends shows in those only that answer each item.
fn shape_of(responses: &[CannedResponse]) -> Shape {
    let items = responses.iter().filter_map(|response| match &response.answer {
        Answer::Items(items) => Some(items),
        _ => None,
    });
    let items: Vec<_> = items.collect();
    match &items[..] {
        [] => Shape::Unary,
        items if items.iter().any(|items| !items.each.is_empty()) => Shape::Bidirectional,
        _ => Shape::ServerStreaming,
    }
}

impl CannedResponse {
    fn read(place: &Place, tree: Tree) -> Result<(Option<Shape>, Self), Wrong> {
        let mut fields = Fields::read(place, tree, &FIELDS)?;
        let shape = fields.take("shape").map(|(at, tree)| read_shape(&at, tree)).transpose()?;
        let params = fields.take("params").map(|(at, tree)| read_params(&at, &tree)).transpose()?;
        let left = fields.take("times").map(|(at, tree)| read_count(&at, &tree)).transpose()?;
        let delay = fields.time("delay")?;
        let metadata = fields.take("metadata").map(|(at, tree)| read_metadata(&at, tree)).transpose()?;
        let interval = fields.time("interval")?;
        let error = fields.take("error").map(|(at, tree)| CannedError::read(&at, tree)).transpose()?;
        let result = fields.take("result").map(|(at, tree)| with_bytes(&at, tree)).transpose()?;
        let (each, items) = (fields.list("each")?, fields.list("items")?);
        let streams = each.is_some() || items.is_some();
        let answer = match (result, streams, error) {
            (Some(_), true, _) => {
                return Err(place.wrong("has a `result` and items; a method has one or the other"));
            }
            (Some(_), _, Some(_)) => return Err(place.wrong("has a `result` and an `error`")),
            (None, false, None) => {
                return Err(place.wrong("has none of `result`, `items`, `each` and `error`"));
            }
            (Some(result), ..) => Answer::Result(result),
            (None, false, Some(error)) => Answer::Error(error),
            (None, true, error) => {
                let (each, items) = (each.unwrap_or_default(), items.unwrap_or_default());
                Answer::Items(CannedItems { each, items, interval, error })
            }
        };
        if interval.is_some() && !streams {
            return Err(place.member("interval").wrong("is the time between items, and there are none"));
        }
        let left = left.map(AtomicU64::new);
        Ok((shape, Self { params, left, delay, metadata: metadata.unwrap_or_default(), answer }))
    }

    fn fits(&self, params: &Value) -> bool {
        self.params.as_ref().is_none_or(|wanted| contains(params, wanted))
    }

    /// Takes one of the calls that it still answers.
    fn take(&self) -> bool {
        self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        })
    }
}

/// Returns whether a value has all that is wanted: members of objects may be left out there, at any depth.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(members), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| members.get(name).is_some_and(|value| contains(value, wanted)))
        }
        (Value::Array(elements), Value::Array(wanted)) => {
            elements.len() == wanted.len()
                && elements.iter().zip(wanted).all(|(value, wanted)| contains(value, wanted))
        }
        // 1 and 1.0 are the same number.
        (Value::Number(value), Value::Number(wanted)) => value == wanted || value.as_f64() == wanted.as_f64(),
        _ => value == wanted,
    }
}

const FIELDS: [&str; 10] =
    ["params", "result", "error", "items", "each", "interval", "delay", "metadata", "times", "shape"];

impl CannedError {
    fn read(place: &Place, tree: Tree) -> Result<Self, Wrong> {
        let mut fields = Fields::read(place, tree, &["code", "message", "value", "details"])?;
        let (at, code) = fields.take("code").ok_or_else(|| place.wrong("has no `code`"))?;
        let code = read_code(&at, code)?;
        let message = fields.take("message").map(|(at, tree)| at.text(tree)).transpose()?.unwrap_or_default();
        let value = fields.take("value").map(|(at, tree)| with_bytes(&at, tree)).transpose()?;
        let details = fields.take("details").map(|(at, tree)| with_bytes(&at, tree)).transpose()?;
        if value.is_some() && details.is_some() {
            return Err(place.wrong("has a `value`, of the method's own error, and `details`, of a status"));
        }
        Ok(Self { code, message, value, details })
    }
}

/// Every code that there is, by the name on the wire.
const CODES: [Code; 16] = [
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

fn read_code(place: &Place, tree: Tree) -> Result<Code, Wrong> {
    let name = place.text(tree)?;
    CODES.into_iter().find(|code| code.as_str() == name).ok_or_else(|| {
        let names = CODES.map(Code::as_str);
        let hint = did_you_mean(&name, names).unwrap_or_else(|| format!("there are {}", names.join(", ")));
        place.wrong(format!("there is no code `{name}`; {hint}"))
    })
}

fn read_shape(place: &Place, tree: Tree) -> Result<Shape, Wrong> {
    let name = place.text(tree)?;
    let shapes = [Shape::Unary, Shape::ServerStreaming, Shape::ClientStreaming, Shape::Bidirectional];
    shapes.into_iter().find(|shape| shape.to_string() == name).ok_or_else(|| {
        let names = shapes.map(|shape| shape.to_string()).join(", ");
        place.wrong(format!("there is no shape `{name}`; there are {names}"))
    })
}

fn read_params(place: &Place, tree: &Tree) -> Result<Value, Wrong> {
    match tree {
        Tree::Object(_) | Tree::Array(_) => {
            serde_json::from_str(&tree.to_json()).map_err(|error| place.wrong(error.to_string()))
        }
        _ => Err(place.wrong("is neither an object, of parameters by name, nor an array, by position")),
    }
}

fn read_count(place: &Place, tree: &Tree) -> Result<u64, Wrong> {
    match tree {
        Tree::Number(digits) => digits.parse().map_err(|_| place.wrong("is no number of calls")),
        _ => Err(place.wrong("is no number of calls")),
    }
}

fn read_metadata(place: &Place, tree: Tree) -> Result<Metadata, Wrong> {
    let mut metadata = Metadata::new();
    for (name, value) in place.object(tree)? {
        let value = place.member(&name).text(value)?;
        metadata.insert(name, value);
    }
    Ok(metadata)
}

/// Returns the value with bytes where it says `{"$bytes": "base64"}`.
fn with_bytes(place: &Place, tree: Tree) -> Result<Tree, Wrong> {
    Ok(match tree {
        Tree::Object(members) => match &members[..] {
            [(name, value)] if name == "$bytes" => {
                let text = place.text(value.clone())?;
                let bytes = data_encoding::BASE64.decode(text.as_bytes());
                Tree::Bytes(bytes.map_err(|error| place.wrong(format!("`$bytes` is no base64: {error}")))?)
            }
            _ => {
                let members = members.into_iter().map(|(name, value)| {
                    let value = with_bytes(&place.member(&name), value)?;
                    Ok((name, value))
                });
                Tree::Object(members.collect::<Result<_, Wrong>>()?)
            }
        },
        Tree::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            Tree::Array(
                elements
                    .map(|(at, value)| with_bytes(&place.element(at), value))
                    .collect::<Result<_, _>>()?,
            )
        }
        other => other,
    })
}

/// The fields of an object, of which all are known.
struct Fields {
    place: Place,
    members: BTreeMap<String, Tree>,
}

impl Fields {
    fn read(place: &Place, tree: Tree, known: &[&str]) -> Result<Self, Wrong> {
        let members = place.object(tree)?;
        for (name, _) in &members {
            if !known.contains(&&**name) {
                let hint = did_you_mean(name, known.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("there are {}", known.join(", ")));
                return Err(place.member(name).wrong(format!("there is no such field; {hint}")));
            }
        }
        Ok(Self { place: place.clone(), members: members.into_iter().collect() })
    }

    fn take(&mut self, name: &str) -> Option<(Place, Tree)> {
        self.members.remove(name).map(|tree| (self.place.member(name), tree))
    }

    fn time(&mut self, name: &str) -> Result<Option<Duration>, Wrong> {
        let Some((at, tree)) = self.take(name) else { return Ok(None) };
        let text = at.text(tree)?;
        duration(&text).map(Some).map_err(|problem| at.wrong(problem))
    }

    fn list(&mut self, name: &str) -> Result<Option<Vec<Tree>>, Wrong> {
        let Some((at, tree)) = self.take(name) else { return Ok(None) };
        match tree {
            Tree::Array(elements) => {
                let elements = elements.into_iter().enumerate();
                elements
                    .map(|(index, tree)| with_bytes(&at.element(index), tree))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            _ => Err(at.wrong("is no array of items")),
        }
    }
}

/// A place in the file, as `Calculator/divide[1].error.code`.
#[derive(Clone, Debug)]
struct Place(String);

impl Place {
    const fn root() -> Self {
        Self(String::new())
    }

    fn member(&self, name: &str) -> Self {
        Self(if self.0.is_empty() { name.to_owned() } else { format!("{}.{name}", self.0) })
    }

    fn element(&self, at: usize) -> Self {
        Self(format!("{}[{at}]", self.0))
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { path: self.0.clone(), what: what.into() }
    }

    fn text(&self, tree: Tree) -> Result<String, Wrong> {
        match tree {
            Tree::Text(text) => Ok(text),
            _ => Err(self.wrong("is no string")),
        }
    }

    /// Returns the members of an object, of which no two have the same name.
    fn object(&self, tree: Tree) -> Result<Vec<(String, Tree)>, Wrong> {
        let Tree::Object(members) = tree else { return Err(self.wrong("is no object")) };
        for (at, (name, _)) in members.iter().enumerate() {
            if members[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(self.member(name).wrong("is there twice"));
            }
        }
        Ok(members)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.what),
            path => write!(f, "{path}: {}", self.what),
        }
    }
}

#[cfg(test)]
mod tests;
