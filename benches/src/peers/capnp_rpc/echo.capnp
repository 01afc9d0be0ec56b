# The calls of the benchmark. `echo_capnp.rs` is generated from this; how, is said in `../capnp_rpc.rs`.
@0xb2c6f3a04d5e1987;

# As in `rust.capnp` of capnpc, which would be a further file to install.
annotation parentModule @0xabee386cd1450364 (file) :Text;
$parentModule("peers::capnp_rpc");

interface Echo {
  echo @0 (text :Text) -> (text :Text);
  never @1 (slot :UInt32) -> ();
  items @2 (text :Text, count :UInt32, outOfTask :Bool, sink :Sink) -> ();
  bidiItems @3 (back :Sink) -> (there :Sink);
}

# Takes items; the answer to the end says that it has had all of them.
interface Sink {
  item @0 (text :Text) -> stream;
  end @1 () -> ();
}
