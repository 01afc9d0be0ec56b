//! The table of PROTOCOL §10.5: what becomes of each kind of value in each codec, wherever in a call it is.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod carried;
mod recorded;
#[cfg(feature = "schema")]
mod schemas;
mod shapes;
mod sizes;

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use muxado_rpc::{CallError, Codec, testing};

use self::carried::{Carried, CarrierClient, CarrierServer, Plain};

const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Works,
    ArrivesAs(String),
    RefusedBySender(String),
    RefusedByReceiver(String),
    /// Details that cannot be carried are not there.
    LeftOut,
}

/// As the table has it.
impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::ArrivesAs(value) => write!(f, "arrives as `{value}`"),
            Self::RefusedBySender(why) => write!(f, "sender refuses: `{why}`"),
            Self::RefusedByReceiver(why) if why.contains('`') => write!(f, "receiver refuses: `` {why} ``"),
            Self::RefusedByReceiver(why) => write!(f, "receiver refuses: `{why}`"),
            Self::LeftOut => f.write_str("left out"),
        }
    }
}

impl Outcome {
    fn of_value(shape: &str, arrived: &Carried) -> Self {
        let (sent, arrived) = (shapes::shown(shape), arrived.shown());
        if sent == arrived { Self::Works } else { Self::ArrivesAs(arrived.to_owned()) }
    }

    /// Of a call that failed as a whole. Its text says what, in which codec, and why.
    fn of_failure(codec: Codec, text: &str) -> Self {
        let of_codec = format!("as {codec}: ");
        let (what, why) = text.split_once(&of_codec).unwrap_or_else(|| panic!("no {of_codec:?} in {text}"));
        // The codec of JSON says where in the text it was; the parameters have a name.
        let why = why.split(" at line ").next().unwrap_or(why);
        let why = match why.strip_prefix("`value") {
            Some(path) if path.starts_with("`: ") => path[3..].to_owned(),
            Some(path) => format!("`{}", path.strip_prefix('.').unwrap_or(path)),
            None => why.to_owned(),
        };
        if what.contains("cannot encode") { Self::RefusedBySender(why) } else { Self::RefusedByReceiver(why) }
    }

    fn of_call<E: Display>(shape: &str, codec: Codec, result: Result<Carried, CallError<E>>) -> Self {
        match result {
            Ok(value) => Self::of_value(shape, &value),
            Err(error) => Self::of_failure(codec, &error.to_string()),
        }
    }

    /// Details say no more than that they are there.
    fn as_of_details(&self) -> Self {
        match self {
            Self::RefusedBySender(_) | Self::RefusedByReceiver(_) => Self::LeftOut,
            other => other.clone(),
        }
    }
}

/// What becomes of a value as parameter, result, item of a request or response, error, and details of a status.
async fn carry(shape: &'static str, codec: Codec) -> Vec<(&'static str, Outcome)> {
    shapes::choose(shape);
    let carrier = CarrierClient::new(testing::serve(CarrierServer::new(Plain)).unwrap()).with_codec(codec);
    let items = || futures_util::stream::iter([Carried::Sent]);
    let error = match carrier.fail().await {
        Ok(()) => panic!("it did not fail"),
        Err(CallError::App(value)) => Outcome::of_value(shape, &value),
        Err(CallError::Status(status)) => Outcome::of_failure(codec, status.message()),
    };
    let details = match carrier.details().await {
        Err(CallError::Status(status)) => {
            status.details().map(|value: Carried| Outcome::of_value(shape, &value))
        }
        other => panic!("{other:?}"),
    };
    let item = match carrier.give_items().await.unwrap().try_next().await {
        Ok(item) => Outcome::of_value(shape, &item.unwrap()),
        Err(error) => Outcome::of_failure(codec, &error.to_string()),
    };
    vec![
        ("result", Outcome::of_call(shape, codec, carrier.give().await)),
        (
            "parameter",
            Outcome::of_call(shape, codec, carrier.take(Carried::Sent).await.map(Carried::Arrived)),
        ),
        ("item of a response", item),
        (
            "item of a request",
            Outcome::of_call(shape, codec, carrier.take_items(items()).await.map(Carried::Arrived)),
        ),
        ("error", error),
        ("details", details.unwrap_or(Outcome::LeftOut)),
    ]
}

/// The outcome, which is the same everywhere.
async fn outcome(shape: &'static str, codec: Codec) -> Outcome {
    let all = carry(shape, codec).await;
    let (_, first) = &all[0];
    for (place, other) in &all {
        let expected = if *place == "details" { first.as_of_details() } else { first.clone() };
        assert_eq!(other, &expected, "{shape} in {codec}, as {place}");
    }
    first.clone()
}

/// The rows of the table: a shape, and what becomes of it in MessagePack and in JSON.
fn table() -> BTreeMap<String, [String; 2]> {
    let (_, text) =
        PROTOCOL.split_once("| shape | MessagePack | JSON |\n|---|---|---|\n").expect("the table is there");
    let rows = text.lines().take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [shape, packed, json] = cells[..] else { panic!("no three cells: {row}") };
        (shape.to_owned(), [packed.to_owned(), json.to_owned()])
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table_is_true_in_every_place() {
    let (stated, mut wrong) = (table(), Vec::new());
    for shape in shapes::NAMES {
        let mut found = Vec::new();
        for codec in [Codec::MessagePack, Codec::Json] {
            found.push(outcome(shape, codec).await.to_string().replace('|', "\\|"));
        }
        if stated.get(*shape).is_none_or(|cells| cells[..] != found[..]) {
            wrong.push(format!("| {shape} | {} | {} |", found[0], found[1]));
        }
    }
    assert!(wrong.is_empty(), "rows that are not in the table as they should be:\n{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_table_is_tried() {
    let unknown: Vec<_> = table().into_keys().filter(|shape| !shapes::NAMES.contains(&&**shape)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
