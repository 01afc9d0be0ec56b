//! Probes of ours, which their side answers without knowing of them.

use std::time::Duration;

use muxado::{HeartbeatConfig, HeartbeatEvent, SessionError, Side};

use crate::peers::{ask, both_roles, connect, serve_theirs};

both_roles!(their_side_answers_probes, their_side_that_is_gone_is_noticed);

async fn their_side_answers_probes(ours: Side) {
    let (session, theirs) = connect(ours);
    tokio::spawn(serve_theirs(theirs));
    let mut keepalive = session.keepalive(HeartbeatConfig::default().interval(Duration::from_secs(1)));
    for _ in 0..100 {
        let event = keepalive.changed().await;
        assert!(matches!(event, HeartbeatEvent::RoundTrip(_)), "{event:?}");
    }
    // Streams go on beside them.
    let stream = session.open().await.unwrap();
    assert_eq!(ask(stream, b"still there").await, b"still there");
    keepalive.ping().await.unwrap();
}

async fn their_side_that_is_gone_is_noticed(ours: Side) {
    // A peer that keeps the connection open and says nothing, as a machine does that was switched off.
    let (near, _far) = tokio::io::duplex(64 * 1024);
    let (session, driver) = muxado::Session::new(ours, near, muxado::Config::default());
    tokio::spawn(driver);
    let _keepalive = session.keepalive(HeartbeatConfig::default());
    assert_eq!(session.closed().await.local, SessionError::HeartbeatTimeout(Duration::from_secs(15)));
}
