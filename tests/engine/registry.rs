//! The registry client against a real registry: `RAILYARD_DEV_REGISTRY` names it (`host:port`).
//!
//! What was pushed is verified by reading it back by digest. Repositories are new in each run.

// The lint spares test functions only, not what they share.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use railyard::oci::{
    Descriptor, Digest, ImageIndex, ImageManifest, MEDIA_CONFIG, MEDIA_INDEX, MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST, RepositoryName, to_canonical_json,
};
use railyard::registry::{
    BlobSource, Credentials, HttpRegistry, Progress, Registry, RegistryErrorKind, RegistryOptions, Upload,
};

static RUN: LazyLock<u128> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis());

fn repository(name: &str) -> RepositoryName {
    let host = std::env::var("RAILYARD_DEV_REGISTRY")
        .expect("RAILYARD_DEV_REGISTRY must be `host:port` of a running registry");
    format!("{host}/client-{}/{name}", *RUN).parse().unwrap()
}

fn client() -> HttpRegistry {
    HttpRegistry::new(RegistryOptions { credentials: Credentials::docker(), ..RegistryOptions::default() })
}

fn silent() -> Progress {
    Arc::new(|_| {})
}

fn bytes(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_add(*RUN as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(next).collect::<Vec<u8>>().into()
}

fn described(media_type: &str, bytes: &Bytes) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

async fn send(client: &HttpRegistry, to: &RepositoryName, media_type: &str, bytes: &Bytes) -> Descriptor {
    let descriptor = described(media_type, bytes);
    let source = Some(BlobSource::Bytes(bytes.clone()));
    client.push_blob(to, &descriptor, None, source, silent()).await.unwrap();
    descriptor
}

#[tokio::test]
async fn a_blob_is_sent_once_mounted_next_door_and_read_back() {
    let client = client();
    let (here, next_door) = (repository("here"), repository("next-door"));
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("blob"), folder.path().join("again"));
    let content = bytes(1, 20_000_003);
    std::fs::write(&file, &content).unwrap();
    let blob = described(MEDIA_LAYER_GZIP, &content);

    let moved = Arc::new(AtomicU64::new(0));
    let sum = moved.clone();
    let progress: Progress = Arc::new(move |n| {
        sum.fetch_add(n, Ordering::Relaxed);
    });
    assert!(!client.has_blob(&here, blob.digest).await.unwrap());
    let nothing = client.push_blob(&here, &blob, Some(&next_door), None, silent()).await.unwrap_err();
    assert!(matches!(nothing.kind, RegistryErrorKind::NotMounted), "{nothing}");

    let source = || Some(BlobSource::File(file.clone()));
    let sent = client.push_blob(&here, &blob, Some(&next_door), source(), progress.clone()).await.unwrap();
    assert_eq!(sent, Upload::Sent { bytes: blob.size });
    assert_eq!(moved.load(Ordering::Relaxed), blob.size);
    let again = client.push_blob(&here, &blob, None, source(), silent()).await.unwrap();
    assert_eq!(again, Upload::Existed);
    let mounted = client.push_blob(&next_door, &blob, Some(&here), None, silent()).await.unwrap();
    assert_eq!(mounted, Upload::Mounted);
    assert!(client.has_blob(&next_door, blob.digest).await.unwrap());

    client.fetch_blob(&next_door, &blob, &target, progress).await.unwrap();
    assert!(std::fs::read(&target).unwrap() == content);
    assert_eq!(moved.load(Ordering::Relaxed), 2 * blob.size);
    assert!(client.blob_bytes(&next_door, &blob).await.unwrap() == content);
    let missing = described("x", &bytes(2, 10));
    let missing = client.fetch_blob(&here, &missing, &target, silent()).await.unwrap_err();
    assert!(matches!(missing.kind, RegistryErrorKind::NotFound), "{missing}");
}

#[tokio::test]
async fn an_empty_blob_goes_there_and_back() {
    let (client, to) = (client(), repository("empty"));
    let blob = send(&client, &to, "application/octet-stream", &Bytes::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("blob");
    client.fetch_blob(&to, &blob, &target, silent()).await.unwrap();
    assert_eq!(std::fs::metadata(&target).unwrap().len(), 0);
}

#[tokio::test]
async fn images_and_an_index_come_back_by_tag_and_by_digest() {
    let (client, to) = (client(), repository("images"));
    assert!(client.tags(&to).await.unwrap().is_empty());
    assert!(client.head(&to.tag("v0")).await.unwrap().is_none());
    let layer = send(&client, &to, MEDIA_LAYER_GZIP, &bytes(3, 5000)).await;
    let pushed: Vec<Descriptor> = stream::iter(0..100u64)
        .map(|n| {
            let (client, to, layer) = (&client, &to, layer.clone());
            async move {
                let config = Bytes::from(format!(r#"{{"architecture":"amd64","os":"linux","n":{n}}}"#));
                let config = send(client, to, MEDIA_CONFIG, &config).await;
                let manifest: Bytes = to_canonical_json(&ImageManifest::image(config, vec![layer])).into();
                let tag = to.tag(&format!("v{n:03}"));
                client.put_manifest(&tag, MEDIA_MANIFEST, manifest.clone()).await.unwrap();
                described(MEDIA_MANIFEST, &manifest)
            }
        })
        .buffered(8)
        .collect()
        .await;
    for (n, descriptor) in pushed.iter().enumerate().step_by(33) {
        let by_tag = client.head(&to.tag(&format!("v{n:03}"))).await.unwrap();
        assert_eq!(by_tag.as_ref(), Some(descriptor));
        let (found, bytes) = client.manifest(&to.digest(descriptor.digest)).await.unwrap().unwrap();
        assert_eq!((&found, Digest::of(&bytes)), (descriptor, descriptor.digest));
    }
    assert_eq!(client.tags(&to).await.unwrap().len(), 100);

    let index = ImageIndex {
        schema_version: 2,
        media_type: Some(MEDIA_INDEX.into()),
        manifests: pushed,
        annotations: Default::default(),
    };
    let index: Bytes = to_canonical_json(&index).into();
    let by_digest = to.digest(Digest::of(&index));
    client.put_manifest(&by_digest, MEDIA_INDEX, index.clone()).await.unwrap();
    let (found, back) = client.manifest(&by_digest).await.unwrap().unwrap();
    assert_eq!((found, back), (described(MEDIA_INDEX, &index), index));
}

#[tokio::test]
async fn a_manifest_over_missing_blobs_is_refused_in_the_registrys_words() {
    let (client, to) = (client(), repository("refused"));
    let absent = described(MEDIA_CONFIG, &bytes(4, 100));
    let manifest = to_canonical_json(&ImageManifest::image(absent, vec![]));
    let error = client.put_manifest(&to.tag("v1"), MEDIA_MANIFEST, manifest.into()).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Status { status: 400..=499, .. }), "{error}");
    assert!(error.to_string().contains("BLOB_UNKNOWN"), "{error}");
}

#[tokio::test]
async fn bytes_that_are_not_the_digest_are_refused() {
    let (client, to) = (client(), repository("wrong"));
    let mut blob = described("x", &bytes(5, 100));
    blob.digest = Digest::of(b"else");
    let source = Some(BlobSource::Bytes(bytes(5, 100)));
    let error = client.push_blob(&to, &blob, None, source, silent()).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Status { status: 400, .. }), "{error}");
    assert!(!client.has_blob(&to, blob.digest).await.unwrap());
}
