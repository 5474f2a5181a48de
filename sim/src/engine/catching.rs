//! Panics in tasks, kept until somebody raises them again.
//!
//! A runtime keeps a task's panic in its join handle, or swallows it. A run must end with it: every
//! task of ours is wrapped, its payload goes to the task's owner, and from there to the engine.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a task panicked with.
pub(super) type Panic = Box<dyn Any + Send + 'static>;

/// A future whose panic is its output.
pub(super) struct Catching<F> {
    inner: Pin<Box<F>>,
}

/// Runs a future and keeps its panic.
pub(super) fn catching<F: Future>(future: F) -> Catching<F> {
    Catching {
        inner: Box::pin(future),
    }
}

impl<F: Future> Future for Catching<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.inner.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
