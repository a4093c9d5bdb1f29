//! Which system a tree is: its distribution, C library and C++ library.

use std::fmt;

use super::examine::{KnownFacts, TreeFile};
use super::library::find_libraries;
use super::version::newest;
use super::{Tree, TreePath};

/// Names of a system, for messages; what could not be told is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct System {
    /// Family and generation by os-release, e.g. `debian 12`.
    pub os: Option<String>,
    /// E.g. `glibc 2.36`, `musl`.
    pub libc: Option<String>,
    /// The newest version of libstdc++, e.g. `GLIBCXX_3.4.30`.
    pub libstdcxx: Option<String>,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> =
            [&self.os, &self.libc, &self.libstdcxx].into_iter().flatten().map(String::as_str).collect();
        f.write_str(&if known.is_empty() { "an unknown system".to_owned() } else { known.join(", ") })
    }
}

/// The files that say which system a tree is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemFiles {
    os: Option<TreeFile>,
    libc: Option<TreeFile>,
    libstdcxx: Option<TreeFile>,
    /// `/etc/ld.so.conf`, then the files of `/etc/ld.so.conf.d` in order of name.
    configuration: Vec<TreeFile>,
}

impl SystemFiles {
    /// Finds them; those that are missing are left out.
    pub fn find(tree: &Tree) -> Self {
        let text = |path: &str| TreeFile::find(tree, &TreePath::parse(path).ok()?, true);
        let libraries = find_libraries(tree);
        let library = |found: Option<super::Library>| TreeFile::find(tree, &found?.path, false);
        Self {
            os: text("etc/os-release").or_else(|| text("usr/lib/os-release")),
            libc: library(libraries.libc),
            libstdcxx: library(libraries.libstdcxx),
            configuration: text("etc/ld.so.conf").into_iter().chain(included(tree)).collect(),
        }
    }

    /// All of them, to be examined.
    pub fn all(&self) -> impl Iterator<Item = &TreeFile> {
        [&self.os, &self.libc, &self.libstdcxx].into_iter().flatten().chain(&self.configuration)
    }

    /// What they say.
    pub fn read(&self, known: &KnownFacts) -> System {
        let elf = |file: &Option<TreeFile>| file.as_ref().and_then(|file| file.elf(known));
        let libc = self.libc.as_ref().map(|file| libc_name(file, known));
        System {
            os: self.os.as_ref().and_then(|file| os_name(file.text(known)?)),
            libc,
            libstdcxx: elf(&self.libstdcxx)
                .and_then(|library| newest(&library.defined, "GLIBCXX"))
                .map(str::to_owned),
        }
    }

    /// The directories that ld.so.conf names, in order.
    pub fn configured(&self, known: &KnownFacts) -> Vec<TreePath> {
        let lines = self.configuration.iter().filter_map(|file| file.text(known)).flat_map(str::lines);
        let lines = lines.map(|line| line.split('#').next().unwrap_or("").trim());
        lines.filter(|line| line.starts_with('/')).filter_map(|line| TreePath::parse(line).ok()).collect()
    }
}

/// The C library with its release: by the file's name (`libc-2.31.so`, before glibc 2.34), else by the
/// newest version that it defines, as not every release before that defined one of its own.
fn libc_name(file: &TreeFile, known: &KnownFacts) -> String {
    let name = String::from_utf8_lossy(file.path.file_name());
    if let Some(release) = name.strip_prefix("libc-").and_then(|rest| rest.strip_suffix(".so")) {
        return format!("glibc {release}");
    }
    if name.starts_with("ld-musl-") {
        return "musl".to_owned();
    }
    match file.elf(known).and_then(|libc| newest(&libc.defined, "GLIBC")) {
        Some(version) => version.replace("GLIBC_", "glibc "),
        None => "an unknown C library".to_owned(),
    }
}

/// The files of `/etc/ld.so.conf.d`, which every distribution includes.
fn included(tree: &Tree) -> Vec<TreeFile> {
    let directory = TreePath::parse("etc/ld.so.conf.d").and_then(|path| tree.resolve(&path, true));
    let Ok(directory) = directory else { return Vec::new() };
    let files = tree.children(&directory).into_iter().filter(|node| node.path.as_bytes().ends_with(b".conf"));
    files.filter_map(|node| TreeFile::find(tree, &node.path, true)).collect()
}

/// `ID` and `VERSION_ID` of os-release(5).
fn os_name(text: &str) -> Option<String> {
    let value = |key: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let id = value("ID")?;
    Some(match value("VERSION_ID") {
        Some(version) => format!("{id} {version}"),
        None => id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_and_generation_are_read_from_os_release() {
        assert_eq!(os_name("NAME=\"Amazon Linux\"\nVERSION_ID=\"2\"\nID=\"amzn\"\n").unwrap(), "amzn 2");
        assert_eq!(os_name("ID=debian\nVERSION_CODENAME=sid\n").unwrap(), "debian");
        assert_eq!(os_name("ID_LIKE=debian\n"), None);
    }

    #[test]
    fn a_system_is_named_by_what_is_known_of_it() {
        let mut system = System::default();
        assert_eq!(system.to_string(), "an unknown system");
        system.libc = Some("glibc 2.36".into());
        system.os = Some("debian 12".into());
        assert_eq!(system.to_string(), "debian 12, glibc 2.36");
    }
}
