//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Outcome};
use crate::output::note;

/// What a shell reports for a program that Ctrl-C has ended.
const EXIT_INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. The task that listens for signals lives in `tasks`.
///
/// # Errors
/// A failure if the operating system refuses to tell of signals.
pub(crate) fn on_signal(tasks: &mut JoinSet<()>) -> Outcome<CancellationToken> {
    let unheard = |error| Failure::failed(format_args!("signals cannot be listened for: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(EXIT_INTERRUPTED);
            }
            note("stopping; a second signal ends it at once");
            told.cancel();
        }
    });
    Ok(stop)
}
