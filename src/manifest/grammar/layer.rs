//! The tables of layers.

use super::tables::{
    CHMOD, CPUS, EACH, ENV, MAX_AGE, MEMORY, NAME, NETWORK_KEY, OCTAL, OWNER, PATH, PATHS, SCRIPT, SECRETS,
    SHELL, SOURCE, STEP_CACHE, TEMPLATE, TIMEOUT, USER, WHEN, WORKDIR, key, needed, table,
};
use super::tool::DOWNLOAD;
use super::{Kind, Table};

pub(in crate::manifest) static LAYER: Table = table(
    "layer",
    "A layer: files that need no base, or the paths that a `run` leaves behind; never both.",
    &[
        WHEN,
        EACH,
        MAX_AGE,
        key("copy", &Kind::List(&Kind::Table(&COPY)), "Files of other images."),
        key(
            "tools",
            &Kind::List(&Kind::Either(&[
                Kind::Text("the name of a tool, or `name@version`; may hold `{{ … }}`", None),
                Kind::Table(&TOOL_USE),
            ])),
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
        needed("tool", &TEMPLATE, "Its name, or `name@version`."),
        key("version", &TEMPLATE, "Another version than the tool's own."),
        WHEN,
    ],
);

pub(in crate::manifest) static FILE: Table = table(
    "file",
    "A file whose content stands here, or in a file beside the manifest.",
    &[
        needed("path", &PATH, "Its path."),
        key("content", &TEMPLATE, "Its content."),
        key("source", &TEMPLATE, "The file that holds its content, relative to the manifest."),
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
