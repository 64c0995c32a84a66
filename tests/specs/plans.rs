//! Every statement finds its rows by an index: no engine reads a whole table that grows.
//!
//! The tables are filled first, because an engine may scan a small one whatever its indexes are.

use eventflow_tests::{Engine, TestDatabase, on_every_engine};
use sqlx::{AssertSqlSafe, Row};

/// What a plan may do all the same: (file, part of the plan, why).
const ALLOWED: &[(&str, &str, &str)] = &[
    ("event/last_versions.sql", "wanted", "the names that are asked for, not a table"),
    ("event_published/of_event.sql", "g ", "every group is asked, and there are few"),
    ("event_published/of_event.sql", "TEMP B-TREE", "the few rows of one event"),
    ("event/count_published.sql", "", "it counts a bounded stretch of positions by domain and name"),
    ("group_settings/insert.sql", "g const", "the one row that is put aside: the same table is looked at"),
    ("consumer_slot/of_groups.sql", "filesort", "it sorts the slots of one page of groups"),
    ("log/archive_bound.sql", "", "a person's command, and what keeps this very table short"),
    ("hub/alive_other.sql", "", "a handful of hubs, and only while one starts"),
    ("hub/online.sql", "", "a handful of hubs"),
    ("access_grant/count.sql", "", "rare, an operator's change, and bounded by what it counts"),
    ("role_member/count.sql", "", "the same"),
    ("schema_migration/list.sql", "", "one row a migration"),
    ("consumer_slot/settle.sql", "move", "the rows of the flush itself, not a table"),
    ("certificate/any.sql", "", "it stops at the first row"),
    (
        "certificate/authorities.sql",
        "filesort",
        "the handful of authorities, which it has found by their ids",
    ),
    ("certificate/authorities.sql", "TEMP B-TREE", "the same"),
    ("certificate/count_sealed.sql", "", "a person's command, about keyrings"),
    ("ca_rotation/latest.sql", "", "one row a replacement of authorities"),
    ("ca_rotation/leaves_activated.sql", "", "one row a replacement of authorities"),
    ("authority_mark/list.sql", "", "one row a root whose key is elsewhere"),
    ("log/insert_all.sql", "note", "the notes of the statement itself, not a table"),
    ("log/insert_all.sql", "TEMP B-TREE", "the same, put in their order"),
    ("keyring/list.sql", "", "one row a passphrase"),
    ("keyring/openable.sql", "", "one row a passphrase"),
    ("hub/trusts.sql", "", "a handful of hubs"),
    (
        "event_unparked/settle.sql",
        "temporary",
        "it changes the key that finds its rows, so it gathers them first",
    ),
    ("event_unparked/group_bound.sql", "filesort", "what people did to one group, while that is removed"),
    ("consumer_group/page.sql", "", "groups are few, and a server counts that reading all is cheaper"),
];

/// Folders whose statements ask the engine about itself and read no table of ours.
const NOT_ABOUT_TABLES: &[&str] = &[
    "doctor/",
    "engine/",
    "schema_migration/create.sql",
    "schema_migration/tables.sql",
    "projection/create.sql",
];

/// Statements for `engine`, as (path, text).
fn statements(engine: Engine) -> Vec<(String, String)> {
    let other = if engine == Engine::Sqlite { "mysql/" } else { "sqlite/" };
    let statements: Vec<_> = crate::tidy::files(&["sql"])
        .into_iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("sql/")?.to_owned(), text)))
        .filter(|(path, _)| !path.starts_with(other) && !path.contains("migrations/"))
        .map(|(path, text)| (without_engine(&path).to_owned(), expand(&text)))
        .filter(|(path, _)| !NOT_ABOUT_TABLES.iter().any(|folder| path.starts_with(folder)))
        .collect();
    assert!(statements.len() > 20, "the statements were not found");
    statements
}

fn without_engine(path: &str) -> &str {
    path.strip_prefix("sqlite/").or_else(|| path.strip_prefix("mysql/")).unwrap_or(path)
}

/// The text for three rows where it is a template (`db::statement`), without comments.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(joiner) = line.strip_prefix("-- each row, joined by ") {
            let row: Vec<_> = lines.by_ref().take_while(|line| *line != "-- end").collect();
            expanded
                .push_str(&[row.join("\n"), row.join("\n"), row.join("\n")].join(&format!("\n{joiner}\n")));
        } else if !line.starts_with("--") {
            expanded.push_str(line);
        }
        expanded.push('\n');
    }
    expanded
}

/// The statement with '1', '11', '21' … for its placeholders, so that ranges are not empty. A text is
/// compared as a number where the column is one, and the index serves either way.
fn with_values(statement: &str) -> String {
    let mut parts = statement.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.enumerate().fold(first, |text, (index, part)| format!("{text}'{}'{part}", 10 * index + 1))
}

/// Steps of `statement`'s plan that read a whole table or sort one.
async fn bad_steps(database: &TestDatabase, statement: &str) -> Vec<String> {
    match database.engine() {
        Engine::Sqlite => {
            let mut connection = database.sqlite().await;
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let steps = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
            let details = steps.iter().map(|step| step.get::<String, _>("detail"));
            let own_rows = [
                "CONSTANT ROW",
                "VALUES CLAUSE",
                "SCAN move",
                "(subquery",
                "SCAN page",
                "SCAN batch",
                "SCAN top",
            ];
            details
                .filter(|detail| detail.starts_with("SCAN") || detail.contains("TEMP B-TREE"))
                .filter(|detail| !own_rows.iter().any(|own| detail.contains(own)))
                .collect()
        }
        engine @ (Engine::MariaDb | Engine::MySql) => {
            let format = if engine == Engine::MySql { "FORMAT=TRADITIONAL " } else { "" };
            let statement = with_values(&statement.replace("LIMIT ?", "LIMIT 10"));
            let explain = AssertSqlSafe(format!("EXPLAIN {format}{statement}"));
            let mut connection = database.mysql().await;
            let steps = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
            let text = |step: &sqlx::mysql::MySqlRow, column: &str| {
                step.try_get::<Option<String>, _>(column).unwrap_or_default().unwrap_or_default()
            };
            steps
                .iter()
                // What is written is listed too, as a table that is read whole.
                .filter(|step| {
                    !text(step, "table").starts_with('<')
                        && !["INSERT", "REPLACE"].contains(&text(step, "select_type").as_str())
                })
                .filter(|step| {
                    let (kind, extra) = (text(step, "type"), text(step, "Extra"));
                    ["ALL", "index"].contains(&kind.as_str()) && !extra.contains("No tables")
                        || extra.contains("filesort")
                        || extra.contains("temporary")
                })
                .map(|step| {
                    format!("{} {}: {}", text(step, "table"), text(step, "type"), text(step, "Extra"))
                })
                .collect()
        }
    }
}

/// Tables whose statistics a server needs.
const ANALYZE: &str =
    "ANALYZE TABLE event, event_eid, event_cpid, event_published, event_retry, event_parked,
                 consumer_group, consumer_slot, certificate, event_scheduled, event_outbox, log,
                 log_archive, projection, projection_checkpoint, projection_skipped, group_settings,
                 group_pause, group_removed, event_unparked, parked_pid";

/// What fills the tables of parked events.
fn parked(many: &str) -> [String; 3] {
    [
        format!("event_parked (group_id, position, attempts, reason, consumer, parked, pid, blocks) {many} SELECT i % 20, i, 1, 'r', 'c', 1, CONCAT('p', i % 500), 1 FROM r"),
        format!("parked_pid (group_id, pid) {many} SELECT i % 20, CONCAT('p', i) FROM r"),
        format!(
            "event_unparked (group_id, position, at, act, pending, pid, agent, parked, attempts, reason, consumer)
             {many} SELECT i % 20, i, i, 0, i, CONCAT('p', i % 500), 'a', 1, 1, 'r', 'c' FROM r"
        ),
    ]
}

/// Tables as they are after a while: thousands of rows in what grows.
async fn fill(database: &TestDatabase) {
    const MANY: &str = "WITH RECURSIVE
        n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200),
        r (i) AS (SELECT a.i + 200 * (b.i - 1) FROM n a, n b WHERE b.i <= 50)";
    let sqlite = database.engine() == Engine::Sqlite;
    let (digest, print) = if sqlite {
        ("randomblob(16)", "randomblob(32)")
    } else {
        ("UNHEX(LEFT(SHA2(i, 256), 32))", "UNHEX(SHA2(i, 256))")
    };
    let inserts = [
        format!(
            "event (position, id, timestamp, domain, pid, version, name, publisher, published, digest, data, links)
             {MANY} SELECT i, CONCAT('id-', i), i, CONCAT('d', i % 5), CONCAT('p', i % 500), 1 + i / 500, 'n', 'shop', i, {digest}, '{{}}', 1 FROM r"
        ),
        format!("event_eid (position, eid) {MANY} SELECT i, CONCAT('e', i % 300) FROM r"),
        format!("event_cpid (position, domain, pid) {MANY} SELECT i, CONCAT('d', i % 5), CONCAT('c', i % 300) FROM r"),
        format!(
            "event_published (group_id, first_position, last_position, slot, events, hub, consumer, attempts, consumed_hub, consumed_spoke)
             {MANY} SELECT i % 20, i, i, i % 64, 1, 'hub', 'shop', 1, 1, 1 FROM r"
        ),
        format!("event_retry (group_id, position, attempts, retry_at, reason, consumer) {MANY} SELECT i % 20, i, 1, 1, 'r', 'c' FROM r"),
        format!("consumer_group (id, name, domain, ordered, start_after, created) {MANY} SELECT i, CONCAT('g', i), 'd1', 1, 0, 0 FROM r WHERE i <= 500"),
        format!(
            "consumer_slot (group_id, slot, epoch, settled_through, succeeded, parked, discarded)
             {MANY} SELECT 1 + i % 500, (i - i % 500) / 500, 1, 0, 0, 0, 0 FROM r"
        ),
        format!(
            "certificate (version, id, role, service, fingerprint, cert, issuer, validity_from, validity, created, updated)
             {MANY} SELECT i % 2, CONCAT('c', i), 'spoke', 'shop', {print}, {digest}, 'issuer', 0, i, 0, 0 FROM r"
        ),
        format!(
            "event_scheduled (id, schedule_key, active_key, due, pending, slot, domain, pid, name, publisher, data, digest, created)
             {MANY} SELECT CONCAT('s', i), CONCAT('k', i % 2000), CASE WHEN i < 2000 THEN CONCAT('k', i) END,
               i, CASE WHEN i < 6000 THEN i END, i % 64, CONCAT('d', i % 5), 'p', 'n', 'shop', '{{}}', {digest}, i FROM r"
        ),
        format!(
            "event_outbox (id, publisher, domain, pid, name, data, failed)
             {MANY} SELECT CONCAT('o', i), 'shop', 'd', 'p', 'n', '{{}}', CASE WHEN i % 10 = 0 THEN i END FROM r"
        ),
        format!("projection (name, serving, newest) {MANY} SELECT CONCAT('p', i), 1, 1 FROM r"),
        format!(
            "projection_checkpoint (name, generation, position, incarnation, retired, updated)
             {MANY} SELECT CONCAT('p', i % 500), i / 500, i, 1, 0, 0 FROM r"
        ),
        format!(
            "projection_skipped (name, generation, position, event_id, skipped)
             {MANY} SELECT CONCAT('p', i % 500), 1, i, 'e', 0 FROM r"
        ),
        format!("group_settings (group_id) {MANY} SELECT i FROM r"),
        format!("group_pause (group_id, pid, since, agent) {MANY} SELECT i % 20, CONCAT('p', i), 1, 'a' FROM r"),
        format!("group_removed (group_id, name, domain, removed, agent, swept) {MANY} SELECT i, 'g', 'd', 1, 'a', CASE WHEN i > 5 THEN 1 END FROM r"),
        format!("log (timestamp, agent, message) {MANY} SELECT i, 'a', 'm' FROM r"),
        format!("log_archive (id, timestamp, agent, message) {MANY} SELECT i, i, 'a', 'm' FROM r"),
    ];
    // The tables that a projection keeps in its own database.
    database
        .execute(if sqlite {
            include_str!("../../sql/sqlite/projection/create.sql")
        } else {
            include_str!("../../sql/mysql/projection/create.sql")
        })
        .await;
    for insert in inserts.into_iter().chain(parked(MANY)) {
        database.execute(&format!("INSERT INTO {insert}")).await;
    }
    if !sqlite {
        // SQLite is planned without statistics in the field, so it is here.
        database.execute(ANALYZE).await;
    }
}

on_every_engine! {
    async fn every_statement_finds_its_rows_by_an_index(database: &TestDatabase) {
        let handle = database.open().await;
        fill(database).await;
        let mut offences = Vec::new();
        for (path, statement) in statements(database.engine()) {
            for step in bad_steps(database, &statement).await {
                let allowed = ALLOWED.iter().any(|(file, part, _)| *file == path && step.contains(part));
                if !allowed {
                    offences.push(format!("{path}: {step}"));
                }
            }
        }
        assert!(offences.is_empty(), "plans that grow with a table:\n  {}", offences.join("\n  "));
        handle.close().await;
    }
}
