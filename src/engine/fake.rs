//! An engine that does as it is told, for tests of what is built on engines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{
    Collect, Engine, EngineError, EngineInfo, Leftover, LineSink, PullCredentials, RunOutput, RunRequest,
    TarSink,
};
use crate::oci::{Digest, Platform, Reference};

/// What was asked of a [`FakeEngine`].
#[derive(Debug, Clone)]
pub enum FakeCall {
    /// [`Engine::info`].
    Info,
    /// [`Engine::pull`], with the reference as text.
    Pull(String),
    /// [`Engine::load`].
    Load(PathBuf),
    /// [`Engine::run`].
    Run(Box<RunRequest>),
    /// A run whose future was dropped before its end.
    Cancelled(Box<RunRequest>),
    /// [`Engine::sweep`].
    Sweep,
    /// [`Engine::remove`], with the id.
    Remove(String),
}

/// How runs that fit a predicate go.
pub struct FakeRun {
    fits: Box<dyn Fn(&RunRequest) -> bool + Send + Sync>,
    exit_code: i64,
    out_of_memory: bool,
    lines: Vec<String>,
    tar: Vec<u8>,
    failures: Mutex<usize>,
    delay: Option<Duration>,
}

impl FakeRun {
    /// Runs that fit `predicate` succeed at once, print nothing and make nothing, unless told
    /// otherwise.
    pub fn when(predicate: impl Fn(&RunRequest) -> bool + Send + Sync + 'static) -> Self {
        Self {
            fits: Box::new(predicate),
            exit_code: 0,
            out_of_memory: false,
            lines: Vec::new(),
            tar: Vec::new(),
            failures: Mutex::new(0),
            delay: Some(Duration::ZERO),
        }
    }

    /// Runs with this text in one of the words of their command.
    pub fn containing(text: &str) -> Self {
        let text = text.to_owned();
        Self::when(move |request| request.command.iter().any(|word| word.contains(&text)))
    }

    /// They end with this code.
    pub fn exit(mut self, code: i64) -> Self {
        self.exit_code = code;
        self
    }

    /// They are ended for their memory limit, with code 137.
    pub fn out_of_memory(mut self) -> Self {
        self.out_of_memory = true;
        self.exit(137)
    }

    /// They print these lines.
    pub fn lines(mut self, lines: &[&str]) -> Self {
        self.lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self
    }

    /// They make a file with this path (relative to the root) and content, mode 0644.
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let mut builder = tar::Builder::new(std::mem::take(&mut self.tar));
        // Neither can fail: the writer is memory.
        let _ = builder.append_data(&mut header, path, content);
        // Not `into_inner`, which would add the trailer.
        self.tar = builder.get_ref().clone();
        self
    }

    /// The first `times` of them end in a retryable error of the engine.
    pub fn fails(self, times: usize) -> Self {
        *locked(&self.failures) = times;
        self
    }

    /// They take this long.
    pub fn takes(mut self, time: Duration) -> Self {
        self.delay = Some(time);
        self
    }

    /// They never end of themselves; a time limit ends them.
    pub fn hangs(mut self) -> Self {
        self.delay = None;
        self
    }
}

/// An engine without containers: answers by script, records what it is asked.
///
/// A run is answered by the first [`FakeRun`] that fits; without one it succeeds and makes nothing.
/// Images get the id `sha256:` and the hash of their reference.
#[derive(Default)]
pub struct FakeEngine {
    runs: Vec<FakeRun>,
    pull_failures: Mutex<usize>,
    unreachable: bool,
    leftovers: Vec<Leftover>,
    calls: Arc<Mutex<Vec<FakeCall>>>,
}

impl FakeEngine {
    /// One where every run succeeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// It has these leftovers.
    pub fn leaves(mut self, leftovers: Vec<Leftover>) -> Self {
        self.leftovers = leftovers;
        self
    }

    /// Adds a way for runs to go.
    pub fn with(mut self, run: FakeRun) -> Self {
        self.runs.push(run);
        self
    }

    /// The first `times` pulls end in a retryable error.
    pub fn failing_pulls(self, times: usize) -> Self {
        *locked(&self.pull_failures) = times;
        self
    }

    /// Nothing answers.
    pub fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// What was asked so far, in order.
    pub fn calls(&self) -> Vec<FakeCall> {
        locked(&self.calls).clone()
    }

    /// The runs asked for so far, in order.
    pub fn requests(&self) -> Vec<RunRequest> {
        let runs = self.calls().into_iter().filter_map(|call| match call {
            FakeCall::Run(request) => Some(*request),
            _ => None,
        });
        runs.collect()
    }

    fn record(&self, call: FakeCall) -> Result<(), EngineError> {
        locked(&self.calls).push(call);
        if self.unreachable {
            return Err(EngineError::Unreachable {
                endpoint: "fake://".to_owned(),
                message: "there is no such socket".to_owned(),
            });
        }
        Ok(())
    }

    async fn go(&self, request: RunRequest, lines: LineSink, tar: TarSink) -> Result<RunOutput, EngineError> {
        self.record(FakeCall::Run(Box::new(request.clone())))?;
        let Some(run) = self.runs.iter().find(|run| (run.fits)(&request)) else {
            return finish(&FakeRun::when(|_| true), &request, tar);
        };
        if take_one(&run.failures) {
            return Err(transient("start the container"));
        }
        run.lines.iter().for_each(|line| lines(line));
        let time = run.delay.unwrap_or(Duration::MAX);
        let limit = request.timeout.unwrap_or(Duration::MAX);
        let mut cancelled = Cancelled { calls: Arc::clone(&self.calls), request: Some(request) };
        tokio::time::sleep(time.min(limit)).await;
        let Some(request) = cancelled.request.take() else { return Err(EngineError::TimedOut(limit)) };
        if limit < time {
            return Err(EngineError::TimedOut(limit));
        }
        finish(run, &request, tar)
    }
}

/// Records a run that was dropped.
struct Cancelled {
    calls: Arc<Mutex<Vec<FakeCall>>>,
    request: Option<RunRequest>,
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            locked(&self.calls).push(FakeCall::Cancelled(Box::new(request)));
        }
    }
}

fn finish(run: &FakeRun, request: &RunRequest, tar: TarSink) -> Result<RunOutput, EngineError> {
    if run.exit_code == 0 && request.collect != Collect::Nothing {
        let bytes = [run.tar.as_slice(), &[0; 1024]].concat();
        tar(&mut bytes.as_slice()).map_err(EngineError::Sink)?;
    }
    Ok(RunOutput {
        exit_code: run.exit_code,
        out_of_memory: run.out_of_memory,
        duration: run.delay.unwrap_or_default(),
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one of a number that is left.
fn take_one(left: &Mutex<usize>) -> bool {
    let mut left = locked(left);
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

fn transient(action: &str) -> EngineError {
    EngineError::Request {
        action: action.to_owned(),
        message: "connection reset by peer".to_owned(),
        retryable: true,
    }
}

impl Engine for FakeEngine {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>> {
        Box::pin(async {
            self.record(FakeCall::Info)?;
            Ok(EngineInfo {
                endpoint: "fake://".to_owned(),
                version: "0".to_owned(),
                cpus: 2,
                memory: 8 << 30,
            })
        })
    }

    fn pull<'a>(
        &'a self,
        reference: &'a Reference,
        _platform: &'a Platform,
        _credentials: Option<PullCredentials>,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(async move {
            let name = reference.to_string();
            self.record(FakeCall::Pull(name.clone()))?;
            if take_one(&self.pull_failures) {
                return Err(transient(&format!("pull `{name}`")));
            }
            Ok(Digest::of(name.as_bytes()).to_string())
        })
    }

    fn load<'a>(&'a self, archive: &'a Path, config: Digest) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(async move {
            self.record(FakeCall::Load(archive.to_owned()))?;
            Ok(config.to_string())
        })
    }

    fn run<'a>(
        &'a self,
        request: RunRequest,
        lines: LineSink,
        tar: TarSink,
    ) -> BoxFuture<'a, Result<RunOutput, EngineError>> {
        Box::pin(self.go(request, lines, tar))
    }

    fn sweep<'a>(
        &'a self,
        _labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<usize, EngineError>> {
        Box::pin(async {
            self.record(FakeCall::Sweep)?;
            Ok(0)
        })
    }

    fn leftovers<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Result<Vec<Leftover>, EngineError>> {
        let found = self.leftovers.iter().filter(|leftover| leftover.labels.contains_key(label));
        Box::pin(std::future::ready(Ok(found.cloned().collect())))
    }

    fn remove<'a>(&'a self, leftover: &'a Leftover) -> BoxFuture<'a, Result<bool, EngineError>> {
        let removed = self.record(FakeCall::Remove(leftover.id.clone())).map(|()| true);
        Box::pin(std::future::ready(removed))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn request(script: &str) -> RunRequest {
        RunRequest {
            image: "sha256:0".into(),
            command: ["sh", "-c", script].map(String::from).into(),
            env: Vec::new(),
            user: None,
            workdir: None,
            memory: None,
            cpus: None,
            network: "none".into(),
            timeout: Some(Duration::from_millis(50)),
            caches: BTreeMap::new(),
            secrets: BTreeMap::new(),
            collect: Collect::Changes,
            labels: BTreeMap::new(),
        }
    }

    async fn run(engine: &FakeEngine, script: &str) -> (Result<RunOutput, EngineError>, Vec<String>) {
        let names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&names);
        let sink: TarSink = Box::new(move |tar: &mut dyn Read| {
            for entry in tar::Archive::new(tar).entries()? {
                locked(&seen).push(entry?.path()?.display().to_string());
            }
            Ok(())
        });
        let result = engine.run(request(script), Box::new(|_| {}), sink).await;
        let names = locked(&names).clone();
        (result, names)
    }

    #[tokio::test]
    async fn runs_go_by_script_and_are_recorded() {
        let engine = FakeEngine::new()
            .with(FakeRun::containing("npm").file("a", b"1").file("b/c", b"2").fails(1))
            .with(FakeRun::containing("bad").exit(3))
            .with(FakeRun::containing("hang").hangs());
        assert!(run(&engine, "npm install").await.0.unwrap_err().is_retryable());
        assert_eq!(run(&engine, "npm install").await.1, ["a", "b/c"]);
        assert_eq!(run(&engine, "bad").await.0.unwrap().exit_code, 3);
        assert!(matches!(run(&engine, "hang").await.0, Err(EngineError::TimedOut(_))));
        let _ = tokio::time::timeout(Duration::from_millis(5), run(&engine, "hang")).await;
        assert!(matches!(engine.calls().last(), Some(FakeCall::Cancelled(_))));
        assert_eq!(engine.requests().len(), 5);
    }
}
