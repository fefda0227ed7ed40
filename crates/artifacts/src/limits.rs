//! What the store of artifacts allows, each limit with its reason. Owns the numbers only the store must know; the shared ones are in `api::limits`.

use std::time::Duration;

/// Between two pieces of an upload. One that never comes must not hold a place.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(20);

/// One whole upload: the largest artifact at 256 KiB/s. Slower ones would hold a place that others wait for.
pub const UPLOAD_MAX: Duration =
    Duration::from_secs(api::limits::CALL_MAX.as_secs() + api::limits::ARTIFACT_BYTES_MAX / api::limits::UPLOAD_BYTES_PER_SECOND_MIN);

/// Uploads at once: together they may fill 2 GiB before they are checked.
pub const UPLOADS_MAX: usize = 8;

/// Artifacts from which on those that no kept revision names go: a directory of this size is still read in a tenth of a second.
pub const ARTIFACTS_MAX: usize = 65_536;

/// How long an artifact stays after it was uploaded, asked for or applied last: an apply uploads first and writes afterwards, and people take their time
/// between a plan and its apply.
pub const ARTIFACT_GRACE: Duration = Duration::from_secs(3600);

/// Inspections that are kept; beyond this an artifact is read again, which takes 15 µs.
pub const FACTS_CACHED_MAX: usize = 128;
