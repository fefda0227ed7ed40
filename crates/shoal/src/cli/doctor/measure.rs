//! Measuring this machine and the way to servers. Owns the probes and that they leave nothing behind; what the figures mean is `judge`'s.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::{
    client::{Client, Server},
    v1::ClusterView,
};
use founding::fitness::{disk_writes, round_trip};
use rustix::process::{Resource, getrlimit};
use supervisor::FileRules;

use super::judge::{Answer, Disk, Reached, System};
use crate::cli::{age, context::choice::Choice, discovery::reason, failure::io_words, session::chain};

/// Sandboxes of a worker of full size: what the supervisor wishes for.
const SLOTS_WISHED: u32 = 1_000;

/// The disk under `directory`, or under the closest directory above it that exists.
pub fn disk(directory: &Path) -> Disk {
    let directory = existing(directory);
    let free = rustix::fs::statvfs(&directory).map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    let writes = disk_writes(&directory).map_err(|error| io_words(&error));
    Disk { writes, free: free.map_err(|error| error.to_string()), directory }
}

fn existing(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// What the system allows.
pub fn system() -> System {
    let maps = fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    let wished = runtime::Settings { slots: SLOTS_WISHED, ..runtime::Settings::for_this_machine() };
    System {
        // The supervisor raises the soft limit to the hard one.
        files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        maps: maps.unwrap_or(u64::MAX),
        wished: wished.needs(),
        file_rules: FileRules::of_this_kernel(),
    }
}

/// Every server that was named, and, when they were only guessed, those that are there.
pub async fn servers(choice: &Choice, guessed: bool) -> Vec<Reached> {
    let mut found = Vec::new();
    for server in &choice.addresses {
        let answer = server_answer(choice, server).await;
        if answer.is_ok() || !guessed {
            found.push(Reached { address: server.to_string(), answer });
        }
    }
    found
}

async fn server_answer(choice: &Choice, server: &Server) -> Result<Answer, String> {
    let before = Instant::now();
    let (version, date) = client(choice, server).version_and_date().await.map_err(|error| chain(&error))?;
    let took = before.elapsed();
    let here = age::now();
    // The header has whole seconds: half of one is the best guess for what was cut off.
    let ahead =
        |date: api::time::Time| i64::try_from(date.millis() + 500).ok().zip(i64::try_from(here.0).ok()).map(|(there, here)| there - here);
    Ok(Answer { took, ahead_ms: date.and_then(ahead), version: version.version })
}

/// The group as the first server that answers knows it; none when no server does, or one is not let in.
pub async fn cluster(choice: &Choice) -> Option<ClusterView> {
    for server in &choice.addresses {
        if let Ok(cluster) = client(choice, server).cluster().await {
            return Some(cluster);
        }
    }
    None
}

fn client(choice: &Choice, server: &Server) -> Client {
    let client = Client::new(server.clone());
    match &choice.token {
        Some(token) => client.with_token(token.clone()),
        None => client,
    }
}

/// The time to connect to each member's peer port.
pub async fn members(cluster: &ClusterView) -> Vec<(String, Result<Duration, String>)> {
    let mut found = Vec::new();
    for member in &cluster.members {
        found.push((member.name.clone(), round_trip(&member.address).await.map_err(|error| reason(&error))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_a_disk_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let found = disk(&directory.path().join("not/yet/there"));
        assert_eq!(found.directory, directory.path());
        assert!(found.writes.is_ok_and(|writes| writes.count > 0) && found.free.is_ok_and(|free| free > 0));
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    }
}
