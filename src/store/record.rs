//! What is remembered under a content key.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, DiffId, Digest, Hasher, Reference};

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Of an artifact, a setup step or a placed layer.
    Layer(Box<LayerRecord>),
    /// Of an assembly.
    Image(Box<ImageRecord>),
    /// The statement of what went into an image (in-toto JSON); under the hash of its digest.
    Statement(String),
    /// What this machine last moved a tag to; under [`tag_key`](super::tag_key).
    Tag(Digest),
    /// Of a check; under the hash of image digest and check.
    Check(CheckRecord),
}

/// What commands made that went into a result: key of a run, a setup step or a Dockerfile's build, and
/// its output as the lock pins it.
pub type Outputs = BTreeSet<(Digest, DiffId)>;

/// A layer blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The stored (compressed) blob; `None` for a setup step that changed nothing.
    pub blob: Option<Descriptor>,
    /// Hash of the uncompressed tar.
    pub diff_id: Option<DiffId>,
    /// Milliseconds it took to make.
    #[serde(default)]
    pub millis: u64,
    /// When it was made, in seconds since the epoch.
    #[serde(default)]
    pub made: u64,
    /// Outputs in it that it is not itself; `None` of a command's own, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

impl LayerRecord {
    /// A layer that was just made; `None` for one without changes.
    pub fn new(blob: Option<(Descriptor, DiffId)>, took: Duration) -> Self {
        let (blob, diff_id) = blob.unzip();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let made = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { blob, diff_id, millis, made, outputs: None }
    }
}

/// A finished image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Text of the manifest, from which it is pushed again.
    pub manifest_json: String,
    /// Text of the configuration.
    pub config_json: String,
    /// When a Dockerfile's build made it, in seconds since the epoch; 0 for what was assembled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub made: u64,
    /// Outputs in it; `None` of a Dockerfile's build, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// How many entries of its history a Dockerfile's build found in its base; `None` for what was
    /// assembled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited: Option<usize>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A check that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Whether it passed; failures are not remembered across runs.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
}

/// The key of what is remembered of a tag.
pub fn tag_key(reference: &Reference) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(b"railyard tag 1").field(reference.to_string().as_bytes());
    hasher.finish()
}
