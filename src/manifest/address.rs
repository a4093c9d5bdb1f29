//! URLs with a user or a password, which are refused: they would stand in locks, plans and statements.

/// What to write instead of credentials in front of a host.
pub const NO_USER: &str = "give a token in the query, by a variable that `--vars FILE` sets: `?token={{ vars.token }}`; \
     what the command line gives for a query is neither shown nor recorded";

/// A URL without user, password, query and fragment, where it names a user or a password.
pub fn without_user(url: &str) -> Option<String> {
    let mut parsed = url::Url::parse(url).ok()?;
    if parsed.username().is_empty() && parsed.password().is_none() {
        return None;
    }
    // Both fail for URLs without a host only, which name no user.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    Some(parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_found_and_not_repeated() {
        for url in ["http://me:hunter2@host/f?sig=hunter2", "https://hunter2@host/f#hunter2"] {
            let shown = without_user(url).unwrap();
            assert!(shown.ends_with("://host/f"), "{shown}");
        }
        assert_eq!(without_user("https://host/@scope/f?to=a@b"), None);
    }
}
