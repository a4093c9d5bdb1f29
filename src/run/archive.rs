//! Images as files: docker-archive tars and OCI layouts.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::json;

use super::deliver::file_error;
use super::error::StepError;
use crate::oci::{Descriptor, Digest, ImageIndex, MEDIA_INDEX, Reference, to_canonical_json};
use crate::store::{ImageRecord, Store};

/// Writes images whose blobs are in the store to one docker-archive, as `docker load` reads it.
/// Layers stay compressed.
pub fn write_docker_archive(
    store: &Store,
    path: &Path,
    images: &[(ImageRecord, Vec<Reference>)],
) -> Result<(), StepError> {
    let fail = |e: std::io::Error| file_error("write", path, &e);
    let file = File::create(path).map_err(fail)?;
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

/// Writes images whose blobs are in the store to an OCI image layout, adding to what is there.
pub fn write_layout(
    store: &Store,
    directory: &Path,
    images: &[(ImageRecord, Vec<Reference>)],
) -> Result<(), StepError> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(|e| file_error("create", &blobs, &e))?;
    let write = |digest: Digest, bytes: &[u8]| write_file(&blobs.join(digest.hex()), bytes);
    let index_path = directory.join("index.json");
    let mut index: ImageIndex = std::fs::read(&index_path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(ImageIndex {
            schema_version: 2,
            media_type: Some(MEDIA_INDEX.into()),
            manifests: Vec::new(),
            annotations: Default::default(),
        });
    for (image, references) in images {
        for layer in &image.layers {
            let target = blobs.join(layer.digest.hex());
            if !target.exists() {
                let source = store.blob_path(layer.digest);
                std::fs::hard_link(&source, &target)
                    .or_else(|_| std::fs::copy(&source, &target).map(|_| ()))
                    .map_err(|e| file_error("copy", &source, &e))?;
            }
        }
        write(image.config.digest, image.config_json.as_bytes())?;
        write(image.manifest.digest, image.manifest_json.as_bytes())?;
        for reference in references {
            let name = reference.to_string();
            index.manifests.retain(|m| m.annotations.get(REF_NAME) != Some(&name));
            index.manifests.push(Descriptor {
                annotations: [(REF_NAME.to_owned(), name)].into(),
                ..image.manifest.clone()
            });
        }
        if references.is_empty() && !index.manifests.iter().any(|m| m.digest == image.manifest.digest) {
            index.manifests.push(image.manifest.clone());
        }
    }
    write_file(&directory.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
    write_file(&index_path, &to_canonical_json(&index))
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes a file whole or not at all.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let fail = |e: std::io::Error| file_error("write", path, &e);
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}
