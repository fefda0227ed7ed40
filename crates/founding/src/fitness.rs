//! Whether disk and network are fast enough for how long members wait for each other. Owns the probes, that they leave nothing behind, and the budget; what else
//! is looked at is `shoal doctor`'s. Must never stop a server that is merely slow.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

/// Writes that are measured: enough for a p99, over in a second on any disk that will do.
const WRITES: usize = 200;

/// A disk so slow that its writes take longer than this together is known to be slow.
const WRITES_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of one write: about what one command of the log takes.
const WRITE_BYTES: usize = 512;

/// Connections to one member; the shortest counts, because everything but the way only adds.
const ROUND_TRIPS: usize = 3;

/// How long one connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long members wait for each other: how soon a lost leader is replaced, and how much a slow disk or network may stall before one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Profile {
    /// One network, own disks: heartbeats every 100 ms, an election after 250 to 400 ms of silence.
    #[default]
    Lan,
    /// Several data centers of a region, or network disks: 150 ms, 500 to 900 ms.
    Cloud,
    /// Further apart: 500 ms, 1.5 to 3 s.
    Wan,
}

impl From<Profile> for consensus::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Lan => Self::Lan,
            Profile::Cloud => Self::Cloud,
            Profile::Wan => Self::Wan,
        }
    }
}

/// How long a write with its fsync took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    /// How many were measured.
    pub count: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl Profile {
    /// What one round trip and one write together may take: a tenth of the shortest silence after which members elect anew, so that nine can be slow in a row
    /// without an election.
    pub fn budget(self) -> Duration {
        match self {
            Self::Lan => Duration::from_millis(25),
            Self::Cloud => Duration::from_millis(50),
            Self::Wan => Duration::from_millis(150),
        }
    }

    /// As `--profile` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Cloud => "cloud",
            Self::Wan => "wan",
        }
    }

    /// The next more patient one.
    pub fn larger(self) -> Option<Self> {
        match self {
            Self::Lan => Some(Self::Cloud),
            Self::Cloud => Some(Self::Wan),
            Self::Wan => None,
        }
    }
}

/// Measures small writes in `directory`, each with an fsync. Blocks for up to five seconds; leaves nothing behind.
///
/// # Errors
/// Nothing can be written there.
pub fn disk_writes(directory: &Path) -> io::Result<Writes> {
    let path = directory.join(format!(".shoal-doctor-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    // Gone from the directory at once: whatever happens, nothing is left behind.
    fs::remove_file(&path)?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    while times.len() < WRITES && started.elapsed() < WRITES_TIME_MAX {
        let before = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    Ok(summary(times))
}

/// Count and quantiles; there is at least one time.
fn summary(mut times: Vec<Duration>) -> Writes {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Writes { count: times.len(), p50: at(50), p99: at(99) }
}

/// The time to connect to `address` (`HOST:PORT`): one round trip.
///
/// # Errors
/// Nobody listens, or not in time.
pub async fn round_trip(address: &str) -> io::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let before = Instant::now();
        timeout(CONNECT_MAX, TcpStream::connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        best = best.min(before.elapsed());
    }
    Ok(best)
}

/// A short time with the digits that count.
pub fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// The sentence about what does not fit `profile`: writes take `fsync` at the 99th of 100, the farthest member is a round trip away. None when it fits.
pub fn misfit(profile: Profile, fsync: Duration, farthest: Option<&(String, Duration)>) -> Option<String> {
    let (budget, way) = (profile.budget(), farthest.map_or(Duration::ZERO, |(_, way)| *way));
    if fsync + way <= budget {
        return None;
    }
    let way = farthest.map_or_else(String::new, |(name, way)| format!(" and a round trip to {name} {}", millis(*way)));
    let larger = profile.larger().map(|larger| format!("; start every server with   --profile {}", larger.name())).unwrap_or_default();
    let (fsync, room) = (millis(fsync), millis(budget));
    Some(format!("a write to the disk takes {fsync} (p99){way}, and the profile {} has room for {room} together{larger}", profile.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_from_what_was_measured() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let found = summary(times);
        assert_eq!((found.count, found.p50.as_millis(), found.p99.as_millis()), (200, 101, 199));
        assert_eq!(summary(vec![Duration::from_millis(3)]).p99.as_millis(), 3);
    }

    #[test]
    fn measuring_a_disk_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(disk_writes(directory.path()).is_ok_and(|writes| writes.count > 0));
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    }

    #[tokio::test]
    async fn a_member_is_reached_or_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        assert!(round_trip(&address).await.is_ok());
        drop(listener);
        assert_eq!(round_trip(&address).await.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn what_does_not_fit_is_said_with_numbers_and_the_remedy() {
        let (short, long) = (Duration::from_millis(2), Duration::from_millis(24));
        let way = ("node-b".to_owned(), Duration::from_millis(9));
        assert_eq!(misfit(Profile::Lan, long, None), None);
        assert_eq!(misfit(Profile::Lan, short, Some(&way)), None);
        let said = misfit(Profile::Lan, long, Some(&way)).expect("33 ms are too much");
        let expected = "a write to the disk takes 24 ms (p99) and a round trip to node-b 9.00 ms, and the profile lan has room for 25 ms together; start every \
                        server with   --profile cloud";
        assert_eq!(said, expected);
        assert_eq!(misfit(Profile::Cloud, long, Some(&way)), None);
        assert!(misfit(Profile::Wan, Duration::from_secs(1), None).is_some_and(|said| said.ends_with("150 ms together")));
    }
}
