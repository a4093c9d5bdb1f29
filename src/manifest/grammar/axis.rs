//! The tables of axes, and of versions that are looked up.

use super::tables::{BOOL, COUNT, TEMPLATE, TEXT, URL, key, needed, table};
use super::{Key, Kind, Table};

static REQUIREMENT: Kind = Kind::Text("a requirement of versions, e.g. `>=3.38, <4`", None);
const VERSIONS: Key = key("versions", &REQUIREMENT, "What a discovered version must fulfil.");
static VERSION_SOURCE_KIND: Kind = Kind::Table(&VERSION_SOURCE);
const VERSION_SOURCE_KEY: Key =
    key("source", &VERSION_SOURCE_KIND, "Where versions are looked up; the lock holds what is found.");
const PRERELEASES: Key =
    key("prereleases", &BOOL, "Whether every pre-release counts, not only those that `versions` names.");

pub(in crate::manifest) static AXIS: Table = table(
    "axis",
    "A dimension of the matrix: `values`, or `versions` and a `source` that they are looked up in.",
    &[
        key(
            "values",
            &Kind::List(&Kind::Either(&[Kind::Text("the name of a value", None), Kind::Table(&AXIS_VALUE)])),
            "Its values, in order.",
        ),
        VERSIONS,
        VERSION_SOURCE_KEY,
        key("newest", &COUNT, "Only the newest so many of the versions."),
        PRERELEASES,
    ],
);

pub(in crate::manifest) static VERSION_SOURCE: Table = table(
    "version-source",
    "Where versions are looked up: one of `npm`, `tags`, `url` and `file`.",
    &[
        key("npm", &Kind::Text("the name of a package", None), "The versions of this npm package."),
        key(
            "image",
            &Kind::Text("a reference, may hold `{{ … }}`", None),
            "With `npm`: an image that has npm, for machines without.",
        ),
        key("tags", &TEMPLATE, "The tags of this repository. May use `vars`."),
        key(
            "pattern",
            &Kind::Text("a regular expression", None),
            "With `tags`: matches whole tags; its group `(?<version>…)` is the version.",
        ),
        key("url", &URL, "A JSON array of texts, or a version a line, on a server. May use `vars`."),
        key("file", &TEMPLATE, "The same in a file, relative to the manifest. May use `vars`."),
    ],
);

pub(in crate::manifest) static TOOL_VERSION: Table = table(
    "tool-version",
    "A version that is looked up: the newest that fulfils `versions`.",
    &[
        key("versions", &REQUIREMENT, "What the version must fulfil; any unless written."),
        VERSION_SOURCE_KEY,
        PRERELEASES,
    ],
);

static ATTRIBUTE: Kind = Kind::Either(&[
    Kind::Text("may use `{{ vars.NAME }}`", None),
    Kind::Integer(i64::MIN),
    Kind::Number,
    Kind::Bool,
    Kind::List(&ATTRIBUTE),
]);

pub(in crate::manifest) static AXIS_VALUE: Table = Table {
    name: "axis-value",
    doc: "A value of an axis: its name, and attributes that templates read as `{{ axis.attribute }}`.",
    keys: &[needed("name", &TEXT, "Its name: `{{ axis }}`.")],
    others: Some(&ATTRIBUTE),
};
