//! A database server of one test's own, that may be killed.

use std::path::PathBuf;
use std::process::Stdio;

use sqlx::{Connection, MySqlConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::database::unused_port;
use crate::engine::{Engine, Home};
use crate::within;

/// A private server: its own data, port and socket.
#[derive(Debug)]
pub struct DatabaseServer {
    engine: Engine,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
    url: String,
}

impl DatabaseServer {
    /// Starts a server of `engine`; `None` where the specs have none of it, or for SQLite.
    pub async fn start(engine: Engine) -> Option<Self> {
        let Home::Server(_) = engine.home() else { return None };
        let mut server = Self {
            engine,
            folder: tempfile::tempdir().unwrap(),
            port: unused_port(),
            process: None,
            url: String::new(),
        };
        match engine {
            Engine::Sqlite => return None,
            Engine::MariaDb => {
                server.make_mariadb().await;
                server.url = format!("mysql://root@127.0.0.1:{}/{{}}", server.port);
                server.run_mariadb().await;
            }
            // Whoever gave a URL of a server need not have the tool that starts one.
            Engine::MySql if !real_mysql().exists() => {
                println!("not run: {} is not here", real_mysql().display());
                return None;
            }
            Engine::MySql => {
                server.url =
                    format!("mysql://eventflow:eventflow@127.0.0.1:{}/{{}}?ssl-mode=REQUIRED", server.port);
                server.run_mysql().await;
            }
        }
        Some(server)
    }

    /// The URL of a database on it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url.replace("{}", database)
    }

    /// Runs a statement on it.
    pub async fn execute(&self, statement: &'static str) {
        let mut connection = MySqlConnection::connect(&self.url("")).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Kills it (`kill -9`).
    pub async fn kill(&mut self) {
        match self.process.take() {
            Some(mut process) => within("the server's end", process.kill()).await.unwrap(),
            None => self.kill_by_pid_file().await,
        }
    }

    /// Starts it again on the same data and port, and waits until it answers.
    pub async fn start_again(&mut self) {
        match self.engine {
            Engine::Sqlite => {}
            Engine::MariaDb => self.run_mariadb().await,
            Engine::MySql => self.run_mysql().await,
        }
    }

    /// Ends it and removes its data.
    pub async fn stop(mut self) {
        self.kill().await;
    }

    async fn make_mariadb(&self) {
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(as_root())
            .arg(format!("--datadir={}", self.folder.path().join("data").display()))
            .stdout(Stdio::null())
            .status();
        assert!(made.await.unwrap().success(), "mariadb-install-db");
    }

    async fn run_mariadb(&mut self) {
        let folder = self.folder.path().display();
        let mut command = Command::new(mariadbd());
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args(as_root())
            .arg(format!("--datadir={folder}/data"))
            // A server that starts removes what others have in a folder that they share.
            .arg(format!("--tmpdir={folder}/data"))
            .arg(format!("--socket={folder}/sock"))
            .arg(format!("--pid-file={folder}/pid"))
            .arg(format!("--port={}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("ready for connections") {
                    return;
                }
            }
            panic!("mariadbd ended before it was ready");
        };
        within("MariaDB to be ready", ready).await;
        process.stderr = Some(log.into_inner().into_inner());
        self.process = Some(process);
    }

    async fn run_mysql(&self) {
        let started = Command::new(real_mysql())
            .arg("start")
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdout(Stdio::null())
            .status();
        assert!(within("MySQL to be ready", started).await.unwrap().success(), "real-mysql start");
    }

    async fn kill_by_pid_file(&self) {
        let Ok(pid) = std::fs::read_to_string(self.folder.path().join("pid")) else { return };
        let pid: u32 = pid.trim().parse().unwrap();
        crate::process::signal("KILL", pid);
        // It is not our child: `tail --pid` ends when it is gone.
        let gone = Command::new("tail").args([&format!("--pid={pid}"), "-f", "/dev/null"]).status();
        within("the server's end", gone).await.unwrap();
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        // MySQL is not our child, so it would outlive a test that fails.
        if self.engine == Engine::MySql
            && let Ok(pid) = std::fs::read_to_string(self.folder.path().join("pid"))
        {
            drop(
                std::process::Command::new("kill").args(["-KILL", pid.trim()]).stderr(Stdio::null()).status(),
            );
        }
    }
}

fn real_mysql() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/tools/real-mysql"))
}

fn mariadbd() -> &'static str {
    if std::path::Path::new("/usr/sbin/mariadbd").exists() { "/usr/sbin/mariadbd" } else { "mariadbd" }
}

/// MariaDB refuses to run as root unless it is told to.
fn as_root() -> &'static [&'static str] {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if root { &["--user=root"] } else { &[] }
}
