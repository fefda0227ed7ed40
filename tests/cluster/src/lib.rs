//! What the tests with real processes share: start the real binary on free ports, use it as a user does, break it on purpose.
//!
//! Owns starting, finding and killing processes and the load they are put under. Must never look inside a process: everything is seen over the
//! network, through the command line or in `/proc`.

pub mod apart;
pub mod clients;
pub mod cluster;
pub mod disk;
pub mod history;
pub mod linearizable;
pub mod load;
pub mod node;
pub mod proxy;
pub mod raw;
pub mod session;
pub mod tls;

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

/// How long any single thing may take on a slow, busy machine before the test calls it broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks `probe` again and again until it gives a value; panics with `what` when [`DEADLINE`] has passed.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let start = Instant::now();
    let mut turns = tokio::time::interval(Duration::from_millis(10));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for: {what}");
    }
}

/// A built sample guest; panics with the command that builds it.
pub fn guest(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(format!("sample-apps/target/wasm32-wasip2/release/{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask guests`", path.display());
    path.canonicalize().expect("it was just seen")
}

/// The `shoal` binary: the one that `SHOAL_BINARY` names, or the one next to this test's own executable; panics with the command that builds it.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SHOAL_BINARY") {
        return named.into();
    }
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("shoal");
    assert!(path.is_file(), "{} is missing: run `cargo build --package shoal`", path.display());
    path
}
