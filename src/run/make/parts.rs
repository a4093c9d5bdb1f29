//! Layers out of parts: copies, downloads, files, directories.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use super::{open, store_blob};
use crate::layer::{Archive, ArtifactBuilder, CopySpec, ExtractSpec, LayerBlob, LayerError, Meta};
use crate::manifest::Owner;
use crate::matrix::{ArchiveName, ConcreteDownload, ConcretePart};
use crate::oci::{Descriptor, Digest};
use crate::plan::StepId;
use crate::run::deliver::blocking;
use crate::run::error::StepError;
use crate::run::images::ImageFiles;
use crate::run::worker::Worker;
use crate::store::Store;

/// What goes into an artifact, with its files at hand.
enum Ingredient {
    Copy { files: ImageFiles, image: String, copy: crate::matrix::ConcreteCopy },
    Download { download: ConcreteDownload, blob: Digest },
    File { path: String, content: String, mode: u32, owner: Owner },
    Local { path: String, source: String, digest: Option<Digest>, mode: u32, owner: Owner },
    Dir { path: String, mode: u32, owner: Owner },
}

impl Worker {
    pub(super) async fn parts(
        self: &Arc<Self>,
        id: StepId,
        parts: &[ConcretePart],
    ) -> Result<LayerBlob, StepError> {
        let progress = self.progress(id);
        let mut ingredients = Vec::new();
        for part in parts {
            ingredients.push(match part {
                ConcretePart::Copy(copy) => {
                    let files = self.source_files(&copy.from, &progress).await?;
                    let ensured = files.layers.iter().map(|layer| self.blobs.ensure(layer, &progress));
                    futures_util::future::try_join_all(ensured).await?;
                    Ingredient::Copy { files, image: self.source_name(&copy.from), copy: copy.clone() }
                }
                ConcretePart::Download(download) => {
                    let locked = self.lock.downloads.get(&download.shown).map(|d| d.sha256);
                    let wanted = download.sha256.or(locked);
                    let (blob, _) =
                        self.downloads.get(&download.urls, wanted, &progress).await.map_err(|error| {
                            let url = &download.shown;
                            let locked = self.lock.places.download(url);
                            error.pinned_at(locked.filter(|_| download.sha256.is_none()), url)
                        })?;
                    Ingredient::Download { download: download.clone(), blob }
                }
                ConcretePart::File { path, content, mode, owner } => Ingredient::File {
                    path: path.clone(),
                    content: content.clone(),
                    mode: *mode,
                    owner: *owner,
                },
                ConcretePart::Local { path, source, mode, owner } => Ingredient::Local {
                    path: path.clone(),
                    source: source.clone(),
                    digest: self.settings.layouts.get(&crate::plan::local_name(source)).copied(),
                    mode: *mode,
                    owner: *owner,
                },
                ConcretePart::Dir { path, mode, owner } => {
                    Ingredient::Dir { path: path.clone(), mode: *mode, owner: *owner }
                }
            });
        }
        let (store, level) = (self.store.clone(), self.settings.level);
        blocking(move || {
            let mut builder = ArtifactBuilder::new(&store.temporary())?;
            for ingredient in &ingredients {
                add(&mut builder, &store, ingredient)?;
            }
            store_blob(&store, |out| builder.finish(out, level))
        })
        .await
    }
}

fn add(builder: &mut ArtifactBuilder, store: &Store, ingredient: &Ingredient) -> Result<(), StepError> {
    match ingredient {
        Ingredient::Copy { files, image, copy } => {
            builder.part(&format!("copy from `{image}`"));
            let chmod = copy.chmod.clone();
            let change = chmod.map(|chmod| move |mode: u32, dir: bool| chmod.apply(mode, dir));
            let spec = CopySpec {
                image,
                paths: &copy.paths,
                to: copy.to.as_deref(),
                chmod: change.as_ref().map(|c| c as &dyn Fn(u32, bool) -> u32),
                owner: copy.owner.map(|o| (o.uid, o.gid)),
                parents_mode: None,
            };
            let open_layer = |position: usize| open_blob(store, &files.layers[position]);
            builder.copy(&files.tree, open_layer, &spec)?;
        }
        Ingredient::Download { download, blob } => {
            builder.part(&format!("download `{}`", download.name));
            let path = store.blob_path(*blob);
            let file = open(&path)?;
            let (uid, gid) = download.owner;
            match &download.extract {
                None => {
                    let meta = Meta::new(download.mode.unwrap_or(0o644), uid, gid);
                    builder.file(&download.path, file, meta)?;
                }
                Some(extract) => {
                    let mode = download.mode;
                    let change = move |own: u32, dir: bool| match mode {
                        Some(mode) if !dir => mode,
                        _ => own,
                    };
                    let format = match extract.format {
                        ArchiveName::Tar | ArchiveName::TarGz => Archive::Tar,
                        ArchiveName::Zip => Archive::Zip,
                    };
                    builder.extract(
                        file,
                        &ExtractSpec {
                            format,
                            members: &extract.members,
                            strip: extract.strip,
                            path: &download.path,
                            mode: mode.map(|_| &change as &dyn Fn(u32, bool) -> u32),
                            owner: download.owner,
                        },
                    )?;
                }
            }
        }
        Ingredient::File { path, content, mode, owner } => {
            builder.part("files");
            builder.file(path, content.as_bytes(), Meta::new(*mode, owner.uid, owner.gid))?;
        }
        Ingredient::Local { path, source, digest, mode, owner } => {
            builder.part("files");
            let content = std::fs::read(source)
                .map_err(|e| StepError::new(format!("failed to read `{source}`: {e}")))?;
            if digest.is_some_and(|digest| digest != Digest::of(&content)) {
                return Err(
                    StepError::new(format!("`{source}` was changed during the run")).help("build again")
                );
            }
            builder.file(path, content.as_slice(), Meta::new(*mode, owner.uid, owner.gid))?;
        }
        Ingredient::Dir { path, mode, owner } => {
            builder.part("dirs");
            builder.dir(path, Meta::new(*mode, owner.uid, owner.gid))?;
        }
    }
    Ok(())
}

fn open_blob(store: &Store, layer: &Descriptor) -> Result<Box<dyn Read>, LayerError> {
    let path = store.blob_path(layer.digest);
    let file = File::open(&path).map_err(|e| LayerError::io(format!("open `{}`", path.display()), e))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}
