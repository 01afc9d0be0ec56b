//! Two peers, or one and a scripted peer: what the protocol demands, module by module.

mod bytes_in;
mod counts;
mod cut;
mod drain;
mod fairness;
mod family;
mod flow_control;
mod go_away;
mod growth;
mod half_close;
mod heartbeat;
mod law;
mod lifecycle;
mod limits;
mod link;
mod malformed;
mod memory;
mod open_accept;
mod reset;
mod reset_late;
mod seeds;
mod simulation;
mod transport_loss;
mod typed;
mod vectors;
mod windows;
