//! The tables of images.

use super::registry::{EXISTING_TAGS, VERSION_TAG};
use super::tables::{
    BASE, BOOL, CONDITION, CPUS, EACH_LIST, ENV, MAX_AGE, MEMORY, NAME, NAMES, NETWORK, NETWORK_KEY, PATH,
    ROWS, SCRIPT, SECRETS, SHELL, SOURCE, STEP_CACHE, TEMPLATE, TEMPLATE_MAP, TEMPLATE_TEXT, TEMPLATES,
    TEXT_MAP, TIMEOUT, USER, WHEN, WORKDIR, key, needed, table,
};
use super::{Kind, Table};

pub(in crate::manifest) static SETUP: Table = table(
    "setup",
    "A command run on the base itself.",
    &[WHEN, SCRIPT, SHELL, ENV, USER, WORKDIR, STEP_CACHE, SECRETS, MEMORY, CPUS, TIMEOUT, NETWORK_KEY],
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

pub(in crate::manifest) static PATH_ENTRY: Table = table(
    "path-entry",
    "Directories of PATH, one for each item of a list.",
    &[
        needed("each", &EACH_LIST, "A list, as an expression, e.g. `bundle.tools`."),
        needed("path", &PATH, "The directory of an item: `{{ item }}`."),
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
        key(
            "version_tags",
            &Kind::List(&Kind::Either(&[TEMPLATE_TEXT, Kind::Table(&VERSION_TAG)])),
            "Versions that become tags: `1.2.3`, `1.2` and `1`.",
        ),
        key(
            "destinations",
            &TEMPLATES,
            "Push prefixes instead of the project's; `...` stands for those, or the ones of the image it extends.",
        ),
        EXISTING_TAGS,
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
            &Kind::List(&Kind::Either(&[
                Kind::Text("an absolute path, may hold `{{ … }}`", Some(r"^(/|\{)")),
                Kind::Table(&PATH_ENTRY),
            ])),
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
        key("outputs", &TEMPLATE_MAP, "What later steps of a pipeline are told; merged by name."),
    ],
);
