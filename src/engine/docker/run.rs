//! A run: create, attach, start, hand out lines and files, wait, remove.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
    WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::DockerEngine;
use super::container::create_body;
use super::guard::Guard;
use super::lines::LineSplitter;
use super::pipe::SinkTask;
use super::script::{Announcement, Script, relative, secret_input};
use crate::engine::{Collect, EngineError, LineSink, RunOutput, RunRequest, TarSink};

/// How long output may stay open after the container has ended.
const AFTERMATH: Duration = Duration::from_secs(10);

impl DockerEngine {
    /// [`Engine::run`](crate::engine::Engine::run).
    pub(super) async fn run_container(
        &self,
        mut request: RunRequest,
        lines: LineSink,
        tar: TarSink,
    ) -> Result<RunOutput, EngineError> {
        let client = self.client().await?;
        if let Collect::Paths(paths) = &request.collect
            && let Some(path) = paths.iter().find(|path| !path.starts_with('/') || relative(path).is_empty())
        {
            return Err(EngineError::Request {
                action: format!("keep `{path}`"),
                message: "it is not an absolute path beneath `/`".to_owned(),
                retryable: false,
            });
        }
        if request.command.is_empty() && !request.secrets.is_empty() {
            request.command = self.own_command(&request.image).await?;
        }
        let script = Script::of(&request);
        let input = if request.secrets.is_empty() { Vec::new() } else { secret_input(&request.secrets)? };
        let cpus = if request.cpus.is_some() { self.cpus().await? } else { 1 };
        let body = create_body(&request, &script, cpus);

        let name = container_name();
        let mut guard = Guard::container(client, &self.pending, &name);
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let container = client
            .create_container(Some(options), body)
            .await
            .map_err(|error| {
                self.failed(&format!("create a container of the image `{}`", request.image), &error)
            })?
            .id;
        guard.created();

        let run = Run { engine: self, client, container: &container, request: &request, script: &script };
        let result = self.watched(client, run.drive(input, &lines, tar)).await;
        match &result {
            // Nothing waits for its removal; `settle` does.
            Ok(_) | Err(EngineError::Unreachable { .. }) => drop(guard),
            _ => guard.remove().await,
        }
        result
    }

    /// The command of an image that is started as it is.
    async fn own_command(&self, image: &str) -> Result<Vec<String>, EngineError> {
        let config = self
            .client()
            .await?
            .inspect_image(image)
            .await
            .map_err(|error| self.failed(&format!("look up the image `{image}`"), &error))?
            .config
            .unwrap_or_default();
        Ok([config.entrypoint, config.cmd].into_iter().flatten().flatten().collect())
    }
}

/// What the command did, before anything is collected from outside.
struct Ended {
    exit_code: i64,
    duration: Duration,
    announcement: Option<Announcement>,
    /// The sink, unless the container's own tar has already been handed to it.
    sink: Option<TarSink>,
}

/// A container that exists.
struct Run<'a> {
    engine: &'a DockerEngine,
    client: &'a Docker,
    container: &'a str,
    request: &'a RunRequest,
    script: &'a Script,
}

impl Run<'_> {
    async fn drive(&self, input: Vec<u8>, lines: &LineSink, tar: TarSink) -> Result<RunOutput, EngineError> {
        // Attached before it starts, so that no line is lost.
        let options = AttachContainerOptions {
            stream: true,
            stdin: !input.is_empty(),
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let AttachContainerResults { output, input: stdin } = self
            .client
            .attach_container(self.container, Some(options))
            .await
            .map_err(|error| self.failed("attach to the container", &error))?;
        self.client
            .start_container(self.container, None::<StartContainerOptions>)
            .await
            .map_err(|error| self.failed("start the container", &error))?;
        let hand_over = hand_over(stdin, input);
        let follow = self.follow(output, lines, tar);
        // Both at once: a command that reads no input must still be followed.
        let (ended, ()) = {
            tokio::pin!(follow, hand_over);
            tokio::select! {
                biased;
                ended = &mut follow => (ended?, ()),
                () = &mut hand_over => (follow.await?, ()),
            }
        };
        let out_of_memory = ended.exit_code != 0 && self.out_of_memory().await?;
        if ended.exit_code == 0
            && let Some(sink) = ended.sink
        {
            self.collect(ended.announcement, sink).await?;
        }
        Ok(RunOutput { exit_code: ended.exit_code, out_of_memory, duration: ended.duration })
    }

    /// Follows output until the container has ended, within the time limit of the command.
    async fn follow(
        &self,
        mut output: impl Stream<Item = Result<LogOutput, Error>> + Unpin,
        lines: &LineSink,
        tar: TarSink,
    ) -> Result<Ended, EngineError> {
        let started = Instant::now();
        let mut split = [LineSplitter::default(), LineSplitter::default()];
        let mut packed = Packed::Announcing { line: Vec::new(), sink: Some(tar) };
        let mut duration = None;
        let exit = self.exit_code().fuse();
        tokio::pin!(exit);
        let limit = deadline(self.request.timeout);
        tokio::pin!(limit);
        let mut exit_code = None;
        let mut open = true;
        while open || exit_code.is_none() {
            tokio::select! {
                biased;
                item = output.next(), if open => match item {
                    Some(Ok(LogOutput::StdOut { message })) if self.script.announces => {
                        duration.get_or_insert_with(|| started.elapsed());
                        packed.take(message).await?;
                    }
                    Some(Ok(LogOutput::StdErr { message })) => split[1].push(&message, lines),
                    Some(Ok(other)) => split[0].push(other.as_ref(), lines),
                    Some(Err(error)) => return Err(self.failed("read the output of the container", &error)),
                    None => open = false,
                },
                code = &mut exit, if exit_code.is_none() => exit_code = Some(code?),
                () = tokio::time::sleep(AFTERMATH), if exit_code.is_some() => open = false,
                limit = &mut limit, if duration.is_none() && exit_code.is_none() => {
                    split.iter_mut().for_each(|s| s.finish(lines));
                    return Err(EngineError::TimedOut(limit));
                }
            }
        }
        split.iter_mut().for_each(|s| s.finish(lines));
        let exit_code = exit_code.unwrap_or_default();
        let (announcement, sink) = packed.finish(exit_code).await.map_err(|error| match error {
            PackedError::Tar => EngineError::Request {
                action: format!("pack the kept paths on `{}`", self.engine.endpoint),
                message: format!("`tar` in the container ended with code {exit_code}"),
                retryable: true,
            },
            PackedError::Engine(error) => error,
        })?;
        // Once the script has announced something, the command has succeeded.
        let exit_code = if announcement.is_some() { 0 } else { exit_code };
        Ok(Ended { exit_code, duration: duration.unwrap_or_else(|| started.elapsed()), announcement, sink })
    }

    /// Waits for the end of the container.
    async fn exit_code(&self) -> Result<i64, EngineError> {
        let patient = self.engine.patient_client().await?;
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let mut wait = Box::pin(patient.wait_container(self.container, Some(options)));
        match wait.next().await {
            Some(Ok(done)) => Ok(done.status_code),
            Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
            Some(Err(error)) => Err(self.failed("wait for the container", &error)),
            None => Err(EngineError::Request {
                action: format!("wait for the container on `{}`", self.engine.endpoint),
                message: "the connection was closed".to_owned(),
                retryable: true,
            }),
        }
    }

    async fn out_of_memory(&self) -> Result<bool, EngineError> {
        let state = self
            .client
            .inspect_container(self.container, None::<InspectContainerOptions>)
            .await
            .map_err(|error| self.failed("look up the container", &error))?
            .state
            .unwrap_or_default();
        Ok(state.oom_killed.unwrap_or(false))
    }

    /// Collects from outside what the container did not pack itself.
    async fn collect(&self, announcement: Option<Announcement>, sink: TarSink) -> Result<(), EngineError> {
        match (&self.request.collect, announcement) {
            (Collect::Nothing, _) => Ok(()),
            (Collect::Paths(paths), Some(Announcement::Missing(index))) => {
                Err(EngineError::NoSuchPath(paths.get(index).cloned().unwrap_or_default()))
            }
            (Collect::Paths(paths), _) => {
                let mounts: Vec<&str> = self.request.caches.keys().map(String::as_str).collect();
                self.engine.archive_paths(self.container, paths, &mounts, sink).await
            }
            (Collect::Changes, _) => {
                self.engine.committed_changes(self.container, &self.request.image, sink).await
            }
        }
    }

    fn failed(&self, action: &str, error: &Error) -> EngineError {
        self.engine.failed(action, error)
    }
}

/// The script's own standard output: one line, then perhaps a tar.
enum Packed {
    Announcing { line: Vec<u8>, sink: Option<TarSink> },
    Announced { announcement: Announcement, sink: Option<TarSink>, task: Option<SinkTask> },
}

/// Why packing failed.
enum PackedError {
    /// The tar program.
    Tar,
    Engine(EngineError),
}

impl Packed {
    async fn take(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        if let Self::Announcing { line, sink } = self {
            let end = bytes.iter().position(|b| *b == b'\n');
            line.extend_from_slice(&bytes.split_to(end.unwrap_or(bytes.len())));
            if end.is_none() {
                return Ok(());
            }
            let _line_end = bytes.split_to(1);
            let announcement = Announcement::parse(line).ok_or_else(|| EngineError::Request {
                action: "read what the run made".to_owned(),
                message: "something else wrote to the stream of the files".to_owned(),
                retryable: false,
            })?;
            let mut sink = sink.take();
            let task = match announcement {
                Announcement::Tar => sink.take().map(SinkTask::start),
                _ => None,
            };
            *self = Self::Announced { announcement, sink, task };
        }
        if let Self::Announced { task: slot @ Some(_), .. } = self
            && !bytes.is_empty()
            && let Some(task) = slot.take()
        {
            if task.writer().send(bytes).await {
                *slot = Some(task);
            } else {
                // It failed, or it has seen the end of the archive: then the rest is padding.
                task.stopped().await?;
            }
        }
        Ok(())
    }

    /// At the end of the container.
    async fn finish(self, exit_code: i64) -> Result<(Option<Announcement>, Option<TarSink>), PackedError> {
        match self {
            Self::Announcing { sink, .. } => Ok((None, sink)),
            // Dropping the task's writer makes the sink fail.
            Self::Announced { .. } if exit_code != 0 => Err(PackedError::Tar),
            Self::Announced { announcement, sink, task } => {
                if let Some(task) = task {
                    task.finish().await.map_err(PackedError::Engine)?;
                }
                Ok((Some(announcement), sink))
            }
        }
    }
}

/// Writes the secrets and closes standard input. An error shows in what the command then does.
async fn hand_over(mut stdin: impl AsyncWrite + Unpin, input: Vec<u8>) {
    if !input.is_empty() {
        let _ = stdin.write_all(&input).await;
        let _ = stdin.flush().await;
        let _ = stdin.shutdown().await;
    }
}

/// Returns the limit when it has passed; never without one.
async fn deadline(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// A name that nobody else has: the container can be removed by it even when the answer to its
/// creation never came.
fn container_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("railyard-{:016x}{:08x}", random(), random() as u32)
}
