//! The tables of checks and rules.

use super::tables::{
    BOOL, CONDITION, CPUS, ENV, EXIT, MEMORY, NAMES, NETWORK_KEY, OCTAL, OWNER, PATH, SHELL, SIZE, TEMPLATE,
    TIMEOUT, USER, WORKDIR, key, needed, table,
};
use super::{Kind, Table};

pub(in crate::manifest) static CHECK: Table = table(
    "check",
    "What a finished image must pass: `script`, `files`, `size`, at least one of them.",
    &[
        key("script", &TEMPLATE, "Text given to `/bin/sh -ec`, or to `shell`."),
        key(
            "files",
            &Kind::List(&Kind::Table(&CHECK_FILE)),
            "What its files must be; judged without a container.",
        ),
        key("size", &Kind::Table(&CHECK_SIZE), "How large it may be; judged without a container."),
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

pub(in crate::manifest) static CHECK_FILE: Table = table(
    "check-file",
    "What a path of a finished image must be; what is not written may be anything.",
    &[
        needed("path", &PATH, "The path; links before its last component are followed, that one is not."),
        key("type", &Kind::Choice(&["file", "directory", "link"]), "What it is; anything unless written."),
        key("mode", &OCTAL, "Its permission bits."),
        key("owner", &OWNER, "Its owner."),
        key("absent", &BOOL, "Whether nothing may be there."),
    ],
);

pub(in crate::manifest) static CHECK_SIZE: Table = table(
    "check-size",
    "How large the layers of a finished image may be, compressed.",
    &[key("image", &SIZE, "All of them."), key("added", &SIZE, "Those above its base.")],
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
