//! Images as files: docker-archive tars and OCI layouts.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::NamedTempFile;

use super::deliver::file_error;
use super::error::StepError;
use crate::oci::{Descriptor, Digest, OpenIndex, Reference, to_canonical_json};
use crate::store::{ImageRecord, Store};

/// Writes images whose blobs are in the store to one docker-archive, as `docker load` reads it.
/// Layers stay compressed. A file gives way to the whole of another; what is no file (a pipe, a terminal)
/// is written to.
pub fn write_docker_archive(
    store: &Store,
    path: &Path,
    images: &[(ImageRecord, Vec<Reference>)],
) -> Result<(), StepError> {
    let fail = |e: std::io::Error| file_error("write", path, &e);
    // A directory that takes no further file may have one that can be written to.
    let replaced = replaceable(path).and_then(|target| Some((beside(&target).ok()?, target)));
    let Some((file, target)) = replaced else {
        let file = File::create(path).map_err(fail)?;
        return write_archive(store, &file, path, images);
    };
    write_archive(store, file.as_file(), path, images)?;
    put(file, &target).map_err(fail)
}

/// The file that a path leads to, or is to become; `None` where it is of another kind.
fn replaceable(path: &Path) -> Option<PathBuf> {
    match std::fs::metadata(path) {
        // A link stays one.
        Ok(meta) if meta.is_file() => std::fs::canonicalize(path).ok(),
        Ok(_) => None,
        Err(_) => std::fs::symlink_metadata(path).is_err().then(|| path.to_owned()),
    }
}

/// Writes a docker-archive to an open file; `path` is its name for errors.
pub(super) fn write_archive(
    store: &Store,
    file: &File,
    path: &Path,
    images: &[(ImageRecord, Vec<Reference>)],
) -> Result<(), StepError> {
    let fail = |e: std::io::Error| file_error("write", path, &e);
    let mut archive = tar::Builder::new(BufWriter::with_capacity(1 << 18, file));
    let mut written = HashSet::new();
    let mut entries = Vec::new();
    for (image, references) in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let name = format!("{}/layer.tar", layer.digest.hex());
            if written.insert(layer.digest) {
                let blob = store.blob_path(layer.digest);
                let mut source = File::open(&blob).map_err(|e| file_error("open", &blob, &e))?;
                same_size(&source, layer, &blob)?;
                append(&mut archive, &name, layer.size, &mut source).map_err(fail)?;
            }
            layers.push(name);
        }
        let config = format!("{}.json", image.config.digest.hex());
        if written.insert(image.config.digest) {
            let bytes = image.config_json.as_bytes();
            append(&mut archive, &config, bytes.len() as u64, &mut &*bytes).map_err(fail)?;
        }
        let tags: Vec<String> = references.iter().map(ToString::to_string).collect();
        entries.push(json!({ "Config": config, "RepoTags": tags, "Layers": layers }));
    }
    let manifest = to_canonical_json(&entries);
    append(&mut archive, "manifest.json", manifest.len() as u64, &mut &*manifest).map_err(fail)?;
    let mut file = archive.into_inner().map_err(fail)?;
    file.flush().map_err(fail)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    source: &mut dyn std::io::Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, source)
}

/// Writes images whose blobs are in the store to an OCI image layout, adding to what is there. Blobs are
/// copied, never linked: what happens to the layout must not happen to the store.
///
/// # Errors
/// When a file cannot be written, or the layout's `index.json` cannot be read: nothing is lost then.
pub fn write_layout(
    store: &Store,
    directory: &Path,
    images: &[(ImageRecord, Vec<Reference>)],
) -> Result<(), StepError> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(|e| file_error("create", &blobs, &e))?;
    let write = |digest: Digest, bytes: &[u8]| write_file(&blobs.join(digest.hex()), bytes);
    let index_path = directory.join("index.json");
    let mut index = read_index(&index_path)?;
    for (image, references) in images {
        for layer in &image.layers {
            copy_blob(&store.blob_path(layer.digest), layer, &blobs.join(layer.digest.hex()))?;
        }
        write(image.config.digest, image.config_json.as_bytes())?;
        write(image.manifest.digest, image.manifest_json.as_bytes())?;
        for reference in references {
            let name = reference.to_string();
            let annotations = [(REF_NAME.to_owned(), name.clone())].into();
            let entry = Descriptor { annotations, ..image.manifest.clone() };
            index.put(&entry, |other| other.annotations.get(REF_NAME) == Some(&name));
        }
        let is_there = || index.descriptors().flatten().any(|m| m.digest == image.manifest.digest);
        if references.is_empty() && !is_there() {
            index.put(&image.manifest, |_| false);
        }
    }
    write_file(&directory.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
    write_file(&index_path, &index.to_json())
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The index of a layout; a new one where there is none.
fn read_index(path: &Path) -> Result<OpenIndex, StepError> {
    match std::fs::read(path) {
        Ok(bytes) => OpenIndex::parse(&bytes).map_err(|e| {
            StepError::new(format!("`{}` is no index of an OCI layout: {e}", path.display()))
                .help("nothing was written over: repair or remove it, or give another directory")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(OpenIndex::default()),
        Err(e) => Err(file_error("read", path, &e)),
    }
}

/// A copy of a layer's blob, unless it is there with its size.
fn copy_blob(source: &Path, layer: &Descriptor, target: &Path) -> Result<(), StepError> {
    if std::fs::metadata(target).is_ok_and(|meta| meta.is_file() && meta.len() == layer.size) {
        return Ok(());
    }
    let mut blob = File::open(source).map_err(|e| file_error("open", source, &e))?;
    same_size(&blob, layer, source)?;
    // The kernel copies, or shares blocks where the file system can.
    write_with(target, |file| std::io::copy(&mut blob, file).map(drop))
}

/// Fails where a stored blob has another size than its layer.
fn same_size(blob: &File, layer: &Descriptor, path: &Path) -> Result<(), StepError> {
    let found = blob.metadata().map_err(|e| file_error("look up", path, &e))?.len();
    if found == layer.size {
        return Ok(());
    }
    let message = format!("`{}` has {found} bytes, and its layer {}", path.display(), layer.size);
    Err(StepError::new(message).help("run again: a damaged blob is dropped and had again"))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes a file whole or not at all, for everybody to read.
fn write_with(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), StepError> {
    let fail = |e: std::io::Error| file_error("write", path, &e);
    let mut file = beside(path).map_err(fail)?;
    write(file.as_file_mut()).map_err(fail)?;
    put(file, path).map_err(fail)
}

/// A temporary file that can be renamed to a path.
fn beside(path: &Path) -> std::io::Result<NamedTempFile> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))
}

/// Gives a file its name, for everybody to read.
fn put(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        (directory, store)
    }

    #[test]
    fn an_archive_is_whole_or_what_was_there_stays() {
        let (directory, store) = store();
        let [old, link, new] = ["old.tar", "link.tar", "new.tar"].map(|name| directory.path().join(name));
        std::fs::write(&old, "old").unwrap();
        std::os::unix::fs::symlink("old.tar", &link).unwrap();
        let before = File::open(&old).unwrap();
        write_docker_archive(&store, &link, &[]).unwrap();
        write_docker_archive(&store, &new, &[]).unwrap();
        assert_eq!(std::io::read_to_string(&before).unwrap(), "old", "it was not written over");
        assert!(link.is_symlink());
        for path in [&old, &link, &new] {
            assert!(std::fs::read(path).unwrap().starts_with(b"manifest.json"));
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o644);
        }
        // A layer is not in the store: the archive that was there stays.
        let lost = Descriptor::new("", Digest::of(b"lost"), 4);
        let image = super::super::assemble::documents(&Default::default(), vec![lost]);
        assert!(write_docker_archive(&store, &new, &[(image, Vec::new())]).is_err());
        assert!(std::fs::read(&new).unwrap().starts_with(b"manifest.json"));
        let names = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 4, "nothing else is left");
    }

    #[test]
    fn what_is_no_file_is_written_to() {
        let (directory, store) = store();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe).unwrap())
        };
        write_docker_archive(&store, &pipe, &[]).unwrap();
        assert!(reader.join().unwrap().starts_with(b"manifest.json"));
        assert!(!std::fs::metadata(&pipe).unwrap().is_file());
    }
}
