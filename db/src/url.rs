//! Where a database is: the text that people write, taken apart once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::mysql::MySqlConnectOptions;

use crate::error::UrlError;

/// The database that a MySQL URL means when it names none.
const DATABASE_DEFAULT: &str = "eventflow";

/// Longest name of a MySQL database, in characters.
const DATABASE_NAME_CHARS_MAX: usize = 64;

/// The place of a database. Shown, it never says the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(crate) place: Place,
    shown: String,
}

#[derive(Clone)]
pub(crate) enum Place {
    Sqlite {
        path: PathBuf,
    },
    /// The options do not name the database: it may not exist yet.
    MySql {
        options: Box<MySqlConnectOptions>,
        database: String,
    },
}

impl DatabaseUrl {
    /// Takes `sqlite:PATH`, `mysql://USER:PASSWORD@HOST:PORT/DATABASE?ssl-mode=…` or the same with
    /// `mariadb://`. Without a database it is `eventflow`.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.starts_with(":memory:") {
                    return Err(UrlError::Malformed {
                        reason: "sqlite: needs the path of a file".to_owned(),
                    });
                }
                Ok(Self::sqlite(Path::new(path)))
            }
            "mysql" | "mariadb" => Self::parse_mysql(rest),
            _ => Err(UrlError::Scheme { scheme: scheme.chars().take(32).collect() }),
        }
    }

    /// The SQLite file at `path`.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self { shown: format!("sqlite:{}", path.display()), place: Place::Sqlite { path: path.to_owned() } }
    }

    fn parse_mysql(rest: &str) -> Result<Self, UrlError> {
        let malformed = |reason: &str| UrlError::Malformed { reason: reason.to_owned() };
        let rest = rest.strip_prefix("//").ok_or_else(|| malformed("// is missing after the scheme"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"].contains(&name) {
                return Err(UrlError::Parameter { name: name.chars().take(64).collect() });
            }
        }
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        if authority.rsplit('@').next().is_none_or(|host| host.is_empty() || host.starts_with(':')) {
            return Err(malformed("the host is missing"));
        }
        let database = if database.is_empty() { DATABASE_DEFAULT } else { database }.to_owned();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if database.len() > DATABASE_NAME_CHARS_MAX || !database.chars().all(allowed) {
            return Err(malformed("a database name has 1 to 64 letters, digits, '_' and '-'"));
        }
        // Without the database, which may not exist yet. The text may hold a password, so no error
        // repeats it.
        let options = MySqlConnectOptions::from_str(&format!("mysql://{authority}?{query}"))
            .map_err(|_| malformed("host, port or a parameter cannot be read"))?;
        let at = match options.get_socket() {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let shown = format!("mysql://{}@{at}/{database}", options.get_username());
        Ok(Self { place: Place::MySql { options: Box::new(options), database }, shown })
    }

    /// Another database at the same place, whose name is this one's and `suffix`, cut to what a name
    /// may have. The suffix has letters, digits, `_` and `-`.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> Self {
        match &self.place {
            Place::Sqlite { path } => {
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(suffix);
                Self::sqlite(&path.with_file_name(name))
            }
            Place::MySql { options, database } => {
                let kept = DATABASE_NAME_CHARS_MAX.saturating_sub(suffix.len()).min(database.len());
                let database = format!("{}{suffix}", database.get(..kept).unwrap_or_default());
                let (server, _) = self.shown.rsplit_once('/').unwrap_or((&self.shown, ""));
                let shown = format!("{server}/{database}");
                Self { place: Place::MySql { options: options.clone(), database }, shown }
            }
        }
    }

    /// Whether it is a file or a server on this machine: nobody can listen in between.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.place {
            Place::Sqlite { .. } => true,
            Place::MySql { options, .. } => {
                let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
                options.get_socket().is_some()
                    || host == "localhost"
                    || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.shown)
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let url = DatabaseUrl::parse("mysql://me:s3cr%40t@db.example:3307/log?ssl-mode=REQUIRED").unwrap();
        assert_eq!(url.to_string(), "mysql://me@db.example:3307/log");
        assert!(!format!("{url:?}").contains("s3cr"));
        let error = DatabaseUrl::parse("mysql://me:s3cret@:x/log").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cret"));
    }

    #[test]
    fn a_url_without_a_database_means_eventflow() {
        let url = DatabaseUrl::parse("mariadb://root@127.0.0.1").unwrap();
        assert_eq!(url.to_string(), "mysql://root@127.0.0.1:3306/eventflow");
        assert!(url.is_loopback());
        assert!(!DatabaseUrl::parse("mysql://root@10.0.0.1").unwrap().is_loopback());
    }

    #[test]
    fn a_database_beside_another_has_its_name_and_a_suffix() {
        let beside = |url: &str| DatabaseUrl::parse(url).unwrap().beside("_ceiling").to_string();
        assert_eq!(beside("mysql://me:pw@db.example/log"), "mysql://me@db.example:3306/log_ceiling");
        assert_eq!(beside("sqlite:/data/log.db"), "sqlite:/data/log.db_ceiling");
        let long = format!("mysql://me@db.example/{}", "a".repeat(64));
        assert!(beside(&long).ends_with(&format!("/{}_ceiling", "a".repeat(56))));
    }

    #[test]
    fn what_cannot_be_a_database_is_refused() {
        assert!(matches!(DatabaseUrl::parse("postgres://x"), Err(UrlError::Scheme { .. })));
        assert!(matches!(DatabaseUrl::parse("mysql://x?sll-mode=REQUIRED"), Err(UrlError::Parameter { .. })));
        for bad in [
            "sqlite:",
            "sqlite::memory:",
            "mysql:x",
            "mysql://",
            "mysql://u@/db",
            "mysql://u@h/a`b",
            "mysql://h?ssl-mode=x",
        ] {
            assert!(matches!(DatabaseUrl::parse(bad), Err(UrlError::Malformed { .. })), "{bad}");
        }
    }
}
