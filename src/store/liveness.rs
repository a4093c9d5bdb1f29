//! Whose a run is, and whether it lives: the rule by which leftovers of others are judged.
//!
//! Containers and images of a run carry labels that name its store, its host and its process. A run of
//! this store holds a lock of its own while it lives ([`RunGuard`](super::RunGuard)), and leaves the lock's
//! file behind when it is killed; of one on this host the process is looked up. What neither tells is not
//! known, and nothing of it may be disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Store;
use super::history::RunFile;

/// The label that names a run.
pub const RUN_LABEL: &str = "io.railyard.run";
const STORE_LABEL: &str = "io.railyard.store";
const HOST_LABEL: &str = "io.railyard.host";
const PROCESS_LABEL: &str = "io.railyard.process";

/// File systems that one kernel alone writes: a lock there is seen by everybody who could hold one.
const LOCAL: &[&str] =
    &["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "overlay"];

/// What is known of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It goes on.
    Alive,
    /// It is over.
    Dead,
    /// Nobody here can tell.
    Unknown,
}

/// This machine since its start, as far as processes can be seen from here; `None` where the system does
/// not tell.
fn host() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// When a process began, in ticks since the machine's start: tells it from a later one with its number.
fn began(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name that may hold anything; the beginning is the 22nd.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether a process of this host lives; `None` where processes of others cannot be seen.
fn lives(process: &str) -> Option<bool> {
    let (number, begun) = process.split_once('/')?;
    match began(number) {
        Some(found) => Some(found == begun),
        None => began("1").map(|_| false),
    }
}

/// Whether the file system of a directory is one of [`LOCAL`].
fn is_local(directory: &Path, mounts: &str) -> bool {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let Some(point) = mount.split(' ').nth(4) else { continue };
        let system = system.split(' ').next().unwrap_or_default();
        let point = point.replace("\\040", " ");
        let longest = found.is_none_or(|(length, _)| length <= point.len());
        if longest && directory.starts_with(&point) {
            found = Some((point.len(), system));
        }
    }
    found.is_some_and(|(_, system)| LOCAL.contains(&system))
}

impl Store {
    /// Names this store among all others.
    fn id(&self) -> Option<String> {
        let path = self.root().join("id");
        let read = || fs::read_to_string(&path).ok().filter(|id| !id.is_empty());
        if let Some(id) = read() {
            return Some(id);
        }
        let random = || {
            use std::hash::{BuildHasher, Hasher};
            std::collections::hash_map::RandomState::new().build_hasher().finish()
        };
        let mut file = tempfile::NamedTempFile::new_in(self.temporary()).ok()?;
        std::io::Write::write_all(&mut file, format!("{:016x}{:016x}", random(), random()).as_bytes())
            .ok()?;
        // Another process may have been quicker.
        let _ = file.persist_noclobber(&path);
        read()
    }

    /// The labels of what a run of this process makes in an engine. The store is named only for a run
    /// that is `guarded`: of others its lock says nothing.
    pub fn run_labels(&self, run: &str, guarded: bool) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([(RUN_LABEL.to_owned(), run.to_owned())]);
        let number = std::process::id().to_string();
        if let (Some(host), Some(begun)) = (host(), began(&number)) {
            labels.insert(HOST_LABEL.to_owned(), host);
            labels.insert(PROCESS_LABEL.to_owned(), format!("{number}/{begun}"));
        }
        if let Some(store) = self.id().filter(|_| guarded) {
            labels.insert(STORE_LABEL.to_owned(), store);
        }
        labels
    }

    /// Whether the run that made something with these labels lives.
    pub fn liveness(&self, labels: &BTreeMap<String, String>) -> Liveness {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let Some(run) = label(RUN_LABEL) else { return Liveness::Unknown };
        let is_ours = label(STORE_LABEL).is_some_and(|store| Some(store) == self.id().as_deref());
        let held = if is_ours { self.held(run) } else { RunFile::Nowhere };
        if held == RunFile::Held {
            return Liveness::Alive;
        }
        let (here, there) = (host(), label(HOST_LABEL));
        if there.is_some()
            && here.as_deref() == there
            && let Some(lives) = label(PROCESS_LABEL).and_then(lives)
        {
            return if lives { Liveness::Alive } else { Liveness::Dead };
        }
        let boot = |host: &str| host.split('/').next().map(str::to_owned);
        let same_kernel = there.is_some() && here.as_deref().and_then(boot) == there.and_then(boot);
        // The lock of another kernel is seen only where no other kernel could write.
        let is_seen = || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            self.root().canonicalize().is_ok_and(|root| is_local(&root, &mounts))
        };
        // Copies of a store have its name, but not the files of runs that others have begun since.
        if held == RunFile::Left && (same_kernel || is_seen()) { Liveness::Dead } else { Liveness::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> (tempfile::TempDir, Store, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("own")).unwrap();
        let other = Store::open(&directory.path().join("other")).unwrap();
        (directory, store, other)
    }

    fn without(mut labels: BTreeMap<String, String>, names: &[&str]) -> BTreeMap<String, String> {
        labels.retain(|name, _| !names.contains(&name.as_str()));
        labels
    }

    #[test]
    fn a_run_of_the_store_lives_as_long_as_its_lock_is_held() {
        let (_directory, store, other) = stores();
        let guard = store.guard_run("r").unwrap();
        let labels = without(store.run_labels("r", true), &[PROCESS_LABEL]);
        assert_eq!(store.liveness(&labels), Liveness::Alive);
        guard.kill();
        assert_eq!(store.liveness(&labels), Liveness::Dead);
        // To another store it is somebody's.
        assert_eq!(other.liveness(&labels), Liveness::Unknown);
    }

    #[test]
    fn runs_of_a_store_are_not_dead_to_its_copies() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| Store::open(&directory.path().join(name)).unwrap();
        let labels = |store: &Store, run: &str| without(store.run_labels(run, true), &[PROCESS_LABEL]);
        let store = open("store");
        let _before = store.guard_run("before").unwrap();
        let before = labels(&store, "before");
        let copied = std::process::Command::new("cp")
            .args(["-a", "store", "copy"])
            .current_dir(directory.path())
            .status();
        assert!(copied.unwrap().success());
        let copy = open("copy");
        assert_eq!(copy.id(), store.id());
        let _after = store.guard_run("after").unwrap();
        let after = labels(&store, "after");
        for run in [before, after] {
            assert_eq!(store.liveness(&run), Liveness::Alive);
            assert_eq!(copy.liveness(&run), Liveness::Unknown);
        }
    }

    #[test]
    fn a_run_of_this_host_lives_as_long_as_its_process() {
        let (_directory, store, other) = stores();
        let mut labels = store.run_labels("r", false);
        assert!(!labels.contains_key(STORE_LABEL));
        assert_eq!(other.liveness(&labels), Liveness::Alive);
        // Its number is another's now.
        labels.insert(PROCESS_LABEL.to_owned(), format!("{}/1", std::process::id()));
        assert_eq!(other.liveness(&labels), Liveness::Dead);
        labels.insert(PROCESS_LABEL.to_owned(), "4194999/1".to_owned());
        assert_eq!(other.liveness(&labels), Liveness::Dead);
    }

    #[test]
    fn what_cannot_be_asked_is_not_known() {
        let (_directory, store, other) = stores();
        let mut labels = other.run_labels("r", true);
        labels.insert(HOST_LABEL.to_owned(), "another-boot/pid:[1]".to_owned());
        assert_eq!(store.liveness(&labels), Liveness::Unknown);
        assert_eq!(store.liveness(&without(labels, &[RUN_LABEL])), Liveness::Unknown);
        let old = BTreeMap::from([(RUN_LABEL.to_owned(), "20260101T000000Z-1".to_owned())]);
        assert_eq!(store.liveness(&old), Liveness::Unknown);
    }

    #[test]
    fn locks_of_other_kernels_count_on_local_file_systems_only() {
        let mounts = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /home/a\\040b rw - nfs4 server:/x rw\n\
                      31 22 0:41 / /home/c rw - xfs /dev/sdb rw\n";
        assert!(is_local(Path::new("/var/store"), mounts));
        assert!(is_local(Path::new("/home/c/store"), mounts));
        assert!(!is_local(Path::new("/home/a b/store"), mounts));
        assert!(!is_local(Path::new("/var"), ""));
    }
}
