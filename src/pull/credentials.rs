//! Who we say we are.

use std::{env, fmt, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::PullError;

/// Environment variables that credentials are read from where no file is named.
pub const VARIABLES: [&str; 3] = ["MIVOX_PACS_USER", "MIVOX_PACS_PASSWORD", "MIVOX_PACS_TOKEN"];

/// What proves who we are. `Debug` does not print it.
#[derive(Clone)]
pub enum Credentials {
    /// User and password: HTTP basic authentication, or DICOM's user identity.
    User {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
    /// A bearer token: OAuth, or a JSON web token as DICOM's user identity.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

impl Credentials {
    /// The credentials in a file, `user:password` or a token, or else in the
    /// environment; none where neither has any.
    ///
    /// # Errors
    /// [`PullError::File`] where a file cannot be read or holds something else.
    pub fn find(user: Option<&Path>, token: Option<&Path>) -> Result<Option<Self>, PullError> {
        if let Some(path) = user {
            let text = secret(path)?;
            let (name, password) = text.split_once(':').ok_or_else(|| PullError::File {
                what: "there must be user:password in".to_owned(),
                path: path.to_owned(),
            })?;
            return Ok(Some(Self::User { name: name.into(), password: password.into() }));
        }
        if let Some(path) = token {
            return Ok(Some(Self::Token(secret(path)?)));
        }
        let [name, password, token] = VARIABLES.map(|name| env::var(name).ok());
        Ok(match (name, password, token) {
            (Some(name), password, _) => {
                Some(Self::User { name, password: password.unwrap_or_default() })
            }
            (None, _, Some(token)) => Some(Self::Token(token)),
            _ => None,
        })
    }

    /// The value of the header *Authorization*.
    ///
    /// # Source
    /// RFC 7617 (basic), RFC 6750 (bearer).
    pub(super) fn header(&self) -> String {
        match self {
            Self::User { name, password } => {
                format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
            }
            Self::Token(token) => format!("Bearer {token}"),
        }
    }
}

/// One line of a file.
fn secret(path: &Path) -> Result<String, PullError> {
    let wrong = |what: &str| PullError::File { what: what.to_owned(), path: path.to_owned() };
    let text = fs::read_to_string(path).map_err(|_| wrong("cannot read"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(wrong("there must be one line in"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_a_file_and_do_not_print() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "Aladdin:open sesame\n").unwrap();
        let found = Credentials::find(Some(&path), None).unwrap().unwrap();
        // The example of RFC 7617, section 2.
        assert_eq!(found.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{found:?}").contains("Aladdin"));
        fs::write(&path, "two\nlines").unwrap();
        assert!(Credentials::find(None, Some(&path)).is_err());
    }
}
