//! One event through a command: its JSON on standard input, its exit code as the answer, and what it says
//! on standard output as events that follow, if that is wished.
//!
//! 0 is done, 75 (`EX_TEMPFAIL`) gives the event back untouched, everything else is a failed try
//! whose reason is the exit code and the last line that the command wrote to standard error.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use proto::limits::REASON_CHARS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

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
    /// It did its work, and said this on standard output, if that was kept.
    Done {
        /// All that it said.
        said: Vec<u8>,
    },
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

/// What becomes of a command's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandardOutput {
    /// It is ours.
    PassedOn,
    /// It is kept for whoever runs the command.
    Kept,
}

/// Bytes of standard output that are kept. A command that says more has failed.
const SAID_BYTES_MAX: u64 = 4 << 20;

/// Runs `sh -c command` with `json` on standard input. Dropping the future kills the command.
pub(crate) async fn run(command: &str, json: Vec<u8>, attempt: u32, stdout: StandardOutput) -> Ended {
    let child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("EVENTFLOW_ATTEMPT", attempt.to_string())
        .stdin(Stdio::piped())
        .stdout(match stdout {
            StandardOutput::PassedOn => Stdio::inherit(),
            StandardOutput::Kept => Stdio::piped(),
        })
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => wait(child, json).await,
        Err(error) => Ended::Failed { reason: format!("sh cannot be started: {error}") },
    }
}

async fn wait(mut child: Child, json: Vec<u8>) -> Ended {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut said = Vec::new();
    let mut words = LastWords::default();
    let status = {
        let mut listening = pin!(words.listen(stderr));
        let mut ended = pin!(async {
            futures::future::join(feed(stdin, &json), keep(stdout, &mut said)).await;
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
        Ok(_) if said.len() as u64 > SAID_BYTES_MAX => {
            Ended::Failed { reason: format!("it said more than {SAID_BYTES_MAX} bytes") }
        }
        Ok(status) => judge(status, said, &words.last_line()),
        Err(error) => Ended::Failed { reason: format!("its end was not learned: {error}") },
    }
}

/// Writes the event. A command that does not want to read it is not an error.
async fn feed(stdin: Option<ChildStdin>, json: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(json).await;
    }
}

/// Takes what a command says, up to a little more than it may.
async fn keep(stdout: Option<ChildStdout>, said: &mut Vec<u8>) {
    if let Some(stdout) = stdout {
        // An error is an end, too: what counts is how the command ends.
        let _ = stdout.take(SAID_BYTES_MAX + 1).read_to_end(said).await;
    }
}

fn judge(status: ExitStatus, said: Vec<u8>, last_line: &str) -> Ended {
    let with_words = |what: String| if last_line.is_empty() { what } else { format!("{what}: {last_line}") };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Done { said },
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

    const DONE: Ended = Ended::Done { said: Vec::new() };

    async fn run(command: &str, json: Vec<u8>, attempt: u32) -> Ended {
        super::run(command, json, attempt, StandardOutput::PassedOn).await
    }

    #[tokio::test]
    async fn the_exit_code_is_the_answer() {
        assert_eq!(run("cat > /dev/null", b"{}".to_vec(), 1).await, DONE);
        assert_eq!(run("exit 75", b"{}".to_vec(), 1).await, Ended::Release);
        let reason = "exit code 3: no such customer".to_owned();
        let command = "echo first >&2; echo 'no such customer' >&2; echo >&2; exit 3";
        assert_eq!(run(command, b"{}".to_vec(), 1).await, Ended::Failed { reason });
    }

    #[tokio::test]
    async fn the_command_reads_the_event_and_knows_the_attempt() {
        let command = r#"test "$(cat)" = '{"a":1}' && test "$EVENTFLOW_ATTEMPT" = 4"#;
        assert_eq!(run(command, b"{\"a\":1}".to_vec(), 4).await, DONE);
    }

    #[tokio::test]
    async fn a_command_that_does_not_read_a_large_event_is_no_failure() {
        assert_eq!(run("exit 0", vec![b'x'; 1 << 20], 1).await, DONE);
    }

    #[tokio::test]
    async fn what_a_command_says_is_kept_where_that_is_wished() {
        let ended = super::run("cat; echo b", b"a\n".to_vec(), 1, StandardOutput::Kept).await;
        assert_eq!(ended, Ended::Done { said: b"a\nb\n".to_vec() });
        let ended = super::run("yes", Vec::new(), 1, StandardOutput::Kept).await;
        assert!(matches!(&ended, Ended::Failed { reason } if reason.contains("said more")), "{ended:?}");
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
        assert_eq!(run(&command, b"{}".to_vec(), 1).await, DONE);
        // The child reads until somebody has opened the pipe for writing and closed it again.
        std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
    }
}
