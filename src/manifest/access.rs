//! Who railyard is to a registry, and where images go there: what `[registries."…"]` and images say.

use super::{Located, Location, Template};

/// A text that may come from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessText {
    /// As it stands; never a secret.
    Literal(String),
    /// The value of an environment variable.
    Environment(Located<String>),
    /// The content of a file, relative to the manifest.
    File(Located<String>),
}

/// A credential, by where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAccess {
    /// None, though Docker's configuration may have one.
    Anonymous,
    /// User and password.
    Password {
        /// The user's name.
        username: AccessText,
        /// The password, or an access token.
        password: AccessText,
    },
    /// An OAuth2 refresh token.
    IdentityToken(AccessText),
    /// `docker-credential-NAME`.
    Helper(String),
    /// A configuration of Docker's, relative to the manifest.
    DockerConfig(String),
    /// Amazon ECR's own.
    Ecr(EcrSettings),
}

/// `ecr = { … }` of a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EcrSettings {
    /// Twelve digits; told by the host unless set.
    pub account: Option<String>,
    /// Told by the host unless set.
    pub region: Option<String>,
    /// ARN of a role to assume.
    pub role: Option<AccessText>,
    /// What the role wants to be told.
    pub external_id: Option<AccessText>,
    /// URL of ECR and STS.
    pub endpoint: Option<String>,
}

/// What happens to a tag that is there and has another image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExistingTags {
    /// It is moved.
    #[default]
    Move,
    /// It stays, and its repository is left alone.
    Keep,
    /// The cell fails.
    Refuse,
}

/// Tags that are made of a version: `1.2.3`, `1.2`, `1`.
#[derive(Debug, Clone)]
pub struct VersionTag {
    /// Where it stands.
    pub at: Location,
    /// What renders to a semantic version.
    pub version: Template,
    /// What stands before each.
    pub prefix: Option<Template>,
    /// What stands after each.
    pub suffix: Option<Template>,
}

/// `existing_tags` with its place.
pub type TagRule = Located<ExistingTags>;
