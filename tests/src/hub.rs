//! A hub in this process: started, stopped and started again as a value.

use std::io::ErrorKind;

use db::DatabaseUrl;
use hub::{HubConfig, HubError, Ready, Rules};
use spoke::{Spoke, SpokeOptions};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::name;
use crate::{Cutter, TestDatabase, within};

/// A running hub with a data folder of its own.
#[derive(Debug)]
pub struct TestHub {
    folder: tempfile::TempDir,
    database: DatabaseUrl,
    address: String,
    stop: CancellationToken,
    task: JoinSet<()>,
    rules: Rules,
}

impl TestHub {
    /// Starts a hub on `database`.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// Starts a hub on `database` whose rules are changed by `change`: three tries, soon after each other.
    pub async fn start_with(database: &TestDatabase, change: impl FnOnce(&mut Rules)) -> Self {
        let backoff_first = std::time::Duration::from_millis(20);
        let mut rules = Rules { backoff_first, attempts_max: 3, ..Rules::default() };
        change(&mut rules);
        let mut hub = Self {
            folder: tempfile::tempdir().unwrap(),
            database: database.url(),
            address: "127.0.0.1:0".to_owned(),
            stop: CancellationToken::new(),
            task: JoinSet::new(),
            rules,
        };
        hub.run().await;
        hub
    }

    /// Where it listens, `host:port`. It keeps its port over a restart.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What a spoke of `service` on this machine connects with.
    #[must_use]
    pub fn options(&self, service: &str) -> SpokeOptions {
        SpokeOptions::new(name(service), self.folder.path())
    }

    /// A spoke of `service` that is connected to it.
    pub async fn spoke(&self, service: &str) -> Spoke {
        within("a spoke's connection", Spoke::connect(self.options(service))).await.unwrap()
    }

    /// A spoke of `service` that is connected to it through `cutter`.
    pub async fn spoke_through(&self, cutter: &Cutter, service: &str) -> Spoke {
        let options = SpokeOptions::new(name(service), self.folder.path()).hub(cutter.address());
        within("a spoke's connection", Spoke::connect(options)).await.unwrap()
    }

    /// Stops it in order.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// Stops it in order and starts it again at the same address.
    pub async fn restart(&mut self) {
        self.end().await;
        self.run().await;
    }

    /// Drops it where it stands, as a crash would, and starts it again at the same address.
    pub async fn crash_and_restart(&mut self) {
        assert!(self.task.try_join_next().is_none(), "the hub has ended by itself");
        self.task.shutdown().await;
        // Its listener goes with it, but a moment later.
        within("the port", async {
            while tokio::net::TcpListener::bind(&self.address).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        self.run().await;
    }

    async fn end(&mut self) {
        self.stop.cancel();
        within("the hub's end", self.task.join_next()).await.unwrap().unwrap();
    }

    async fn run(&mut self) {
        // Whoever connects from a port that nobody listens on has it for a moment.
        let started = async {
            loop {
                if let Some(ready) = self.try_to_run().await {
                    return ready;
                }
            }
        };
        self.address = within("the hub's start", started).await.address.to_string();
    }

    /// Starts it; `None` if its port is taken.
    async fn try_to_run(&mut self) -> Option<Ready> {
        let mut config = HubConfig::new(self.folder.path().to_owned());
        config.database = self.database.clone();
        config.listen = self.address.clone();
        config.health = None;
        config.rules = self.rules;
        config.on_stall = hub::OnStall::End;
        let (ready, started) = oneshot::channel::<Ready>();
        self.stop = CancellationToken::new();
        let stop = self.stop.clone();
        self.task.spawn(async move {
            match hub::run(config, ready, stop).await {
                Ok(stopped) => assert_eq!(stopped.stalls, 0, "the dispatcher was stuck"),
                Err(HubError::Listen { reason, .. }) if reason.kind() == ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        });
        if let Ok(ready) = started.await {
            return Some(ready);
        }
        self.task.join_next().await.unwrap().unwrap();
        None
    }
}
