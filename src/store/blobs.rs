//! Blobs in the store: found, verified, put, and dropped where they are damaged.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Store, StoreError, file, locked};
use crate::oci::{Descriptor, Digest, Hasher};

impl Store {
    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there, whatever its content.
    pub fn has_blob(&self, digest: Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Whether a blob is there with its size; one of another size is dropped.
    pub fn holds(&self, blob: &Descriptor) -> bool {
        while let Ok(meta) = fs::metadata(self.blob_path(blob.digest)) {
            if meta.len() == blob.size {
                return true;
            }
            if self.drop_damaged(blob.digest, &meta) {
                break;
            }
        }
        false
    }

    /// The size of a blob that is there and is what its name says; a damaged one is dropped. Its
    /// content is hashed at the first call of a process, unless it was put by this one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(digest);
        loop {
            let Some((mut source, meta)) = open(&path)? else { return Ok(None) };
            if locked(&self.verified).contains(&digest) {
                return Ok(Some(meta.len()));
            }
            let mut hasher = Hasher::new();
            std::io::copy(&mut source, &mut hasher).map_err(file("read", &path))?;
            if hasher.finish() == digest {
                self.trust(digest);
                return Ok(Some(meta.len()));
            }
            if self.drop_damaged(digest, &meta) {
                return Ok(None);
            }
        }
    }

    /// Notes that a blob was hashed as it was written.
    fn trust(&self, digest: Digest) {
        locked(&self.verified).insert(digest);
    }

    /// Drops a blob that was read and is damaged, unless somebody has put another file there meanwhile.
    fn drop_damaged(&self, digest: Digest, read: &fs::Metadata) -> bool {
        let now = fs::metadata(self.blob_path(digest));
        let is_same = now.is_ok_and(|now| (now.dev(), now.ino()) == (read.dev(), read.ino()));
        if is_same {
            self.drop_blob(digest);
        }
        is_same
    }

    /// Removes a blob that is not what its name says.
    fn drop_blob(&self, digest: Digest) {
        locked(&self.verified).remove(&digest);
        // Where it cannot be removed, it is written over when it is had again.
        let _ = fs::remove_file(self.blob_path(digest));
        locked(&self.dropped).push(digest);
    }

    /// What is to be said of blobs that were dropped since the last call.
    pub fn take_dropped(&self) -> Vec<String> {
        let dropped = std::mem::take(&mut *locked(&self.dropped));
        let say = |digest| {
            format!("the stored blob `{digest}` was damaged: it is dropped, and had again where it is needed")
        };
        dropped.into_iter().map(say).collect()
    }

    /// The bytes of a small blob, if it is there; a damaged one is dropped.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        loop {
            let Some((mut source, meta)) = open(&path)? else { return Ok(None) };
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes).map_err(file("read", &path))?;
            if Digest::of(&bytes) == digest {
                return Ok(Some(bytes));
            }
            if self.drop_damaged(digest, &meta) {
                return Ok(None);
            }
        }
    }

    /// Stores bytes and returns their digest.
    ///
    /// # Errors
    /// When the blob cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.blob(digest)?.is_some() {
            return Ok(digest);
        }
        let mut temporary = self.temporary_file()?;
        temporary.write_all(bytes).map_err(file("write", temporary.path()))?;
        self.put_file(temporary, digest)?;
        Ok(digest)
    }

    /// Makes a temporary file the blob with this digest, which the caller has computed.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn put_file(&self, temporary: tempfile::NamedTempFile, digest: Digest) -> Result<(), StoreError> {
        self.put_path(temporary.into_temp_path(), digest)
    }

    /// As [`Store::put_file`], of a temporary file that somebody else wrote by its name.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn put_path(&self, temporary: tempfile::TempPath, digest: Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let readable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&temporary, readable).map_err(file("set the mode of", &temporary))?;
        temporary.persist(&path).map_err(|e| file("write", &path)(e.error))?;
        self.trust(digest);
        Ok(())
    }

    /// Hashes a file; for blobs that came from elsewhere.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hash_file(path: &Path) -> Result<(Digest, u64), StoreError> {
        let mut source = fs::File::open(path).map_err(file("open", path))?;
        let mut hasher = Hasher::new();
        let size = std::io::copy(&mut source, &mut hasher).map_err(file("read", path))?;
        Ok((hasher.finish(), size))
    }
}

/// A file that is there, and what it is.
fn open(path: &Path) -> Result<Option<(fs::File, fs::Metadata)>, StoreError> {
    let opened = fs::File::open(path).and_then(|opened| Ok((opened.metadata()?, opened)));
    match opened {
        Ok((meta, opened)) => Ok(Some((opened, meta))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("open", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_blobs_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let put = |bytes: &[u8]| Store::open(directory.path()).unwrap().put_bytes(bytes).unwrap();
        let (good, longer, other, document) = (put(b"good"), put(b"longer"), put(b"other"), put(b"document"));
        let store = Store::open(directory.path()).unwrap();
        std::fs::write(store.blob_path(longer), b"longer than before").unwrap();
        std::fs::write(store.blob_path(other), b"OTHER").unwrap();
        std::fs::write(store.blob_path(document), b"").unwrap();
        let descriptor = |digest, size| Descriptor::new("", digest, size);
        assert!(store.holds(&descriptor(good, 4)) && store.take_dropped().is_empty());
        assert!(!store.holds(&descriptor(longer, 6)) && !store.has_blob(longer));
        assert!(store.holds(&descriptor(other, 5)), "of the same size");
        assert_eq!((store.verify(good).unwrap(), store.verify(other).unwrap()), (Some(4), None));
        assert_eq!((store.has_blob(other), store.blob(document).unwrap()), (false, None));
        let said = store.take_dropped();
        for (digest, line) in [longer, other, document].iter().zip(&said) {
            assert!(line.contains(&digest.to_string()), "{line}");
        }
        assert_eq!((said.len(), store.take_dropped().len()), (3, 0));
        store.put_bytes(b"other").unwrap();
        assert_eq!(store.verify(other).unwrap(), Some(5));
    }
}
