//! The tables of tools and downloads.

use super::axis::TOOL_VERSION;
use super::tables::{NAME, OCTAL, OWNER, PATH, SHA256, TEMPLATES, URL, URLS, WHOLE, key, needed, table};
use super::{Key, Kind, Table};

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
        key("extends", &NAME, "A tool that it takes everything from that is not written here."),
        key(
            "version",
            &Kind::Either(&[Kind::Text("may hold `{{ … }}`", None), Kind::Table(&TOOL_VERSION)]),
            "`{{ version }}` in the other texts; a layer's use may give another.",
        ),
        URL_KEY,
        URLS_KEY,
        SHA256_KEY,
        key(DOWNLOAD_PATH.name, DOWNLOAD_PATH.kind, DOWNLOAD_PATH.doc),
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
