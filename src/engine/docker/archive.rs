//! Kept paths through the archive API (`GET /containers/{id}/archive`), for images that cannot pack
//! their own files, with names made relative to the root.

use std::io::{self, BufWriter, Read, Write};

use bollard::query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions};
use futures_util::StreamExt;
use tar::{Archive, Builder, EntryType};
use tokio::sync::mpsc;

use super::DockerEngine;
use super::failure::is_not_found;
use super::pipe::{PipeReader, PipeWriter, SinkTask, pipe};
use super::script::{ENGINE_FILES, SECRETS, relative, topmost};
use crate::engine::{EngineError, TarSink};

impl DockerEngine {
    /// Hands the paths of a container that has ended to `sink`. `mounts` are its cache volumes.
    pub(super) async fn archive_paths(
        &self,
        container: &str,
        paths: &[String],
        mounts: &[&str],
        sink: TarSink,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        for path in paths {
            let options = ContainerArchiveInfoOptions { path: absolute(path) };
            match client.get_container_archive_info(container, Some(options)).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) => return Err(EngineError::NoSuchPath(path.clone())),
                Err(error) => return Err(self.failed(&format!("look up `{path}` in the container"), &error)),
            }
        }
        let task = SinkTask::start(sink);
        let (archives, queue) = mpsc::channel(1);
        let out = task.writer().clone();
        let rebase = tokio::task::spawn_blocking(move || rebase_all(queue, out));
        let patient = self.patient_client().await?;
        for path in topmost(paths) {
            let options = DownloadFromContainerOptions { path: absolute(path) };
            let mut stream = Box::pin(patient.download_from_container(container, Some(options)));
            let (writer, reader) = pipe();
            if archives.send((reader, Selection::new(path, mounts))).await.is_err() {
                break;
            }
            while let Some(chunk) = stream.next().await {
                let chunk = chunk
                    .map_err(|error| self.failed(&format!("read `{path}` from the container"), &error))?;
                // The padding at the end need not be read.
                if !writer.send(chunk).await {
                    break;
                }
            }
            writer.end().await;
        }
        drop(archives);
        match rebase.await {
            Ok(Ok(())) => task.finish().await,
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => task.stopped().await,
            Ok(Err(error)) => Err(EngineError::Request {
                action: format!("read the kept paths from the container on `{}`", self.endpoint),
                message: error.to_string(),
                retryable: true,
            }),
            Err(error) => Err(EngineError::Sink(io::Error::other(error))),
        }
    }
}

/// Without a slash at its end, which would follow a link.
fn absolute(path: &str) -> String {
    format!("/{}", relative(path))
}

/// What of an archive is handed on, and under which names.
struct Selection {
    /// The directory of the path, as `var/lang/`; empty for the root.
    parent: String,
    /// Mount points beneath it whose contents are left out.
    mounts: Vec<String>,
}

impl Selection {
    fn new(path: &str, mounts: &[&str]) -> Self {
        let path = relative(path);
        let parent = path.rfind('/').map_or("", |slash| &path[..=slash]);
        let mounts = mounts
            .iter()
            .chain([&SECRETS])
            .map(|mount| relative(mount))
            .filter(|mount| mount.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
            .map(|mount| format!("{mount}/"));
        Self { mounts: mounts.collect(), parent: parent.to_owned() }
    }

    fn rename(&self, name: &[u8]) -> Vec<u8> {
        [self.parent.as_bytes(), name].concat()
    }

    fn takes(&self, name: &[u8]) -> bool {
        let bare = name.strip_suffix(b"/").unwrap_or(name);
        !ENGINE_FILES.iter().any(|file| file.as_bytes() == bare)
            && !self.mounts.iter().any(|mount| bare.starts_with(mount.as_bytes()))
    }
}

/// Joins the archives in the queue into one. Its blocking writes are why all of it, down to the
/// drop of the builder, stays on one blocking thread.
fn rebase_all(mut queue: mpsc::Receiver<(PipeReader, Selection)>, out: PipeWriter) -> io::Result<()> {
    let mut out = Builder::new(BufWriter::with_capacity(64 * 1024, out));
    while let Some((archive, selection)) = queue.blocking_recv() {
        rebase(archive, &mut out, &selection)?;
    }
    out.into_inner()?.flush()
}

/// Copies the entries of an archive with new names.
fn rebase(archive: impl Read, out: &mut Builder<impl Write>, selection: &Selection) -> io::Result<()> {
    let mut archive = Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = selection.rename(&entry.path_bytes());
        if !selection.takes(&name) {
            continue;
        }
        let mut header = entry.header().clone();
        let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
        if let Some(given) = entry.pax_extensions()? {
            for extension in given {
                let extension = extension?;
                let key = extension.key().map_err(io::Error::other)?;
                if !matches!(key, "path" | "linkpath") {
                    extensions.push((key.to_owned(), extension.value_bytes().to_vec()));
                }
            }
        }
        if let Some(link) = entry.link_name_bytes() {
            let hard = header.entry_type() == EntryType::Link;
            let link = if hard { selection.rename(&link) } else { link.into_owned() };
            if set_name(&mut header.as_old_mut().linkname, &link) {
                extensions.push(("linkpath".to_owned(), link));
            }
        }
        if set_name(&mut header.as_old_mut().name, &name) {
            extensions.push(("path".to_owned(), name));
        }
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.prefix.fill(0);
        }
        header.set_cksum();
        out.append_pax_extensions(extensions.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        out.append(&header, &mut entry)?;
    }
    Ok(())
}

/// Fills a name field; true when the name is too long for it and needs an extended header.
fn set_name(field: &mut [u8; 100], name: &[u8]) -> bool {
    let length = name.len().min(field.len());
    field.fill(0);
    field[..length].copy_from_slice(&name[..length]);
    name.len() > field.len()
}

#[cfg(test)]
mod tests {
    use tar::Header;

    use super::*;

    /// Names, link targets and attributes after rebasing.
    fn rebased(path: &str, mounts: &[&str], input: Vec<u8>) -> Vec<(String, String, String)> {
        let mut out = Builder::new(Vec::new());
        rebase(input.as_slice(), &mut out, &Selection::new(path, mounts)).unwrap();
        let bytes = out.into_inner().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Archive::new(bytes.as_slice())
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let link = entry.link_name_bytes().map(|link| text(&link)).unwrap_or_default();
                let attributes = entry.pax_extensions().unwrap().into_iter().flatten();
                let attributes = attributes
                    .map(|e| e.unwrap())
                    .filter(|e| e.key().unwrap().starts_with("SCHILY"))
                    .map(|e| text(e.value_bytes()));
                let attributes = attributes.collect();
                (text(&entry.path_bytes()), link, attributes)
            })
            .collect()
    }

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    #[test]
    fn names_become_relative_to_the_root_and_mounted_contents_are_left_out() {
        let long = format!("lang/{}", "n".repeat(120));
        let mut input = Builder::new(Vec::new());
        let add = |input: &mut Builder<Vec<u8>>, name: &str, kind, data: &[u8]| {
            input.append_data(&mut header(kind, data.len() as u64), name, data).unwrap();
        };
        add(&mut input, "lang/", EntryType::Directory, b"");
        input.append_pax_extensions([("SCHILY.xattr.user.a", &b"v"[..])]).unwrap();
        add(&mut input, "lang/a", EntryType::Regular, b"text");
        input.append_link(&mut header(EntryType::Link, 0), "lang/hard", "lang/a").unwrap();
        input.append_link(&mut header(EntryType::Symlink, 0), "lang/soft", "a").unwrap();
        add(&mut input, &long, EntryType::Regular, b"x");
        add(&mut input, "lang/cache/", EntryType::Directory, b"");
        add(&mut input, "lang/cache/npm", EntryType::Regular, b"secret");
        let got = rebased("/var/lang", &["/var/lang/cache"], input.into_inner().unwrap());
        let want = [
            ("var/lang/", "", ""),
            ("var/lang/a", "", "v"),
            ("var/lang/hard", "var/lang/a", ""),
            ("var/lang/soft", "a", ""),
            (&format!("var/{long}"), "", ""),
            ("var/lang/cache/", "", ""),
        ];
        assert_eq!(got, want.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }
}
