//! The service under test: a method for every kind of type that nests, in arguments, values, errors and items.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use muxado_rpc::{Context, Status, Stream, Streaming};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Externally tagged, with variants of every kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) enum Expr {
    #[default]
    True,
    Not(Box<Self>),
    And(Vec<Self>),
    Pair(bool, Box<Self>),
    Let {
        name: String,
        body: Box<Self>,
    },
    Maybe(Option<Box<Self>>),
    Done(Result<Box<Self>, Box<Self>>),
}

impl Expr {
    fn size(&self) -> u64 {
        1 + match self {
            Self::True | Self::Maybe(None) => 0,
            Self::Not(one) | Self::Pair(_, one) | Self::Let { body: one, .. } | Self::Maybe(Some(one)) => {
                one.size()
            }
            Self::Done(Ok(one) | Err(one)) => one.size(),
            Self::And(all) => all.iter().map(Self::size).sum(),
        }
    }
}

/// Nesting that takes no byte: decoded from anything but null, it has no end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chain(Option<Box<Self>>);

/// Internally tagged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Internal {
    #[default]
    Leaf,
    Not {
        of: Box<Self>,
    },
    All {
        of: Vec<Self>,
    },
    Node(Node),
}

/// Adjacently tagged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
pub(super) enum Adjacent {
    #[default]
    Unit,
    Wrap(Box<Self>),
    Many(Vec<Self>),
    Named {
        inner: Box<Self>,
    },
}

/// Untagged. Of its variants only one takes lists and one takes maps: where several do, a value that is none
/// of them is tried in twice as many ways with each level.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    #[default]
    Nothing,
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

/// Flattened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Flat {
    name: String,
    #[serde(flatten)]
    kind: Kind,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Plain(u8),
    Wrap(Box<Flat>),
    Kids(Vec<Flat>),
}

impl Default for Flat {
    fn default() -> Self {
        Self { name: "x".to_owned(), kind: Kind::Plain(1), rest: BTreeMap::new() }
    }
}

/// A map in a newtype.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tree(BTreeMap<String, Self>);

/// A structure of options, of lists and of tuples.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    next: Option<Box<Self>>,
    kids: Vec<Self>,
    twin: Option<(u8, Box<Self>)>,
}

/// What does not nest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Plain {
    unit: (),
    letter: char,
    big: i128,
    small: u8,
    float: f32,
    bytes: Bytes,
    text: Cow<'static, str>,
    pair: (i8, bool),
    list: Vec<()>,
    map: BTreeMap<i16, Option<char>>,
    array: [u16; 3],
}

#[muxado_rpc::service]
pub(super) trait Nest {
    async fn eval(&self, expr: Expr) -> u64;
    async fn echo(&self, expr: Expr) -> Expr;
    async fn chain(&self, chain: Chain) -> Chain;
    async fn internal(&self, value: Internal) -> Result<Internal, Adjacent>;
    async fn adjacent(&self, value: Adjacent) -> Result<Adjacent, Internal>;
    async fn untagged(&self, value: Untagged) -> Untagged;
    async fn flat(&self, value: Flat) -> Flat;
    async fn json(&self, value: Value) -> Value;
    async fn tree(&self, value: Tree) -> Tree;
    async fn node(&self, value: Node) -> Option<Node>;
    async fn plain(&self, value: Plain) -> Plain;
    /// Fails with these details.
    async fn fail(&self, value: Value) -> Result<(), Status>;
    /// Passes on what the caller says to the same call.
    async fn relay(&self, cx: &Context, value: Value) -> Result<Value, Status>;
    async fn gather(&self, items: Streaming<Expr>) -> Result<u64, Status>;
    /// Counts what it can read, whatever came with it.
    async fn count(&self, items: Streaming<Internal>) -> u64;
    /// Does not read its items.
    async fn ignore(&self, items: Streaming<Chain>) -> u64;
    async fn spread(&self, value: Internal) -> impl Stream<Item = Result<Internal, Adjacent>>;
    async fn chat(&self, items: Streaming<Untagged>) -> impl Stream<Item = Result<Untagged, Status>>;
    async fn nodes(&self, value: Node) -> Result<impl Stream<Item = Node>, Adjacent>;
    async fn chains(&self) -> impl Stream<Item = Chain>;
}

/// Serves it, and knows how many of its handlers are alive.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    alive: Arc<AtomicUsize>,
}

/// Counts itself out when it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Nesting {
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    fn live(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive(Arc::clone(&self.alive))
    }
}

impl Nest for Nesting {
    async fn eval(&self, expr: Expr) -> u64 {
        expr.size()
    }

    async fn echo(&self, expr: Expr) -> Expr {
        expr
    }

    async fn chain(&self, chain: Chain) -> Chain {
        chain
    }

    async fn internal(&self, value: Internal) -> Result<Internal, Adjacent> {
        match value {
            Internal::Leaf => Err(Adjacent::Wrap(Box::default())),
            value => Ok(value),
        }
    }

    async fn adjacent(&self, value: Adjacent) -> Result<Adjacent, Internal> {
        match value {
            Adjacent::Unit => Err(Internal::Not { of: Box::default() }),
            value => Ok(value),
        }
    }

    async fn untagged(&self, value: Untagged) -> Untagged {
        value
    }

    async fn flat(&self, value: Flat) -> Flat {
        value
    }

    async fn json(&self, value: Value) -> Value {
        value
    }

    async fn tree(&self, value: Tree) -> Tree {
        value
    }

    async fn node(&self, value: Node) -> Option<Node> {
        Some(value)
    }

    async fn plain(&self, value: Plain) -> Plain {
        value
    }

    async fn fail(&self, value: Value) -> Result<(), Status> {
        Err(Status::aborted("as asked").with_details(&value))
    }

    async fn relay(&self, cx: &Context, value: Value) -> Result<Value, Status> {
        let _alive = self.live();
        Ok(NestClient::new(cx.channel()).json(value).await?)
    }

    async fn gather(&self, mut items: Streaming<Expr>) -> Result<u64, Status> {
        let _alive = self.live();
        let mut size = 0;
        while let Some(item) = items.try_next().await? {
            size += item.size();
        }
        Ok(size)
    }

    async fn count(&self, items: Streaming<Internal>) -> u64 {
        let _alive = self.live();
        items.filter(|item| std::future::ready(item.is_ok())).count().await as u64
    }

    async fn ignore(&self, _items: Streaming<Chain>) -> u64 {
        7
    }

    async fn spread(&self, value: Internal) -> impl Stream<Item = Result<Internal, Adjacent>> {
        stream::iter([Ok(value.clone()), Ok(value), Err(Adjacent::Many(Vec::new()))])
    }

    async fn chat(&self, items: Streaming<Untagged>) -> impl Stream<Item = Result<Untagged, Status>> {
        let alive = self.live();
        items.map(move |item| {
            let _ = &alive;
            Ok(item?)
        })
    }

    async fn nodes(&self, value: Node) -> Result<impl Stream<Item = Node>, Adjacent> {
        match value.next {
            None => Err(Adjacent::Unit),
            Some(_) => Ok(stream::iter([value])),
        }
    }

    async fn chains(&self) -> impl Stream<Item = Chain> {
        stream::iter([Chain::default(), Chain::default()])
    }
}
