//! The parent of a node's processes: starts them, restarts them, stops them in order. Must never serve a request or know what an app is.

use std::{sync::Arc, time::Instant};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    child::{self, Ended, Restarts, Role},
    compile_pool, enroll,
    node::Node,
    notify::notify,
    options::Ready,
    place,
    readiness::Readiness,
    start_error::StartError,
};

/// What children make known.
#[derive(Debug)]
pub enum Event {
    /// A worker accepts connections.
    Listening,
    /// A child ended by itself.
    Ended(Role, String),
}

/// Runs the node until `stop`. Says on `ready` that it is ready, or why it will not be.
///
/// # Errors
/// It was ready, and has lost its place in the cluster.
pub async fn supervise(node: Node, ready: oneshot::Sender<Result<Ready, StartError>>, stop: CancellationToken) -> Result<(), StartError> {
    match stop.run_until_cancelled(enroll::enroll(&node)).await {
        Some(Ok(place)) => node.enrolled.set(place).expect("a node gets its place once"),
        // Whoever started the node may have stopped waiting for it.
        Some(Err(error)) => {
            let _ = ready.send(Err(error));
            return Ok(());
        }
        None => return Ok(()),
    }
    let node = Arc::new(node);
    let (events, mut seen) = mpsc::channel(16);
    let (stop_worker, stop_control_plane) = (CancellationToken::new(), CancellationToken::new());
    // The guards stop the children whichever way this ends.
    let _guards = (stop_worker.clone().drop_guard(), stop_control_plane.clone().drop_guard());
    let (mut control_plane, mut worker) = (JoinSet::new(), JoinSet::new());
    if node.options.part.serves() {
        control_plane.spawn(keep(node.clone(), Role::ControlPlane, events.clone(), stop_control_plane.clone()));
    }
    if node.options.part.works() {
        worker.spawn(keep(node.clone(), Role::Worker, events.clone(), stop_worker.clone()));
    }
    drop(events);

    let keeper = node.certificates.clone();
    let _certificates = keeper.map(|keeper| AbortOnDropHandle::new(tokio::spawn(certificates::keep(keeper))));

    let mut gone = None;
    let mut readiness = Readiness::new(&node);
    let outcome = tokio::select! {
        outcome = readiness.first(&mut seen) => Some(outcome),
        () = stop.cancelled() => None,
    };
    match outcome {
        Some(Ok(said)) => {
            // Whoever started the node may have stopped waiting for it.
            let _ = ready.send(Ok(said));
            tokio::select! {
                () = stop.cancelled() => {}
                () = readiness.follow(&mut seen) => {}
                unfit = place::lost(&node) => {
                    tracing::error!(reason = %unfit, "this node stops");
                    gone = Some(StartError::Gone { name: node.place().name.clone(), unfit });
                }
            }
        }
        Some(Err(error)) => {
            let _ = ready.send(Err(error));
        }
        None => {}
    }
    notify("STOPPING=1");
    stop_worker.cancel();
    // Nobody will accept these any more: a refusal at once is better than a wait in the queue that ends in a reset.
    let gateway = node.sockets.worker.iter().flat_map(|sockets| std::iter::once(&sockets.http).chain(&sockets.https));
    for listener in gateway {
        if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
            tracing::warn!(error = %error, "new connections wait until the node is gone");
        }
    }
    drain(&mut worker, &mut seen).await;
    stop_control_plane.cancel();
    drain(&mut control_plane, &mut seen).await;
    gone.map_or(Ok(()), Err)
}

/// Waits for the end of a child's task, and takes what it has to say meanwhile so that it is never held up.
async fn drain(child: &mut JoinSet<()>, seen: &mut mpsc::Receiver<Event>) {
    loop {
        tokio::select! {
            ended = child.join_next() => match ended {
                None => return,
                Some(Err(error)) => tracing::error!(error = %error, "a child was lost sight of"),
                Some(Ok(())) => {}
            },
            Some(_) = seen.recv() => {}
        }
    }
}

/// Keeps a child running until `stop`.
async fn keep(node: Arc<Node>, role: Role, events: mpsc::Sender<Event>, stop: CancellationToken) {
    let mut restarts = Restarts::default();
    while !stop.is_cancelled() {
        let start = Instant::now();
        let words = match live(&node, role, &events, &stop).await {
            Ok(Ended::Told) => return,
            Ok(Ended::Itself(Ok(status))) => status.to_string(),
            Ok(Ended::Itself(Err(error))) | Err(error) => error.to_string(),
        };
        let wait = restarts.wait_after(start.elapsed());
        tracing::warn!(child = %role, status = words, lived.ms = start.elapsed().as_millis(), wait.ms = wait.as_millis(), "a child ended; it is started again");
        // Nobody listens any more when the node is being stopped.
        let _ = events.send(Event::Ended(role, words)).await;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One life of a child.
async fn live(node: &Arc<Node>, role: Role, events: &mpsc::Sender<Event>, stop: &CancellationToken) -> std::io::Result<Ended> {
    let child::Started { mut process, lifeline, handover } = child::start(node, role)?;
    tracing::info!(child = %role, process.id = process.id(), "a child is started");
    match role {
        Role::ControlPlane => {
            let ended = child::wait(&mut process, role, stop).await;
            drop(lifeline);
            Ok(ended)
        }
        Role::Worker => {
            let serve = compile_pool::serve(node.clone(), lifeline, events.clone());
            let end = child::wait(&mut process, role, stop);
            let secrets = node.secrets.keep(&handover);
            let serve = async {
                tokio::select! {
                    served = serve => served,
                    kept = secrets => kept,
                }
            };
            tokio::pin!(serve, end);
            let ended = tokio::select! {
                ended = &mut end => ended,
                served = &mut serve => {
                    if let Err(error) = served {
                        tracing::error!(error = %error, "the worker's lifeline broke; it will end");
                    }
                    end.await
                }
            };
            node.secrets.drain(&handover);
            Ok(ended)
        }
    }
}
