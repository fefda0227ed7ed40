//! How large the engine of a node is, and what that asks of the machine. Owns the sums; must never start anything.

use std::{fmt, fs, net::SocketAddr, time::Duration};

use rustix::{mm, process, system};

use crate::limits;

/// How the engine of a node is built. [`Settings::for_this_machine`] fits it to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Sandboxes that may live at once.
    pub slots: u32,
    /// Code files that are opened at once, as far as the sums of what is needed go.
    pub codes: u32,
    /// Most memory one sandbox may be granted, in bytes.
    pub slot_memory_bytes_max: usize,
    /// How often a computing guest lets others run.
    pub tick: Duration,
    /// How long a guest may work on after its response has been sent whole.
    pub after_response: Duration,
    /// How long a sandbox that is kept for other requests may be idle.
    pub kept_idle: Duration,
    /// Where memories come from.
    pub allocator: Allocator,
    /// How a used memory is cleared.
    pub dirty_pages: DirtyPages,
    /// Sockets of the gateway, which guests reach only by a rule that names the address. One of an unspecified address is one of every address of this
    /// machine.
    pub cluster_sockets: Vec<SocketAddr>,
    /// Ports of this machine by which the cluster is run: no guest reaches them, on no address of it.
    pub closed_ports: Vec<u16>,
}

/// Where the memories and stacks of sandboxes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// Reserved at start and used again: 3 to 4 times cheaper per request.
    Pool,
    /// Mapped for each sandbox: for machines whose addresses are too few for a pool.
    OnDemand,
}

/// How the pages a guest wrote are found before the next one gets the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirtyPages {
    /// The kernel lists them and only they are cleared: halves the cost of a request. Not safe where pages may be swapped out, because the kernel
    /// then does not list them and the next guest could read them.
    Listed,
    /// Every memory is given back whole.
    Dropped,
}

/// What the settings ask of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemNeeds {
    /// Memory maps (`vm.max_map_count`).
    pub maps: u64,
    /// Open files (`RLIMIT_NOFILE`).
    pub files: u64,
    /// Address space to reserve, in bytes.
    pub address_bytes: u64,
    /// Slots the sums are for.
    slots: u32,
    /// Code files the sums are for.
    codes: u32,
}

impl Settings {
    /// The largest settings up to the default that this machine can hold.
    pub fn for_this_machine() -> Self {
        Machine::probe().settings()
    }

    /// What these settings ask of the system.
    pub fn needs(&self) -> SystemNeeds {
        let (slots, codes) = (u64::from(self.slots), u64::from(self.codes));
        SystemNeeds {
            maps: limits::MAPS_BASE + limits::MAPS_PER_SLOT * slots + limits::MAPS_PER_CODE * codes,
            files: limits::FILES_BASE + limits::FILES_PER_SLOT * slots + codes,
            address_bytes: match self.allocator {
                // Both engines have a pool that could hold every slot.
                Allocator::Pool => 2 * limits::SLOT_RESERVED_BYTES * slots,
                Allocator::OnDemand => 0,
            },
            slots: self.slots,
            codes: self.codes,
        }
    }
}

impl fmt::Display for SystemNeeds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { maps, files, address_bytes, slots, codes } = self;
        writeln!(
            out,
            "memory maps {maps} = {} + {} x {slots} slots + {} x {codes} components",
            limits::MAPS_BASE,
            limits::MAPS_PER_SLOT,
            limits::MAPS_PER_CODE
        )?;
        writeln!(out, "open files {files} = {} + {} x {slots} slots + {codes} components", limits::FILES_BASE, limits::FILES_PER_SLOT)?;
        write!(out, "address space {} GiB", address_bytes >> 30)
    }
}

/// What the machine says about itself.
#[derive(Debug, Clone, Copy)]
struct Machine {
    maps_max: u64,
    files_max: u64,
    swaps: bool,
    kernel: (u32, u32),
    pagemap: bool,
}

impl Machine {
    fn probe() -> Self {
        let maps_max = fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
        // The first line of /proc/swaps is its heading. A file that cannot be read counts as swap, the careful answer.
        let swaps = fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().skip(1).any(|line| !line.trim().is_empty()));
        Self {
            maps_max: maps_max.unwrap_or(65_530),
            files_max: process::getrlimit(process::Resource::Nofile).current.unwrap_or(u64::MAX),
            swaps,
            kernel: kernel_version(&system::uname().release().to_string_lossy()),
            // Closed to processes that changed their user, and where a sandbox around the process leaves out /proc.
            pagemap: fs::File::open("/proc/self/pagemap").is_ok(),
        }
    }

    fn settings(self) -> Settings {
        let mut settings = Settings {
            slots: limits::SLOTS_DEFAULT,
            codes: limits::CODES_DEFAULT,
            slot_memory_bytes_max: limits::SLOT_MEMORY_BYTES_MAX,
            tick: limits::TICK,
            after_response: limits::AFTER_RESPONSE,
            kept_idle: limits::KEPT_IDLE,
            allocator: Allocator::Pool,
            dirty_pages: self.dirty_pages(),
            cluster_sockets: Vec::new(),
            closed_ports: Vec::new(),
        };
        while !self.holds(settings.needs()) && settings.slots > limits::SLOTS_MIN {
            settings.slots = (settings.slots / 2).max(limits::SLOTS_MIN);
            settings.codes = (settings.codes / 2).max(limits::SLOTS_MIN);
        }
        if !address_space_holds(settings.needs().address_bytes) {
            settings.allocator = Allocator::OnDemand;
        }
        settings
    }

    fn holds(self, needs: SystemNeeds) -> bool {
        needs.maps <= self.maps_max && needs.files <= self.files_max && address_space_holds(needs.address_bytes)
    }

    /// The kernel lists dirty pages since 6.7.
    fn dirty_pages(self) -> DirtyPages {
        if !self.swaps && self.pagemap && self.kernel >= (6, 7) { DirtyPages::Listed } else { DirtyPages::Dropped }
    }
}

/// `6.18.44-generic` is (6, 18); what cannot be read is (0, 0).
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|mark: char| !mark.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether `bytes` of addresses can be reserved in one piece, as the pool does. Some processors have 39-bit addresses, and RLIMIT_AS may stand in the way.
fn address_space_holds(bytes: u64) -> bool {
    let Ok(length) = usize::try_from(bytes) else { return false };
    if length == 0 {
        return true;
    }
    // SAFETY: the map is new, private and without access, nobody else knows its address, and it is removed with the same length.
    unsafe {
        match mm::mmap_anonymous(std::ptr::null_mut(), length, mm::ProtFlags::empty(), mm::MapFlags::PRIVATE | mm::MapFlags::NORESERVE) {
            Ok(address) => mm::munmap(address, length).is_ok(),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_pages_are_listed_only_without_swap_on_a_new_kernel() {
        let check = |swaps, release: &str, expected| {
            let machine = Machine { maps_max: 65_530, files_max: 1_024, swaps, kernel: kernel_version(release), pagemap: true };
            assert_eq!(machine.dirty_pages(), expected, "{release} swap {swaps}");
            assert_eq!(Machine { pagemap: false, ..machine }.dirty_pages(), DirtyPages::Dropped);
        };
        check(false, "6.18.44-fc-v669", DirtyPages::Listed);
        check(false, "6.7.0", DirtyPages::Listed);
        check(true, "6.18.44", DirtyPages::Dropped);
        check(false, "6.6.99", DirtyPages::Dropped);
        check(false, "5.15.0-generic", DirtyPages::Dropped);
        check(false, "unknown", DirtyPages::Dropped);
    }

    #[test]
    fn the_sum_is_shown() {
        let settings = Settings {
            slots: 10,
            codes: 1_000,
            slot_memory_bytes_max: 1,
            tick: limits::TICK,
            after_response: limits::AFTER_RESPONSE,
            kept_idle: limits::KEPT_IDLE,
            allocator: Allocator::Pool,
            dirty_pages: DirtyPages::Dropped,
            cluster_sockets: Vec::new(),
            closed_ports: Vec::new(),
        };
        let needs = settings.needs();
        assert_eq!((needs.maps, needs.files, needs.address_bytes >> 30), (5_100, 1_276, 80));
        assert!(needs.to_string().contains("memory maps 5100 = 2000 + 10 x 10 slots + 3 x 1000 components"), "{needs}");
        assert_eq!(Settings { allocator: Allocator::OnDemand, ..settings }.needs().address_bytes, 0);
    }

    /// Goal: a process with the usual 1,024 files still gets a useful number of slots.
    #[test]
    fn settings_shrink_to_a_small_machine() {
        let machine = Machine { maps_max: 65_530, files_max: 1_024, swaps: false, kernel: (6, 18), pagemap: true };
        let settings = machine.settings();
        assert_eq!((settings.slots, settings.codes), (250, 250));
        assert!(settings.needs().files <= 1_024);
        let crowded = Machine { maps_max: 10, ..machine }.settings();
        assert_eq!((crowded.slots, crowded.codes), (limits::SLOTS_MIN, limits::SLOTS_MIN));
    }

    #[test]
    fn this_machine_gets_slots() {
        let settings = Settings::for_this_machine();
        assert!((limits::SLOTS_MIN..=limits::SLOTS_DEFAULT).contains(&settings.slots), "{settings:?}");
    }
}
