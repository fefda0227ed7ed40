//! Waiting for Ctrl-C or for the end of a child, whichever comes first. The only door to libc's signals here.

use std::{mem::MaybeUninit, ptr};

/// What ended the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Ctrl-C or a request to end.
    Stop,
    /// A child ended or changed.
    Child,
}

/// The signals this program waits for instead of being ended by them, from [`Waiter::new`] to its end.
pub struct Waiter {
    set: libc::sigset_t,
}

impl Waiter {
    /// Blocks SIGINT, SIGTERM and SIGCHLD in this thread; call it before another thread exists and after the last child was started, which would inherit it.
    pub fn new() -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initializes the set that the calls after it read; all pointers live through the calls.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            set.assume_init()
        };
        Self { set }
    }

    /// Sleeps until one of the signals comes.
    pub fn wait(&self) -> Wake {
        let mut signal = 0;
        // SAFETY: both pointers live through the call; the set was initialized in `new`.
        unsafe { libc::sigwait(&raw const self.set, &raw mut signal) };
        if signal == libc::SIGCHLD { Wake::Child } else { Wake::Stop }
    }
}

/// Asks the process `id` to end.
pub fn terminate(id: u32) {
    if let Ok(id) = i32::try_from(id) {
        // SAFETY: kill takes two numbers; `id` is a child that was not waited for yet, so the number is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

/// Makes the kernel end the calling process when its parent dies; for `pre_exec`.
pub fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: prctl with these numbers touches no memory.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
