//! The call of a measurement, found and checked as `call` does it, and encoded.

use bytes::Bytes;
use muxado_rpc::{Codec, Peer, Response, Shape, Status};

use super::caller::Prepared;
use crate::{
    catalog::Catalog,
    exit::Failure,
    input::{Data, Given, Values},
    output::Output,
    params::{Checker, Encoded},
    request::{RequestArgs, one_value_only},
};

/// Finds the method, and encodes what it is called with.
pub(super) async fn prepare(
    args: &RequestArgs,
    address: &str,
    peer: &Peer,
    method: &str,
    params: Option<&Data>,
    output: &Output,
) -> Result<Prepared, Failure> {
    let catalog = Catalog::open(peer, address, args.schema.as_deref(), &args.headers)?;
    let checker = Checker::new(catalog.method(method).await?);
    let shape = checker.method().schema.shape;
    if shape == Shape::Unknown {
        return Err(Failure::other("the shape of the method is one that this version does not know"));
    }
    let mut values = args.values(false).all().await?.into_iter();
    let takes_stream = shape.streams_input();
    let first = match params {
        Some(data) => Some(only_value(data).await?),
        None if takes_stream && !checker.takes_params() => None,
        None => values.next(),
    };
    let (params, warnings) = checker.params(first.as_ref().map(|given| &*given.json))?;
    warnings.iter().for_each(|warning| output.warn(warning));
    let mut items = Vec::new();
    for given in values {
        if !takes_stream {
            return Err(one_value_only(checker.method()));
        }
        let (item, warnings) = checker.item(&given.json, &given.place)?;
        warnings.iter().for_each(|warning| output.warn(warning));
        items.push(encode(args.codec(), item)?);
    }
    let request = args.call(peer.channel(), checker.method(), params).into_request()?;
    Ok(Prepared {
        method: request.method().clone(),
        codec: request.codec(),
        params: Bytes::copy_from_slice(request.params()),
        items: takes_stream.then(|| items.into()),
        metadata: request.metadata().clone(),
        timeout: request.timeout(),
    })
}

/// Returns the value of `--params`.
async fn only_value(data: &Data) -> Result<Given, Failure> {
    let mut given = Values::new([data.clone()]).all().await?;
    match given.pop() {
        Some(params) if given.is_empty() => Ok(params),
        _ => Err(Failure::usage("--params is one value")),
    }
}

fn encode(codec: Codec, item: Encoded) -> Result<Bytes, Failure> {
    if codec == Codec::Json {
        return Ok(item.into_json_bytes());
    }
    let value = Response::new(codec, &item)?.into_bytes().map_err(Status::from)?;
    Ok(value)
}
