//! What it costs to refuse a call: not more than to serve one.

use std::sync::Arc;

use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{Peer, PeerBuilder, ServiceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    at_most,
    rig::{Cost, Rig},
    service::{WorkServer, Worker},
    wire::Wire,
};

const ROUNDS: usize = 100;

/// Bytes of an answer that says what there is instead: a text of 256, and what is around it.
const LONGEST: u64 = 400;

/// Gives a builder more services, with long names.
macro_rules! serve_others {
    ($builder:expr; $($module:ident $name:tt)*) => {{
        $(mod $module {
            #[muxado_rpc::service(name = $name)]
            pub trait Other {
                async fn get_the_first(&self) -> u8;
                async fn get_the_second(&self) -> u8;
                async fn get_the_third(&self) -> u8;
                async fn get_the_fourth(&self) -> u8;
                async fn get_the_fifth(&self) -> u8;
                async fn get_the_sixth(&self) -> u8;
                async fn get_the_seventh(&self) -> u8;
                async fn get_the_eighth(&self) -> u8;
            }

            pub struct Nothing;

            impl Other for Nothing {
                async fn get_the_first(&self) -> u8 { 1 }
                async fn get_the_second(&self) -> u8 { 2 }
                async fn get_the_third(&self) -> u8 { 3 }
                async fn get_the_fourth(&self) -> u8 { 4 }
                async fn get_the_fifth(&self) -> u8 { 5 }
                async fn get_the_sixth(&self) -> u8 { 6 }
                async fn get_the_seventh(&self) -> u8 { 7 }
                async fn get_the_eighth(&self) -> u8 { 8 }
            }
        })*
        $builder$(.serve($module::OtherServer::new($module::Nothing)))*
    }};
}

fn serve_many(builder: PeerBuilder) -> PeerBuilder {
    serve_others! { builder;
        a "example.inventory.v1.Warehouses" b "example.inventory.v1.Shelves" c "example.inventory.v1.Items"
        d "example.orders.v1.Baskets" e "example.orders.v1.Orders" f "example.orders.v1.Invoices"
        g "example.people.v1.Customers" h "example.people.v1.Employees" i "example.people.v1.Suppliers"
        j "example.reports.v1.Daily" k "example.reports.v1.Weekly" l "example.reports.v1.Monthly"
    }
}

/// What calls with this message cost both ends. The calling one is a bare session, the same for all.
fn cost(service: u32, message: &'static [u8]) -> Cost {
    let ((near, near_meter), (far, far_meter)) = Wire::pair();
    let rig = Rig::new(near_meter, far_meter);
    let (session, peer) = {
        let _entered = rig.runtime.enter();
        let peer = serve_many(Peer::builder().serve(WorkServer::new(Worker))).server(far).unwrap();
        let (session, driver) = Session::client(near, Config::default());
        tokio::spawn(driver);
        (Arc::new(TypedSession::new(session)), peer)
    };
    let cost = rig.cost(1, ROUNDS, move || {
        let session = Arc::clone(&session);
        async move {
            let mut stream = session.open_typed(StreamType::new(service)).await.unwrap();
            stream.write_all(message).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = [0; 1024];
            let mut len = 0;
            while let Ok(read @ 1..) = stream.read(&mut answer[len..]).await {
                len += read;
            }
            assert!(len > 8);
        }
    });
    drop(peer);
    cost
}

fn assert_cheap(what: &str, refused: &Cost) {
    let served = cost(ServiceId::from_name("Work").as_u32(), b"\0\0\0\x0b\x92\xa3add\x82\xa1a\x01\xa1b\x02");
    let rounds = ROUNDS as u64;
    at_most(format_args!("allocations of {rounds} {what}"), refused.allocations, served.allocations);
    at_most(format_args!("bytes of {rounds} answers to {what}"), refused.far.bytes_written, rounds * LONGEST);
}

#[test]
fn an_unknown_service_costs_no_more_than_a_call() {
    assert_cheap("calls of an unknown service", &cost(7, b"\0\0\0\x06\x92\xa3add\x90"));
}

#[test]
fn an_unknown_method_costs_no_more_than_a_call() {
    let service = ServiceId::from_name("example.orders.v1.Orders").as_u32();
    assert_cheap("calls of an unknown method", &cost(service, b"\0\0\0\x06\x92\xa3add\x90"));
}
