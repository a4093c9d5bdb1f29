//! A small client of the development registry, over plain HTTP.

use serde_json::Value;
use sha2::{Digest, Sha256};

const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The development registry.
pub struct Registry {
    /// Host and port.
    pub host: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// An image's documents.
pub struct Documents {
    /// Digest of the manifest.
    pub digest: String,
    /// The manifest.
    pub manifest: Value,
    /// The configuration.
    pub config: Value,
}

/// A layer to push.
pub struct LayerBlob {
    /// `sha256:…` of the tar.
    pub diff_id: String,
    /// The tar with gzip.
    pub bytes: Vec<u8>,
}

/// `sha256:` and 64 digits.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Registry {
    /// The registry that `dev/env` names.
    pub fn connect() -> Self {
        Self {
            host: super::setting("RAILYARD_DEV_REGISTRY"),
            client: reqwest::Client::new(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        format!("http://{}/v2/{repository}/{rest}", self.host)
    }

    fn send(&self, request: reqwest::RequestBuilder, what: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap_or_else(|e| panic!("{what}: {e}"));
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(status.is_success(), "{what}: {status} {}", String::from_utf8_lossy(&body));
            (headers, body.to_vec())
        })
    }

    /// Any file over HTTP.
    pub fn download(&self, url: &str) -> Vec<u8> {
        self.send(self.client.get(url), url).1
    }

    /// An image, by tag first and from then on by digest.
    pub fn documents(&self, repository: &str, tag: &str) -> Documents {
        let get = |reference: &str| {
            let url = self.url(repository, &format!("manifests/{reference}"));
            self.send(self.client.get(&url).header("Accept", ACCEPT), &url).1
        };
        let digest = sha256(&get(tag));
        let bytes = get(&digest);
        assert_eq!(sha256(&bytes), digest);
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let config = self.blob(repository, manifest["config"]["digest"].as_str().unwrap());
        Documents { digest, config: serde_json::from_slice(&config).unwrap(), manifest }
    }

    /// Digest of what a tag has, if there is such a tag.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let url = self.url(repository, &format!("manifests/{tag}"));
        let request = self.client.head(&url).header("Accept", ACCEPT);
        let answer = self.runtime.block_on(request.send()).unwrap_or_else(|e| panic!("{url}: {e}"));
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        Some(answer.headers()["docker-content-digest"].to_str().unwrap().to_owned())
    }

    /// Gives a tag to a manifest that is there.
    pub fn tag(&self, repository: &str, digest: &str, tag: &str) {
        let url = self.url(repository, &format!("manifests/{digest}"));
        let (headers, bytes) = self.send(self.client.get(&url).header("Accept", ACCEPT), &url);
        let url = self.url(repository, &format!("manifests/{tag}"));
        let put = self.client.put(&url).header("Content-Type", &headers["content-type"]).body(bytes);
        self.send(put, &url);
    }

    /// Deletes a manifest and all its tags.
    pub fn delete(&self, repository: &str, digest: &str) {
        let url = self.url(repository, &format!("manifests/{digest}"));
        self.send(self.client.delete(&url), &url);
    }

    /// A blob, verified.
    pub fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        let url = self.url(repository, &format!("blobs/{digest}"));
        let bytes = self.send(self.client.get(&url), &url).1;
        assert_eq!(sha256(&bytes), digest, "{url}");
        bytes
    }

    fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let url = self.url(repository, "blobs/uploads/");
        let (headers, _) = self.send(self.client.post(&url), &url);
        let location = headers["location"].to_str().unwrap();
        let glue = if location.contains('?') { '&' } else { '?' };
        let location = if location.starts_with('/') {
            format!("http://{}{location}", self.host)
        } else {
            location.into()
        };
        let url = format!("{location}{glue}digest={digest}");
        let put =
            self.client.put(&url).header("Content-Type", "application/octet-stream").body(bytes.to_vec());
        self.send(put, &url);
        digest
    }

    /// Pushes an image of these layers; `config` is the inner configuration (`Env`, `Cmd`, …).
    pub fn push(&self, repository: &str, tag: &str, layers: &[LayerBlob], config: &Value) {
        let created = "2024-01-02T03:04:05Z";
        let diff_ids: Vec<&str> = layers.iter().map(|l| l.diff_id.as_str()).collect();
        let history: Vec<Value> =
            layers.iter().map(|_| serde_json::json!({"created": created, "created_by": "fixture"})).collect();
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": created, "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        }))
        .unwrap();
        let layers: Vec<Value> = layers
            .iter()
            .map(|l| {
                let digest = self.push_blob(repository, &l.bytes);
                serde_json::json!({"mediaType": LAYER, "size": l.bytes.len(), "digest": digest})
            })
            .collect();
        let digest = self.push_blob(repository, &config);
        let manifest = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": {"mediaType": CONFIG, "size": config.len(), "digest": digest},
        }))
        .unwrap();
        let url = self.url(repository, &format!("manifests/{tag}"));
        self.send(self.client.put(&url).header("Content-Type", MANIFEST).body(manifest), &url);
    }
}
