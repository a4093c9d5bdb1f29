//! The table of mirrors.

use super::tables::{BOOL, TEMPLATE, key, needed, table};
use super::{Key, Kind, Table};

static IMAGES_KIND: Kind = Kind::List(&Kind::Text("a reference, may hold `{{ … }}`", None));
const IMAGES: Key = key(
    "images",
    &IMAGES_KIND,
    "Images that are copied; one without a registry comes from `from`. May use `vars`.",
);

pub(in crate::manifest) static MIRROR: Table = table(
    "mirror",
    "Images that are copied from one registry into another, all platforms, with names unchanged.",
    &[
        IMAGES,
        key("file", &TEMPLATE, "A file with a reference a line, relative to the manifest. May use `vars`."),
        key(
            "from",
            &TEMPLATE,
            "Registry, or registry and path, of images that name no registry; `docker.io` unless written. May use `vars`.",
        ),
        needed(
            "to",
            &TEMPLATE,
            "Registry, or registry and path, that the names are put behind. May use `vars`.",
        ),
        key("referrers", &BOOL, "Whether signatures and other referrers are copied too."),
    ],
);
