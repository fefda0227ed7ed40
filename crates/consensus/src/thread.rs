//! The thread that consensus runs on: heartbeats must not wait for anybody's requests. Owns its start and its end; must never know what runs there.

use std::{future::Future, io, thread::JoinHandle};

use tokio::sync::oneshot;

/// A thread with a runtime of its own.
pub(crate) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// Runs what `make` makes until the thread is told to stop: it is given a future that says so.
    pub(crate) fn start<F, W>(make: F) -> io::Result<Self>
    where
        F: FnOnce(oneshot::Receiver<()>) -> W + Send + 'static,
        W: Future<Output = ()>,
    {
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("consensus-aside").build()?;
        let thread = std::thread::Builder::new().name("consensus".to_owned()).spawn(move || {
            runtime.block_on(make(stopped));
            // Tasks go with the runtime, and with them whatever they still hold of the log.
            drop(runtime);
            drop(end);
        })?;
        Ok(Self { stop: Some(stop), ended: Some(ended), thread: Some(thread) })
    }

    /// Tells it to stop and waits until it did.
    pub(crate) async fn stop(mut self) {
        self.stop.take();
        // Let go of: whoever gives up waiting here must not be made to wait by the drop.
        drop(self.thread.take());
        if let Some(ended) = self.ended.take() {
            // The other end is dropped when the thread has ended.
            let _ = ended.await;
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // A panic of it was said when it happened.
            let _ = thread.join();
        }
    }
}
