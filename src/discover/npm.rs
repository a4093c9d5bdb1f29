//! Versions of an npm package, asked of the npm client with its own configuration.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{Candidate, DiscoverError, Discoverer};
use crate::engine::{Collect, EngineError, LineSink, RunRequest};
use crate::oci::Reference;

/// Longest time that the client may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Marks the lines of the answer among those of the client.
const MARK: &str = "versions: ";
/// Asks inside an image; each line of the answer is marked, as a list may be longer than a line of
/// an engine.
const SCRIPT: &str = r#"list=$(npm view "$1" versions --json) || exit $?
printf '%s\n' "$list" | while IFS= read -r line; do printf 'versions: %s\n' "$line"; done"#;

impl Discoverer {
    /// All versions of a package: by this machine's npm, else by that of an image.
    pub(super) async fn npm(
        &self,
        package: &str,
        image: Option<&Reference>,
    ) -> Result<Vec<Candidate>, DiscoverError> {
        match (self.local_npm(package).await?, image) {
            (Some(answer), _) => parse(&answer, package),
            (None, Some(image)) => parse(&self.npm_in(image, package).await?, package),
            (None, None) => Err(DiscoverError::new(
                "npm is not installed here, and no image that has it is named",
                "install npm, or name an image: `source = { npm = \"…\", image = \"…\" }`",
            )),
        }
    }

    /// What this machine's npm answers; `None` where there is no npm.
    async fn local_npm(&self, package: &str) -> Result<Option<String>, DiscoverError> {
        let mut command = tokio::process::Command::new("npm");
        command.args(["view", package, "versions", "--json"]).stdin(Stdio::null()).kill_on_drop(true);
        if !self.directory.as_os_str().is_empty() {
            // Where a project's own .npmrc is.
            command.current_dir(&self.directory);
        }
        let output = match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Ok(Err(error)) => {
                return Err(DiscoverError::new(format!("failed to start npm: {error}"), "mend npm"));
            }
            Err(_) => {
                return Err(DiscoverError::new(
                    format!("npm did not answer within {} s", PATIENCE.as_secs()),
                    "try `npm view` by hand: its registry or proxy may be down",
                ));
            }
        };
        if output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        Err(refused(package, &words(&output)))
    }

    async fn npm_in(&self, image: &Reference, package: &str) -> Result<String, DiscoverError> {
        let failed = |error: EngineError| {
            let help = match &error {
                EngineError::Unreachable { .. } => "install npm, or start a Docker engine",
                _ => "name an image that has npm and a shell, or install npm",
            };
            DiscoverError::new(format!("npm is not installed here, and `{image}`: {error}"), help)
        };
        let credentials = (self.credentials)(image.name.to_string()).await.map_err(|error| {
            let message = format!("npm is not installed here, and `{image}`: {error}");
            DiscoverError::new(message, "mend the registry's credentials, or install npm")
        })?;
        let pinned = self.pinned(image).await?;
        let id = self.engine.pull(&pinned, &self.platform, credentials).await.map_err(failed)?;
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines: LineSink = {
            let said = said.clone();
            Box::new(move |line| said.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()))
        };
        let request = request(id, package);
        let ended = self.engine.run(request, lines, Box::new(|_| Ok(()))).await.map_err(failed)?;
        let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        if ended.exit_code == 0 {
            return Ok(said.iter().filter_map(|line| line.strip_prefix(MARK)).collect());
        }
        Err(refused(package, &said.join("\n")))
    }

    /// The image by digest, which is what an engine makes available.
    async fn pinned(&self, image: &Reference) -> Result<Reference, DiscoverError> {
        if image.digest.is_some() {
            return Ok(image.clone());
        }
        let help = "correct `image` beside `npm`, or install npm";
        match self.registry.head(image).await {
            Ok(Some(found)) => Ok(image.name.digest(found.digest)),
            Ok(None) => Err(DiscoverError::new(format!("there is no image `{image}` to run npm in"), help)),
            Err(error) => Err(DiscoverError::new(error.to_string(), help)),
        }
    }
}

fn request(image: String, package: &str) -> RunRequest {
    let command = ["/bin/sh", "-c", SCRIPT, "sh", package];
    RunRequest {
        image,
        command: command.map(str::to_owned).into(),
        env: Vec::new(),
        user: None,
        workdir: None,
        memory: None,
        cpus: None,
        network: "bridge".into(),
        timeout: Some(PATIENCE),
        caches: BTreeMap::new(),
        secrets: BTreeMap::new(),
        collect: Collect::Nothing,
        labels: BTreeMap::from([("io.railyard.discover".to_owned(), package.to_owned())]),
    }
}

fn words(output: &Output) -> String {
    let both = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    both.concat()
}

fn refused(package: &str, said: &str) -> DiscoverError {
    if said.contains("E404") {
        return DiscoverError::new(
            format!("npm knows no package `{package}`"),
            "correct `npm`, or npm's own configuration (a private package needs its registry and token)",
        );
    }
    let told: Vec<&str> = said.lines().filter(|line| line.starts_with("npm ")).take(3).collect();
    let told = if told.is_empty() { said.trim().lines().take(3).collect() } else { told };
    DiscoverError::new(
        format!("npm failed: {}", told.join("; ")),
        "try `npm view` by hand: railyard uses npm's own configuration",
    )
}

/// A list, or a single text where there is one version.
fn parse(answer: &str, package: &str) -> Result<Vec<Candidate>, DiscoverError> {
    let value: Value = serde_json::from_str(answer).unwrap_or_default();
    let texts: Option<Vec<&str>> = match &value {
        Value::String(version) => Some(vec![version]),
        Value::Array(versions) => versions.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let texts = texts.ok_or_else(|| {
        DiscoverError::new(
            format!("npm's answer about `{package}` is no list of versions"),
            "try `npm view` by hand, and a newer npm",
        )
    })?;
    Ok(texts.into_iter().map(Candidate::plain).collect())
}
