//! When a node is ready, whole or in part, and who is told: whoever started it, the service manager, the ready file. Owns the waiting; what the parts make of
//! the node is `parts.rs`'s, and starting them the supervisor's.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use super::{
    child::Role,
    enroll::Since,
    invite,
    limits::{EXTEND_EVERY, EXTENSION, PART_LOOK_EVERY, READY_LOOK_EVERY, READY_WAIT_MAX},
    node::Node,
    notify::notify,
    options::Ready,
    parts::{Kind, Parts, Verdict},
    ready_file,
    sockets::connectable,
    start_error::StartError,
    supervisor::Event,
};

/// Prints the command with which another server joins.
const JOIN_SERVER: &str = "shoal join-token create server";

/// Prints the command with which a worker joins.
const JOIN_WORKER: &str = "shoal join-token create worker";

/// What is known of a node that starts.
#[derive(Debug)]
pub struct Readiness<'a> {
    node: &'a Node,
    parts: Parts,
    /// Something that should serve does not.
    in_part: bool,
}

impl<'a> Readiness<'a> {
    /// Of a node whose children are being started.
    pub fn new(node: &'a Node) -> Self {
        // Without a port for other nodes it is somebody's own, who looks at it: `shoal dev`.
        let is_watched = node.options.part.serves() && node.options.peer.is_none();
        // One that was cut short while it began its cluster begins it still.
        let begins = node.place().since != Since::Before || node.directory.path.join("control/founding.json").exists();
        let kind = if begins || is_watched { Kind::New } else { Kind::Known };
        Self { node, parts: Parts::new(node.options.part, kind), in_part: false }
    }

    /// Waits until the node serves, whole or in part, and tells everybody.
    ///
    /// # Errors
    /// It never will.
    pub async fn first(&mut self, seen: &mut mpsc::Receiver<Event>) -> Result<Ready, StartError> {
        let mut extend = interval(EXTEND_EVERY);
        extend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (deadline, mut is_late) = (Instant::now() + READY_WAIT_MAX, false);
        loop {
            match self.parts.verdict(READY_WAIT_MAX.as_secs()) {
                Verdict::Wait => {}
                Verdict::Whole => return self.tell(None).await,
                Verdict::InPart(why) => return self.tell(Some(why)).await,
                Verdict::Never(error) => return Err(error),
            }
            tokio::select! {
                event = seen.recv() => match event {
                    Some(event) => self.take(event),
                    None => return Err(StartError::Late { what: "every child", waited_seconds: READY_WAIT_MAX.as_secs() }),
                },
                () = api_answers(self.node, READY_LOOK_EVERY), if self.parts.lacks(Role::ControlPlane) => self.parts.serves(Role::ControlPlane),
                () = sleep_until(deadline), if !is_late => {
                    is_late = true;
                    self.parts.late();
                }
                // The service manager's patience is for starts that get nowhere.
                _ = extend.tick() => notify(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros())),
            }
        }
    }

    /// Tells when a node that was ready in part serves whole; never ends by itself as long as children are kept.
    pub async fn follow(&mut self, seen: &mut mpsc::Receiver<Event>) {
        loop {
            let asks = self.in_part && self.parts.lacks(Role::ControlPlane);
            tokio::select! {
                event = seen.recv() => match event {
                    // Restarts go on by themselves, and were logged; only what is missing is waited for.
                    Some(event) => if self.in_part { self.take(event) },
                    None => return,
                },
                () = api_answers(self.node, PART_LOOK_EVERY), if asks => self.parts.serves(Role::ControlPlane),
            }
            if self.in_part
                && matches!(self.parts.verdict(0), Verdict::Whole)
                && let Err(error) = self.tell(None).await
            {
                tracing::warn!(error = %error, "the ready file does not say that everything serves");
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Listening => self.parts.serves(Role::Worker),
            Event::Ended(role, status) => self.parts.ended(role, status),
        }
    }

    /// Says where the node listens, and what is missing.
    async fn tell(&mut self, missing: Option<String>) -> Result<Ready, StartError> {
        let node = self.node;
        self.in_part = missing.is_some();
        let unwritten = |source| StartError::File { attempt: "write", path: node.options.ready_file.clone().unwrap_or_default(), source };
        let mut ready = self.parts.only(node.ready().map_err(unwritten)?);
        let begins_for_others = node.place().since == Since::Begun && ready.peer.is_some();
        if begins_for_others {
            invite::invite(node, &mut ready).await;
        }
        if let Some(path) = &node.options.ready_file {
            ready_file::write(path, &ready).map_err(unwritten)?;
        }
        match missing {
            None => {
                let Ready { api, http, https, peer, node, .. } = &ready;
                tracing::info!(api, http, https, peer, node.name = node, "the node is ready");
                if begins_for_others {
                    // Without the tokens themselves: what is logged is kept, and read by others.
                    tracing::info!(
                        join.address = peer,
                        join.server = JOIN_SERVER,
                        join.worker = JOIN_WORKER,
                        "other machines can join this cluster; these print what to run there"
                    );
                }
                notify("READY=1\nSTATUS=ready");
            }
            Some(why) => {
                tracing::error!(
                    error.code = "E0617",
                    node.name = ready.node,
                    missing = why,
                    "the node serves in part; what is missing is tried again and again"
                );
                notify(&format!("READY=1\nSTATUS=serves in part: {why}"));
            }
        }
        Ok(ready)
    }
}

/// Returns once the API says on its socket that it is ready.
async fn api_answers(node: &Node, look_every: Duration) {
    let path = node.directory.path.join("api.sock");
    while !is_ready(&path).await.unwrap_or(false) {
        sleep(look_every).await;
    }
}

async fn is_ready(socket: &Path) -> anyhow::Result<bool> {
    let ask = async {
        let reachable = connectable(socket)?;
        let stream = tokio::net::UnixStream::connect(reachable.path()).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = http::Request::get("/readyz").header("host", "localhost").body(http_body_util::Empty::<bytes::Bytes>::new())?;
        tokio::select! {
            response = sender.send_request(request) => Ok(response?.status().is_success()),
            _ = connection => Ok(false),
        }
    };
    timeout(Duration::from_secs(5), ask).await?
}
