//! One event through a command: its JSON on standard input, its exit code as the answer.
//!
//! 0 is done, 75 (`EX_TEMPFAIL`) gives the event back untouched, everything else is a failed try
//! whose reason is the exit code and the last line that the command wrote to standard error.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use proto::limits::REASON_CHARS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

use crate::output::pass_on;

/// The exit code that gives an event back untouched.
const EXIT_RELEASE: i32 = 75;

/// How long standard error is listened to after the command has ended: a child of its own may hold it open.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(100);

/// Bytes of standard error that are kept for the reason.
const LAST_WORDS_BYTES: usize = 4 * REASON_CHARS_MAX;

/// What a command made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It did its work.
    Done,
    /// It gives the event back.
    Release,
    /// It failed.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// A signal ended it.
    Killed {
        /// Why, for people.
        reason: String,
    },
}

/// Runs `sh -c command` with `json` on standard input. Dropping the future kills the command.
pub(crate) async fn run(command: &str, json: Vec<u8>, attempt: u32) -> Ended {
    let child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("EVENTFLOW_ATTEMPT", attempt.to_string())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => wait(child, json).await,
        Err(error) => Ended::Failed { reason: format!("sh cannot be started: {error}") },
    }
}

async fn wait(mut child: Child, json: Vec<u8>) -> Ended {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut words = LastWords::default();
    let status = {
        let mut listening = pin!(words.listen(stderr));
        let mut ended = pin!(async {
            feed(stdin, &json).await;
            child.wait().await
        });
        let mut silent = false;
        let status = loop {
            tokio::select! {
                biased;
                status = &mut ended => break status,
                () = &mut listening, if !silent => silent = true,
            }
        };
        if !silent {
            // What is not said by now is not the command's own.
            let _ = tokio::time::timeout(LAST_WORDS_WITHIN, listening).await;
        }
        status
    };
    match status {
        Ok(status) => judge(status, &words.last_line()),
        Err(error) => Ended::Failed { reason: format!("its end was not learned: {error}") },
    }
}

/// Writes the event. A command that does not want to read it is not an error.
async fn feed(stdin: Option<ChildStdin>, json: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(json).await;
    }
}

fn judge(status: ExitStatus, last_line: &str) -> Ended {
    let with_words = |what: String| if last_line.is_empty() { what } else { format!("{what}: {last_line}") };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Done,
        (Some(EXIT_RELEASE), _) => Ended::Release,
        (Some(code), _) => Ended::Failed { reason: with_words(format!("exit code {code}")) },
        (None, signal) => {
            Ended::Killed { reason: with_words(format!("ended by signal {}", signal.unwrap_or_default())) }
        }
    }
}

/// The end of what a command says on standard error; all of it is passed on to ours.
#[derive(Default)]
struct LastWords(Vec<u8>);

impl LastWords {
    async fn listen(&mut self, from: Option<tokio::process::ChildStderr>) {
        let Some(mut from) = from else { return };
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let said = buffer.get(..read).unwrap_or_default();
            pass_on(said);
            self.keep(said);
        }
    }

    fn keep(&mut self, said: &[u8]) {
        self.0.extend_from_slice(said);
        let surplus = self.0.len().saturating_sub(LAST_WORDS_BYTES);
        self.0.drain(..surplus);
    }

    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_exit_code_is_the_answer() {
        assert_eq!(run("cat > /dev/null", b"{}".to_vec(), 1).await, Ended::Done);
        assert_eq!(run("exit 75", b"{}".to_vec(), 1).await, Ended::Release);
        let reason = "exit code 3: no such customer".to_owned();
        let command = "echo first >&2; echo 'no such customer' >&2; echo >&2; exit 3";
        assert_eq!(run(command, b"{}".to_vec(), 1).await, Ended::Failed { reason });
    }

    #[tokio::test]
    async fn the_command_reads_the_event_and_knows_the_attempt() {
        let command = r#"test "$(cat)" = '{"a":1}' && test "$EVENTFLOW_ATTEMPT" = 4"#;
        assert_eq!(run(command, b"{\"a\":1}".to_vec(), 4).await, Ended::Done);
    }

    #[tokio::test]
    async fn a_command_that_does_not_read_a_large_event_is_no_failure() {
        assert_eq!(run("exit 0", vec![b'x'; 1 << 20], 1).await, Ended::Done);
    }

    #[tokio::test]
    async fn a_signal_is_not_an_exit_code() {
        let ended = run("kill -TERM $$", b"{}".to_vec(), 1).await;
        assert!(matches!(ended, Ended::Killed { reason } if reason == "ended by signal 15"));
    }

    #[tokio::test]
    async fn a_child_that_holds_standard_error_open_does_not_hold_up_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let command = format!("mkfifo {0} && {{ cat {0} > /dev/null & }}", pipe.display());
        assert_eq!(run(&command, b"{}".to_vec(), 1).await, Ended::Done);
        // The child reads until somebody has opened the pipe for writing and closed it again.
        std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
    }
}
