//! What a projection does with an event: the caller's part.

use futures::future::BoxFuture;
use proto::Event;

use super::store::Generation;

/// Why an event could not be applied. Every error turns into one by `?`, a text by `.into()`.
pub type ApplyError = Box<dyn std::error::Error + Send + Sync>;

/// Turns events into rows, inside a transaction of type `T`.
///
/// It must leave nothing behind but what it writes with the transaction: an event whose transaction is
/// rolled back is applied again. Events come one at a time, in the order of the log.
pub trait Projector<T>: Send + 'static {
    /// Makes room for a generation, in a transaction of its own: called at each start, before the first event,
    /// so it must be safe to call again (`CREATE TABLE IF NOT EXISTS`). Does nothing unless it is written.
    ///
    /// # Errors
    /// The projection does not start.
    fn open(
        &mut self,
        transaction: &mut T,
        generation: Generation,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send {
        let _ = (transaction, generation);
        std::future::ready(Ok(()))
    }

    /// Applies one event. Builds of different generations must not touch each other's rows.
    ///
    /// # Errors
    /// The transaction is rolled back and the event tried again, up to the projection's attempts.
    fn apply(
        &mut self,
        transaction: &mut T,
        event: &Event,
        generation: Generation,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;
}

/// A projector that is a closure: [`projector`].
#[derive(Debug, Clone)]
pub struct Closure<F>(F);

/// A projector from a closure, for those that need no [`Projector::open`].
///
/// ```
/// use eventflow_spoke::{Event, Generation, projector};
///
/// // With a store whose transaction is a list of texts.
/// let names = projector(|rows: &mut Vec<String>, event: &Event, _: Generation| {
///     Box::pin(async move {
///         rows.push(event.name.to_string());
///         Ok(())
///     })
/// });
/// # let _ = names;
/// ```
pub fn projector<T, F>(apply: F) -> Closure<F>
where
    F: for<'a> FnMut(&'a mut T, &'a Event, Generation) -> BoxFuture<'a, Result<(), ApplyError>>
        + Send
        + 'static,
{
    Closure(apply)
}

impl<T, F> Projector<T> for Closure<F>
where
    T: Send,
    F: for<'a> FnMut(&'a mut T, &'a Event, Generation) -> BoxFuture<'a, Result<(), ApplyError>>
        + Send
        + 'static,
{
    async fn apply(
        &mut self,
        transaction: &mut T,
        event: &Event,
        generation: Generation,
    ) -> Result<(), ApplyError> {
        (self.0)(transaction, event, generation).await
    }
}
