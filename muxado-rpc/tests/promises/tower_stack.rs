//! The promise about Tower: stock layers, on both sides of a connection.

use std::{future::Ready, future::ready, time::Duration};

use muxado_rpc::{Code, Request, Response, Status};
use tower::{
    ServiceBuilder,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load::Constant,
    load_shed::LoadShedLayer,
    retry::{Policy, RetryLayer},
    timeout::TimeoutLayer,
};

use super::{
    status,
    world::{DutyClient, End, Role, in_each_world},
};

const LIMIT: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

/// Tries again what may be tried again.
#[derive(Clone)]
struct Again(u32);

impl Policy<Request, Response, Status> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, result: &mut Result<Response, Status>) -> Option<Ready<()>> {
        let failed = result.as_ref().is_err_and(|status| status.code() == Code::Aborted);
        (failed && self.0 > 0).then(|| {
            self.0 -= 1;
            ready(())
        })
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        request.try_clone()
    }
}

#[test]
fn tower_around_a_channel() {
    in_each_world(End::start, async |world| {
        let channel = || world.caller.channel();
        let one_at_a_time = ServiceBuilder::new().concurrency_limit(1).service(channel());
        let hurried = ServiceBuilder::new().timeout(LIMIT).service(one_at_a_time.clone());
        let hurried = DutyClient::new(hurried).with_codec(world.codec);
        assert_eq!(status(hurried.hang().await).code(), Code::DeadlineExceeded);
        world.duties.until_alive(0).await;
        // The place of the call that was given up is free.
        let next = DutyClient::new(one_at_a_time).with_codec(world.codec);
        assert_eq!(next.echo("x".to_owned()).await.as_deref(), Ok("x"));

        let shedding = ServiceBuilder::new().load_shed().concurrency_limit(1).service(channel());
        let shedding = DutyClient::new(shedding).with_codec(world.codec);
        let (working, shed) = tokio::join!(shedding.work(), async {
            world.duties.until_alive(1).await;
            let shed = shedding.echo("x".to_owned()).await;
            world.duties.go_on.notify_one();
            shed
        });
        let shed = status(shed);
        assert_eq!((working, shed.code(), shed.may_have_executed()), (Ok(7), Code::ResourceExhausted, false));

        let trying = ServiceBuilder::new().layer(RetryLayer::new(Again(3))).service(channel());
        let before = world.caller.stats().streams_opened;
        let failed = DutyClient::new(trying).with_codec(world.codec).status().await;
        assert_eq!((status(failed).code(), world.caller.stats().streams_opened - before), (Code::Aborted, 4));

        let buffered = ServiceBuilder::new().buffer(8).rate_limit(100, MINUTE).service(channel());
        let buffered = DutyClient::new(buffered).with_codec(world.codec);
        assert_eq!(buffered.echo("x".to_owned()).await.as_deref(), Ok("x"));

        let both = [channel(), channel()].map(|channel| Constant::new(channel, 1));
        let balanced = Buffer::new(Balance::new(ServiceList::new::<Request>(both)), 8);
        let balanced = DutyClient::new(balanced).with_codec(world.codec);
        assert_eq!(balanced.echo("x".to_owned()).await.as_deref(), Ok("x"));
        drop((buffered, balanced));
        world.assert_unharmed().await;
    });
}

#[test]
fn tower_around_a_server() {
    let hurried = |end: End| match end.role {
        Role::Caller => end.start(),
        Role::Callee => end.start_with(|builder| builder.layer(TimeoutLayer::new(LIMIT))),
    };
    in_each_world(hurried, async |world| {
        assert_eq!(status(world.client().hang().await).code(), Code::DeadlineExceeded);
        world.duties.until_alive(0).await;
    });
    let shedding = |end: End| {
        end.start_with(|builder| builder.layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1)))
    };
    in_each_world(shedding, async |world| {
        let client = world.client();
        let working = tokio::spawn(async move { client.work().await });
        world.duties.until_alive(1).await;
        assert_eq!(status(world.client().echo("x".to_owned()).await).code(), Code::ResourceExhausted);
        world.duties.go_on.notify_one();
        assert_eq!(working.await.unwrap(), Ok(7));
        world.assert_unharmed().await;
    });
    let buffered = |end: End| {
        end.start_with(|builder| {
            let stack = ServiceBuilder::new().buffer(8).layer(RateLimitLayer::new(100, MINUTE));
            builder.layer(stack)
        })
    };
    in_each_world(buffered, async |world| world.assert_unharmed().await);
}
