//! Changes of a lock carried over to what its file has become meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lock, LockedImage};

impl Lock {
    /// Adds the entries in which `after` is more than `before`. An entry that somebody else wrote meanwhile
    /// stays as it is, unless it is for another platform or query.
    pub fn add(&mut self, before: &Self, after: &Self) {
        add(&mut self.images, &before.images, &after.images, |theirs, ours| {
            if theirs.is_of_image(ours) {
                complete(theirs, ours);
            }
            theirs.platform == ours.platform
        });
        add(&mut self.downloads, &before.downloads, &after.downloads, |_, _| true);
        add(&mut self.versions, &before.versions, &after.versions, |theirs, ours| theirs.query == ours.query);
        add(&mut self.mirrors, &before.mirrors, &after.mirrors, |_, _| true);
        add(&mut self.outputs, &before.outputs, &after.outputs, |_, _| true);
    }

    /// Does what makes `after` of `before`: adds, moves and removes. Everything else stays.
    pub fn apply(&mut self, before: &Self, after: &Self) {
        let theirs = self.images.clone();
        apply(&mut self.images, &before.images, &after.images);
        for (reference, image) in &mut self.images {
            if let Some(theirs) = theirs.get(reference)
                && theirs.is_of_image(image)
            {
                complete(image, &learned(theirs, before.images.get(reference)));
            }
        }
        apply(&mut self.downloads, &before.downloads, &after.downloads);
        apply(&mut self.versions, &before.versions, &after.versions);
        apply(&mut self.mirrors, &before.mirrors, &after.mirrors);
        apply(&mut self.outputs, &before.outputs, &after.outputs);
    }
}

impl LockedImage {
    fn is_of_image(&self, other: &Self) -> bool {
        self.platform == other.platform && self.digest == other.digest
    }
}

/// What somebody else has added to an image's entry.
fn learned(theirs: &LockedImage, before: Option<&LockedImage>) -> LockedImage {
    let mut learned = theirs.clone();
    if let Some(before) = before.filter(|before| before.is_of_image(theirs)) {
        learned.trees.retain(|path, _| !before.trees.contains_key(path));
        learned.copies.retain(|path, _| !before.copies.contains_key(path));
        learned.environment = learned.environment.filter(|_| before.environment.is_none());
    }
    learned
}

/// Gives an image's entry what another of the same image knows.
fn complete(image: &mut LockedImage, other: &LockedImage) {
    let of = |digests: &mut BTreeMap<_, _>, others: &BTreeMap<String, _>| {
        for (path, digest) in others {
            digests.entry(path.clone()).or_insert(*digest);
        }
    };
    of(&mut image.trees, &other.trees);
    of(&mut image.copies, &other.copies);
    image.environment = image.environment.or(other.environment);
}

/// `keeps` says whether somebody else's entry stays.
fn add<K: Ord + Clone, V: PartialEq + Clone>(
    now: &mut BTreeMap<K, V>,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    keeps: impl Fn(&mut V, &V) -> bool,
) {
    for (key, ours) in after.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
        let is_theirs = now.get(key) != before.get(key);
        if !(is_theirs && now.get_mut(key).is_some_and(|theirs| keeps(theirs, ours))) {
            now.insert(key.clone(), ours.clone());
        }
    }
}

fn apply<K: Ord + Clone, V: PartialEq + Clone>(
    now: &mut BTreeMap<K, V>,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
        match after.get(key) {
            Some(value) => drop(now.insert(key.clone(), value.clone())),
            None => drop(now.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockedDownload;
    use crate::oci::{DiffId, Digest, Platform, Reference};

    fn image(platform: &str, digest: &[u8], copies: &[&str]) -> LockedImage {
        LockedImage {
            platform: platform.parse().unwrap(),
            digest: Digest::of(digest),
            trees: BTreeMap::new(),
            copies: copies.iter().map(|path| ((*path).to_owned(), Digest::of(path.as_bytes()))).collect(),
            environment: None,
        }
    }

    fn images(image: LockedImage) -> Lock {
        Lock { images: [(reference(), image)].into(), ..Lock::default() }
    }

    fn reference() -> Reference {
        "localhost:5000/base:1".parse().unwrap()
    }

    fn outputs(names: &[&str]) -> Lock {
        let entry = |name: &&str| (Digest::of(name.as_bytes()), DiffId(Digest::of(b"diff")));
        Lock { outputs: names.iter().map(entry).collect(), ..Lock::default() }
    }

    #[test]
    fn what_another_process_added_is_kept() {
        let mut now = outputs(&["before", "theirs"]);
        now.add(&outputs(&["before"]), &outputs(&["before", "ours"]));
        assert_eq!(now, outputs(&["before", "ours", "theirs"]));
    }

    #[test]
    fn an_entry_that_is_there_is_not_moved_but_completed() {
        let (amd64, arm64) = (Platform::linux_amd64().to_string(), "linux/arm64");
        let mut now = images(image(&amd64, b"theirs", &["/a"]));
        now.add(&Lock::default(), &images(image(&amd64, b"ours", &["/b"])));
        assert_eq!(now, images(image(&amd64, b"theirs", &["/a"])));
        now.add(&Lock::default(), &images(image(&amd64, b"theirs", &["/b"])));
        assert_eq!(now, images(image(&amd64, b"theirs", &["/a", "/b"])));
        now.add(&now.clone(), &images(image(arm64, b"ours", &["/c"])));
        assert_eq!(now, images(image(arm64, b"ours", &["/c"])), "an entry of another platform gives way");
    }

    #[test]
    fn an_update_drops_what_is_read_no_more_and_keeps_what_others_added_meanwhile() {
        let amd64 = Platform::linux_amd64().to_string();
        let of = |copies: &[&str]| images(image(&amd64, b"image", copies));
        let mut now = of(&["/stale", "/used"]);
        now.apply(&of(&["/stale", "/used"]), &of(&["/used"]));
        assert_eq!(now, of(&["/used"]));
        let mut now = of(&["/stale", "/used", "/theirs"]);
        now.apply(&of(&["/stale", "/used"]), &of(&["/used", "/ours"]));
        assert_eq!(now, of(&["/ours", "/theirs", "/used"]));
        // They have moved it to where we have.
        let mut now = of(&["/theirs"]);
        now.apply(&images(image(&amd64, b"old", &["/theirs"])), &of(&["/ours"]));
        assert_eq!(now, of(&["/ours", "/theirs"]));
    }

    #[test]
    fn an_update_moves_and_removes_and_leaves_the_rest() {
        let url = |url: &str, size| (url.to_owned(), LockedDownload { sha256: Digest::of(b"x"), size });
        let before = Lock { downloads: [url("moved", 1), url("gone", 1)].into(), ..outputs(&["run"]) };
        let after = Lock { downloads: [url("moved", 2), url("new", 1)].into(), ..outputs(&["run"]) };
        let mut now = before.clone();
        now.downloads.extend([url("theirs", 1)]);
        now.outputs.extend(outputs(&["their run"]).outputs);
        now.apply(&before, &after);
        let wanted = [url("moved", 2), url("new", 1), url("theirs", 1)].into();
        assert_eq!(now, Lock { downloads: wanted, ..outputs(&["run", "their run"]) });
    }
}
