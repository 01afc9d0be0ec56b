//! Sizes of futures: thousands of them may wait at a time.

use muxado_rpc::Codec;

use crate::{at_most, service::Peers};

#[test]
fn futures_of_calls_are_small() {
    let peers = Peers::new();
    let client = peers.client(Codec::MessagePack);
    at_most("bytes of the future of a call", size_of_val(&client.add(1, 2)) as u64, 152);
    at_most("bytes of the future of a call for items", size_of_val(&client.items(1)) as u64, 152);
    at_most("bytes of the future of a call by reference", size_of_val(&client.greet("a")) as u64, 152);
}
