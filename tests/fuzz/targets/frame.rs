//! Any bytes as a frame of the log, and as the body of a frame whose checksum is right: they decode or are refused, and what decodes is written back
//! as it reads. Must never know what a command does.
#![no_main]

use consensus::{
    frame::{self, FrameError, HEADER_BYTES, Schema},
    log::{Entry, Vote},
};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use state::command::Command;

/// The log's own, which is private: see `Payload` in `crates/consensus/src/owner.rs`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Payload {
    Blank,
    Command(Command),
}

fuzz_target!(|bytes: &[u8]| {
    let _ = frame::length(bytes);
    any::<Payload>(Schema::Entry, bytes);
    any::<Vote>(Schema::Vote, bytes);
    whole::<Payload>(Schema::Entry, bytes);
    whole::<Vote>(Schema::Vote, bytes);
    whole::<Entry>(Schema::MemoryRecord, bytes);
});

fn any<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(schema: Schema, bytes: &[u8]) {
    if let Ok(value) = frame::decode::<T>(schema, bytes) {
        stays(schema, &value);
    }
}

/// Puts `body` in a frame that is whole, so that the decoder behind the checksum is reached.
fn whole<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(schema: Schema, body: &[u8]) {
    let Ok(length) = u32::try_from(body.len()) else { return };
    let mut bytes = vec![0xA5, 0, schema as u8, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(crc32c::crc32c_append(crc32c::crc32c(&bytes), body).to_be_bytes());
    bytes.extend(body);
    assert_eq!(frame::length(&bytes), Ok(HEADER_BYTES + body.len()));
    match frame::decode::<T>(schema, &bytes) {
        Ok(value) => stays(schema, &value),
        Err(error) => assert!(matches!(error, FrameError::Body(_)), "the frame itself is right: {error}"),
    }
}

fn stays<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(schema: Schema, value: &T) {
    let bytes = frame::encode(schema, value).expect("what was decoded can be encoded");
    assert_eq!(frame::decode::<T>(schema, &bytes).as_ref(), Ok(value));
}
