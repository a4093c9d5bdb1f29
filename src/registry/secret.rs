//! Credentials, made of secrets.

use crate::http::Secret;

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
    fn credentials_print_no_secret() {
        let credential = Credential::password("ann", "hunter22");
        assert!(!format!("{credential:?}").contains("hunter22"));
    }
}
