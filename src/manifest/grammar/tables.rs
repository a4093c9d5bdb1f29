//! The whole document and what it says of a project; kinds and keys that tables share.

use super::axis::AXIS;
use super::check::{CHECK, RULE};
use super::image::{IMAGE, MATRIX_IMAGE};
use super::layer::LAYER;
use super::mirror::MIRROR;
use super::registry::REGISTRY;
use super::tool::TOOL;
use super::{Key, Kind, Table};

pub(super) const fn key(name: &'static str, kind: &'static Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}

pub(super) const fn needed(name: &'static str, kind: &'static Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}

pub(super) const fn table(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Table {
    Table { name, doc, keys, others: None }
}

pub(super) static BOOL: Kind = Kind::Bool;
pub(super) static COUNT: Kind = Kind::Integer(1);
pub(super) static WHOLE: Kind = Kind::Integer(0);
pub(super) static EXIT: Kind = Kind::Integer(0);
static POSITIVE: Kind = Kind::Positive;
pub(super) static TEXT: Kind = Kind::Text("", None);
static TEXTS: Kind = Kind::List(&TEXT);
pub(super) static TEXT_MAP: Kind = Kind::Map(&TEXT);
pub(super) const TEMPLATE_TEXT: Kind = Kind::Text("may hold `{{ … }}`", None);
pub(super) static TEMPLATE: Kind = TEMPLATE_TEXT;
pub(super) static TEMPLATES: Kind = Kind::List(&TEMPLATE);
pub(super) static TEMPLATE_MAP: Kind = Kind::Map(&TEMPLATE);
pub(super) static CONDITION: Kind =
    Kind::Text("an expression without braces, e.g. `runtime.family == \"node\"`", None);
pub(super) static PATH: Kind = Kind::Text("an absolute path, may hold `{{ … }}`", Some(r"^(/|\{)"));
pub(super) static PATHS: Kind = Kind::List(&PATH);
pub(super) static URL: Kind =
    Kind::Text("an http or https URL, may hold `{{ … }}`", Some(r"^(https?://|\{)"));
pub(super) static URLS: Kind = Kind::List(&URL);
pub(super) static SHA256: Kind =
    Kind::Text("64 hexadecimal digits, may hold `{{ … }}`", Some(r"^((sha256:)?[0-9a-f]{64}|.*\{\{.*)$"));
pub(super) static OCTAL: Kind = Kind::Text("an octal mode, e.g. `0755`", Some("^[0-7]{3,4}$"));
pub(super) static CHMOD: Kind = Kind::Text("a mode, octal or symbolic, e.g. `0755` or `u+x,go+rx`", None);
pub(super) static OWNER: Kind = Kind::Text("numeric, `UID` or `UID:GID`", Some("^[0-9]+(:[0-9]+)?$"));
pub(super) static SIZE: Kind =
    Kind::Text("a size, e.g. `512MiB` or `4G`", Some(r"^[0-9.]+ *([KMGTkmgt]i?)?B?$"));
static DURATION: Kind = Kind::Text("a duration, e.g. `90s` or `1h30m`", Some("^([0-9]+(ms|[dhms]))+$"));
pub(super) static NETWORK: Kind = Kind::Choice(&["bridge", "host", "none"]);
pub(super) static NAME: Kind = Kind::Text("a name", None);
pub(super) static NAMES: Kind = Kind::List(&NAME);
pub(super) static SOURCE: Kind = Kind::Either(&[
    Kind::Text("a reference or `oci:DIR`, may hold `{{ … }}`", None),
    Kind::Table(&MATRIX_IMAGE),
]);
pub(super) static BASE: Kind = Kind::Either(&[
    Kind::Text("a reference, `oci:DIR` or `scratch`, may hold `{{ … }}`", None),
    Kind::Table(&MATRIX_IMAGE),
]);
pub(super) static ROWS: Kind = Kind::List(&TEXT_MAP);

/// The whole document.
pub(in crate::manifest) static ROOT: Table = table(
    "manifest",
    "A railyard manifest: images, the layers they are made of, and the axes they vary on.",
    &[
        key("schema", &Kind::Integer(0), "Version of this grammar: 1. Required in the main file."),
        key(
            "import",
            &TEXTS,
            "Globs of further files, relative to this one, that are merged into it. Only in the main file.",
        ),
        key("project", &Kind::Table(&PROJECT), "What is built and where it goes."),
        key("cache", &Kind::Table(&CACHE), "Where results of steps are shared between machines."),
        key("vars", &TEXT_MAP, "`{{ vars.NAME }}` in every template; `--var NAME=TEXT` overrides."),
        key(
            "registries",
            &Kind::Named(&REGISTRY),
            "Settings of a registry by its host, or of a part of it by `host/path`.",
        ),
        key("limits", &Kind::Table(&LIMITS), "Limits of a run, and defaults of its container steps."),
        key("axes", &Kind::Named(&AXIS), "Dimensions of the matrix."),
        key("tools", &Kind::Named(&TOOL), "Versioned downloads that layers name."),
        key("layers", &Kind::Named(&LAYER), "Layers that images list; each distinct one is made once."),
        key(
            "images",
            &Kind::Named(&IMAGE),
            "Images: a base, layers and a config for each cell of their axes.",
        ),
        key("checks", &Kind::Named(&CHECK), "Commands that a finished image must pass."),
        key("rules", &Kind::List(&Kind::Table(&RULE)), "What is said of cells that a condition is true for."),
        key("mirrors", &Kind::Named(&MIRROR), "Images of others that are copied into a registry."),
    ],
);

pub(in crate::manifest) static PROJECT: Table = table(
    "project",
    "What is built and where it goes.",
    &[
        needed("name", &TEXT, "A name for people."),
        key(
            "repository",
            &TEMPLATE,
            "Push prefix, e.g. `localhost:5000/acme`; `--repository` and RAILYARD_REPOSITORY override.",
        ),
        key(
            "destinations",
            &TEMPLATES,
            "Further push prefixes: every image goes to each of them too. May use `vars`.",
        ),
        key(
            "platform",
            &Kind::Text("a platform", Some("^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$")),
            "The one platform that is built; `linux/amd64` unless written.",
        ),
    ],
);

pub(in crate::manifest) static CACHE: Table = table(
    "cache",
    "Where results of steps are shared between machines.",
    &[needed("repository", &TEMPLATE, "A repository; whoever may write to it is trusted. May use `vars`.")],
);

pub(in crate::manifest) static LIMITS: Table = table(
    "limits",
    "Limits of a run, and defaults of its container steps.",
    &[
        key("containers", &COUNT, "Containers at a time."),
        key("transfers", &COUNT, "Transfers at a time."),
        key("cpu", &COUNT, "CPU-bound tasks at a time."),
        MEMORY,
        CPUS,
        TIMEOUT,
        NETWORK_KEY,
    ],
);

pub(super) const MEMORY: Key = key("memory", &SIZE, "Memory of the container.");
pub(super) const CPUS: Key = key("cpus", &POSITIVE, "CPUs of the container, e.g. 1.5.");
pub(super) const TIMEOUT: Key = key("timeout", &DURATION, "Longest run time.");
pub(super) const NETWORK_KEY: Key = key("network", &NETWORK, "Network of the container.");
pub(super) const SCRIPT: Key = needed("script", &TEMPLATE, "Text given to `/bin/sh -ec`, or to `shell`.");
pub(super) const SHELL: Key = key(
    "shell",
    &TEXTS,
    "The shell and its arguments before the script; `[\"/bin/sh\", \"-ec\"]` unless written.",
);
pub(super) const ENV: Key = key("env", &TEMPLATE_MAP, "Environment beside the image's.");
pub(super) const USER: Key = key("user", &TEMPLATE, "User; the image's unless written.");
pub(super) const WORKDIR: Key = key("workdir", &PATH, "Working directory; the image's unless written.");
pub(super) const STEP_CACHE: Key =
    key("cache", &PATHS, "Directories kept between runs, outside key and layer.");
pub(super) const SECRETS: Key = key(
    "secrets",
    &TEXT_MAP,
    "File name under /run/secrets = name of the environment variable of railyard's that holds the value.",
);
pub(super) const MAX_AGE: Key = key("max_age", &DURATION, "Commands run again when their result is older.");
pub(super) const WHEN: Key = key("when", &CONDITION, "Left out of a cell where it is false.");
pub(super) static EACH_LIST: Kind =
    Kind::Text("an expression without braces that is a list, e.g. `bundle.tools`", None);
pub(super) const EACH: Key =
    key("each", &EACH_LIST, "A list, as an expression: it stands once for each item, `{{ item }}`.");
