//! The tables of registries, their credentials, and tags made of versions.

use super::tables::{BOOL, COUNT, TEMPLATE, TEXT, URL, key, needed, table};
use super::{Key, Kind, Table};

static POSITIVE: Kind = Kind::Positive;
static EXISTING: Kind = Kind::Choice(&["move", "keep", "refuse"]);
pub(super) const EXISTING_TAGS: Key = key(
    "existing_tags",
    &EXISTING,
    "What happens to a tag that has another image: it is moved, it stays, or the cell fails; `move` unless written.",
);
static ACCESS_KIND: Kind = Kind::Table(&ACCESS);
static SECRET_KIND: Kind = Kind::Table(&SECRET);
static OPEN_TEXT: Kind = Kind::Either(&[Kind::Text("", None), Kind::Table(&SECRET)]);

pub(in crate::manifest) static REGISTRY: Table = table(
    "registry",
    "Settings of a registry by its host, or of the repositories that begin with `host/path`.",
    &[
        key("insecure", &BOOL, "Plain HTTP; loopback needs no mark. Of a host."),
        key("requests_per_second", &POSITIVE, "Requests a second, at most. Of a host."),
        key("concurrency", &COUNT, "Requests at a time, at most. Of a host."),
        key("ca", &TEXT, "A PEM file of authorities that count beside this machine's. Of a host."),
        key("skip_tls_verify", &BOOL, "Whether any certificate is taken. Of a host."),
        key("credentials", &ACCESS_KIND, "Who railyard is there; the longest prefix that has some counts."),
        key("pull", &ACCESS_KIND, "Who it is for reading, where that is somebody else."),
        EXISTING_TAGS,
        key(
            "create",
            &BOOL,
            "Whether ECR repositories that are missing are created when they are pushed to.",
        ),
        key("lifecycle_policy", &TEXT, "A file with the lifecycle policy that ECR repositories get."),
    ],
);

pub(in crate::manifest) static ACCESS: Table = table(
    "access",
    "A credential: user and password, or one of the other keys.",
    &[
        key("username", &OPEN_TEXT, "The user's name, or where it comes from."),
        key(
            "password",
            &SECRET_KIND,
            "Where the password comes from: `{ env = \"…\" }` or `{ file = \"…\" }`.",
        ),
        key("identity_token", &SECRET_KIND, "Where an OAuth2 refresh token comes from, as ACR gives them."),
        key("helper", &Kind::Text("a name", None), "`NAME` of Docker's helper `docker-credential-NAME`."),
        key("docker_config", &TEXT, "A file like `~/.docker/config.json`."),
        key("ecr", &Kind::Table(&ECR), "Amazon ECR's own, by AWS credentials that are around; may be empty."),
        key("anonymous", &BOOL, "None, whatever Docker's configuration has."),
    ],
);

pub(in crate::manifest) static SECRET: Table = table(
    "secret",
    "Where a secret comes from: one of the two.",
    &[
        key("env", &TEXT, "An environment variable's name."),
        key("file", &TEXT, "A file, relative to the manifest; white space at its end does not count."),
    ],
);

pub(in crate::manifest) static ECR: Table = table(
    "ecr",
    "How Amazon ECR is signed in to.",
    &[
        key(
            "account",
            &Kind::Text("twelve digits in quotes", Some("^[0-9]{12}$")),
            "The registry's account; told by the host unless written.",
        ),
        key("region", &TEXT, "The registry's region; told by the host unless written."),
        key("role", &OPEN_TEXT, "ARN of a role to assume."),
        key("external_id", &OPEN_TEXT, "What the role wants to be told."),
        key("endpoint", &URL, "URL of ECR and STS instead of Amazon's."),
    ],
);

pub(in crate::manifest) static VERSION_TAG: Table = table(
    "version-tag",
    "Tags made of a version: `1.2.3`, `1.2` and `1`; of a pre-release only the whole.",
    &[
        needed("version", &TEMPLATE, "A semantic version; a leading `v` does not count."),
        key("prefix", &TEMPLATE, "What stands before each."),
        key("suffix", &TEMPLATE, "What stands after each, e.g. `-linux-amd64`."),
    ],
);
