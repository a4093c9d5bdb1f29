//! What must be removed again, however a run ends: its container, the image of its changes.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions};
use tokio::sync::watch;

/// Pauses between attempts to remove.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// Counts the removals that go on in the background.
pub(super) struct Pending(watch::Sender<usize>);

impl Default for Pending {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Pending {
    /// Waits until none is under way.
    pub(super) async fn settle(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// What a guard removes.
#[derive(Clone)]
enum Thing {
    /// A container by name; `created` is false while the request that makes it is under way.
    Container {
        name: String,
        created: bool,
    },
    Image(String),
}

/// Removes its container or image: when asked to, or in the background when it is dropped.
pub(super) struct Guard {
    client: Docker,
    pending: watch::Sender<usize>,
    thing: Option<Thing>,
}

impl Guard {
    /// For a container that is about to be created under a name of its own.
    pub(super) fn container(client: &Docker, pending: &Pending, name: &str) -> Self {
        let thing = Thing::Container { name: name.to_owned(), created: false };
        Self { client: client.clone(), pending: pending.0.clone(), thing: Some(thing) }
    }

    /// For an image.
    pub(super) fn image(client: &Docker, pending: &Pending, id: &str) -> Self {
        let thing = Thing::Image(id.to_owned());
        Self { client: client.clone(), pending: pending.0.clone(), thing: Some(thing) }
    }

    /// The container exists now.
    pub(super) fn created(&mut self) {
        if let Some(Thing::Container { created, .. }) = &mut self.thing {
            *created = true;
        }
    }

    /// Removes it now. What cannot be removed stays for a sweep: a run that has done its work is
    /// not failed for it.
    pub(super) async fn remove(mut self) {
        if let Some(thing) = self.thing.clone() {
            remove(&self.client, &thing).await;
            // Only now: a drop meanwhile goes on in the background.
            self.thing = None;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(thing) = self.thing.take() else { return };
        // Without a runtime nothing can be asked any more; the labels are there for a sweep.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, count) = (self.client.clone(), Counted::new(self.pending.clone()));
        runtime.spawn(async move {
            remove(&client, &thing).await;
            drop(count);
        });
    }
}

/// One removal under way; counts itself out when dropped, so also with the runtime.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

async fn remove(client: &Docker, thing: &Thing) {
    for pause in PAUSES.into_iter().map(Some).chain([None]) {
        let result = match thing {
            Thing::Container { name, .. } => {
                let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                client.remove_container(name, Some(options)).await
            }
            Thing::Image(id) => {
                let options = RemoveImageOptions { force: true, noprune: true, ..Default::default() };
                client.remove_image(id, Some(options), None).await.map(drop)
            }
        };
        // A container whose creation was cut short may yet appear.
        let may_appear = matches!(thing, Thing::Container { created: false, .. });
        match result {
            Ok(()) => return,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) if !may_appear => return,
            Err(Error::DockerResponseServerError { status_code: 409, message })
                if message.contains("already in progress") =>
            {
                return;
            }
            // It answers nothing: what it has then stays for a sweep.
            Err(Error::RequestTimeoutError) => return,
            Err(_) => {}
        }
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return,
        }
    }
}
