//! The key for Harness's APIs, whatever command needs it.

use super::exit::Exit;
use crate::http::{ApiCredential, Secret};

/// HARNESS_API_KEY or HARNESS_TOKEN. From the environment alone: what is an argument can be seen by everybody
/// on the machine.
///
/// # Errors
/// When both are set: which account is meant nobody can tell.
pub fn credential() -> Result<Option<ApiCredential>, Exit> {
    let value = |name: &str| {
        let value = std::env::var(name).ok().map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty()).map(Secret::new)
    };
    match (value("HARNESS_API_KEY"), value("HARNESS_TOKEN")) {
        (Some(_), Some(_)) => Err(Exit::Usage(
            "error: HARNESS_API_KEY and HARNESS_TOKEN are both set\n  help: unset one of them".into(),
        )),
        (key, token) => Ok(key.map(ApiCredential::Key).or_else(|| token.map(ApiCredential::Bearer))),
    }
}
