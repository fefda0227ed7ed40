//! A small disk under one node, which can be filled and emptied. Owns how that is done on this machine; must never fill a disk that somebody else uses.
//!
//! Where this program may mount, the disk is a file system of its own in memory. Elsewhere the kernel is told that no file of the control plane may grow: it
//! ends the process at the next write, and the one that the supervisor starts after it has no such limit.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::Pid;
use tempfile::TempDir;

/// Bytes of the disk: a few times what a node keeps free.
const DISK_BYTES: u64 = 192 << 20;

/// What fills a disk.
const FILLING: &str = "filling";

/// How a disk is full.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted; absent where nothing may be mounted.
    mounted: Option<PathBuf>,
}

impl Disk {
    /// An empty disk, and the directory of a node whose data lie on it.
    pub fn new() -> (Self, TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("an empty directory");
        let size = format!("size={DISK_BYTES},mode=0700");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "shoal-test"]).arg(&data).stderr(Stdio::null()).status();
        let mounted = mount.is_ok_and(|status| status.success()).then_some(data);
        if mounted.is_none() {
            println!("nothing may be mounted here: the size of files is limited instead");
        }
        (Self { mounted }, directory)
    }

    /// Nothing more fits on it. `control_plane` is the process that writes to it.
    pub fn fill(&self, control_plane: Pid) {
        let Some(data) = &self.mounted else {
            let pid = control_plane.as_raw_nonzero().to_string();
            let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=0:0"]).status();
            assert!(limited.is_ok_and(|status| status.success()), "prlimit limits a process of the same user");
            return;
        };
        let mut file = File::create(data.join(FILLING)).expect("an empty file");
        let piece = vec![7; 1 << 16];
        // Until the disk is full, which is the point.
        while file.write_all(&piece).is_ok() {}
    }

    /// There is room again.
    pub fn empty(&self) {
        if let Some(data) = &self.mounted {
            fs::remove_file(data.join(FILLING)).expect("the filling is there");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(data) = &self.mounted {
            // Lazily: the processes on it are killed a moment later.
            let _ = Command::new("umount").arg("--lazy").arg(data).status();
        }
    }
}
