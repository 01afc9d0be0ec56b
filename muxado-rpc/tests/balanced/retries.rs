//! Calls that are made again, elsewhere.

use muxado_rpc::{Backoff, Code, Status, balanced::RetryBudget};
use tokio::time::{Instant, sleep};

use crate::fleet::{Does, Fake, MILLI, SECOND, connected, fakes, load, to};

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_is_made_elsewhere_at_once() {
    let fakes = fakes::<3>();
    let (_channel, client) = connected(to(&fakes).no_outlier_detection(), 3).await;
    fakes[0].does(Does::Refuse);
    let begin = Instant::now();
    for _ in 0..30 {
        assert_ne!(client.write().await, Ok(0));
    }
    assert!(fakes[0].came() > 3);
    assert_eq!(fakes[0].executed(), 0);
    assert_eq!(begin.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_executed_is_made_again_only_if_it_is_idempotent() {
    for idempotent in [true, false] {
        let fakes = fakes::<2>();
        let (_channel, client) = connected(to(&fakes), 2).await;
        fakes.iter().for_each(|fake| fake.does(Does::Hang));
        let call = tokio::spawn({
            let client = client.clone();
            async move { if idempotent { client.read().await } else { client.write().await } }
        });
        sleep(MILLI).await;
        let [first, other] = if fakes[0].running() == 1 { [0, 1] } else { [1, 0] };
        fakes[other].does(Does::Answer);
        fakes[first].kill();
        let result = call.await.unwrap();
        if idempotent {
            assert_eq!(result, Ok(other));
        } else {
            let error: Status = result.unwrap_err().into();
            assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, true));
            assert_eq!(fakes[other].came(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_so_are_all_of_them_together() {
    let fakes = fakes::<3>();
    let pauses = Backoff::default().base(MILLI).max(MILLI);
    let (_channel, client) = connected(to(&fakes).retry_backoff(pauses).no_outlier_detection(), 3).await;
    fakes.iter().for_each(|fake| fake.does(Does::Refuse));
    let came = || fakes.iter().map(Fake::came).sum::<usize>();
    let error: Status = client.write().await.unwrap_err().into();
    assert_eq!(
        (error.code(), error.message(), error.may_have_executed()),
        (Code::Unavailable, "busy", false)
    );
    assert_eq!(came(), 5);
    let begin = Instant::now();
    let (_, failed) = load::<3>(&client, 50, 5000).await;
    assert_eq!(failed.len(), 5000);
    // A fifth of the calls, and ten for each second and for the ten before.
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap() + 1;
    let most = 5005 + 1001 + 100 + 10 * seconds;
    assert!((5000 + 1000..=most).contains(&came()), "{} attempts, above {most}", came());
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_there_are_no_retries_but_where_a_server_goes_away() {
    let fakes = fakes::<2>();
    let none = RetryBudget::default().share(0.0).min_per_second(0);
    let (_channel, client) = connected(to(&fakes).retry_budget(none).no_outlier_detection(), 2).await;
    fakes[0].does(Does::Refuse);
    let (answered, failed) = load::<2>(&client, 1, 200).await;
    assert_eq!((answered[0], answered[1] + failed.len()), (0, 200));
    assert_eq!(fakes[0].came(), failed.len());
    fakes[0].does(Does::AnswerAfter(MILLI));
    // Calls that cross with the leave of a server are not executed there.
    let draining = async {
        for _ in 0..10 {
            sleep(10 * MILLI).await;
            fakes[0].drain().await;
            fakes[0].set_down(false);
        }
    };
    let ((_, failed), ()) = tokio::join!(load::<2>(&client, 20, 5000), draining);
    assert_eq!(failed, []);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_is_not_made_again() {
    let fakes = fakes::<1>();
    let slow = Backoff::default().base(10 * SECOND).max(10 * SECOND);
    let (_channel, client) = connected(to(&fakes).retry_backoff(slow), 1).await;
    fakes[0].does(Does::Refuse);
    let begin = Instant::now();
    let error: Status = client.write().timeout(10 * MILLI).await.unwrap_err().into();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(begin.elapsed(), 10 * MILLI);
}
