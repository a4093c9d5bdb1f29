//! Notices an engine that has stopped answering while a long request is under way.
//!
//! A frozen engine keeps its connections open and says nothing, for ever. The long requests (wait,
//! commit, save, load, pull) have no time limit of their own, so it is asked beside them now and
//! then whether it is still there.

use std::time::Duration;

use bollard::Docker;

use super::DockerEngine;
use super::failure::unreachable;
use crate::engine::EngineError;

/// Failed questions in a row that end the request; one can be the load of the moment.
const STRIKES: u32 = 2;

impl DockerEngine {
    /// Drives `work` for as long as the engine answers.
    pub(super) async fn watched<T>(
        &self,
        client: &Docker,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            biased;
            done = work => done,
            error = self.silence(client) => Err(error),
        }
    }

    /// Returns when the engine does not answer.
    async fn silence(&self, client: &Docker) -> EngineError {
        let client = client.clone().with_timeout((self.patience / 2).max(Duration::from_secs(1)));
        let mut strikes = 0;
        loop {
            tokio::time::sleep(self.patience / 4).await;
            match client.ping().await {
                Ok(_) => strikes = 0,
                Err(error) => {
                    strikes += 1;
                    if strikes == STRIKES {
                        return unreachable(
                            &self.endpoint,
                            &format!("it stopped answering while work was under way ({error})"),
                        );
                    }
                }
            }
        }
    }
}
