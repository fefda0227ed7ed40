//! From what was measured to what it means. Pure. Owns the thresholds with their reasons and the remedies; must never measure.

use std::{path::PathBuf, time::Duration};

use founding::fitness::{Writes, millis};
use runtime::SystemNeeds;
use serde::Serialize;
use supervisor::FileRules;

use crate::cli::{age, views::bytes};

/// Free space below which a node does not start.
const FREE_BYTES_MIN: u64 = supervisor::FREE_BYTES_MIN;

/// Free space below which a node should not be run: artifacts, code and two snapshots would fill it within a day of deploying.
const FREE_BYTES_WISHED: u64 = 2 << 30;

/// A clock that is this far from a server's makes times in lists and tokens wrong, and nothing else. Servers tell theirs in whole seconds.
const CLOCK_WARNING: Duration = Duration::from_secs(3);

/// Certificates are back-dated by two hours: a clock that is an hour off has used up half of that, and the other machine may be off the other way.
const CLOCK_BROKEN: Duration = Duration::from_secs(3_600);

/// How long members wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Profile {
    /// One network, own disks.
    #[default]
    Lan,
    /// Several data centers of a region, or network disks.
    Cloud,
    /// Further apart.
    Wan,
}

impl From<Profile> for supervisor::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Lan => Self::Lan,
            Profile::Cloud => Self::Cloud,
            Profile::Wan => Self::Wan,
        }
    }
}

/// Everything that was measured; what could not be is a sentence.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The disk of the data directory; none when no node lives here.
    pub disk: Option<Disk>,
    /// What the system allows this machine's processes.
    pub system: System,
    /// Servers of the API.
    pub servers: Vec<Reached>,
    /// Members' peer ports, with the time to connect.
    pub members: Vec<(String, Result<Duration, String>)>,
}

/// The disk under a data directory.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The directory that was measured in.
    pub directory: PathBuf,
    /// Small writes, each with an fsync.
    pub writes: Result<Writes, String>,
    /// Bytes that are free there.
    pub free: Result<u64, String>,
}

/// What the system allows.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// Open files, as far as they can be raised.
    pub files: u64,
    /// Memory maps.
    pub maps: u64,
    /// What a worker of full size takes.
    pub wished: SystemNeeds,
    /// What the kernel enforces.
    pub file_rules: FileRules,
}

/// A server that was asked.
#[derive(Debug, Clone)]
pub struct Reached {
    /// Where.
    pub address: String,
    /// What it said, or why it did not.
    pub answer: Result<Answer, String>,
}

/// What a server says.
#[derive(Debug, Clone)]
pub struct Answer {
    /// From the question to the answer, connection and handshake included.
    pub took: Duration,
    /// Milliseconds its clock is ahead of ours.
    pub ahead_ms: Option<i64>,
    /// Its version.
    pub version: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, but worse than it could.
    Warning,
    /// Something does not work, or will not for long.
    Broken,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How it is.
    pub status: Status,
    /// What was looked at.
    pub check: String,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Line {
    fn new(status: Status, check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = if status == Status::Ok { String::new() } else { remedy.into() };
        Self { status, check: check.into(), found: found.into(), remedy }
    }
}

/// Says of everything whether it is well.
pub fn judge(measured: &Measured, profile: Profile, own_version: &str) -> Vec<Line> {
    let profile = supervisor::Profile::from(profile);
    let mut lines = Vec::new();
    if let Some(disk) = &measured.disk {
        lines.push(writes(disk, profile));
        lines.push(free(disk));
    }
    lines.extend(system(&measured.system));
    for server in &measured.servers {
        lines.extend(reached(server, own_version));
    }
    let fsync = measured.disk.as_ref().and_then(|disk| disk.writes.as_ref().ok()).map_or(Duration::ZERO, |writes| writes.p99);
    lines.extend(measured.members.iter().map(|(name, time)| member(name, time, fsync, profile)));
    lines
}

fn writes(disk: &Disk, profile: supervisor::Profile) -> Line {
    let place = disk.directory.display();
    match &disk.writes {
        Err(why) => {
            Line::new(Status::Broken, "disk writes", format!("cannot write in {place}: {why}"), "run as the user the server runs as")
        }
        Ok(Writes { count, p50, p99 }) => {
            let budget = profile.budget();
            let status = match *p99 {
                p99 if p99 > budget * 10 => Status::Broken,
                p99 if p99 > budget => Status::Warning,
                _ => Status::Ok,
            };
            let found = format!("fsync p50 {}, p99 {} over {count} writes in {place}", millis(*p50), millis(*p99));
            Line::new(status, "disk writes", found, slow(profile, "put the data directory on a disk of its own, best an SSD"))
        }
    }
}

/// What to do when `profile` is too short for this place.
fn slow(profile: supervisor::Profile, else_do: &str) -> String {
    let budget = millis(profile.budget());
    let larger = profile.larger().map(|larger| format!(", or start servers with --profile {}", larger.name())).unwrap_or_default();
    format!("the profile {} has room for {budget}: {else_do}{larger}", profile.name())
}

fn free(disk: &Disk) -> Line {
    let remedy = "free space, or use another disk with --data-dir; --artifact-bytes and --code-bytes bound what is kept";
    match &disk.free {
        Err(why) => Line::new(Status::Warning, "disk space", format!("not known: {why}"), "look with df"),
        Ok(free) => {
            let status = match *free {
                free if free < FREE_BYTES_MIN => Status::Broken,
                free if free < FREE_BYTES_WISHED => Status::Warning,
                _ => Status::Ok,
            };
            Line::new(status, "disk space", format!("{} free at {}", bytes(*free), disk.directory.display()), remedy)
        }
    }
}

fn system(system: &System) -> Vec<Line> {
    let limit = |check: &str, allowed: u64, wished: u64, remedy: &str| {
        let status = if allowed < wished { Status::Warning } else { Status::Ok };
        let allowed = if allowed == u64::MAX { "any number".to_owned() } else { allowed.to_string() };
        Line::new(status, check, format!("{allowed} allowed; a worker of full size takes {wished}"), remedy)
    };
    let rules = match system.file_rules {
        FileRules::Whole => Line::new(Status::Ok, "landlock", "the kernel keeps workers to their own files", ""),
        FileRules::Part => {
            let found = "this kernel knows a part of the rules that keep workers to their own files";
            Line::new(Status::Warning, "landlock", found, "use Linux 6.12 or newer")
        }
        FileRules::Missing => {
            let found = "the kernel has no Landlock: workers' files are protected by user id alone";
            Line::new(Status::Warning, "landlock", found, "use Linux 5.13 or newer with landlock among the lsm= of its command line")
        }
    };
    vec![
        limit(
            "open files",
            system.files,
            system.wished.files,
            "LimitNOFILE=1048576 in the systemd unit, or   ulimit -Hn 1048576   as root",
        ),
        limit("memory maps", system.maps, system.wished.maps, "sysctl -w vm.max_map_count=1048576"),
        rules,
    ]
}

fn reached(server: &Reached, own_version: &str) -> Vec<Line> {
    let check = format!("server {}", server.address);
    let answer = match &server.answer {
        Err(why) => return vec![Line::new(Status::Broken, check, why.clone(), "start it, or look at its address and at firewalls")],
        Ok(answer) => answer,
    };
    let same = answer.version == own_version;
    let status = if same { Status::Ok } else { Status::Warning };
    let version = if same { String::new() } else { format!("; it has version {}, this program {own_version}", answer.version) };
    let remedy = "use the same version on both sides";
    let mut lines = vec![Line::new(status, check.clone(), format!("answers in {}{version}", millis(answer.took)), remedy)];
    if let Some(ahead) = answer.ahead_ms {
        lines.push(clock(format!("clock of {}", server.address), ahead));
    }
    lines
}

fn clock(check: String, ahead_ms: i64) -> Line {
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let status = match apart {
        apart if apart >= CLOCK_BROKEN => Status::Broken,
        apart if apart >= CLOCK_WARNING => Status::Warning,
        _ => Status::Ok,
    };
    let found = match status {
        Status::Ok => "the same as here".to_owned(),
        _ => format!("{} {} this machine's", age::span(apart), if ahead_ms > 0 { "ahead of" } else { "behind" }),
    };
    Line::new(status, check, found, "set the clock of the machine that is wrong, best by NTP (timedatectl set-ntp true)")
}

fn member(name: &str, time: &Result<Duration, String>, fsync: Duration, profile: supervisor::Profile) -> Line {
    let check = format!("member {name}");
    match time {
        // A tool may stand where only the API can be reached.
        Err(why) => Line::new(
            Status::Warning,
            check,
            format!("its peer port cannot be reached from here: {why}"),
            "right for a laptop; on a server, open it",
        ),
        Ok(time) => {
            let status = if *time + fsync > profile.budget() { Status::Warning } else { Status::Ok };
            Line::new(status, check, format!("a round trip takes {}", millis(*time)), slow(profile, "look at the network between them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn well() -> Measured {
        let writes = Writes { count: 200, p50: Duration::from_micros(410), p99: Duration::from_micros(2_130) };
        let wished = runtime::Settings { slots: 1_000, ..runtime::Settings::for_this_machine() }.needs();
        let answer = Answer { took: Duration::from_micros(1_900), ahead_ms: Some(-800), version: "0.1.0".to_owned() };
        Measured {
            disk: Some(Disk { directory: "/data".into(), writes: Ok(writes), free: Ok(40 << 30) }),
            system: System { files: u64::MAX, maps: u64::MAX, wished, file_rules: FileRules::Whole },
            servers: vec![Reached { address: "https://10.0.0.1:7070".to_owned(), answer: Ok(answer) }],
            members: vec![("two".to_owned(), Ok(Duration::from_micros(320)))],
        }
    }

    fn line(measured: &Measured, profile: Profile, check: &str) -> (Status, String, String) {
        let lines = judge(measured, profile, "0.1.0");
        let found = lines.into_iter().find(|line| line.check == check).unwrap_or_else(|| panic!("no line about {check}"));
        (found.status, found.found, found.remedy)
    }

    #[test]
    fn a_machine_that_is_well_has_nothing_to_mend() {
        let measured = well();
        let lines = judge(&measured, Profile::Lan, "0.1.0");
        assert!(lines.iter().all(|line| line.status == Status::Ok && line.remedy.is_empty()), "{lines:#?}");
        let shown: Vec<String> =
            lines.iter().filter(|line| !line.found.contains("full size")).map(|line| format!("{}: {}", line.check, line.found)).collect();
        expect![[r#"
            disk writes: fsync p50 0.41 ms, p99 2.13 ms over 200 writes in /data
            disk space: 40Gi free at /data
            landlock: the kernel keeps workers to their own files
            server https://10.0.0.1:7070: answers in 1.90 ms
            clock of https://10.0.0.1:7070: the same as here
            member two: a round trip takes 0.32 ms"#]]
        .assert_eq(&shown.join("\n"));
        let elsewhere = Measured { disk: None, ..measured };
        assert!(judge(&elsewhere, Profile::Lan, "0.1.0").iter().all(|line| !line.check.starts_with("disk")));
    }

    #[test]
    fn a_slow_disk_is_judged_by_the_profile() {
        let check = |p99: u64, profile: Profile, expected: Status| {
            let writes = Writes { count: 50, p50: Duration::from_millis(1), p99: Duration::from_millis(p99) };
            let measured = Measured { disk: Some(Disk { directory: "/data".into(), writes: Ok(writes), free: Ok(1 << 40) }), ..well() };
            assert_eq!(line(&measured, profile, "disk writes").0, expected, "{p99} ms, {profile:?}");
        };
        check(25, Profile::Lan, Status::Ok);
        check(26, Profile::Lan, Status::Warning);
        check(26, Profile::Cloud, Status::Ok);
        check(251, Profile::Lan, Status::Broken);
        check(251, Profile::Wan, Status::Warning);
        assert!(slow(supervisor::Profile::Lan, "x").contains("--profile cloud"));
        assert!(!slow(supervisor::Profile::Wan, "x").contains("--profile"));
    }

    #[test]
    fn space_limits_and_kernel_have_their_remedies() {
        let space = |free: u64| {
            let mut measured = well();
            measured.disk.as_mut().expect("a disk").free = Ok(free);
            line(&measured, Profile::Lan, "disk space").0
        };
        assert_eq!((space(1 << 20), space(1 << 30), space(1 << 40)), (Status::Broken, Status::Warning, Status::Ok));
        let mut measured = well();
        measured.system.maps = 8_192;
        let (status, found, remedy) = line(&measured, Profile::Lan, "memory maps");
        assert_eq!((status, remedy.as_str()), (Status::Warning, "sysctl -w vm.max_map_count=1048576"), "{found}");
        measured.system.file_rules = FileRules::Missing;
        assert_eq!(line(&measured, Profile::Lan, "landlock").0, Status::Warning);
        measured.disk = Some(Disk { directory: "/data".into(), writes: Err("permission denied".to_owned()), free: Err("?".to_owned()) });
        assert_eq!(line(&measured, Profile::Lan, "disk writes").0, Status::Broken);
    }

    #[test]
    fn clocks_and_servers_are_compared() {
        let check = |ahead: i64, status: Status, found: &str| {
            let line = clock("clock".to_owned(), ahead);
            assert_eq!((line.status, line.found.as_str()), (status, found), "{ahead}");
        };
        check(2_999, Status::Ok, "the same as here");
        check(4_000, Status::Warning, "4s ahead of this machine's");
        check(-3_600_000, Status::Broken, "1h behind this machine's");
        let mut measured = well();
        measured.servers[0].answer = Err("nobody listens".to_owned());
        assert_eq!(line(&measured, Profile::Lan, "server https://10.0.0.1:7070").0, Status::Broken);
        let lines = judge(&well(), Profile::Lan, "0.2.0");
        assert!(
            lines.iter().any(|line| line.status == Status::Warning && line.found.contains("version 0.1.0, this program 0.2.0")),
            "{lines:#?}"
        );
    }

    #[test]
    fn a_far_member_needs_a_larger_profile() {
        let with = |time: u64| Measured { members: vec![("two".to_owned(), Ok(Duration::from_millis(time)))], ..well() };
        assert_eq!(line(&with(20), Profile::Lan, "member two").0, Status::Ok);
        assert_eq!(line(&with(24), Profile::Lan, "member two").0, Status::Warning, "with the disk it is too much");
        assert_eq!(line(&with(24), Profile::Cloud, "member two").0, Status::Ok);
        let cut = Measured { members: vec![("two".to_owned(), Err("no answer in time".to_owned()))], ..well() };
        assert_eq!(line(&cut, Profile::Lan, "member two").0, Status::Warning);
    }
}
