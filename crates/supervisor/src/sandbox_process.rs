//! What a child gives up before it touches anything hostile: new privileges, its user id, and every file it does not need. Owns the rule sets;
//! must never make a child fail to start: what the kernel cannot do is said in one line.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use landlock::{ABI, Access, AccessFs, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope};
use rustix::{
    process::DumpableBehavior,
    thread::{Gid, Uid},
};
use serde::{Deserialize, Serialize};

/// The user name a system may give to workers.
const WORKER_USER: &str = "shoal-worker";

/// The user id of workers where no such user exists: in the range that neither Debian nor systemd hands out (60578 to 61183).
const WORKER_USER_ID: u32 = 60_772;

/// The newest Landlock whose restrictions these rule sets were written for; older kernels apply what they know.
pub(crate) const LANDLOCK: ABI = ABI::V6;

/// A user id, and the group of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct User(pub u32);

/// What a process may do below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Read files and list directories.
    Read,
    /// Read, and run what is there: libraries of the system.
    ReadAndExecute,
    /// Everything but running files.
    Write,
}

/// One thing a process may still do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where, and below.
    pub path: PathBuf,
    /// What.
    pub allowed: Allowed,
}

/// What a child gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardening {
    /// Become this user.
    pub user: Option<User>,
    /// What is left of the file system.
    pub rules: Vec<Rule>,
}

/// What could not be given up, each in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing(pub Vec<String>);

/// Who workers are, when this process may choose: only root can become somebody else.
pub fn worker_user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(user_named(&users, WORKER_USER).unwrap_or(User(WORKER_USER_ID)))
}

/// What a worker may touch: its own directory, code, and what name resolution and the engine read of the system.
pub fn worker_rules(data: &Path) -> Vec<Rule> {
    let mut rules =
        vec![Rule { path: data.join("worker"), allowed: Allowed::Write }, Rule { path: data.join("code"), allowed: Allowed::Read }];
    rules.extend(system_rules());
    rules
}

/// Where an operator may say which roots outgoing TLS trusts: a file, and directories.
pub const TRUST_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a worker reads to know whom to trust, when the operator said so in `environment`.
pub fn trust_rules(environment: impl Fn(&str) -> Option<OsString>) -> Vec<Rule> {
    let said = TRUST_VARIABLES.into_iter().filter_map(environment);
    let paths = said.flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    paths.filter(|path| path.is_absolute()).map(|path| Rule { path, allowed: Allowed::Read }).collect()
}

/// What a compile child may touch: incoming artifacts and the code directory.
pub fn compile_rules(data: &Path) -> Vec<Rule> {
    let mut rules = vec![
        Rule { path: data.join("worker/incoming"), allowed: Allowed::Read },
        Rule { path: data.join("code"), allowed: Allowed::Write },
    ];
    rules.extend(system_rules());
    rules
}

fn system_rules() -> Vec<Rule> {
    let read =
        ["/proc/self", "/proc/sys/vm", "/proc/swaps", "/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm"];
    let names =
        ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime"];
    let trust = ["/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/share/zoneinfo", "/run/systemd/resolve", "/dev/urandom"];
    let libraries = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
    let rule = |allowed| move |path: &str| Rule { path: path.into(), allowed };
    let mut rules: Vec<Rule> = read.into_iter().chain(names).chain(trust).map(rule(Allowed::Read)).collect();
    rules.extend(libraries.into_iter().map(rule(Allowed::ReadAndExecute)));
    rules.push(Rule { path: "/dev/null".into(), allowed: Allowed::Write });
    rules
}

impl Hardening {
    /// Gives it all up for the calling thread and every thread it starts from now on, so call it before the first. Returns what was not possible.
    pub fn apply(&self) -> Missing {
        let mut missing = Missing::default();
        if let Err(error) = rustix::thread::set_no_new_privs(true) {
            missing.0.push(format!("new privileges are still possible: {error}"));
        }
        if let Some(user) = self.user {
            if let Err(error) = become_user(user) {
                missing.0.push(format!("still runs as root: {error}"));
            }
        } else if rustix::process::geteuid().is_root() {
            missing.0.push("still runs as root".into());
        } else {
            missing.0.push("shares the supervisor's user id: only a server started as root can separate them".into());
        }
        match restrict_files(&self.rules) {
            Ok(RulesetStatus::FullyEnforced) => {}
            Ok(RulesetStatus::PartiallyEnforced) => missing.0.push("this kernel enforces only a part of the Landlock rules".into()),
            Ok(RulesetStatus::NotEnforced) => missing.0.push("this kernel has no Landlock: files are protected by user id alone".into()),
            Err(error) => missing.0.push(format!("Landlock: {error}")),
        }
        missing
    }
}

fn become_user(User(user): User) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // Changing the user id closes /proc/self to the process itself, where the engine finds which pages a guest wrote. What was in memory before is
    // the program and its configuration: nothing to hide from a process of the same user.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
}

fn restrict_files(rules: &[Rule]) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut ruleset =
        landlock::Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK))?.scope(Scope::from_all(LANDLOCK))?.create()?;
    for rule in rules {
        // Paths this system does not have are left out.
        ruleset = ruleset.add_rules(landlock::path_beneath_rules([&rule.path], access(rule.allowed)))?;
    }
    ruleset.restrict_self().map(|status| status.ruleset)
}

fn access(allowed: Allowed) -> landlock::BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match allowed {
        Allowed::Read => read,
        Allowed::ReadAndExecute => read | AccessFs::Execute,
        Allowed::Write => AccessFs::from_all(LANDLOCK) & !AccessFs::Execute,
    }
}

fn user_named(passwd: &str, name: &str) -> Option<User> {
    let mut fields = passwd.lines().map(|line| line.split(':')).find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    fields.nth(1)?.parse().ok().filter(|user| *user != 0).map(User)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rules: &[Rule], path: &str) -> Option<Allowed> {
        rules.iter().filter(|rule| Path::new(path).starts_with(&rule.path)).map(|rule| rule.allowed).next()
    }

    #[test]
    fn a_worker_is_left_its_own_directory_and_code_and_nothing_else_of_the_data() {
        let rules = worker_rules(Path::new("/data"));
        let check = |path, expected| assert_eq!(allowed(&rules, path), expected, "{path}");
        check("/data/worker/assignment.json", Some(Allowed::Write));
        check("/data/code/x.code", Some(Allowed::Read));
        for closed in [
            "/data/control/log/1",
            "/data/control/artifacts/x",
            "/data/api.sock",
            "/data/lock",
            "/etc/shadow",
            "/root/.ssh",
            "/proc/1/mem",
            "/tmp/x",
        ] {
            check(closed, None);
        }
    }

    #[test]
    fn a_worker_reads_the_roots_an_operator_names() {
        let said = |name: &str| (name == "SSL_CERT_DIR").then(|| "/own/roots:relative:/more".into());
        let rules = trust_rules(said);
        let read = |path: &str| Rule { path: path.into(), allowed: Allowed::Read };
        assert_eq!(rules, [read("/own/roots"), read("/more")]);
        assert_eq!(trust_rules(|_| None), []);
    }

    #[test]
    fn a_compile_child_is_left_what_comes_in_and_what_goes_out() {
        let rules = compile_rules(Path::new("/data"));
        let check = |path, expected| assert_eq!(allowed(&rules, path), expected, "{path}");
        check("/data/worker/incoming/x.wasm", Some(Allowed::Read));
        check("/data/code/x.code", Some(Allowed::Write));
        check("/data/worker/assignment.json", None);
        check("/data/control/log/1", None);
    }

    #[test]
    fn nothing_written_can_be_run() {
        assert!(!access(Allowed::Write).contains(AccessFs::Execute));
        assert!(!access(Allowed::Read).contains(AccessFs::WriteFile));
    }

    #[test]
    fn a_user_is_found_by_name_and_never_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\nshoal-worker:x:997:996::/nonexistent:/usr/sbin/nologin\nbad:x:0:0::/:/bin/sh\n";
        assert_eq!(user_named(passwd, "shoal-worker"), Some(User(997)));
        assert_eq!(user_named(passwd, "bad"), None);
        assert_eq!(user_named(passwd, "absent"), None);
    }

    /// What a thread with `hardening` must not be able to do in a laid-out data directory, and what it must.
    fn check_separation(hardening: impl FnOnce(&Path) -> Hardening) {
        let directory = tempfile::tempdir().unwrap();
        let data = crate::data_directory::DataDirectory::open(&directory.path().join("data")).unwrap();
        data.lay_out(worker_user()).unwrap();
        fs::write(data.path.join("control/log"), "votes").unwrap();
        fs::write(data.path.join("code/x.code"), "code").unwrap();
        // A whole process starts inside its directory; this thread has to walk there.
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let (root, hardening) = (data.path.clone(), hardening(&data.path));
        std::thread::spawn(move || {
            let missing = hardening.apply();
            let denied = |path: &str| fs::read(root.join(path)).unwrap_err().kind();
            assert_eq!(denied("control/log"), std::io::ErrorKind::PermissionDenied, "{missing:?}");
            assert_eq!(denied("lock"), std::io::ErrorKind::PermissionDenied);
            assert!(fs::read_dir(&root).is_err(), "not even the names");
            assert!(fs::write(root.join("code/y.code"), "forged").is_err());
            assert!(fs::write("/etc/shoal-was-here", "").is_err());
            fs::write(root.join("worker/assignment.json"), "{}").unwrap();
            assert!(fs::metadata(root.join("code/x.code")).is_ok());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_user_id_alone_keeps_a_worker_from_the_log_of_the_control_plane() {
        let Some(user) = worker_user() else {
            eprintln!("SKIPPED: only root can become another user");
            return;
        };
        let everything = vec![Rule { path: "/".into(), allowed: Allowed::Write }];
        check_separation(|_| Hardening { user: Some(user), rules: everything });
    }

    #[test]
    fn landlock_alone_keeps_a_worker_from_the_log_of_the_control_plane() {
        let probe = std::thread::spawn(|| restrict_files(&[Rule { path: "/".into(), allowed: Allowed::Write }]));
        if !matches!(probe.join().unwrap(), Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced)) {
            eprintln!("SKIPPED: this kernel has no Landlock");
            return;
        }
        check_separation(|data| Hardening { user: None, rules: worker_rules(data) });
    }
}
