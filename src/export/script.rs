//! Commands of a Dockerfile: RUN in exec form, which no shell and no builder changes.

use super::text::{argv, quoted};
use crate::manifest::Network;
use crate::matrix::{ConcreteCommand, ConcreteDownload};

/// Where a helper stage puts what others take from it.
pub(super) const OUT: &str = "/railyard/out";
/// Where a download lies before it is unpacked.
const DOWNLOADED: &str = "/railyard/download";

/// A RUN of lines for `/bin/sh -ec`.
pub(super) fn lines(lines: &[String]) -> String {
    format!("RUN {}", argv(&["/bin/sh", "-ec", &lines.join("\n")]))
}

/// A RUN of a command of the manifest, with the ids of its secrets; its user is not part of it.
pub(super) fn command(command: &ConcreteCommand, secrets: &[String]) -> String {
    let mut run = "RUN".to_owned();
    for target in &command.cache {
        run += &format!(" --mount=type=cache,target={target},sharing=locked");
    }
    for (id, (file, _)) in secrets.iter().zip(&command.secrets) {
        let target = if id == file { String::new() } else { format!(",target=/run/secrets/{file}") };
        // Readable by whatever user runs the command: railyard gives a secret to that user.
        run += &format!(" --mount=type=secret,id={id}{target},mode=0444");
    }
    if command.limits.network == Some(Network::None) {
        run += " --network=none";
    }
    let mut words: Vec<String> = Vec::new();
    if let Some(workdir) = &command.workdir {
        let enter = format!("mkdir -p {0} && cd {0} && exec \"$@\"", quoted(workdir));
        words.extend(["/bin/sh".into(), "-ec".into(), enter, "sh".into()]);
    }
    if !command.env.is_empty() {
        words.push("env".into());
        words.extend(command.env.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(command.shell.iter().cloned());
    words.push(command.script.clone());
    format!("{run} {}", argv(&words))
}

/// What cannot be said of a command's limits, for a comment.
pub(super) fn limits(command: &ConcreteCommand) -> Option<String> {
    let limits = &command.limits;
    let mut said = Vec::new();
    said.extend(limits.memory.map(|bytes| format!("memory {bytes} bytes")));
    said.extend(limits.cpus.map(|cpus| format!("{cpus} CPUs")));
    said.extend(limits.timeout.map(|timeout| format!("{} s", timeout.as_secs())));
    if limits.network == Some(Network::Host) {
        said.push("the host's network (docker build --network host)".into());
    }
    (!said.is_empty()).then(|| format!("# Not expressed here: limits of this command: {}.", said.join(", ")))
}

/// Collects kept paths into directories of their own, so that links stay links: `(directory, parent)`.
pub(super) fn keep(paths: &[String]) -> (String, Vec<(String, String)>) {
    let mut script = Vec::new();
    let mut groups: Vec<(String, String)> = Vec::new();
    for path in paths {
        let path = path.trim_end_matches('/');
        let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
        let at = groups.iter().position(|(_, known)| known == parent).unwrap_or_else(|| {
            groups.push((format!("{OUT}/{}", groups.len()), parent.to_owned()));
            let directory = &groups[groups.len() - 1].0;
            script.push(format!("mkdir -p {directory}"));
            groups.len() - 1
        });
        let name = path.rsplit('/').next().unwrap_or_default();
        let (from, to) = (quoted(path), quoted(&format!("{}/{name}", groups[at].0)));
        // As COPY, a kept directory is its content.
        script.push(format!(
            "if [ -d {from} ] && [ ! -L {from} ]; then mkdir {to}; cp -a {from}/. {to}/; chown 0:0 {to}; chmod 0755 {to}; else cp -a {from} {to}; fi"
        ));
    }
    (lines(&script), groups)
}

/// Fetches a download and leaves what is wanted of it below [`OUT`]; ends with where COPY takes it
/// from and puts it.
pub(super) fn download(
    download: &ConcreteDownload,
    sha256: &str,
) -> Result<(Vec<String>, (String, String)), String> {
    let mut instructions = Vec::new();
    if let [_, others @ ..] = download.urls.as_slice() {
        // Without what may be a credential; the first one has none, or it is no export.
        let address = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
        instructions.extend(others.iter().map(|url| format!("# The same file: {}", address(url))));
    }
    instructions.push(format!("ADD {} {DOWNLOADED}", super::text::words(&[&download.urls[0]])));
    let mut script = vec![format!("echo '{sha256}  {DOWNLOADED}' | sha256sum -c -")];
    let mode = download.mode.map(|mode| format!("{mode:04o}"));
    let path = download.path.as_str();
    let taken = match &download.extract {
        None => {
            script.push(format!("chmod {} {DOWNLOADED}", mode.as_deref().unwrap_or("0644")));
            (DOWNLOADED.to_owned(), path.to_owned())
        }
        Some(extract) => {
            let members: Vec<String> = extract.members.iter().map(|member| quoted(member)).collect();
            let members = members.join(" ");
            let (unpacked, strip) = ("/railyard/unpacked", extract.strip);
            script.push(format!("mkdir -p {unpacked} {OUT}"));
            script.push(match extract.format {
                crate::matrix::ArchiveName::Zip if strip > 0 => {
                    return Err(format!("`{}` drops leading directories of a zip archive", download.name));
                }
                // 11: a pattern that matched nothing, as one of the two for each member does.
                crate::matrix::ArchiveName::Zip if !members.is_empty() => {
                    let below = extract.members.iter().map(|member| quoted(&format!("{member}/*")));
                    let below = below.collect::<Vec<_>>().join(" ");
                    format!("unzip -q {DOWNLOADED} {members} {below} -d {unpacked} || [ $? = 11 ]")
                }
                crate::matrix::ArchiveName::Zip => format!("unzip -q {DOWNLOADED} -d {unpacked}"),
                _ => format!("tar -xf {DOWNLOADED} -C {unpacked} --no-same-owner {members}")
                    .trim_end()
                    .to_owned(),
            });
            let single = (extract.members.len() == 1 && !path.ends_with('/')).then(|| &extract.members[0]);
            match single {
                Some(member) => {
                    let member = quoted(&format!("{unpacked}/{}", member.trim_matches('/')));
                    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                    let target = quoted(&format!("{OUT}/{name}"));
                    script.push(format!("if [ ! -d {member} ]; then cp -a {member} {target}; fi"));
                    script.push(format!(
                        "if [ -d {member} ]; then mkdir {target}; {}; fi",
                        stripped(unpacked, strip, &target)
                    ));
                    script.extend(mode.map(|mode| change(&mode)));
                    (format!("{OUT}/"), format!("{parent}/"))
                }
                None => {
                    script.push(stripped(unpacked, strip, OUT));
                    script.extend(mode.map(|mode| change(&mode)));
                    (format!("{OUT}/"), format!("{}/", path.trim_end_matches('/')))
                }
            }
        }
    };
    instructions.push(lines(&script));
    Ok((instructions, taken))
}

/// Copies what is below a directory without its leading components.
fn stripped(from: &str, strip: usize, to: &str) -> String {
    match strip {
        0 => format!("cp -a {from}/. {to}/"),
        n => format!("cp -a {from}{}/. {to}/", "/*".repeat(n)),
    }
}

fn change(mode: &str) -> String {
    format!("find {OUT} -mindepth 1 ! -type l -exec chmod {mode} '{{}}' +")
}

/// Lines that change the modes of what lies at a path, links left out. `X` looks at what was there
/// before any clause, as COPY's does and chmod's does not.
pub(super) fn modes(mode: &str, path: &str) -> Vec<String> {
    let path = quoted(path);
    if !mode.contains('X') {
        return vec![format!("chmod -R {mode} {path}")];
    }
    let find = |what: &str, list: &str| format!("find {path} ! -type l {what} -print0 >/railyard/{list}");
    let change = |mode: &str, list: &str| format!("xargs -0 -r chmod {mode} </railyard/{list}");
    vec![
        find("'(' -type d -o -perm /111 ')'", "executable"),
        find("! -type d ! -perm /111", "other"),
        change(&mode.replace('X', "x"), "executable"),
        change(&mode.replace('X', ""), "other"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_named_without_what_may_be_secret() {
        let download = ConcreteDownload {
            name: "f".into(),
            urls: vec!["https://a/f".into(), "https://b/f?token=hunter2#x".into()],
            shown: "https://a/f".into(),
            sha256: None,
            path: "/f".into(),
            extract: None,
            mode: None,
            owner: (0, 0),
        };
        let (lines, _) = super::download(&download, "00").unwrap();
        assert_eq!(lines[0], "# The same file: https://b/f");
        assert!(!lines.concat().contains("hunter2"));
    }
}
