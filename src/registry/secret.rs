//! Values that must not be printed, and the credentials made of them.

use std::fmt;

/// A password or token: neither `Debug` nor `Display` prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Replaces this secret wherever it occurs in `text`, for words that came from outside.
    pub(super) fn scrub(&self, text: &str) -> String {
        // Very short values would shred ordinary words and protect nothing.
        if self.0.len() < 4 { text.to_owned() } else { text.replace(&self.0, "…") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a host is authenticated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password (or access token used as one).
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// An OAuth2 refresh token, which Docker calls an identity token.
    IdentityToken(Secret),
}

impl Credential {
    /// User and password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { username: username.into(), password: Secret::new(password) }
    }

    /// The part that must not be printed.
    pub(super) fn secret(&self) -> &Secret {
        match self {
            Self::Password { password, .. } => password,
            Self::IdentityToken(token) => token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_nothing() {
        let credential = Credential::password("ann", "hunter22");
        let secret = Secret::new("hunter22");
        assert!(!format!("{credential:?} {secret:?} {secret}").contains("hunter22"));
        assert_eq!(secret.scrub("no user with hunter22 here"), "no user with … here");
    }
}
