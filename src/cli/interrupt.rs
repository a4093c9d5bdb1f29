//! Ctrl-C and SIGTERM, heard in one place from a command's first wait to its end.
//!
//! The first Ctrl-C ends what waits ([`interruptible`]); a run starts nothing more ([`presses`]). The second
//! ends the process, or the steps of a run, after which what cleans up has [`CLEANUP`]. SIGTERM, behind
//! which a SIGKILL may come, counts as two and leaves the same time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::exit::{Exit, INTERRUPTED, say};

/// How long removing what an aborted run left may take.
pub const CLEANUP: Duration = Duration::from_secs(8);
/// How long after an abort the process ends, whatever it does: before the ten seconds after which
/// `docker stop` kills.
const LAST: Duration = Duration::from_millis(9_500);

/// How often was pressed; nobody is told before [`listen`].
static PRESSED: OnceLock<watch::Sender<u32>> = OnceLock::new();
/// Whether a run ends its own steps.
static RUNNING: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    CtrlC,
    Terminate,
}

/// What a signal leads to, beside that it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// Whoever waits ends.
    Tell,
    /// As [`Response::Tell`], and the process ends after [`LAST`].
    Hurry,
    /// The process ends.
    End,
}

fn respond(count: &mut u32, heard: Heard, is_running: bool) -> Response {
    *count += 1;
    if heard == Heard::Terminate {
        *count = 2.max(*count);
    }
    match (*count, heard) {
        (..=1, _) => Response::Tell,
        (2, Heard::CtrlC) if !is_running => Response::End,
        (2, _) => Response::Hurry,
        _ => Response::End,
    }
}

/// Hears signals from now on, in a thread of its own: a command that computes or writes is ended too.
///
/// # Errors
/// When the system refuses the thread or the handlers.
pub fn listen() -> std::io::Result<()> {
    if PRESSED.get().is_some() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (interrupt, terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let pressed = PRESSED.get_or_init(|| watch::Sender::new(0));
    let hear = move || runtime.block_on(hear(pressed, interrupt, terminate));
    std::thread::Builder::new().name("interrupts".into()).spawn(hear).map(drop)
}

async fn hear(pressed: &watch::Sender<u32>, mut interrupt: Signal, mut terminate: Signal) {
    let mut count = 0;
    let mut last = None;
    loop {
        let deadline = async {
            match last {
                Some(last) => tokio::time::sleep_until(last).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            Some(()) = interrupt.recv() => Heard::CtrlC,
            Some(()) = terminate.recv() => Heard::Terminate,
            () = deadline => end(),
        };
        match respond(&mut count, heard, RUNNING.load(Ordering::SeqCst)) {
            Response::Tell => {}
            Response::Hurry => last = Some(tokio::time::Instant::now() + LAST),
            Response::End => end(),
        }
        pressed.send_replace(count);
    }
}

fn end() -> ! {
    say("interrupted");
    std::process::exit(i32::from(INTERRUPTED))
}

fn pressed() -> watch::Receiver<u32> {
    PRESSED.get_or_init(|| watch::Sender::new(0)).subscribe()
}

/// Carries work out until it ends, or an interrupt ends it; one that came before counts.
///
/// # Errors
/// Those of the work; [`Exit::Interrupted`].
pub async fn interruptible<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    tokio::select! {
        biased;
        result = work => result,
        () = interrupted() => Err(Exit::Interrupted),
    }
}

/// Waits for an interrupt; one that came before counts.
pub async fn interrupted() {
    let mut pressed = pressed();
    // The sender is never dropped.
    let _ = pressed.wait_for(|count| *count > 0).await;
}

/// Whether the user does not want to wait any more.
pub fn is_aborted() -> bool {
    *pressed().borrow() > 1
}

/// While this lives, a run ends its own steps at the second interrupt.
pub struct Running(());

/// A run begins.
pub fn running() -> Running {
    RUNNING.store(true, Ordering::SeqCst);
    Running(())
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::SeqCst);
    }
}

/// Each interrupt as a message, those before too.
pub fn presses() -> mpsc::UnboundedReceiver<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut pressed = pressed();
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            let count = *pressed.borrow_and_update();
            for _ in told..count {
                if sender.send(()).is_err() {
                    return;
                }
            }
            told = count;
            tokio::select! {
                changed = pressed.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(heard: &[Heard], is_running: bool) -> Vec<Response> {
        let mut count = 0;
        heard.iter().map(|heard| respond(&mut count, *heard, is_running)).collect()
    }

    #[test]
    fn the_second_ends_what_waits_and_hurries_a_run() {
        use Heard::{CtrlC, Terminate};
        use Response::{End, Hurry, Tell};
        assert_eq!(responses(&[CtrlC, CtrlC], false), [Tell, End]);
        assert_eq!(responses(&[CtrlC, CtrlC, CtrlC], true), [Tell, Hurry, End]);
        for is_running in [false, true] {
            assert_eq!(responses(&[Terminate, Terminate], is_running), [Hurry, End]);
            assert_eq!(responses(&[CtrlC, Terminate, CtrlC], is_running), [Tell, Hurry, End]);
        }
    }
}
