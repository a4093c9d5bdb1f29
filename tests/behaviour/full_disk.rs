//! A disk that is full: said as such, and nobody else is asked.

use std::path::PathBuf;
use std::process::Command;

use crate::project::Project;
use crate::server::Server;

/// A file system of its own, while this lives.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&path).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "railyard-test"]).arg(&path);
        assert!(command.status().unwrap().success(), "the test has no right to mount");
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_download_that_fills_the_disk_is_not_asked_of_another_mirror() {
    let server = Server::start(|_| Some(vec![7; 16 << 20]));
    let urls = ["one", "two"].map(|name| format!("\"http://{}/{name}\"", server.address)).join(", ");
    let project = Project::new(&format!(
        "schema = 1\n[project]\nname = \"t\"\nrepository = \"localhost:1/t\"\n\
         [layers.got]\ndownloads = [{{ urls = [{urls}], path = \"/got\" }}]\n\
         [images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"got\"]\n"
    ));
    let _store = Small::mount(project.path("store"), "8m");
    let ended = project.run(&["build"]).code(3);
    assert!(!ended.err.contains("no mirror"), "{}", ended.err);
    ended.says(&["No space left on device", "help: make room on the store's file system"]);
    assert_eq!(server.asked(), "/one");
    assert!(server.is_asked_no_more());
}
