//! The real `eventflow` binary as people run it: a hub that can be killed, and commands beside it.
//!
//! `tests/run` builds the binary first; cargo does not build it for the specs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{TestDatabase, within};

/// A data folder and a database: where a hub and its commands meet.
#[derive(Debug)]
pub struct Place {
    folder: tempfile::TempDir,
    database: String,
    settings: Vec<(&'static str, String)>,
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A hub that can be reached.
#[derive(Debug)]
pub struct HubProcess {
    running: Running,
    address: String,
    health: String,
    log: PathBuf,
}

/// The binary, beside the folder of the test executable.
///
/// # Panics
/// If nobody has built it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("eventflow");
    assert!(
        path.exists(),
        "{} is missing: use tests/run, or build it with cargo build -p eventflow",
        path.display()
    );
    path
}

impl Place {
    /// A new data folder that works on `database`.
    #[must_use]
    pub fn on(database: &TestDatabase) -> Self {
        Self::with_url(&database.url_text())
    }

    /// A new data folder that works on the database with this URL.
    #[must_use]
    pub fn with_url(url: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: url.to_owned(), settings: Vec::new() }
    }

    /// Gives every command from now on this setting in its environment.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(taken, _)| *taken != name);
        self.settings.push((name, value.to_owned()));
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the data folder with this text.
    #[must_use]
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A command of this place: nothing of the caller's settings reaches it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTFLOW_") {
                command.env_remove(name);
            }
        }
        command.env("EVENTFLOW_DATA", self.data()).env("EVENTFLOW_DATABASE", &self.database);
        command.env("EVENTFLOW_ON_STALL", "end").args(arguments);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with_input(arguments, "").await
    }

    /// Runs a command to its end, with `input` on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who does not read its input may be gone already.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = within(&format!("eventflow {arguments:?}"), child.wait_with_output()).await.unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that has to succeed, and returns its standard output.
    pub async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(0), "eventflow {arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    /// The same, with its standard output as one JSON value a line.
    pub async fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        json_lines(&self.done(arguments).await)
    }

    /// Starts a command.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments).stderr(Stdio::inherit()))
    }

    /// Starts a hub on a free port and waits until it can be reached.
    pub async fn hub(&self, arguments: &[&str]) -> HubProcess {
        self.hub_at("127.0.0.1:0", arguments).await
    }

    /// Starts a hub at `listen` and waits until it can be reached.
    pub async fn hub_at(&self, listen: &str, arguments: &[&str]) -> HubProcess {
        let log = self.data().join("hub.log");
        // Whoever connects from a port that nobody listens on has it for a moment.
        for _ in 0..100 {
            let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
            let before = usize::try_from(stderr.metadata().unwrap().len()).unwrap();
            let mut command = self.command(&["hub", "--json", "--listen", listen, "--health", "127.0.0.1:0"]);
            let mut running = Running::of(command.args(arguments).stderr(stderr));
            if let Some(line) = running.line().await {
                let said: serde_json::Value = serde_json::from_str(&line).unwrap();
                let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
                return HubProcess { running, address: text("address"), health: text("health"), log };
            }
            let said = std::fs::read(&log).unwrap();
            let said = String::from_utf8_lossy(&said[before..]);
            assert!(said.contains("Address already in use"), "the hub did not start: {said}");
        }
        panic!("{listen} is somebody else's");
    }
}

/// Each line as a JSON value.
#[must_use]
pub fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Running {
    fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of its standard output; `None` when it has ended.
    pub async fn line(&mut self) -> Option<String> {
        within("a line of output", self.lines.next_line()).await.unwrap()
    }

    /// Waits until it has printed `count` more lines, and returns them.
    pub async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            match self.line().await {
                Some(line) => lines.push(line),
                None => panic!("it ended after {} of {count} lines", lines.len()),
            }
        }
        lines
    }

    /// Kills it (`kill -9`) and waits until it is gone. Returns what it had printed.
    pub async fn kill(mut self) -> String {
        self.child.start_kill().unwrap();
        self.rest().await.1
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub async fn terminate(self) -> (Option<i32>, String) {
        signal("TERM", self.pid());
        self.rest().await
    }

    /// Waits for its end: its exit code and what it had still printed.
    pub async fn rest(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        let mut reader = self.lines.into_inner();
        within("the end of its output", reader.read_to_string(&mut text)).await.unwrap();
        let status = within("its end", self.child.wait()).await.unwrap();
        (status.code(), text)
    }

    /// Whether it has ended by now.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }
}

impl HubProcess {
    /// Where it listens, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where health and metrics are served, `host:port`.
    #[must_use]
    pub fn health(&self) -> &str {
        &self.health
    }

    /// Kills it (`kill -9`), and returns where it was: a new one may listen there.
    pub async fn kill(self) -> String {
        self.is_not_stuck();
        self.running.kill().await;
        self.address
    }

    /// Asks it to stop (SIGTERM) and returns its exit code.
    pub async fn terminate(self) -> Option<i32> {
        self.is_not_stuck();
        self.running.terminate().await.0
    }

    /// No silent stall, in any test.
    fn is_not_stuck(&self) {
        let log = self.log();
        let stuck = log.lines().find(|line| line.contains("the dispatcher is stuck"));
        assert!(stuck.is_none(), "{stuck:?}");
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Memory that it holds now, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// Sends a signal to a process of ours.
pub fn signal(name: &str, pid: u32) {
    let sent =
        std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

/// Makes a file readable for its owner only.
pub fn private(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
