//! Where the API is, whose configuration it is about, and what is known without asking it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::ci_images::{ApiError, ConfigApi, Facts, HttpSettings, Infrastructure};
use crate::cli::exit::Exit;
use crate::cli::harness::credential;

/// Where the API is and whose configuration it is about. The key comes from HARNESS_API_KEY
/// (`X-API-KEY`) or HARNESS_TOKEN (bearer), and from nowhere else.
#[derive(Debug, Args)]
pub struct ApiArguments {
    /// The account's id.
    #[arg(long, value_name = "ID", env = "HARNESS_ACCOUNT_ID")]
    account: Option<String>,
    /// What builds run on.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Infra::K8)]
    infra: Infra,
    /// Harness, or its gateway (`/gateway`) itself; that of the facts unless given.
    #[arg(long, value_name = "URL", env = "HARNESS_URL")]
    url: Option<String>,
    /// Longest time of a request to the API, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    api_timeout: u64,
    /// Fields, publication days and support windows, instead of those built in.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Infra {
    /// Kubernetes.
    #[value(name = "K8")]
    K8,
    /// Virtual machines.
    #[value(name = "VM")]
    Vm,
}

impl ApiArguments {
    /// The API's client.
    ///
    /// # Errors
    /// When there is no account, no key or two, or no URL that a key may be sent to.
    pub fn connect(&self, facts: &Facts) -> Result<ConfigApi, Exit> {
        let Some(account) = self.account.as_deref().filter(|account| !account.trim().is_empty()) else {
            return Err(Exit::Usage(
                "error: it is not said which account\n  help: give --account ID, or set HARNESS_ACCOUNT_ID"
                    .into(),
            ));
        };
        let infrastructure = match self.infra {
            Infra::K8 => Infrastructure::K8,
            Infra::Vm => Infrastructure::Vm,
        };
        let access = credential()?.ok_or_else(|| {
            Exit::Environment(
                "error: there is no key for the API\n  help: set HARNESS_API_KEY to an API key, or HARNESS_TOKEN to a bearer token, in the environment".into(),
            )
        })?;
        let settings =
            HttpSettings { timeout: Duration::from_secs(self.api_timeout), ..HttpSettings::default() };
        let url = self.url.as_deref().map_or_else(|| facts.url.clone(), gateway);
        ConfigApi::new(&url, account, infrastructure, access, settings)
            .map_err(|error| Exit::Usage(format!("error: {error}\n  help: {}", error.help)))
    }
}

/// The gateway of a Harness; other commands take Harness's own address by the same variable.
fn gateway(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/gateway") { url.to_owned() } else { format!("{url}/gateway") }
}

/// The facts, built in or of a file.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn facts(arguments: &ApiArguments) -> Result<Facts, Exit> {
    let Some(path) = &arguments.facts else { return Ok(Facts::built_in()) };
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::Usage(format!("error: --facts: failed to read `{name}`: {error}")))?;
    Facts::parse(&text).map_err(|error| Exit::Usage(format!("error: --facts: `{name}`: {error}")))
}

/// The end that a failed request stands for.
pub fn failed(error: ApiError) -> Exit {
    Exit::Environment(format!("error: {error}\n  help: {}", error.help))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gateway_is_found_by_harness_own_address_too() {
        for url in ["https://app.harness.io", "https://app.harness.io/", "https://app.harness.io/gateway/"] {
            assert_eq!(super::gateway(url), "https://app.harness.io/gateway");
        }
    }
}
