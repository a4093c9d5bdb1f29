//! `ci-images diff`: what pipelines use, the default, the mirror, the support window.

use serde_json::{Value, json};

use super::mirrored::Mirror;
use super::{Desk, pretty};
use crate::ci_images::{FieldRow, FieldState, compare};
use crate::cli::DocumentFormat;
use crate::cli::exit::{Exit, first_of, print};
use crate::oci::Reference;
use crate::report;

impl Desk<'_> {
    /// `railyard ci-images diff`.
    pub(super) async fn diff(&self, exit_code: bool) -> Result<(), Exit> {
        let (defaults, overrides) = self.configs().await?;
        let mut rows = compare(&defaults, &overrides, |field| self.facts.fields.contains_key(field));
        // The defaults are the newest that are known without asking a registry.
        let newest: Vec<Reference> =
            defaults.fields.keys().filter_map(|field| defaults.image(field)?.parse().ok()).collect();
        for row in &mut rows {
            let image = row.current.as_str().map(str::to_owned);
            let default = row.default.as_ref().and_then(Value::as_str).map(str::to_owned);
            row.support = image.as_deref().and_then(|image| self.support(image, &newest));
            if let Some(mirror) = self.mirror {
                row.mirrored = self.has(mirror, image.as_deref()).await?;
                row.default_mirrored = self.has(mirror, default.as_deref()).await?;
            }
        }
        let today = jiff::Zoned::now().date();
        let next = self.facts.next_publication(today);
        let printed = match self.format {
            DocumentFormat::Table => print(&report::ci_images(&rows, next)),
            DocumentFormat::Json => print(&pretty(&json!({ "fields": rows, "next_publication": next }))),
        };
        let is_default = |row: &FieldRow| matches!(row.state, FieldState::Default | FieldState::Same);
        let is_good = !exit_code || rows.iter().all(is_default);
        first_of([if is_good { Ok(()) } else { Err(Exit::Failed) }, printed])
    }

    async fn has(&self, mirror: &Mirror, image: Option<&str>) -> Result<Option<bool>, Exit> {
        match image {
            Some(image) => mirror.has(image).await,
            None => Ok(None),
        }
    }

    fn support(&self, image: &str, newest: &[Reference]) -> Option<crate::mirror::Support> {
        let reference: Reference = image.parse().ok()?;
        let repository = self.repository(image)?;
        let known: Vec<String> = newest
            .iter()
            .filter(|other| other.name.repository == repository)
            .filter_map(|other| other.tag.clone())
            .collect();
        self.facts.support(&repository, reference.tag.as_deref().unwrap_or("latest"), &known, false)
    }

    /// The repository as its publisher calls it.
    fn repository(&self, image: &str) -> Option<String> {
        let own = self.mirror.and_then(|mirror| image.strip_prefix(&format!("{}/", mirror.to)));
        own.unwrap_or(image).parse::<Reference>().ok().map(|reference| reference.name.repository)
    }
}
