//! Ctrl-C, SIGTERM and a terminal that went away as one event, for commands that clean up behind themselves. Owns nothing else.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C, SIGTERM or SIGHUP; the last stays ignored when whoever started this process wished so, as `nohup` does.
pub async fn requested() {
    let hangup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hangup) => {}
            }
        }
        // Without handlers the signals keep their default: the process ends.
        _ => std::future::pending().await,
    }
}

async fn received(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Whether the mask of ignored signals in `status`, as proc(5) has it, holds the first one, SIGHUP.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen() {
        assert!(ignores_hangup("Name:\tshoal\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("Name:\tshoal\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
