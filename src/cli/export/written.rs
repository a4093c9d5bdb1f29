//! Files of an export, which go over nothing that is not an earlier export's.

use std::path::Path;

use crate::cli::exit::{Exit, print, say};
use crate::export::ExportedFile;

/// What an export begins with.
const MARK: &[u8] = b"# Written by railyard";

/// Writes a text to a file, over another only where that is an earlier export, or to standard output.
pub(super) fn single(out: Option<&Path>, force: bool, text: &str) -> Result<(), Exit> {
    let Some(path) = out else { return print(text) };
    if !force && found(path).is_some_and(|old| !is_export(&old)) {
        return Err(Exit::Usage(format!(
            "error: `{}` is there and is no earlier export\n  help: write elsewhere, or over it with --force",
            path.display()
        )));
    }
    put(path, text, 0o644)?;
    say(&format!("written to `{}`", path.display()));
    Ok(())
}

/// Writes the files of an export; over others only where they are an earlier export's.
pub(super) fn write(out: &Path, files: &[ExportedFile], force: bool) -> Result<(), Exit> {
    let read = |file: &ExportedFile| found(&out.join(&file.path));
    let earlier = files.iter().any(|file| read(file).is_some_and(|old| is_export(&old)));
    if !force && !earlier {
        let other = |file: &&ExportedFile| read(file).is_some_and(|old| old != file.content.as_bytes());
        if let Some(file) = files.iter().find(other) {
            return Err(Exit::Usage(format!(
                "error: `{}` is there and is no earlier export\n  help: choose another directory, or write over it with --force",
                out.join(&file.path).display()
            )));
        }
    }
    files.iter().try_for_each(|file| put(&out.join(&file.path), &file.content, file.mode))
}

pub(super) fn put(path: &Path, text: &str, mode: u32) -> Result<(), Exit> {
    use std::os::unix::fs::PermissionsExt;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))
}

/// What is in a file; nothing where it cannot be read, and `None` where there is none.
fn found(path: &Path) -> Option<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read.unwrap_or_default()),
    }
}

fn is_export(old: &[u8]) -> bool {
    old.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_exports_are_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipeline.yml");
        let text = "# Written by railyard\nnew\n";
        let file = ExportedFile { path: "pipeline.yml".into(), content: text.to_owned(), mode: 0o644 };
        for (old, goes) in [
            (None, true),
            (Some(&b"# Written by railyard\nold\n"[..]), true),
            (Some(&b"name: mine\n"[..]), false),
            (Some(&b"name: \xff\xfe\n"[..]), false),
            (Some(&b""[..]), false),
        ] {
            let place = |old: Option<&[u8]>| match old {
                Some(old) => std::fs::write(&path, old).unwrap(),
                None => drop(std::fs::remove_file(&path)),
            };
            place(old);
            assert_eq!(single(Some(&path), false, text).is_ok(), goes, "{old:?}");
            assert_eq!(std::fs::read(&path).unwrap(), if goes { text.as_bytes() } else { old.unwrap() });
            place(old);
            assert_eq!(write(directory.path(), std::slice::from_ref(&file), false).is_ok(), goes, "{old:?}");
            single(Some(&path), true, text).unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(single(Some(&path), false, text), Err(Exit::Usage(_))));
    }
}
