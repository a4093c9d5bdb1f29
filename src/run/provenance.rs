//! What went into an image, as a referrer of its manifest: an in-toto statement with SLSA's
//! provenance predicate, which `status` and `plan` read their reasons from.
//!
//! Sources: in-toto attestation framework (statement v1), SLSA provenance v1, OCI distribution
//! specification 1.1 (referrers, and the tag where a registry keeps none).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::blobs::Blobs;
use super::error::StepError;
use crate::oci::{
    Descriptor, Digest, Hasher, ImageManifest, MEDIA_EMPTY, MEDIA_INDEX, MEDIA_MANIFEST, OpenIndex,
    RepositoryName, to_canonical_json,
};
use crate::plan::{Ingredients, InputKind, Reason};
use crate::registry::Registry;
use crate::store::{Record, Store};

/// Type of the referrer and media type of its one layer.
pub const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
const BUILD_TYPE: &str = "urn:railyard:cell:v1";

/// What is said of an image beside its ingredients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The run that made it.
    pub run: String,
    /// RFC 3339 time of its end.
    pub finished: String,
    /// What the cell's first tag had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Why it was made instead of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// A statement as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// What went in.
    pub ingredients: Ingredients,
    /// When, and instead of what.
    pub made: Made,
}

impl Provenance {
    /// The statement's JSON about an image.
    pub fn statement(&self, repository: &RepositoryName, image: Digest) -> String {
        let ingredients = &self.ingredients;
        let mut dependencies: Vec<Value> = Vec::new();
        for input in ingredients.inputs() {
            let Some(digest) = input.digest else { continue };
            let uri = match input.kind {
                InputKind::Image => format!("docker://{}", input.name),
                InputKind::Layout => input.name.clone(),
                InputKind::Cell => continue,
                InputKind::Download => input.url.clone().unwrap_or_default(),
            };
            let dependency = json!({ "name": input.name, "uri": uri, "digest": { "sha256": digest.hex() } });
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": repository.to_string(), "digest": { "sha256": image.hex() } }],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "cell": ingredients.cell, "image": ingredients.image, "axes": ingredients.axes,
                    },
                    "internalParameters": { "ingredients": ingredients, "made": self.made },
                    "resolvedDependencies": dependencies,
                },
                "runDetails": {
                    "builder": {
                        "id": "urn:railyard", "version": { "railyard": env!("CARGO_PKG_VERSION") },
                    },
                    "metadata": { "invocationId": self.made.run, "finishedOn": self.made.finished },
                },
            },
        });
        statement.to_string()
    }

    /// Reads a statement; `None` for one that railyard did not make.
    pub fn parse(statement: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(statement).ok()?;
        let definition = value.get_mut("predicate")?.get_mut("buildDefinition")?;
        if definition.get("buildType")? != BUILD_TYPE {
            return None;
        }
        let own = definition.get_mut("internalParameters")?;
        Some(Self {
            ingredients: serde_json::from_value(own.get_mut("ingredients")?.take()).ok()?,
            made: serde_json::from_value(own.get_mut("made")?.take()).ok()?,
        })
    }
}

/// Statements in registries, and those that this machine has seen.
pub struct Provenances {
    registry: Arc<dyn Registry>,
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    /// Hosts that keep no referrers.
    without: Mutex<HashSet<String>>,
    /// Whoever adds to an image's list holds its lock: cells may have the same image.
    lists: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Provenances {
    /// Over registries and a store.
    pub fn new(registry: Arc<dyn Registry>, store: Arc<Store>, blobs: Arc<Blobs>) -> Self {
        Self { registry, store, blobs, without: Mutex::default(), lists: Mutex::default() }
    }

    fn key(repository: &RepositoryName, image: Digest, cell: &str) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(b"railyard statement 2").field(repository.to_string().as_bytes());
        hasher.field(image.as_bytes()).field(cell.as_bytes());
        hasher.finish()
    }

    /// Attaches a statement to an image that is in a repository.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub async fn attach(
        &self,
        repository: &RepositoryName,
        image: &Descriptor,
        provenance: &Provenance,
    ) -> Result<(), StepError> {
        let statement = provenance.statement(repository, image.digest);
        let layer = Descriptor::new(STATEMENT_TYPE, Digest::of(statement.as_bytes()), statement.len() as u64);
        let empty = Descriptor::new(MEDIA_EMPTY, Digest::of(b"{}"), 2);
        self.blobs.push_bytes(repository, &empty, Bytes::from_static(b"{}")).await?;
        self.blobs.push_bytes(repository, &layer, Bytes::from(statement.clone())).await?;
        let manifest = ImageManifest {
            artifact_type: Some(STATEMENT_TYPE.into()),
            subject: Some(image.clone()),
            ..ImageManifest::image(empty, vec![layer])
        };
        let bytes = Bytes::from(to_canonical_json(&manifest));
        let mut descriptor = Descriptor::new(MEDIA_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        descriptor.artifact_type = Some(STATEMENT_TYPE.into());
        if !self.registry.put_referrer(repository, bytes).await? {
            self.list_under_tag(repository, image.digest, descriptor).await?;
        }
        let key = Self::key(repository, image.digest, &provenance.ingredients.cell);
        Ok(self.store.put_record(&key, &Record::Statement(statement))?)
    }

    /// Keeps the list of referrers where the registry does not.
    async fn list_under_tag(
        &self,
        repository: &RepositoryName,
        image: Digest,
        referrer: Descriptor,
    ) -> Result<(), StepError> {
        let lists = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists().entry(image).or_default().clone();
        let _held = list.lock().await;
        let reference = repository.tag(&fallback_tag(image));
        let mut index = match self.registry.manifest(&reference).await? {
            Some((_, bytes)) => OpenIndex::parse(&bytes).map_err(|error| {
                StepError::new(format!("the list of referrers `{reference}` cannot be read: {error}"))
                    .help("nothing was written over, and no tag was moved: repair or delete that tag, and run again")
            })?,
            None => OpenIndex::default(),
        };
        index.put(&referrer, |known| known.digest == referrer.digest);
        let bytes = Bytes::from(index.to_json());
        Ok(self.registry.put_manifest(&reference, MEDIA_INDEX, bytes).await?)
    }

    /// What railyard says went into an image of a repository. Where there are several statements,
    /// because cells have the same image or it came to be in several ways: the last one of `cell`,
    /// else the last.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn find(
        &self,
        repository: &RepositoryName,
        image: Digest,
        cell: Option<&str>,
    ) -> Result<Option<Provenance>, StepError> {
        let key = Self::key(repository, image, cell.unwrap_or_default());
        if let Some(Record::Statement(text)) = self.store.record(&key)? {
            return Ok(Provenance::parse(&text));
        }
        let mut last = None;
        for referrer in self.referrers(repository, image).await?.iter().rev() {
            let Some((text, found)) = self.read(repository, referrer).await? else { continue };
            let is_own = cell.is_none_or(|cell| cell == found.ingredients.cell);
            if is_own || last.is_none() {
                last = Some((text, found));
            }
            if is_own {
                break;
            }
        }
        let Some((text, found)) = last else { return Ok(None) };
        self.store.put_record(&key, &Record::Statement(text))?;
        Ok(Some(found))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        image: Digest,
    ) -> Result<Vec<Descriptor>, StepError> {
        let without = |host: &str| self.without.lock().unwrap_or_else(PoisonError::into_inner).contains(host);
        if !without(&repository.registry) {
            if let Some(found) = self.registry.referrers(repository, image, Some(STATEMENT_TYPE)).await? {
                return Ok(found);
            }
            let mut without = self.without.lock().unwrap_or_else(PoisonError::into_inner);
            without.insert(repository.registry.clone());
        }
        let reference = repository.tag(&fallback_tag(image));
        let Some((_, bytes)) = self.registry.manifest(&reference).await? else { return Ok(Vec::new()) };
        let Ok(index) = OpenIndex::parse(&bytes) else { return Ok(Vec::new()) };
        let ours = |d: &Descriptor| d.artifact_type.as_deref() == Some(STATEMENT_TYPE);
        Ok(index.descriptors().flatten().filter(ours).collect())
    }

    async fn read(
        &self,
        repository: &RepositoryName,
        referrer: &Descriptor,
    ) -> Result<Option<(String, Provenance)>, StepError> {
        let reference = repository.digest(referrer.digest);
        let Some((_, bytes)) = self.registry.manifest(&reference).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) else { return Ok(None) };
        let Some(layer) = manifest.layers.first() else { return Ok(None) };
        let bytes = self.registry.blob_bytes(repository, layer).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Provenance::parse(&text).map(|found| (text, found)))
    }
}

/// The tag that lists the referrers of a manifest where the registry has no API for it.
pub fn fallback_tag(image: Digest) -> String {
    format!("sha256-{}", image.hex())
}

/// Whether a tag is a list of referrers.
pub fn is_fallback_tag(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_statement_is_read_back() {
        let ingredients = Ingredients {
            cell: "app[os=a]".into(),
            image: "app".into(),
            axes: BTreeMap::from([("os".to_owned(), "a".to_owned())]),
            build_id: Digest::of(b"id"),
            base: None,
            setup: Vec::new(),
            layers: Vec::new(),
            config: BTreeMap::from([("env.A".to_owned(), "1".to_owned())]),
        };
        let made = Made {
            run: "r".into(),
            finished: "2026-01-01T00:00:00Z".into(),
            previous: None,
            reasons: Vec::new(),
        };
        let provenance = Provenance { ingredients, made };
        let repository: RepositoryName = "localhost:5000/acme/app".parse().unwrap();
        let statement = provenance.statement(&repository, Digest::of(b"image"));
        assert_eq!(Provenance::parse(&statement), Some(provenance));
        assert_eq!(Provenance::parse(&statement.replace(BUILD_TYPE, "urn:other")), None);
    }

    #[tokio::test]
    async fn a_list_of_referrers_is_added_to_or_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let fake = Arc::new(crate::registry::FakeRegistry::new());
        let blobs = Arc::new(Blobs::new(store.clone(), fake.clone()));
        let provenances = Provenances::new(fake.clone(), store, blobs);
        let repository: RepositoryName = "localhost:5000/acme/app".parse().unwrap();
        let image = fake.insert_image(&repository.tag("1"), Default::default(), &[]);
        let ingredients = Ingredients {
            cell: "app".into(),
            image: "app".into(),
            axes: BTreeMap::new(),
            build_id: Digest::of(b"id"),
            base: None,
            setup: Vec::new(),
            layers: Vec::new(),
            config: BTreeMap::new(),
        };
        let made = Made { run: "r".into(), finished: String::new(), previous: None, reasons: Vec::new() };
        let provenance = Provenance { ingredients, made };
        let list = repository.tag(&fallback_tag(image.digest));
        let broken = fake.insert_manifest(&list, MEDIA_INDEX, "{".into());
        let error = provenances.attach(&repository, &image, &provenance).await.unwrap_err();
        assert!(error.message.contains(&list.to_string()) && error.help.is_some(), "{error:?}");
        assert_eq!(fake.tagged(&list), Some(broken.digest));

        let foreign = format!(r#"{{"mediaType":"m","digest":"sha512:{}","size":1}}"#, "0".repeat(128));
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{foreign}]}}"#);
        fake.insert_manifest(&list, MEDIA_INDEX, text.into());
        for _ in 0..2 {
            provenances.attach(&repository, &image, &provenance).await.unwrap();
        }
        let now = fake.content(fake.tagged(&list).unwrap()).unwrap();
        let now: Value = serde_json::from_slice(&now).unwrap();
        assert_eq!(now["manifests"].as_array().unwrap().len(), 2, "{now:#}");
        assert_eq!(now["manifests"][0], serde_json::from_str::<Value>(&foreign).unwrap());
    }

    #[test]
    fn fallback_tags_are_told_from_versions() {
        assert!(is_fallback_tag(&fallback_tag(Digest::of(b"x"))));
        assert!(!is_fallback_tag("sha256-1.0"));
    }
}
