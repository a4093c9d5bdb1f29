//! Where the dynamic linker looks for libraries (ld.so(8)), in a tree instead of a running system.

use std::cell::RefCell;
use std::collections::HashMap;

use super::elf::Elf;
use super::examine::TreeFile;
use super::library::DIRECTORIES;
use super::{Tree, TreePath};

/// The files of a directory's libraries by directory and soname, as they were found.
type Found = HashMap<(TreePath, String), Option<TreeFile>>;

/// The search of a tree for libraries.
#[derive(Debug)]
pub struct Linker<'t> {
    tree: &'t Tree,
    /// `LD_LIBRARY_PATH`.
    library_path: Vec<TreePath>,
    /// Directories of ld.so.conf, then the default ones.
    system: Vec<TreePath>,
    found: RefCell<Found>,
}

impl<'t> Linker<'t> {
    /// For a tree; `library_path` is the variable's value, `configured` what ld.so.conf names.
    pub fn new(tree: &'t Tree, library_path: &str, configured: Vec<TreePath>) -> Self {
        let absolute = library_path.split(':').filter(|directory| directory.starts_with('/'));
        let defaults = DIRECTORIES.iter().filter_map(|directory| TreePath::parse(directory).ok());
        Self {
            tree,
            library_path: absolute.filter_map(|directory| TreePath::parse(directory).ok()).collect(),
            system: configured.into_iter().chain(defaults).collect(),
            found: RefCell::default(),
        }
    }

    /// The files of a soname that a program at `path` would come across, in order.
    pub fn search(&self, path: &TreePath, elf: &Elf, soname: &str) -> Vec<TreeFile> {
        let rpath = if elf.runpath.is_empty() { expand(&elf.rpath, path) } else { Vec::new() };
        let runpath = expand(&elf.runpath, path);
        self.files(rpath.iter().chain(&self.library_path).chain(&runpath).chain(&self.system), soname)
    }

    /// The directories that a program at `path` names itself.
    pub fn own_directories(path: &TreePath, elf: &Elf) -> Vec<TreePath> {
        [&elf.rpath, &elf.runpath].into_iter().flat_map(|list| expand(list, path)).collect()
    }

    /// The files of a soname in some directories, in order.
    pub fn files<'d>(
        &self,
        directories: impl IntoIterator<Item = &'d TreePath>,
        soname: &str,
    ) -> Vec<TreeFile> {
        let mut files: Vec<TreeFile> = Vec::new();
        for directory in directories {
            if let Some(file) = self.in_directory(directory, soname)
                && !files.contains(&file)
            {
                files.push(file);
            }
        }
        files
    }

    /// Whether an absolute path leads to a file.
    pub fn exists(&self, path: &str) -> bool {
        TreePath::parse(path).is_ok_and(|path| TreeFile::find(self.tree, &path, false).is_some())
    }

    fn in_directory(&self, directory: &TreePath, soname: &str) -> Option<TreeFile> {
        let key = (directory.clone(), soname.to_owned());
        let mut found = self.found.borrow_mut();
        let file = found.entry(key);
        file.or_insert_with(|| TreeFile::find(self.tree, &directory.join(soname.as_bytes()), false)).clone()
    }
}

/// Directories with `$ORIGIN` and `$LIB` filled in; relative ones, which depend on the working
/// directory, are left out.
fn expand(directories: &[String], path: &TreePath) -> Vec<TreePath> {
    let origin = path.parent().unwrap_or_default().to_string();
    let mut expanded = Vec::new();
    for directory in directories {
        let directory = directory.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &origin);
        let directory = directory.replace("${LIB}", "$LIB");
        for lib in ["lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib"] {
            let filled = directory.replace("$LIB", lib);
            if filled.starts_with('/') && !filled.contains('$') {
                expanded.extend(normal(&filled));
            }
            if filled == directory {
                break;
            }
        }
    }
    expanded
}

/// A path with its `..` components taken out by name.
fn normal(path: &str) -> Option<TreePath> {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            ".." => {
                components.pop();
            }
            "" | "." => {}
            name => components.push(name),
        }
    }
    TreePath::parse(components.join("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(directories: &[&str]) -> Vec<String> {
        let directories: Vec<String> = directories.iter().map(|d| (*d).to_owned()).collect();
        let path = TreePath::parse("var/lang/bin/node").unwrap();
        expand(&directories, &path).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn origin_is_the_directory_of_the_file() {
        assert_eq!(expanded(&["$ORIGIN/../lib", "${ORIGIN}"]), ["/var/lang/lib", "/var/lang/bin"]);
        assert_eq!(expanded(&["/opt/./lib//x", "lib", "$PLATFORM/x", ""]), ["/opt/lib/x"]);
        assert_eq!(expanded(&["$ORIGIN/../../../../.."]), ["/"]);
    }

    #[test]
    fn lib_is_every_name_that_distributions_have_for_it() {
        let found = expanded(&["/opt/$LIB"]);
        assert_eq!(found.len(), 4);
        assert!(found.contains(&"/opt/lib64".to_owned()), "{found:?}");
    }
}
