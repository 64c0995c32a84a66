//! Where a spoke finds its enrolment token: given by the caller, in a file, or in the environment.
//!
//! It is looked for only when there is neither an identity nor a hub on this machine that gives one, so
//! a file may be gone by the time that it is not needed any more.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use proto::enrol::EnrolToken;

/// The variable with a token.
const TOKEN: &str = "EVENTFLOW_ENROLL_TOKEN";

/// The variable with the path of a file with a token.
const TOKEN_FILE: &str = "EVENTFLOW_ENROLL_TOKEN_FILE";

/// Most of a file that is read, in bytes. A token is much shorter.
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// Where a token is looked for.
#[derive(Debug, Clone)]
pub(crate) enum TokenSource {
    /// In the environment, which may name a file.
    Environment,
    /// It was given.
    Given(EnrolToken),
    /// In this file.
    File(PathBuf),
}

/// Why a token that should be there cannot be used. The text is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenTrouble {
    /// Where it was looked for.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) reason: String,
}

impl TokenSource {
    /// The token, or `None` where nothing says that there is one. It reads files.
    pub(crate) fn token(&self) -> Result<Option<EnrolToken>, TokenTrouble> {
        match self {
            Self::Given(token) => Ok(Some(token.clone())),
            Self::File(path) => in_file(path).map(Some),
            Self::Environment => in_environment(|variable| std::env::var_os(variable)),
        }
    }
}

fn in_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<EnrolToken>, TokenTrouble> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let trouble = |place: &str, reason: String| TokenTrouble { place: place.to_owned(), reason };
    match (set(TOKEN), set(TOKEN_FILE)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(trouble(TOKEN, format!("{TOKEN_FILE} is set, too; set one of the two and unset the other")))
        }
        (Some(text), None) => {
            let token = EnrolToken::parse(&text.to_string_lossy());
            token.map(Some).map_err(|error| trouble(TOKEN, error.to_string()))
        }
        (None, Some(path)) => in_file(Path::new(&path)).map(Some),
    }
}

fn in_file(path: &Path) -> Result<EnrolToken, TokenTrouble> {
    let trouble = |reason: String| TokenTrouble { place: path.display().to_string(), reason };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| trouble(error.to_string()))?;
    EnrolToken::parse(&text).map_err(|error| trouble(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proto::enrol::{TokenId, TokenSecret};

    use super::*;

    fn token() -> EnrolToken {
        EnrolToken { id: TokenId(7), secret: TokenSecret([7; 32]), root: [8; 32] }
    }

    fn environment(set: &[(&str, &str)]) -> Result<Option<EnrolToken>, TokenTrouble> {
        in_environment(|wanted| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into()))
    }

    #[test]
    fn a_token_is_in_the_environment_or_in_a_file_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, format!("{}\n", token())).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(environment(&[]), Ok(None));
        assert_eq!(environment(&[(TOKEN, "")]), Ok(None));
        assert_eq!(environment(&[(TOKEN, &token().to_string())]), Ok(Some(token())));
        assert_eq!(environment(&[(TOKEN_FILE, path)]), Ok(Some(token())));
        assert!(environment(&[(TOKEN, &token().to_string()), (TOKEN_FILE, path)]).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_the_token() {
        let text = token().to_string();
        let trouble = environment(&[(TOKEN, &text[..100])]).unwrap_err();
        assert_eq!(trouble.place, TOKEN);
        assert!(trouble.reason.contains("cut off") && !trouble.reason.contains(&text[..40]));
        let missing = TokenSource::File("/no/such/token".into()).token().unwrap_err();
        assert_eq!(missing.place, "/no/such/token");
    }
}
