//! Authentication and authorisation by a check of the application.

use std::{
    any::{Any, TypeId},
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, Request, Status};

/// Lets only those calls through that a check of the application allows.
///
/// The check is a closure from `&mut Request` to a future of `Result<T, Status>`. An `Ok` value is put into the
/// [`extensions`](Request::extensions) of the request, where handlers find it, such as the user who calls; `()` is
/// left out. A call that the check refuses fails with the check's status; no handler runs, so the call is
/// [not executed](Status::may_have_executed).
///
/// The future cannot borrow from the request. The closure takes out what the future needs, which also keeps a token
/// from handlers. By convention an unknown caller gets [`unauthenticated`](Status::unauthenticated), a known one
/// without permission gets [`permission_denied`](Status::permission_denied).
///
/// The check counts against the time limit of the call and is dropped with it. The inner service is polled for
/// readiness only after the check: a refused call takes no place in a concurrency limit inside.
///
/// A layer sees whole requests. A decision that needs no waiting is better made by
/// [`ServerBuilder::authorize`](crate::ServerBuilder::authorize), before the parameters are received.
///
/// ```
/// use muxado_rpc::{Context, Request, Status, layers::AuthLayer};
///
/// struct User(String);
///
/// async fn user_of(token: Option<String>) -> Result<User, Status> {
///     // For instance by a query to a database.
///     token.map(User).ok_or_else(|| Status::unauthenticated("a token is needed"))
/// }
///
/// let auth = AuthLayer::new(|request: &mut Request| {
///     let (token, method) = (request.metadata_mut().remove("token"), request.method_ref());
///     async move {
///         let User(user) = user_of(token).await?;
///         if method.name() == "delete" && user != "admin" {
///             return Err(Status::permission_denied(format!("{user} may not delete")));
///         }
///         Ok(User(user))
///     }
/// });
///
/// // In a handler:
/// fn greet(cx: &Context) -> String {
///     format!("hello {}", cx.extension::<User>().map_or("", |User(name)| name))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AuthLayer<F> {
    check: F,
}

impl<F, Fut, T> AuthLayer<F>
where
    F: Fn(&mut Request) -> Fut + Clone,
    Fut: Future<Output = Result<T, Status>>,
    T: Any + Send + Sync,
{
    /// Creates a layer that calls `check` for each call.
    pub fn new(check: F) -> Self {
        Self { check }
    }
}

impl<S, F: Clone> Layer<S> for AuthLayer<F> {
    type Service = Auth<S, F>;

    fn layer(&self, inner: S) -> Auth<S, F> {
        Auth { inner, check: self.check.clone() }
    }
}

/// A service inside an [`AuthLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Auth<S, F> {
    inner: S,
    check: F,
}

accessors!(Auth<S, F>);

impl<S, F, Fut, T> Service<Request> for Auth<S, F>
where
    S: Service<Request, Error: Into<BoxError>> + Clone,
    F: Fn(&mut Request) -> Fut,
    Fut: Future<Output = Result<T, Status>>,
    T: Any + Send + Sync,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AuthFuture<S, Fut>;

    /// Always ready: the service inside is asked once a call is allowed.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> AuthFuture<S, Fut> {
        let check = (self.check)(&mut request);
        AuthFuture { state: State::Checking { check, allowed: Some((self.inner.clone(), request)) } }
    }
}

/// A call through an [`Auth`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(
    missing_debug_implementations,
    reason = "neither requests on their way nor futures have more to show"
)]
pub struct AuthFuture<S: Service<Request>, Fut> {
    #[pin]
    state: State<S, Fut>,
}

#[pin_project(project = StateProjection)]
enum State<S: Service<Request>, Fut> {
    Checking {
        #[pin]
        check: Fut,
        /// What happens if the call is allowed.
        allowed: Option<(S, Request)>,
    },
    /// Waits until the service takes the call.
    Waiting(Option<(S, Request)>),
    Calling(#[pin] S::Future),
}

impl<S, Fut, T> Future for AuthFuture<S, Fut>
where
    S: Service<Request, Error: Into<BoxError>>,
    Fut: Future<Output = Result<T, Status>>,
    T: Any + Send + Sync,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Checking { check, allowed } => {
                    let granted = ready!(check.poll(cx)).map_err(Status::not_executed)?;
                    let mut allowed = allowed.take();
                    if let Some((_, request)) = &mut allowed
                        && TypeId::of::<T>() != TypeId::of::<()>()
                    {
                        request.extensions_mut().insert(granted);
                    }
                    State::Waiting(allowed)
                }
                StateProjection::Waiting(allowed) => {
                    if let Some((inner, _)) = allowed {
                        ready!(inner.poll_ready(cx)).map_err(Into::into)?;
                    }
                    match allowed.take() {
                        Some((mut inner, request)) => State::Calling(inner.call(request)),
                        None => {
                            return Poll::Ready(Err(
                                Status::internal("a call was polled after its end").into()
                            ));
                        }
                    }
                }
                StateProjection::Calling(call) => return call.poll(cx).map_err(Into::into),
            };
            state.set(next);
        }
    }
}
