//! The executor of guests that compute: its threads run when nothing else wants to. Owns those threads and their priority; must never know who uses them.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits;

/// As many threads as there are processors. It ends without a wait: what still runs there belongs to nobody any more.
pub(crate) struct SlowLane(Option<Runtime>);

impl SlowLane {
    /// Starts the threads. None when the system has no more of them.
    pub(crate) fn start() -> Option<Self> {
        let floor_taken = AtomicBool::new(false);
        Builder::new_multi_thread()
            .worker_threads(Self::threads())
            .thread_name("slow-lane")
            .on_thread_start(move || match floor_taken.swap(true, Relaxed) {
                // The floor: idle threads get next to nothing on a machine that is busy for long, and a guest must end some day. One thread of the lowest
                // ordinary priority takes 1.5 % of a processor then, and takes over what the others leave waiting.
                false => give_way_mostly(),
                true => give_way_always(),
            })
            .build()
            .ok()
            .map(|runtime| Self(Some(runtime)))
    }

    /// How many guests compute at once.
    pub(crate) fn threads() -> usize {
        thread::available_parallelism().map_or(1, NonZeroUsize::get)
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken only when it is dropped").handle()
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn give_way_mostly() {
    // Lowering one's own priority is always allowed; without it the lane is only less polite.
    let _ = rustix::process::setpriority_process(None, limits::FLOOR_NICE);
}

fn give_way_always() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameters live until the call returns.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
    if answer != 0 {
        give_way_mostly();
    }
}
