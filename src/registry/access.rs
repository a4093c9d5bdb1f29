//! Which credential a repository is reached with: the table with the longest prefix decides.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{RegistryErrorKind, Secret};

/// Where a text comes from that does not stand in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    /// As it stands; never a secret.
    Literal(String),
    /// An environment variable.
    Environment(String),
    /// A file, without white space at its end.
    File(PathBuf),
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// Nothing is sent.
    Anonymous,
    /// User and password, or an access token used as one.
    Password {
        /// The user's name.
        username: TextSource,
        /// The password.
        password: TextSource,
    },
    /// An OAuth2 refresh token, which Docker calls an identity token.
    IdentityToken(TextSource),
    /// `docker-credential-NAME`.
    Helper(String),
    /// Docker's configuration in another place than usual.
    DockerConfig(PathBuf),
    /// Amazon ECR's, by a signed request.
    Ecr(EcrAccess),
}

/// How Amazon ECR is signed in to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EcrAccess {
    /// Account of the registry, twelve digits; told by the host unless set.
    pub account: Option<String>,
    /// Region; told by the host unless set.
    pub region: Option<String>,
    /// ARN of a role to assume.
    pub role: Option<TextSource>,
    /// What the role wants to be told.
    pub external_id: Option<TextSource>,
    /// URL of ECR and STS, instead of Amazon's.
    pub endpoint: Option<String>,
}

/// What is done about ECR repositories that are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Creation {
    /// Whether they are created.
    pub create: bool,
    /// Whether they are created with immutable tags.
    pub immutable: bool,
    /// A file with the lifecycle policy that repositories pushed to get.
    pub lifecycle_policy: Option<PathBuf>,
}

/// What is set for the repositories that begin with a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// The credential, for writing, and for reading where `pull` is none.
    pub credentials: Option<CredentialSource>,
    /// The credential for reading.
    pub pull: Option<CredentialSource>,
    /// What is done about missing repositories.
    pub creation: Option<Creation>,
}

/// Rules by `host` or `host/path`; of several the longest that a repository begins with counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules(pub BTreeMap<String, AccessRule>);

/// What tokens and credentials are remembered by: requests with equal accounts share them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// Nothing is set: whatever Docker's configuration has for the host.
    Host(String),
    /// The credential of the rule for a prefix, or its `pull`.
    Rule {
        /// The rule's prefix.
        prefix: String,
        /// Whether it is the one for reading.
        pull: bool,
    },
}

impl AccessRules {
    /// The account for a repository.
    pub(super) fn account(&self, host: &str, repository: &str, writes: bool) -> Account {
        let has = |rule: &AccessRule| rule.credentials.is_some() || (!writes && rule.pull.is_some());
        match self.longest(host, repository, has) {
            Some((prefix, rule)) => {
                Account::Rule { prefix: prefix.to_owned(), pull: !writes && rule.pull.is_some() }
            }
            None => Account::Host(host.to_owned()),
        }
    }

    /// The prefix whose credential a repository is reached with, and whether it is the one for reading;
    /// `None` where no rule has one.
    pub fn decides(&self, host: &str, repository: &str, writes: bool) -> Option<(String, bool)> {
        match self.account(host, repository, writes) {
            Account::Rule { prefix, pull } => Some((prefix, pull)),
            Account::Host(_) => None,
        }
    }

    /// What is done about a missing repository, and the prefix that says so.
    pub(super) fn creation(&self, host: &str, repository: &str) -> Option<&Creation> {
        self.longest(host, repository, |rule| rule.creation.is_some())
            .and_then(|(_, rule)| rule.creation.as_ref())
    }

    /// Where an account's credential comes from; `None` for [`Account::Host`].
    pub(super) fn source(&self, account: &Account) -> Option<&CredentialSource> {
        let Account::Rule { prefix, pull } = account else { return None };
        let rule = self.0.get(prefix)?;
        if *pull { rule.pull.as_ref() } else { rule.credentials.as_ref() }
    }

    fn longest(
        &self,
        host: &str,
        repository: &str,
        has: impl Fn(&AccessRule) -> bool,
    ) -> Option<(&str, &AccessRule)> {
        if self.0.is_empty() {
            return None;
        }
        let name = format!("{host}/{repository}");
        let begins = |prefix: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fitting = self.0.iter().filter(|(prefix, rule)| has(rule) && begins(prefix));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, rule)| (prefix.as_str(), rule))
    }
}

impl Account {
    /// The host or prefix, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Host(host) => host,
            Self::Rule { prefix, .. } => prefix,
        }
    }

    /// The registry host.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Host(host) => host,
            Self::Rule { prefix, .. } => prefix.split('/').next().unwrap_or(prefix),
        }
    }
}

/// Environment variables: the process's, or given ones for tests.
#[derive(Clone, Default)]
pub struct Variables(Option<Arc<BTreeMap<String, String>>>);

impl Variables {
    /// Only these.
    pub fn given(variables: BTreeMap<String, String>) -> Self {
        Self(Some(Arc::new(variables)))
    }

    /// The value of a variable, unless it is not set or empty.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.trim().is_empty())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables(…)")
    }
}

impl TextSource {
    /// Why the text cannot be had, as in "the file `x` is empty"; `None` where it can.
    pub fn missing(&self, variables: &Variables) -> Option<String> {
        self.load(variables).err()
    }

    /// Reads the text; `what` and `who` say in an error what it is of whom.
    ///
    /// # Errors
    /// When the variable or file is missing, or empty.
    pub(super) fn read(
        &self,
        variables: &Variables,
        what: &str,
        who: &str,
    ) -> Result<Secret, RegistryErrorKind> {
        self.load(variables).map_err(|why| {
            let help = match self {
                Self::Environment(_) => "; set it, or log in otherwise",
                _ => "",
            };
            RegistryErrorKind::Denied(format!("the {what} for `{who}`: {why}{help}"))
        })
    }

    fn load(&self, variables: &Variables) -> Result<Secret, String> {
        match self {
            Self::Literal(text) => Ok(Secret::new(text)),
            Self::Environment(name) => {
                let value = variables.get(name);
                value.map(Secret::new).ok_or_else(|| format!("the environment variable `{name}` is not set"))
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("failed to read `{}`: {error}", path.display()))?;
                match text.trim_end() {
                    "" => Err(format!("the file `{}` is empty", path.display())),
                    text => Ok(Secret::new(text)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(push: bool, pull: bool) -> AccessRule {
        let source = |wanted: bool| wanted.then_some(CredentialSource::Anonymous);
        AccessRule { credentials: source(push), pull: source(pull), creation: None }
    }

    #[test]
    fn the_longest_prefix_that_has_a_fitting_credential_decides() {
        let rules = AccessRules(BTreeMap::from([
            ("r.example".to_owned(), rule(true, true)),
            ("r.example/team".to_owned(), rule(true, false)),
            ("r.example/team/base".to_owned(), rule(false, true)),
        ]));
        let named = |prefix: &str, pull| Account::Rule { prefix: prefix.to_owned(), pull };
        for (repository, writes, want) in [
            ("x", true, named("r.example", false)),
            ("x", false, named("r.example", true)),
            ("team", true, named("r.example/team", false)),
            ("team/a", false, named("r.example/team", false)),
            ("teams/a", true, named("r.example", false)),
            ("team/base/a", true, named("r.example/team", false)),
            ("team/base/a", false, named("r.example/team/base", true)),
        ] {
            assert_eq!(rules.account("r.example", repository, writes), want, "{repository} {writes}");
        }
        assert_eq!(rules.account("s.example", "x", true), Account::Host("s.example".into()));
        assert_eq!(named("r.example/team", false).host(), "r.example");
    }

    #[test]
    fn texts_come_from_the_environment_and_from_files_and_say_what_is_missing() {
        let variables = Variables::given(BTreeMap::from([("SET".into(), "hunter22".into())]));
        let read = |source: TextSource| source.read(&variables, "password", "r.example/team");
        assert_eq!(read(TextSource::Environment("SET".into())).unwrap().expose(), "hunter22");
        let missing = read(TextSource::Environment("UNSET".into())).unwrap_err().to_string();
        assert!(
            missing.contains("`UNSET` is not set; set it") && missing.contains("r.example/team"),
            "{missing}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter23\n").unwrap();
        assert_eq!(read(TextSource::File(path.clone())).unwrap().expose(), "hunter23");
        std::fs::write(&path, "\n").unwrap();
        assert!(read(TextSource::File(path.clone())).unwrap_err().to_string().contains("is empty"));
        let missing = |source: TextSource| source.missing(&variables);
        assert_eq!(
            missing(TextSource::File(path.clone())),
            Some(format!("the file `{}` is empty", path.display()))
        );
        assert_eq!(missing(TextSource::Environment("SET".into())), None);
        assert!(!format!("{variables:?}").contains("hunter22"));
    }
}
