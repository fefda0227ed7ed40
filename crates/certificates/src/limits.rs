//! Every limit of a certificate directory, with its reason. Owns the numbers; must never enforce one.

use std::time::Duration;

/// Certificate pairs of one gateway: a set is read, checked and sent as a whole, which at 256 takes milliseconds.
pub const CERTIFICATES_MAX: usize = 256;

/// Files in a certificate directory: four per pair. More is the wrong directory.
pub const FILES_MAX: usize = 4 * CERTIFICATES_MAX;

/// One certificate or key file: a chain of four RSA certificates is 8 KiB.
pub const FILE_BYTES_MAX: u64 = 64 << 10;

/// All of them together: what a set is at most when it is handed to another process.
pub const BYTES_MAX: u64 = 4 << 20;

/// Before the end of a certificate is told as near: what renews itself has done so by then.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// Between looks at the certificates when nobody says that they changed: some file systems never do.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

/// After a change the directory must have been quiet for this long: a renewal writes two files, one after the other.
pub const SETTLE: Duration = Duration::from_millis(200);

/// But not for longer than this.
pub const SETTLE_MAX: Duration = Duration::from_secs(2);
