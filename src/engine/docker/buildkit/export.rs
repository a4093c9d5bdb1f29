//! A finished image out of the engine: its configuration and the layers that are wanted.
//!
//! `save` names layers in three ways (20.10, 25 and later, the containerd store), so that each file
//! of the archive is known by what it is: a layer by its diff ID, the configuration by its layers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use bollard::Docker;
use futures_util::StreamExt;
use tar::{Archive, EntryType};
use tempfile::NamedTempFile;

use super::super::pipe::pipe;
use super::super::take::{self, TakeError};
use super::DockerEngine;
use crate::engine::{BuildRequest, BuiltImage, EngineError};
use crate::oci::{DiffId, Digest, Hasher};

/// The largest configuration that is looked at, in bytes.
const LARGEST_CONFIG: u64 = 8 << 20;

impl DockerEngine {
    pub(super) async fn exported(
        &self,
        patient: &Docker,
        id: &str,
        request: &BuildRequest,
    ) -> Result<BuiltImage, EngineError> {
        let diff_ids: Vec<DiffId> = self.layers(patient, id).await?.into_iter().map(DiffId).collect();
        let wanted = diff_ids.iter().filter(|id| !request.known.contains(id)).copied().collect();
        let task = Take { diff_ids: diff_ids.clone(), wanted, spool: request.spool.clone() };
        let (writer, reader) = pipe();
        let take = tokio::task::spawn_blocking(move || task.read(reader));
        let mut saved = Box::pin(patient.export_image(id));
        while let Some(chunk) = saved.next().await {
            let chunk = chunk.map_err(|error| self.failed("save the image that was built", &error))?;
            if !writer.send(chunk).await {
                break;
            }
        }
        writer.end().await;
        let action = format!("save the image that was built on `{}`", self.endpoint);
        let failed =
            |message: String| EngineError::Request { action: action.clone(), message, retryable: true };
        let taken = take.await.map_err(|e| EngineError::Sink(io::Error::other(e)))?;
        let taken = taken.map_err(|error| error.during(action.clone()))?;
        let config = taken.config.ok_or_else(|| failed("it has no configuration".to_owned()))?;
        let is_there = |id: DiffId| request.known.contains(&id) || taken.layers.contains_key(&id);
        if let Some(lost) = diff_ids.iter().find(|id| !is_there(**id)) {
            return Err(failed(format!("it lacks the layer `{}`", lost.0)));
        }
        Ok(BuiltImage { config, layers: diff_ids, files: taken.layers })
    }
}

struct Take {
    diff_ids: Vec<DiffId>,
    wanted: BTreeSet<DiffId>,
    spool: PathBuf,
}

#[derive(Default)]
struct Taken {
    config: Option<Vec<u8>>,
    layers: BTreeMap<DiffId, NamedTempFile>,
}

impl Take {
    fn read(&self, saved: impl Read) -> Result<Taken, TakeError> {
        let mut taken = Taken::default();
        let mut saved = Archive::new(saved);
        for entry in saved.entries()? {
            let entry = entry?;
            if entry.header().entry_type() != EntryType::Regular || self.is_needless(&entry.path_bytes()) {
                continue;
            }
            let small = entry.size() <= LARGEST_CONFIG;
            let mut entry = BufReader::with_capacity(64 * 1024, entry);
            match entry.fill_buf()? {
                [b'{', ..] if small => {
                    let mut json = Vec::new();
                    entry.read_to_end(&mut json)?;
                    if self.is_config(&json) {
                        taken.config = Some(json);
                    } else {
                        // A layer whose first name begins with a brace.
                        self.layer(&mut json.as_slice(), &mut taken)?;
                    }
                }
                [0x1f, 0x8b, ..] => {
                    self.layer(&mut flate2::bufread::MultiGzDecoder::new(entry), &mut taken)?;
                }
                [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                    self.layer(&mut zstd::Decoder::with_buffer(entry)?, &mut taken)?;
                }
                _ => self.layer(&mut entry, &mut taken)?,
            }
        }
        Ok(taken)
    }

    /// A layer that its name tells to be known already.
    fn is_needless(&self, name: &[u8]) -> bool {
        let hex = name.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok());
        let digest = hex.and_then(|hex| Digest::from_hex(hex).ok()).map(DiffId);
        digest.is_some_and(|digest| self.diff_ids.contains(&digest) && !self.wanted.contains(&digest))
    }

    fn is_config(&self, json: &[u8]) -> bool {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(json) else { return false };
        let Some(found) = json.pointer("/rootfs/diff_ids").and_then(|ids| ids.as_array()) else {
            return false;
        };
        found.len() == self.diff_ids.len()
            && found.iter().zip(&self.diff_ids).all(|(found, id)| found.as_str() == Some(&id.0.to_string()))
    }

    fn layer(&self, content: &mut dyn Read, taken: &mut Taken) -> Result<(), TakeError> {
        let file = NamedTempFile::new_in(&self.spool);
        let mut file = file.map_err(|error| TakeError::spool(&self.spool, &error))?;
        let mut hasher = Hasher::new();
        take::spool(content, &mut file, |piece| hasher.update(piece))?;
        let diff_id = DiffId(hasher.finish());
        if self.wanted.contains(&diff_id) {
            taken.layers.insert(diff_id, file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_content() {
        let archive = |files: &[(&str, &[u8])]| {
            let mut builder = tar::Builder::new(Vec::new());
            for (name, content) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                header.set_mode(0o644);
                builder.append_data(&mut header, name, *content).unwrap();
            }
            builder.into_inner().unwrap()
        };
        let (braced, plain) = (archive(&[("{f}", b"x")]), archive(&[("f", b"x")]));
        let [first, second] = [&braced, &plain].map(|layer| DiffId(Digest::of(layer)));
        let config = format!(r#"{{"rootfs":{{"diff_ids":["{}","{}"]}}}}"#, first.0, second.0);
        let saved = archive(&[
            ("a/layer.tar", &braced),
            ("a/json", b"{}"),
            ("b/layer.tar", &plain),
            ("config.json", config.as_bytes()),
            ("manifest.json", b"[]"),
        ]);
        let spool = tempfile::tempdir().unwrap();
        let take = Take {
            diff_ids: vec![first, second],
            wanted: [first, second].into(),
            spool: spool.path().to_owned(),
        };
        let taken = take.read(saved.as_slice()).unwrap();
        assert_eq!(taken.config.as_deref(), Some(config.as_bytes()));
        for (id, layer) in [(first, braced), (second, plain)] {
            assert_eq!(std::fs::read(taken.layers[&id].path()).unwrap(), layer);
        }
    }
}
