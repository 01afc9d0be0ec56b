//! What calls cost beside that when their durations are recorded on both sides.

use muxado_rpc::{
    Peer,
    layers::{Metrics, MetricsLayer},
    telemetry::Prometheus,
};

use crate::{
    at_most,
    rig::{IN_FLIGHT, Rig},
    service::{CODECS, WorkClient, WorkServer, Worker},
    wire::Wire,
};

/// Calls of each task.
const ROUNDS: usize = 100;

/// As calls that are not recorded: the first of a method makes its histogram, further ones write to memory that is there.
#[test]
fn recorded_calls_allocate_no_more() {
    let prometheus = Prometheus::install().unwrap();
    let mut calls = 0;
    for codec in CODECS {
        for in_flight in IN_FLIGHT {
            let ((near, near_meter), (far, far_meter)) = Wire::pair();
            let rig = Rig::new(near_meter, far_meter);
            let (near, _far) = {
                let _entered = rig.runtime.enter();
                let serving = Peer::builder().layer(MetricsLayer::server()).serve(WorkServer::new(Worker));
                let far = serving.server(far).unwrap();
                (Peer::builder().client(near).unwrap(), far)
            };
            let channel = tower::Layer::layer(&MetricsLayer::client(), near.channel());
            let client: WorkClient<Metrics<_>> = WorkClient::new(channel).with_codec(codec);
            let cost = rig.cost(in_flight, ROUNDS, move || {
                let client = client.clone();
                async move { assert_eq!(client.add(1, 2).await, Ok(3)) }
            });
            let counted = (in_flight * ROUNDS) as u64;
            calls += 2 * counted;
            let what = format!("allocations of {counted} recorded calls in {codec}, {in_flight} in flight");
            at_most(what, cost.allocations, counted * 3 + counted / 100);
        }
    }
    let text = prometheus.render();
    for side in ["server", "client"] {
        let line = format!(
            "rpc_{side}_call_duration_seconds_count{{rpc_system_name=\"muxado\",rpc_method=\"Work/add\",\
             rpc_response_status_code=\"ok\"}} {calls}\n"
        );
        assert!(text.contains(&line), "no {line} in {text}");
    }
}
