//! BuildKit's status messages into lines.

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;

use super::super::lines::LineSplitter;
use crate::engine::LineSink;

/// What has been said of a build so far.
pub(super) struct Progress {
    lines: LineSink,
    begun: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// By instruction and stream: what is half said on one is not joined with the other.
    output: BTreeMap<(String, i64), LineSplitter>,
}

impl Progress {
    /// Says everything to `lines`.
    pub(super) fn new(lines: LineSink) -> Self {
        Self { lines, begun: BTreeSet::new(), ended: BTreeSet::new(), output: BTreeMap::new() }
    }

    /// Says what is new: instructions as they begin, whether they were cached, and what they print.
    pub(super) fn add(&mut self, status: &StatusResponse) {
        for vertex in status.vertexes.iter().filter(|vertex| !vertex.name.starts_with("[internal]")) {
            if vertex.completed.is_some() && vertex.cached {
                if self.ended.insert(vertex.digest.clone()) && self.begun.insert(vertex.digest.clone()) {
                    (self.lines)(&format!("{} (cached)", vertex.name));
                }
            } else if vertex.started.is_some() && self.begun.insert(vertex.digest.clone()) {
                (self.lines)(&vertex.name);
            }
        }
        for log in &status.logs {
            self.output.entry((log.vertex.clone(), log.stream)).or_default().push(&log.msg, &self.lines);
        }
    }

    /// Says what no line end followed.
    pub(super) fn finish(mut self) {
        for splitter in self.output.values_mut() {
            splitter.finish(&self.lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bollard_buildkit_proto::moby::buildkit::v1::{Vertex, VertexLog};

    use super::*;

    #[test]
    fn instructions_are_named_once_with_what_they_print() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let mut progress = Progress::new(Box::new(move |line| sink.lock().unwrap().push(line.to_owned())));
        let vertex = |name: &str, cached: bool| Vertex {
            digest: name.into(),
            name: name.into(),
            started: Some(Default::default()),
            completed: cached.then(Default::default),
            cached,
            ..Vertex::default()
        };
        let log = |vertex: &str, text: &str| VertexLog {
            vertex: vertex.into(),
            msg: text.into(),
            ..VertexLog::default()
        };
        let status = StatusResponse {
            vertexes: vec![vertex("[internal] load", false), vertex("a", true), vertex("b", false)],
            logs: vec![log("b", "one\ntw")],
            ..StatusResponse::default()
        };
        progress.add(&status);
        let status = StatusResponse {
            vertexes: vec![vertex("b", false), vertex("a", true)],
            logs: vec![log("b", "o\nthree")],
            ..StatusResponse::default()
        };
        progress.add(&status);
        progress.finish();
        assert_eq!(*seen.lock().unwrap(), ["a (cached)", "b", "one", "two", "three"]);
    }

    #[test]
    fn streams_are_not_joined() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let mut progress = Progress::new(Box::new(move |line| sink.lock().unwrap().push(line.to_owned())));
        let log = |stream: i64, text: &str| VertexLog {
            vertex: "a".into(),
            stream,
            msg: text.into(),
            ..VertexLog::default()
        };
        let logs = vec![log(1, "one "), log(2, "error\n"), log(1, "line\n")];
        progress.add(&StatusResponse { logs, ..StatusResponse::default() });
        progress.finish();
        assert_eq!(*seen.lock().unwrap(), ["error", "one line"]);
    }
}
