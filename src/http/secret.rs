//! Values that must not be printed.

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
    pub(crate) fn scrub(&self, text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_nothing() {
        let secret = Secret::new("hunter22");
        assert!(!format!("{secret:?} {secret}").contains("hunter22"));
        assert_eq!(secret.scrub("no user with hunter22 here"), "no user with … here");
    }
}
