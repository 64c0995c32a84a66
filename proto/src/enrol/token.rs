//! The text that lets a service on another machine enrol: whose hub it is, and a secret.
//!
//! ```text
//! eft1.<id, 16 hexadecimal digits>.<secret>.<SHA-256 of the root's DER>.<check, 8 hexadecimal digits>
//! ```
//!
//! Secret and root are 32 bytes each, in base64url without padding. The check is the beginning of the
//! SHA-256 of all that stands before its dot; it finds slips of the hand and nothing else. The secret
//! is random enough that its plain SHA-256 can be kept and compared.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every token begins with.
const KIND: &str = "eft";

/// The version of the text that is written and read.
const VERSION: &str = "1";

/// Parts of the text, with a dot between them.
const PARTS: usize = 5;

/// Characters of the check.
const CHECK_CHARS: usize = 8;

/// Longest text that is looked at, in bytes. A token has 118.
const TEXT_BYTES_MAX: usize = 512;

/// Which token it is. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or(TokenError::NotAnId)
    }
}

/// What the holder of a token knows. It is never printed but in the token's text.
#[derive(Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TokenSecret(pub [u8; 32]);

impl TokenSecret {
    /// What of it is stored.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for TokenSecret {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}

/// The SHA-256 of a secret.
#[derive(Debug, Clone, Copy)]
pub struct SecretDigest(pub [u8; 32]);

impl SecretDigest {
    /// Whether the two are the same. How long it takes does not depend on where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0).fold(0, |found, (one, two)| found | (one ^ two));
        std::hint::black_box(differences) == 0
    }
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct EnrolToken {
    /// Which one.
    pub id: TokenId,
    /// What proves that the holder has it.
    pub secret: TokenSecret,
    /// SHA-256 of the DER of the root that the hub's chain must end at. To anybody else the secret is not
    /// sent.
    pub root: [u8; 32],
}

/// Why a text is not a token. None of them repeats the text, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not look like one.
    #[error(
        "this is not an enrolment token: one begins with `eft1.`; make one with `eventflow token create`"
    )]
    NotAToken,
    /// It is one that this program does not know.
    #[error("the enrolment token is of another version; update this program, or make a token with the hub's")]
    OtherVersion,
    /// Its end is missing.
    #[error(
        "the enrolment token is cut off; copy all of it, from `eft1.` to the last of the 8 digits at its end"
    )]
    Cut,
    /// It was changed after it was made.
    #[error("the enrolment token is mistyped: its check digits do not fit the rest; copy it again")]
    Mistyped,
    /// It is not the id of a token.
    #[error(
        "this is not the id of an enrolment token: one has 16 digits, 0-9 and a-f; see `eventflow token ls`"
    )]
    NotAnId,
}

impl EnrolToken {
    /// Reads a token; white space around it does not matter.
    ///
    /// # Errors
    /// [`TokenError`] tells what is cut from what is mistyped and what is of another version.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some((kind, rest)) = text.split_once('.') else {
            // Less than its first part may have been copied.
            let cut = !text.is_empty() && "eft1".starts_with(text);
            return Err(if cut { TokenError::Cut } else { TokenError::NotAToken });
        };
        match kind.strip_prefix(KIND) {
            Some(VERSION) => {}
            Some(version) if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(TokenError::OtherVersion);
            }
            Some(_) | None => return Err(TokenError::NotAToken),
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Mistyped);
        }
        let parts: Vec<&str> = rest.split('.').collect();
        let [id, secret, root, check] = parts.as_slice() else {
            return Err(if parts.len() < PARTS - 1 { TokenError::Cut } else { TokenError::Mistyped });
        };
        if check.len() < CHECK_CHARS {
            return Err(TokenError::Cut);
        }
        let before = text.get(..text.len() - check.len() - 1).ok_or(TokenError::Mistyped)?;
        if *check != self::check(before) {
            return Err(TokenError::Mistyped);
        }
        let id = id.parse().map_err(|_| TokenError::Mistyped)?;
        Ok(Self { id, secret: TokenSecret(bytes(secret)?), root: bytes(root)? })
    }
}

impl FromStr for EnrolToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

impl fmt::Display for EnrolToken {
    /// The token's text, with its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secret, root) = (URL_SAFE_NO_PAD.encode(self.secret.0), URL_SAFE_NO_PAD.encode(self.root));
        let text = format!("{KIND}{VERSION}.{}.{secret}.{root}", self.id);
        write!(f, "{text}.{}", check(&text))
    }
}

fn bytes(text: &str) -> Result<[u8; 32], TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Mistyped)?;
    <[u8; 32]>::try_from(bytes).map_err(|_| TokenError::Mistyped)
}

fn check(text: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(text.as_bytes()));
    digits.truncate(CHECK_CHARS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolToken {
        EnrolToken { id: TokenId(0xfeed), secret: TokenSecret([7; 32]), root: [0xfb; 32] }
    }

    #[test]
    fn a_token_is_read_as_what_was_written_also_with_white_space_around_it() {
        let text = token().to_string();
        assert!(text.starts_with("eft1.000000000000feed.BwcH"), "{text}");
        assert_eq!(text.len(), 118);
        assert_eq!(EnrolToken::parse(&format!("  {text}\n")), Ok(token()));
    }

    #[test]
    fn a_token_that_was_cut_anywhere_is_told_from_one_that_was_mistyped() {
        let text = token().to_string();
        for end in 1..text.len() {
            assert_eq!(EnrolToken::parse(&text[..end]), Err(TokenError::Cut), "{end}");
        }
        assert_eq!(EnrolToken::parse(""), Err(TokenError::NotAToken));
    }

    #[test]
    fn a_change_of_any_one_character_is_found() {
        let text = token().to_string();
        for at in 5..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
            let typed = String::from_utf8(typed).unwrap();
            let found = EnrolToken::parse(&typed);
            assert!(matches!(found, Err(TokenError::Mistyped | TokenError::Cut)), "{at}: {found:?}");
        }
        assert_eq!(EnrolToken::parse(&format!("{text}0")), Err(TokenError::Mistyped));
        assert_eq!(EnrolToken::parse(&format!("{text}.more")), Err(TokenError::Mistyped));
    }

    #[test]
    fn a_later_version_and_what_is_no_token_are_named() {
        let later = token().to_string().replacen("eft1", "eft2", 1);
        assert_eq!(EnrolToken::parse(&later), Err(TokenError::OtherVersion));
        for other in ["hello", "hvs.CAESI", "eft.1", "eftx.1", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(EnrolToken::parse(other), Err(TokenError::NotAToken), "{other}");
        }
    }

    #[test]
    fn a_secret_is_never_printed_for_debugging() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("TokenSecret") && !shown.contains('7'), "{shown}");
    }

    #[test]
    fn only_the_same_secret_has_the_same_digest() {
        let digest = TokenSecret([7; 32]).digest();
        assert!(digest.is(&TokenSecret([7; 32]).digest()));
        let mut other = [7; 32];
        other[31] = 8;
        assert!(!digest.is(&TokenSecret(other).digest()));
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_a_token_or_an_error(text: String) {
            proptest::prop_assert!(EnrolToken::parse(&text).is_err());
            let longer = ["eft1.", &text].concat();
            proptest::prop_assert!(EnrolToken::parse(&longer).is_err());
        }

        #[test]
        fn every_token_is_read_as_what_was_written(id: u64, secret: [u8; 32], root: [u8; 32]) {
            let token = EnrolToken { id: TokenId(id), secret: TokenSecret(secret), root };
            proptest::prop_assert_eq!(EnrolToken::parse(&token.to_string()), Ok(token));
        }
    }
}
