//! How a client ends.

use muxado_rpc::{
    Balanced, Code, Peer, Status,
    balanced::{BalancedError, BalancedState},
};
use tokio::{
    runtime::{Builder, Handle},
    time::sleep,
};

use crate::fleet::{Does, Fake, MILLI, NodeClient, NodeServer, SECOND, connected, fakes, to};

#[tokio::test(start_paused = true)]
async fn the_last_clone_ends_everything() {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let fakes = fakes::<3>();
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let (channel, client) = connected(to(&fakes), 3).await;
    let call = tokio::spawn(client.write());
    sleep(MILLI).await;
    drop((channel, client));
    call.await.unwrap().unwrap();
    sleep(SECOND).await;
    assert_eq!(fakes.each_ref().map(Fake::connections), [0, 0, 0]);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    sleep(100 * SECOND).await;
    assert_eq!(fakes.map(|fake| fake.asked()), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_closed_or_shut_down() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let (channel, client) = connected(to(&fakes), 2).await;
    let call = tokio::spawn(client.write());
    sleep(MILLI).await;
    let drained = channel.shutdown(2 * SECOND).await;
    assert!(drained.is_clean(), "{drained:?}");
    call.await.unwrap().unwrap();
    assert_eq!(channel.state(), BalancedState::Closed);
    let error: Status = client.write().await.unwrap_err().into();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "the balanced client is closed"));
    assert!(channel.connected().await.is_err());

    let (channel, client) = connected(to(&fakes), 2).await;
    fakes.iter().for_each(|fake| fake.does(Does::Hang));
    let call = tokio::spawn(client.write());
    sleep(MILLI).await;
    channel.close();
    assert_eq!(Status::from(call.await.unwrap().unwrap_err()).code(), Code::Unavailable);
    sleep(MILLI).await;
    assert_eq!(fakes.each_ref().map(Fake::connections), [0, 0]);
}

#[test]
fn a_client_whose_runtime_has_ended_says_so_at_once() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (own, other) = (runtime(), runtime());
    let fake = Fake::new(0);
    fake.set_down(true);
    let channel = own.block_on(async { to(&[fake]).build().unwrap() });
    let client = NodeClient::new(channel.clone());
    let waiting = other.spawn(client.write());
    other.block_on(async { sleep(MILLI).await });
    drop(own);
    let error: Status = other.block_on(waiting).unwrap().unwrap_err().into();
    let text = "the balanced client has stopped: the runtime that it was built in has ended";
    assert!(error.code() == Code::Unavailable && error.message().ends_with(text), "{error}");
    assert_eq!(channel.state(), BalancedState::Closed);
    let error: Status = other.block_on(client.write()).unwrap_err().into();
    assert_eq!((error.code(), error.message(), error.may_have_executed()), (Code::Unavailable, text, false));
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    assert_eq!(Balanced::builder().build().unwrap_err(), BalancedError::NoAddress);
    assert_eq!(Balanced::connect(Vec::<String>::new()).unwrap_err(), BalancedError::NoAddress);
    assert!(matches!(Balanced::connect(["tcp://one:1", "nowhere"]).unwrap_err(), BalancedError::Address(_)));
    let twice = Peer::builder().serve(NodeServer::new(Fake::new(0))).serve(NodeServer::new(Fake::new(0)));
    let error = to(&[Fake::new(0)]).peer(twice).build().unwrap_err();
    assert!(matches!(error, BalancedError::Registration(_)), "{error}");
}
