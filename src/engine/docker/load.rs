//! Loads: an image from a docker-archive on disk.

use std::path::Path;

use bollard::query_parameters::ImportImageOptions;
use futures_util::StreamExt;
use tokio_util::io::ReaderStream;

use super::DockerEngine;
use super::failure::is_not_found;
use crate::engine::EngineError;
use crate::oci::Digest;

/// Bytes read from the archive at a time.
const CHUNK: usize = 256 * 1024;

impl DockerEngine {
    /// [`Engine::load`](crate::engine::Engine::load).
    pub(super) async fn load_image(&self, archive: &Path, config: Digest) -> Result<String, EngineError> {
        let config = config.to_string();
        // With graph drivers the configuration's digest is the image's id.
        if let Some(id) = self.image_id(&config).await? {
            return Ok(id);
        }
        let client = self.client().await?;
        let action = format!("load `{}`", archive.display());
        let refused =
            |message: String| EngineError::Request { action: action.clone(), message, retryable: false };
        let file = tokio::fs::File::open(archive).await.map_err(|error| refused(error.to_string()))?;
        let loaded = self
            .watched(client, async {
                let patient = self.patient_client().await?;
                let stream = ReaderStream::with_capacity(file, CHUNK);
                let mut progress = patient.import_image_stream(ImportImageOptions::default(), stream, None);
                let mut loaded = None;
                while let Some(step) = progress.next().await {
                    let step = step.map_err(|error| self.failed(&action, &error))?;
                    loaded = step.stream.as_deref().and_then(loaded_image).map(str::to_owned).or(loaded);
                }
                Ok(loaded)
            })
            .await?;
        if let Some(id) = self.image_id(&config).await? {
            return Ok(id);
        }
        // The containerd store has other ids, and says which.
        let name = loaded.ok_or_else(|| refused("the engine does not say what it has loaded".to_owned()))?;
        self.image_id(&name)
            .await?
            .ok_or_else(|| refused(format!("the engine does not find the image `{name}` that it has loaded")))
    }

    /// The id of the image called `name`, if there is one.
    async fn image_id(&self, name: &str) -> Result<Option<String>, EngineError> {
        match self.client().await?.inspect_image(name).await {
            Ok(image) => Ok(image.id),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failed(&format!("look up the image `{name}`"), &error)),
        }
    }
}

/// The image in a line such as `Loaded image: name:tag` or `Loaded image ID: sha256:…`.
fn loaded_image(line: &str) -> Option<&str> {
    let line = line.trim();
    let name = line.strip_prefix("Loaded image ID:").or_else(|| line.strip_prefix("Loaded image:"))?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_word_for_a_loaded_image_is_understood() {
        assert_eq!(loaded_image("Loaded image: a/b:c\n"), Some("a/b:c"));
        assert_eq!(loaded_image("Loaded image ID: sha256:ab\n"), Some("sha256:ab"));
        assert_eq!(loaded_image("Loading layer"), None);
    }
}
