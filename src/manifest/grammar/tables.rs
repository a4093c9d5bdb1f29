//! The tables of the grammar.

use super::axis::{AXIS, TOOL_VERSION};
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
static WHOLE: Kind = Kind::Integer(0);
static EXIT: Kind = Kind::Integer(0);
static POSITIVE: Kind = Kind::Positive;
pub(super) static TEXT: Kind = Kind::Text("", None);
static TEXTS: Kind = Kind::List(&TEXT);
static TEXT_MAP: Kind = Kind::Map(&TEXT);
pub(super) static TEMPLATE: Kind = Kind::Text("may hold `{{ … }}`", None);
static TEMPLATES: Kind = Kind::List(&TEMPLATE);
static TEMPLATE_MAP: Kind = Kind::Map(&TEMPLATE);
static CONDITION: Kind = Kind::Text("an expression without braces, e.g. `runtime.family == \"node\"`", None);
static PATH: Kind = Kind::Text("an absolute path, may hold `{{ … }}`", Some(r"^(/|\{)"));
static PATHS: Kind = Kind::List(&PATH);
pub(super) static URL: Kind =
    Kind::Text("an http or https URL, may hold `{{ … }}`", Some(r"^(https?://|\{)"));
static URLS: Kind = Kind::List(&URL);
static SHA256: Kind =
    Kind::Text("64 hexadecimal digits, may hold `{{ … }}`", Some(r"^((sha256:)?[0-9a-f]{64}|.*\{\{.*)$"));
static OCTAL: Kind = Kind::Text("an octal mode, e.g. `0755`", Some("^[0-7]{3,4}$"));
static CHMOD: Kind = Kind::Text("a mode, octal or symbolic, e.g. `0755` or `u+x,go+rx`", None);
static OWNER: Kind = Kind::Text("numeric, `UID` or `UID:GID`", Some("^[0-9]+(:[0-9]+)?$"));
static SIZE: Kind = Kind::Text("a size, e.g. `512MiB` or `4G`", Some(r"^[0-9.]+ *([KMGTkmgt]i?)?B?$"));
static DURATION: Kind = Kind::Text("a duration, e.g. `90s` or `1h30m`", Some("^([0-9]+(ms|[dhms]))+$"));
static NETWORK: Kind = Kind::Choice(&["bridge", "host", "none"]);
static NAME: Kind = Kind::Text("a name", None);
static NAMES: Kind = Kind::List(&NAME);
static SOURCE: Kind = Kind::Either(&[
    Kind::Text("a reference or `oci:DIR`, may hold `{{ … }}`", None),
    Kind::Table(&MATRIX_IMAGE),
]);
static BASE: Kind = Kind::Either(&[
    Kind::Text("a reference, `oci:DIR` or `scratch`, may hold `{{ … }}`", None),
    Kind::Table(&MATRIX_IMAGE),
]);
static ROWS: Kind = Kind::List(&TEXT_MAP);

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
        key("registries", &Kind::Named(&REGISTRY), "Settings of a registry by its host."),
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

pub(in crate::manifest) static REGISTRY: Table = table(
    "registry",
    "Settings of one registry.",
    &[
        key("insecure", &BOOL, "Plain HTTP, or TLS without verification; loopback needs no mark."),
        key("requests_per_second", &POSITIVE, "Requests a second, at most."),
        key("concurrency", &COUNT, "Requests at a time, at most."),
    ],
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

const MEMORY: Key = key("memory", &SIZE, "Memory of the container.");
const CPUS: Key = key("cpus", &POSITIVE, "CPUs of the container, e.g. 1.5.");
const TIMEOUT: Key = key("timeout", &DURATION, "Longest run time.");
const NETWORK_KEY: Key = key("network", &NETWORK, "Network of the container.");
const SCRIPT: Key = needed("script", &TEMPLATE, "Text given to `/bin/sh -ec`, or to `shell`.");
const SHELL: Key = key(
    "shell",
    &TEXTS,
    "The shell and its arguments before the script; `[\"/bin/sh\", \"-ec\"]` unless written.",
);
const ENV: Key = key("env", &TEMPLATE_MAP, "Environment beside the image's.");
const USER: Key = key("user", &TEMPLATE, "User; the image's unless written.");
const WORKDIR: Key = key("workdir", &PATH, "Working directory; the image's unless written.");
const STEP_CACHE: Key = key("cache", &PATHS, "Directories kept between runs, outside key and layer.");
const SECRETS: Key = key(
    "secrets",
    &TEXT_MAP,
    "File name under /run/secrets = name of the environment variable of railyard's that holds the value.",
);
const MAX_AGE: Key = key("max_age", &DURATION, "Commands run again when their result is older.");
const WHEN: Key = key("when", &CONDITION, "Left out of a cell where it is false.");

const URL_KEY: Key =
    key("url", &URL, "What is downloaded. `{{ version }}`, `{{ arch }}` and `{{ os }}` are defined.");
const URLS_KEY: Key = key("urls", &URLS, "Mirrors of the download, tried in order.");
const SHA256_KEY: Key = key("sha256", &SHA256, "sha256 of what is downloaded.");
const DOWNLOAD_PATH: Key =
    needed("path", &PATH, "Where the file goes, or the directory that an archive is extracted into.");
const DOWNLOAD_MODE: Key =
    key("mode", &OCTAL, "Octal mode of the files; 0755 for tools and 0644 for downloads unless written.");
const OWNER_KEY: Key = key("owner", &OWNER, "Owner of the files; 0:0 unless written.");
static EXTRACT_KIND: Kind = Kind::Table(&EXTRACT);
const EXTRACT_KEY: Key = key("extract", &EXTRACT_KIND, "Set where the download is an archive.");

pub(in crate::manifest) static TOOL: Table = table(
    "tool",
    "A versioned download.",
    &[
        key(
            "version",
            &Kind::Either(&[Kind::Text("may hold `{{ … }}`", None), Kind::Table(&TOOL_VERSION)]),
            "`{{ version }}` in the other texts; a layer's use may give another.",
        ),
        URL_KEY,
        URLS_KEY,
        SHA256_KEY,
        DOWNLOAD_PATH,
        DOWNLOAD_MODE,
        OWNER_KEY,
        EXTRACT_KEY,
    ],
);

pub(in crate::manifest) static DOWNLOAD: Table = table(
    "download",
    "A download.",
    &[URL_KEY, URLS_KEY, SHA256_KEY, DOWNLOAD_PATH, DOWNLOAD_MODE, OWNER_KEY, EXTRACT_KEY],
);

pub(in crate::manifest) static EXTRACT: Table = table(
    "extract",
    "What to take out of an archive.",
    &[
        key(
            "format",
            &Kind::Choice(&["tar", "tar.gz", "zip"]),
            "Format of the archive; from the URL's ending unless written.",
        ),
        key("members", &TEMPLATES, "Files and directories to take; all unless written."),
        key("strip", &WHOLE, "Leading path components to drop."),
    ],
);

pub(in crate::manifest) static LAYER: Table = table(
    "layer",
    "A layer: files that need no base, or the paths that a `run` leaves behind; never both.",
    &[
        WHEN,
        MAX_AGE,
        key("copy", &Kind::List(&Kind::Table(&COPY)), "Files of other images."),
        key(
            "tools",
            &Kind::List(&Kind::Either(&[Kind::Text("the name of a tool", None), Kind::Table(&TOOL_USE)])),
            "Tools, by name.",
        ),
        key("downloads", &Kind::List(&Kind::Table(&DOWNLOAD)), "Downloads."),
        key("files", &Kind::List(&Kind::Table(&FILE)), "Files whose content stands here."),
        key("dirs", &Kind::List(&Kind::Table(&DIR)), "Directories."),
        key("run", &Kind::Table(&RUN), "A command in a container of a builder image."),
    ],
);

pub(in crate::manifest) static COPY: Table = table(
    "copy",
    "Files of another image.",
    &[
        key(
            "from",
            &Kind::Text("a reference or `oci:DIR`, may hold `{{ … }}`", None),
            "The image they come from.",
        ),
        key(
            "image",
            &NAME,
            "The image of the matrix they come from; cells are matched on the axes they share.",
        ),
        needed("paths", &PATHS, "What is copied; directories with their content."),
        key("to", &PATH, "Another place; with several paths it ends with `/`."),
        key("chmod", &CHMOD, "Change of the permission bits."),
        key("owner", &OWNER, "New owner; kept unless written."),
        WHEN,
    ],
);

pub(in crate::manifest) static TOOL_USE: Table = table(
    "tool-use",
    "A tool in a layer.",
    &[
        needed("tool", &NAME, "Its name."),
        key("version", &TEMPLATE, "Another version than the tool's own."),
        WHEN,
    ],
);

pub(in crate::manifest) static FILE: Table = table(
    "file",
    "A file whose content stands here.",
    &[
        needed("path", &PATH, "Its path."),
        needed("content", &TEMPLATE, "Its content."),
        key("mode", &OCTAL, "Octal mode, 0644 unless written."),
        key("owner", &OWNER, "Owner, 0:0 unless written."),
    ],
);

pub(in crate::manifest) static DIR: Table = table(
    "dir",
    "A directory; it gets this mode and owner even where the base has it.",
    &[
        needed("path", &PATH, "Its path."),
        key("mode", &OCTAL, "Octal mode, 0755 unless written."),
        key("owner", &OWNER, "Owner, 0:0 unless written."),
    ],
);

pub(in crate::manifest) static RUN: Table = table(
    "run",
    "A command in a container of a builder image; the kept paths become the layer.",
    &[
        needed("image", &SOURCE, "The builder image."),
        SCRIPT,
        SHELL,
        key("keep", &PATHS, "Paths that become the layer; at least one."),
        key("reads", &PATHS, "Narrows the key from the builder's digest to these trees."),
        STEP_CACHE,
        ENV,
        USER,
        WORKDIR,
        SECRETS,
        MEMORY,
        CPUS,
        TIMEOUT,
        NETWORK_KEY,
    ],
);

pub(in crate::manifest) static SETUP: Table = table(
    "setup",
    "A command run on the base itself.",
    &[SCRIPT, SHELL, ENV, USER, WORKDIR, STEP_CACHE, SECRETS, MEMORY, CPUS, TIMEOUT, NETWORK_KEY],
);

pub(in crate::manifest) static CHECK: Table = table(
    "check",
    "A command that a finished image must pass.",
    &[
        SCRIPT,
        SHELL,
        key("exit", &EXIT, "Exit code that is success; 0 unless written."),
        key("expect", &TEMPLATE, "Text that standard output and error must contain."),
        ENV,
        USER,
        WORKDIR,
        MEMORY,
        CPUS,
        TIMEOUT,
        NETWORK_KEY,
    ],
);

pub(in crate::manifest) static RULE: Table = table(
    "rule",
    "What is said of cells that a condition is true for.",
    &[
        key("images", &NAMES, "The images it is about; all that have the axes it mentions unless written."),
        needed("when", &CONDITION, "Of which cells it speaks: those where this is true."),
        needed(
            "level",
            &Kind::Choice(&["warn", "reject"]),
            "Whether its message is printed, or the cell is a mistake.",
        ),
        needed("message", &TEMPLATE, "What it says of the cell."),
    ],
);

pub(in crate::manifest) static MATRIX_IMAGE: Table = table(
    "matrix-image",
    "An image of the matrix; cells are matched on the axes they share.",
    &[needed("image", &NAME, "Its name.")],
);

static CONTEXTS: Kind = Kind::Map(&SOURCE);

pub(in crate::manifest) static DOCKERFILE: Table = table(
    "dockerfile",
    "A Dockerfile that makes an image.",
    &[
        needed("context", &TEMPLATE, "Directory that COPY takes from, relative to the manifest."),
        key("file", &TEMPLATE, "The Dockerfile, relative to the context; `Dockerfile` unless written."),
        key("target", &TEMPLATE, "The stage that is built; the last unless written."),
        key("args", &TEMPLATE_MAP, "Build arguments: name = value."),
        key("contexts", &CONTEXTS, "Images that FROM, COPY --from and RUN --mount=from= name: name = image."),
        key(
            "secrets",
            &TEXT_MAP,
            "Id of RUN --mount=type=secret = name of the environment variable of railyard's that holds the value.",
        ),
        key("network", &NETWORK, "Network of its RUN instructions."),
    ],
);

pub(in crate::manifest) static IMAGE: Table = table(
    "image",
    "An image: one for each cell of its axes.",
    &[
        key("extends", &NAME, "An image that it takes everything from that is not written here."),
        key("axes", &NAMES, "The axes of its cells, in order."),
        key("name", &TEMPLATE, "Last part of the repository; the image's own name unless written."),
        key("tags", &TEMPLATES, "Its tags."),
        key("base", &BASE, "What it is built on."),
        key(
            "dockerfile",
            &Kind::Table(&DOCKERFILE),
            "The Dockerfile that makes it, instead of a base and layers.",
        ),
        key(
            "setup",
            &Kind::List(&Kind::Table(&SETUP)),
            "Commands run on the base itself, in order, before any layer.",
        ),
        key("layers", &NAMES, "Its layers, lowest first; `...` stands for those of the image it extends."),
        key("env", &TEMPLATE_MAP, "Environment; merged by name with that of the image it extends."),
        key(
            "path",
            &PATHS,
            "Directories put before the base's PATH, and before those of the image it extends.",
        ),
        key("user", &TEMPLATE, "User of the finished image."),
        key("workdir", &PATH, "Working directory of the finished image."),
        key("entrypoint", &TEMPLATES, "Entrypoint; setting it clears an inherited `cmd`."),
        key("cmd", &TEMPLATES, "Arguments of the entrypoint."),
        key("labels", &TEMPLATE_MAP, "Labels; merged by name with those of the image it extends."),
        key("include", &ROWS, "Cells added: rows of axis = value that name every axis."),
        key("exclude", &ROWS, "Cells removed: those that have all values of a row; values may be globs."),
        key("zip", &Kind::List(&NAMES), "Groups of axes that advance together instead of multiplying."),
        key("when", &CONDITION, "No cell where it is false."),
        MAX_AGE,
        key(
            "checks",
            &NAMES,
            "Its checks; `abi` is built in, `...` stands for those of the image it extends.",
        ),
        key("push", &BOOL, "Whether its cells are pushed; false for images that only others use."),
    ],
);
