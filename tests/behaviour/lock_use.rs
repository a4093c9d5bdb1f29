//! The lock in use: what others write meanwhile, what `--locked` refuses, what is never written.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::project::Project;
use crate::server::Server;

const HEAD: &str = "schema = 1\n[project]\nname = \"acme\"\nrepository = \"localhost:1/acme\"\n";
const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn image(layers: &str) -> String {
    format!("[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [{layers}]\n")
}

fn download(layer: &str, url: &str, more: &str) -> String {
    format!("[layers.{layer}]\ndownloads = [{{ url = \"{url}\", path = \"/{layer}\"{more} }}]\n")
}

#[test]
fn what_is_added_to_the_lock_while_a_build_asks_is_kept() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let server = Server::start(move |_| {
        let _ = held.lock().unwrap().recv();
        Some(b"tool".to_vec())
    });
    let url = format!("http://{}/tool", server.address);
    let project = Project::new(&format!("{HEAD}{}{}", download("got", &url, ""), image("\"got\"")));
    let lock =
        format!("version = 1\n[[download]]\nurl = \"https://x.invalid/old\"\nsha256 = \"{HEX}\"\nsize = 1\n");
    project.write("builds.lock", &lock);
    let mut command = project.command(&["build", "--progress", "quiet"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.asked();
    project.write("builds.lock", &format!("{lock}[outputs]\n\"sha256:{HEX}\" = \"sha256:{HEX}\"\n"));
    drop(hold);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = project.read("builds.lock");
    for entry in [&url, "https://x.invalid/old", "[outputs]"] {
        assert!(written.contains(entry), "`{entry}` is gone:\n{written}");
    }
}

#[test]
fn a_download_is_pinned_only_where_each_of_its_users_pins_it() {
    let server = Server::start(|_| Some(b"good".to_vec()));
    let url = format!("http://{}/tool", server.address);
    // Of `good`.
    let sum = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c";
    let layers = download("t", &url, &format!(", sha256 = \"{sum}\"")) + &download("u", &url, "");
    for order in ["\"t\", \"u\"", "\"u\", \"t\""] {
        let project = Project::new(&format!("{HEAD}{layers}{}", image(order)));
        let refused = project.run(&["build", "--locked", "--progress", "quiet"]).code(2);
        refused.says(&[&format!("lacks download `{url}`"), "help:"]);
        project.run(&["build", "--progress", "quiet"]).code(0);
        assert!(project.read("builds.lock").contains(sum));
        project.run(&["build", "--locked", "--progress", "quiet"]).code(0);
    }
}

#[test]
fn an_image_that_is_locked_for_another_platform_is_not_locked() {
    let platform = |name: &str| HEAD.replace("repository", &format!("platform = \"{name}\"\nrepository"));
    let images = "[images.app]\nbase = \"localhost:1/base:1\"\ntags = [\"1\"]\n";
    let project = Project::new(&format!("{}{images}", platform("linux/amd64")));
    project.write(
        "builds.lock",
        &format!("version = 1\n[[image]]\nreference = \"localhost:1/base:1\"\nplatform = \"linux/amd64\"\ndigest = \"sha256:{HEX}\"\n"),
    );
    let plan = |project: &Project| project.run(&["plan", "--offline", "--format", "json"]).code(0).out;
    assert!(plan(&project).contains(HEX));
    project.write("builds.toml", &format!("{}{images}", platform("linux/arm64")));
    let other = plan(&project);
    assert!(!other.contains(HEX) && other.contains("\"provisional\": true"), "{other}");
    project
        .run(&["build", "--locked"])
        .code(2)
        .says(&["image `localhost:1/base:1` for linux/arm64 (it has the one for linux/amd64)", "help:"]);
}

#[test]
fn what_the_command_line_gives_for_a_query_is_written_nowhere() {
    let server = Server::start(|path| path.ends_with("?v=1&sig=hunter2").then(|| b"tool".to_vec()));
    let url = format!("http://{}/tool?v=1&sig={{{{ vars.token }}}}", server.address);
    let vars = "[vars]\ntoken = \"none\"\n";
    let project = Project::new(&format!("{HEAD}{vars}{}{}", download("got", &url, ""), image("\"got\"")));
    let secret = ["--var", "token=hunter2"];
    let run = |words: &[&str]| {
        let ended = project.run(&[words, &secret].concat()).code(0);
        ended.out + &ended.err
    };
    let mut said = run(&["build", "--progress", "plain", "--report", "json:report.json"]);
    assert!(said.contains("/tool?v=1&sig=$token -> sha256:"), "{said}");
    said += &run(&["plan", "--offline", "--format", "json"]);
    said += &run(&["explain", "app", "--offline", "--format", "json"]);
    let runs = project.run(&["history", "--format", "json"]).code(0).out;
    assert!(runs.contains("--var=token\""), "{runs}");
    for text in [said, runs, project.read("builds.lock"), project.read("report.json")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    // The entry is the download's whatever the signature is.
    let later = ["build", "--locked", "--progress", "quiet", "--var", "token=another"];
    project.run(&later).code(0);
    // What the manifest itself says stands as it is written.
    assert!(project.run(&["plan", "--offline", "--format", "json"]).code(0).out.contains("sig=none"));
}
