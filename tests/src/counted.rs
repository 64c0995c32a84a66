//! A user of the server who only one test is, so that what the server counts of them is that test's.
//!
//! An embedded database counts nothing, so there is no such user there.

use db::DatabaseUrl;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::{Engine, TestDatabase};

/// Such a user.
#[derive(Debug)]
pub struct CountedUser {
    name: String,
    url: DatabaseUrl,
    count: &'static str,
    server: MySqlConnection,
}

/// What MariaDB counts once it is told to: what is asked and changed, no pings and nothing prepared.
const MARIADB: &str = "SELECT CAST(SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS AS SIGNED)
    FROM information_schema.USER_STATISTICS WHERE USER = ?";

/// The same of MySQL, which counts by itself.
const MYSQL: &str = "SELECT CAST(SUM(COUNT_STAR) AS SIGNED)
    FROM performance_schema.events_statements_summary_by_user_by_event_name
    WHERE USER = ? AND EVENT_NAME NOT IN
      ('statement/com/Ping', 'statement/com/Prepare', 'statement/com/Close stmt', 'statement/com/Quit')";

impl CountedUser {
    /// A new user who may do everything; `None` where there is no server.
    pub async fn on(database: &TestDatabase) -> Option<Self> {
        let mut server = MySqlConnection::connect(database.server()?).await.unwrap();
        let name = format!("counted_{:08x}", rand::random::<u32>());
        let mut setup =
            format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'counted'; GRANT ALL ON *.* TO '{name}'@'%'");
        let count = match database.engine() {
            Engine::MySql => MYSQL,
            Engine::Sqlite | Engine::MariaDb => {
                setup.push_str("; SET GLOBAL userstat = 1");
                MARIADB
            }
        };
        sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut server).await.unwrap();
        let url = database.url_text();
        let (scheme, rest) = url.split_once("://").unwrap();
        let (_, place) = rest.split_once('@').unwrap();
        let url = DatabaseUrl::parse(&format!("{scheme}://{name}:counted@{place}")).unwrap();
        Some(Self { name, url, count, server })
    }

    /// The database's URL for this user.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How many statements the server has had from this user.
    pub async fn statements(&mut self) -> u64 {
        let count = sqlx::query_scalar::<_, i64>(self.count).bind(&self.name);
        u64::try_from(count.fetch_one(&mut self.server).await.unwrap()).unwrap()
    }

    /// Removes the user, whose connections are closed by then.
    pub async fn remove(mut self) {
        let drop = AssertSqlSafe(format!("DROP USER '{}'@'%'", self.name));
        sqlx::raw_sql(drop).execute(&mut self.server).await.unwrap();
        self.server.close().await.unwrap();
    }
}
