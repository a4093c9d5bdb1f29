//! What a container changed: commit it, save the image, and hand out its topmost layer.
//!
//! The engine alone knows what was deleted, so that it makes the layer. `save` has the base's
//! layers too, which are skipped: the stream is read up to the end of the layer wanted.

use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use bollard::Docker;
use bollard::models::ContainerConfig;
use bollard::query_parameters::CommitContainerOptions;
use futures_util::StreamExt;
use tar::{Archive, EntryType};

use super::DockerEngine;
use super::guard::Guard;
use super::pipe::{PipeReader, joined, pipe};
use super::take::{self, TakeError};
use crate::engine::{EngineError, TarSink};
use crate::oci::{Digest, DigestError, Hasher};

/// A tar without entries.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl DockerEngine {
    /// Hands what `container` changed against `image` to `sink`.
    pub(super) async fn committed_changes(
        &self,
        container: &str,
        image: &str,
        sink: TarSink,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        let patient = self.patient_client().await?;
        let options = CommitContainerOptions {
            container: Some(container.to_owned()),
            pause: false,
            ..Default::default()
        };
        let committed = patient
            .commit_container(options, ContainerConfig::default())
            .await
            .map_err(|error| self.failed("commit the container", &error))?
            .id;
        let guard = Guard::image(client, &self.pending, &committed);
        let base = self.layers(client, image).await?;
        let layers = self.layers(client, &committed).await?;
        let result = match layers.last() {
            // An engine makes no layer for no change.
            Some(diff_id) if layers.len() > base.len() => {
                let top = Top { diff_id: *diff_id, container: container.to_owned() };
                self.top_layer(&patient, &committed, top, sink).await
            }
            _ => joined(tokio::task::spawn_blocking(move || sink(&mut EMPTY_TAR.as_slice())).await),
        };
        guard.remove().await;
        result
    }

    /// The diff IDs of an image, lowest first.
    pub(super) async fn layers(&self, client: &Docker, image: &str) -> Result<Vec<Digest>, EngineError> {
        let action = format!("look up the image `{image}`");
        let image = client.inspect_image(image).await.map_err(|error| self.failed(&action, &error))?;
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        layers
            .iter()
            .map(|diff_id| diff_id.parse())
            .collect::<Result<_, DigestError>>()
            .map_err(|error| EngineError::Request { action, message: error.to_string(), retryable: false })
    }

    async fn top_layer(
        &self,
        patient: &Docker,
        image: &str,
        top: Top,
        sink: TarSink,
    ) -> Result<(), EngineError> {
        let top = Arc::new(top);
        let wanted = Arc::clone(&top);
        let left = self.read_saved(patient, image, move |reader| stream_layer(reader, &wanted, sink)).await?;
        match left {
            None => Ok(()),
            // The containerd store keeps layers compressed, under names that only the manifest at
            // the end tells.
            Some(sink) => {
                let spool = self.spool.clone();
                self.read_saved(patient, image, move |reader| spool_layer(reader, &top, &spool, sink)).await
            }
        }
    }

    /// Saves the image and lets `read` have the stream, as far as it wants it.
    async fn read_saved<T: Send + 'static>(
        &self,
        patient: &Docker,
        image: &str,
        read: impl FnOnce(PipeReader) -> Result<T, TakeError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (writer, reader) = pipe();
        let take = tokio::task::spawn_blocking(move || read(reader));
        let mut saved = Box::pin(patient.export_image(image));
        while let Some(chunk) = saved.next().await {
            let chunk = chunk.map_err(|error| self.failed("save the changes of the container", &error))?;
            if !writer.send(chunk).await {
                break;
            }
        }
        writer.end().await;
        match take.await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(error)) => {
                Err(error.during(format!("save the changes of the container on `{}`", self.endpoint)))
            }
            Err(error) => Err(EngineError::Sink(io::Error::other(error))),
        }
    }
}

/// The layer that is wanted out of a saved image.
struct Top {
    diff_id: Digest,
    container: String,
}

/// Finds the layer while the saved image streams by; gives the sink back where that cannot be.
///
/// Docker 25 and later name an uncompressed layer by its diff ID. Before, a layer's directory has a
/// name of its own, but `<name>/json` comes before `<name>/layer.tar`, and for the topmost layer
/// alone it tells the container.
fn stream_layer(saved: PipeReader, top: &Top, sink: TarSink) -> Result<Option<TarSink>, TakeError> {
    let blob = format!("blobs/sha256/{}", top.diff_id.hex());
    let mut wanted = None;
    let mut saved = Archive::new(saved);
    for entry in saved.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if name == blob || Some(&name) == wanted.as_ref() {
            hand_over(&mut entry, top, sink)?;
            return Ok(None);
        }
        if let Some(directory) = name.strip_suffix("/json")
            && entry.header().entry_type() == EntryType::Regular
        {
            let mut json = Vec::new();
            entry.read_to_end(&mut json)?;
            if is_of(&json, &top.container) {
                wanted = Some(format!("{directory}/layer.tar"));
            }
        }
    }
    Ok(Some(sink))
}

fn is_of(json: &[u8], container: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(json)
        .is_ok_and(|json| json.get("container").and_then(|id| id.as_str()) == Some(container))
}

/// Finds the layer by `manifest.json`, with the image in a temporary file of the directory `spool`.
fn spool_layer(mut saved: PipeReader, top: &Top, spool: &Path, sink: TarSink) -> Result<(), TakeError> {
    let mut file = tempfile::tempfile_in(spool).map_err(|error| TakeError::spool(spool, &error))?;
    take::spool(&mut saved, &mut file, |_| {})?;
    let mut manifest = Vec::new();
    find(&mut file, "manifest.json", |entry| entry.read_to_end(&mut manifest).map(drop).map_err(Into::into))?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&manifest).map_err(|error| TakeError::Stream(error.into()))?;
    let layer = manifest
        .pointer("/0/Layers")
        .and_then(|layers| layers.as_array()?.last()?.as_str())
        .ok_or_else(|| missing("manifest.json of the saved image has no layers"))?;
    find(&mut file, layer, |entry| {
        let mut entry = BufReader::with_capacity(64 * 1024, entry);
        match entry.fill_buf()? {
            [0x1f, 0x8b, ..] => hand_over(&mut flate2::bufread::MultiGzDecoder::new(entry), top, sink),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => hand_over(&mut zstd::Decoder::with_buffer(entry)?, top, sink),
            _ => hand_over(&mut entry, top, sink),
        }
    })
}

/// Gives the entry called `name` to `take`.
fn find(
    file: &mut std::fs::File,
    name: &str,
    take: impl FnOnce(&mut dyn Read) -> Result<(), TakeError>,
) -> Result<(), TakeError> {
    file.rewind()?;
    let mut saved = Archive::new(file);
    for entry in saved.entries_with_seek()? {
        let mut entry = entry?;
        if entry.path_bytes() == name.as_bytes() {
            return take(&mut entry);
        }
    }
    Err(missing(&format!("the saved image has no `{name}`")))
}

fn missing(message: &str) -> TakeError {
    TakeError::Stream(io::Error::new(io::ErrorKind::NotFound, message.to_owned()))
}

/// Gives the layer to the sink, and makes sure that it was the right one, and all of it.
fn hand_over(layer: &mut dyn Read, top: &Top, sink: TarSink) -> Result<(), TakeError> {
    let mut checked = Checked { layer, hash: Hasher::new(), wanted: top.diff_id, broken: false };
    if let Err(error) = sink(&mut checked) {
        return Err(if checked.broken { TakeError::Stream(error) } else { TakeError::Sink(error) });
    }
    // Whatever the sink has left: the padding of the tar.
    io::copy(&mut checked, &mut io::sink())?;
    Ok(())
}

/// Hashes what is read and fails at its end when it is not what was wanted.
struct Checked<'a> {
    layer: &'a mut dyn Read,
    hash: Hasher,
    wanted: Digest,
    /// It is not the fault of who reads.
    broken: bool,
}

impl Read for Checked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.layer.read(buf);
        self.broken |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        let count = read?;
        self.hash.update(&buf[..count]);
        if count == 0 && !buf.is_empty() {
            let found = self.hash.clone().finish();
            if found != self.wanted {
                self.broken = true;
                let message = format!("the saved layer is `{found}`, not `{}`", self.wanted);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_spooled_where_it_is_said() {
        let (_writer, reader) = pipe();
        let top = Top { diff_id: Digest::of(b""), container: String::new() };
        let spool = Path::new("/nonexistent/spool");
        let error = spool_layer(reader, &top, spool, Box::new(|_| Ok(()))).unwrap_err();
        let TakeError::Sink(error) = error else { panic!("it is the machine's fault, not the stream's") };
        assert!(error.to_string().contains("`/nonexistent/spool`"), "{error}");
    }
}
