//! Where images have been mirrored to.

use std::sync::Arc;

use crate::cli::ProjectArguments;
use crate::cli::exit::Exit;
use crate::cli::load::open;
use crate::cli::mirror::bare_manifest;
use crate::cli::world::registry;
use crate::mirror::MirrorImage;
use crate::oci::Reference;
use crate::registry::Registry;

/// The private registry that images have been mirrored to.
pub(super) struct Mirror {
    pub(super) to: String,
    registry: Arc<dyn Registry>,
}

impl Mirror {
    pub(super) fn open(arguments: &ProjectArguments, to: Option<&str>) -> Result<Option<Self>, Exit> {
        let Some(to) = to else { return Ok(None) };
        if MirrorImage::new("a/b:1", None, to).is_err() {
            return Err(Exit::Usage(format!(
                "error: --to: `{to}` is not a registry and path that repositories can start with\n  help: write e.g. `registry.example.com/acme`"
            )));
        }
        let manifest = match arguments.file.exists() {
            true => open(arguments)?.manifest,
            false => bare_manifest(),
        };
        Ok(Some(Self { to: to.to_owned(), registry: registry(&manifest, arguments.directory()).0 }))
    }

    /// Where the mirror has an image, by the name that the API gives it.
    pub(super) fn place(&self, image: &str) -> Option<Reference> {
        // One that is set with the mirror's registry is already there.
        if image.starts_with(&format!("{}/", self.to)) {
            return image.parse().ok();
        }
        MirrorImage::new(image, None, &self.to).ok().map(|image| image.target)
    }

    pub(super) async fn has(&self, image: &str) -> Result<Option<bool>, Exit> {
        let Some(place) = self.place(image) else { return Ok(None) };
        match self.registry.head(&place).await {
            Ok(found) => Ok(Some(found.is_some())),
            Err(error) => Err(Exit::Environment(format!(
                "error: {error}\n  help: check --to, and log in to the registry (`docker login`)"
            ))),
        }
    }
}
