//! The sending side of fsutil's protocol: BuildKit gets a directory.
//!
//! We send what there is (STAT, in order of the walk, then an empty one); it asks for the files that
//! it lacks (REQ, by position), gets their content (DATA, then an empty one), and says FIN.
//! Source: `github.com/tonistiigi/fsutil`, send.go and receive.go.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSync;
use futures_util::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::dockerfile::{Context, ContextEntry, ContextKind};
use crate::oci::Hasher;

/// Bytes of a file sent at a time.
const CHUNK: usize = 32 * 1024;
/// Packets under way.
const DEPTH: usize = 64;

/// Bits of Go's `os.FileMode`.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;
const GO_SET_USER: u32 = 1 << 23;
const GO_SET_GROUP: u32 = 1 << 22;
const GO_STICKY: u32 = 1 << 20;

/// The name under which the Dockerfile is sent.
pub(super) const DOCKERFILE: &str = "Dockerfile";
/// The directory of the Dockerfile.
pub(super) const DOCKERFILE_DIRECTORY: &str = "dockerfile";
/// The directory of the context.
pub(super) const CONTEXT_DIRECTORY: &str = "context";

/// The directories that a build may ask for.
#[derive(Clone)]
pub(super) struct Files {
    /// Text of the Dockerfile.
    pub dockerfile: Arc<str>,
    /// The context.
    pub context: Arc<Context>,
    /// Modification time of all files, in seconds since the epoch: they are told apart by the
    /// session's key, which is that of their content.
    pub mtime: i64,
}

/// What is sent: a directory on disk, or one file of this text.
enum Sent {
    Context,
    Dockerfile,
}

type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

#[tonic::async_trait]
impl FileSync for Files {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        let name = request.metadata().get("dir-name").and_then(|name| name.to_str().ok());
        let sent = match name {
            Some(CONTEXT_DIRECTORY) => Sent::Context,
            Some(DOCKERFILE_DIRECTORY) => Sent::Dockerfile,
            _ => return Err(Status::not_found("no such directory is offered")),
        };
        let (sender, receiver) = mpsc::channel(DEPTH);
        let (files, incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            if let Err(status) = files.send(sent, incoming, &sender).await {
                // Nobody listens any more where the build was given up.
                let _ = sender.send(Err(status)).await;
            }
        });
        let packets = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let packet = receiver.recv().await?;
            Some((packet, receiver))
        });
        Ok(Response::new(Box::pin(packets)))
    }

    async fn tar_stream(&self, _request: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("only DiffCopy is offered"))
    }
}

type Sender = mpsc::Sender<Result<Packet, Status>>;

impl Files {
    async fn send(&self, sent: Sent, mut incoming: Streaming<Packet>, sender: &Sender) -> Result<(), Status> {
        let (wanted, mut queue) = mpsc::unbounded_channel::<u32>();
        let answers = async {
            // Owned here, so that the queue ends with the requests.
            let wanted = wanted;
            while let Some(packet) = incoming.message().await? {
                match packet.r#type() {
                    PacketType::PacketReq => drop(wanted.send(packet.id)),
                    PacketType::PacketFin => return put(sender, packet_of(PacketType::PacketFin, 0)).await,
                    PacketType::PacketErr => {
                        return Err(Status::aborted(String::from_utf8_lossy(&packet.data).into_owned()));
                    }
                    PacketType::PacketStat | PacketType::PacketData => {}
                }
            }
            Ok(())
        };
        let contents = async {
            for stat in self.stats(&sent) {
                put(sender, Packet { stat: Some(stat), ..packet_of(PacketType::PacketStat, 0) }).await?;
            }
            put(sender, packet_of(PacketType::PacketStat, 0)).await?;
            while let Some(id) = queue.recv().await {
                match sent {
                    Sent::Dockerfile => {
                        for chunk in self.dockerfile.as_bytes().chunks(CHUNK) {
                            put(sender, data(id, chunk)).await?;
                        }
                    }
                    Sent::Context => {
                        let entry = self.context.entries.get(id as usize);
                        let entry =
                            entry.ok_or_else(|| Status::not_found(format!("there is no file {id}")))?;
                        send_file(&self.context.root, entry, id, sender).await?;
                    }
                }
                put(sender, packet_of(PacketType::PacketData, id)).await?;
            }
            Ok(())
        };
        tokio::try_join!(answers, contents).map(drop)
    }

    fn stats(&self, sent: &Sent) -> Vec<Stat> {
        let mod_time = self.mtime.saturating_mul(1_000_000_000);
        let stat = |path: &str, mode| Stat { path: path.to_owned(), mode, mod_time, ..Stat::default() };
        match sent {
            Sent::Dockerfile => {
                vec![Stat { size: self.dockerfile.len() as i64, ..stat(DOCKERFILE, 0o644) }]
            }
            Sent::Context => self
                .context
                .entries
                .iter()
                .map(|entry| {
                    let mode = go_mode(entry);
                    match &entry.kind {
                        ContextKind::Directory => stat(&entry.path, mode),
                        ContextKind::Link(target) => {
                            Stat { linkname: target.clone(), ..stat(&entry.path, mode) }
                        }
                        ContextKind::File { size, .. } => {
                            Stat { size: *size as i64, ..stat(&entry.path, mode) }
                        }
                    }
                })
                .collect(),
        }
    }
}

fn go_mode(entry: &ContextEntry) -> u32 {
    let bit = |unix: u32, go: u32| if entry.mode & unix != 0 { go } else { 0 };
    let special = bit(0o4000, GO_SET_USER) | bit(0o2000, GO_SET_GROUP) | bit(0o1000, GO_STICKY);
    let kind = match entry.kind {
        ContextKind::Directory => GO_DIRECTORY,
        ContextKind::Link(_) => GO_LINK,
        ContextKind::File { .. } => 0,
    };
    kind | special | entry.mode & 0o777
}

/// Sends a file's content, and makes sure that it is what was read before.
async fn send_file(root: &Path, entry: &ContextEntry, id: u32, sender: &Sender) -> Result<(), Status> {
    let ContextKind::File { sha256, .. } = &entry.kind else { return Ok(()) };
    let wrong = |e: std::io::Error| Status::internal(format!("failed to read `{}`: {e}", entry.path));
    let mut file = tokio::fs::File::open(root.join(&entry.path)).await.map_err(wrong)?;
    let (mut buffer, mut hasher) = (vec![0; CHUNK], Hasher::new());
    loop {
        match file.read(&mut buffer).await.map_err(wrong)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                put(sender, data(id, &buffer[..count])).await?;
            }
        }
    }
    if hasher.finish() != *sha256 {
        let message = format!("`{}` of the context was changed after it was read", entry.path);
        return Err(Status::aborted(message));
    }
    Ok(())
}

fn packet_of(kind: PacketType, id: u32) -> Packet {
    Packet { r#type: kind as i32, stat: None, id, data: Vec::new() }
}

fn data(id: u32, bytes: &[u8]) -> Packet {
    Packet { data: bytes.to_vec(), ..packet_of(PacketType::PacketData, id) }
}

async fn put(sender: &Sender, packet: Packet) -> Result<(), Status> {
    sender.send(Ok(packet)).await.map_err(|_| Status::cancelled("the build was given up"))
}
