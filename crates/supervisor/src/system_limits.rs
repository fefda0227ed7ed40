//! Whether the system lets a worker be as large as it should: open files, memory maps. Owns raising what may be raised and showing the sum; must never
//! decide how large an engine is.

use std::fs;

use runtime::{Settings, SystemNeeds};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

use super::start_error::StartError;

/// Sandboxes a worker has where nothing is in the way; with fewer, start says what is.
const SLOTS_WISHED: u32 = 1_000;

/// Longest core: too short for one.
const CORE_BYTES: u64 = 1;

/// The line that lets a worker have as many memory maps as it wants.
const MAPS_REMEDY: &str = "sysctl -w vm.max_map_count=1048576";

/// The line that lets a worker have as many files as it wants.
const FILES_REMEDY: &str = "raise the hard limit: LimitNOFILE=1048576 in the systemd unit, or   ulimit -Hn 1048576   as root";

/// What the system allows this process and its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowed {
    maps: u64,
    files: u64,
}

/// Has the kernel write no memory of this process and its children to disk when one of them crashes: secrets, keys and guests' data are in it. One byte says so to
/// programs that cores are piped to as well; a zero does not (core(5)).
pub fn forbid_cores() {
    let hard = getrlimit(Resource::Core).maximum;
    let most = hard.map_or(CORE_BYTES, |hard| hard.min(CORE_BYTES));
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) }) {
        tracing::warn!(error = %error, "a crash may write memory to disk");
    }
}

/// Closes the memory of this process to others of its user: no debugger, no core, and files in /proc that are root's. For whoever holds keys and need not look
/// at its own pages; a worker must.
pub fn hide_memory() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(error = %error, "other processes of this user may read the memory of this one");
    }
}

/// Raises what may be raised, logs the sum, and refuses when not even the smallest worker fits.
pub fn prepare() -> Result<(), StartError> {
    let allowed = Allowed { maps: maps_max(), files: raise_files() };
    let settings = Settings::for_this_machine();
    let needs = settings.needs();
    check(needs, allowed)?;
    tracing::info!(
        slots = settings.slots,
        maps.needed = needs.maps,
        maps.allowed = allowed.maps,
        files.needed = needs.files,
        files.allowed = allowed.files,
        sum = %needs.to_string().replace('\n', "; "),
        "the system's limits fit"
    );
    if settings.slots < SLOTS_WISHED {
        tracing::warn!(
            slots = settings.slots,
            slots.wished = SLOTS_WISHED,
            maps.allowed = allowed.maps,
            files.allowed = allowed.files,
            help = remedy(Settings { slots: SLOTS_WISHED, ..settings }.needs(), allowed),
            "the worker has fewer sandboxes than it should, a limit of the system is low"
        );
    }
    Ok(())
}

fn check(needs: SystemNeeds, allowed: Allowed) -> Result<(), StartError> {
    if needs.maps > allowed.maps {
        return Err(StartError::SystemLimit { what: "memory maps", needs: needs.maps, allows: allowed.maps, remedy: MAPS_REMEDY });
    }
    if needs.files > allowed.files {
        return Err(StartError::SystemLimit { what: "open files", needs: needs.files, allows: allowed.files, remedy: FILES_REMEDY });
    }
    Ok(())
}

fn remedy(wished: SystemNeeds, allowed: Allowed) -> &'static str {
    if wished.maps > allowed.maps { MAPS_REMEDY } else { FILES_REMEDY }
}

fn maps_max() -> u64 {
    // A kernel that does not say has the default of all kernels.
    fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_530)
}

/// Raises the soft limit of open files to the hard one; returns what holds then.
fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(error = %error, "the limit of open files cannot be raised");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_told_with_the_line_that_raises_it() {
        let needs = Settings { slots: 10, ..Settings::for_this_machine() }.needs();
        let enough = Allowed { maps: needs.maps, files: needs.files };
        assert!(check(needs, enough).is_ok());
        let error = check(needs, Allowed { maps: needs.maps - 1, ..enough }).unwrap_err();
        assert_eq!(error.code(), "E0606");
        assert!(error.problem().unwrap().help.contains("vm.max_map_count"));
        let error = check(needs, Allowed { files: needs.files - 1, ..enough }).unwrap_err();
        assert!(error.problem().unwrap().help.contains("LimitNOFILE"));
    }

    #[test]
    fn files_are_raised_to_the_hard_limit() {
        raise_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn no_core_is_long_enough_for_one_and_nobody_may_have_a_longer_one() {
        forbid_cores();
        let limit = getrlimit(Resource::Core);
        assert!(limit.current.is_some_and(|bytes| bytes <= CORE_BYTES) && limit.current == limit.maximum, "{limit:?}");
        forbid_cores();
        assert_eq!(getrlimit(Resource::Core), limit, "again, as every node of a process does");
    }
}
