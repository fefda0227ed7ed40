//! What one entry of the log says, and how that is written. Owns the stored form; must never look into a command.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    frame::{self, FrameError, Schema},
    group::Members,
};

/// What one entry says. Variants are only ever appended.
#[derive(Serialize, Deserialize)]
enum Payload<C> {
    /// Nothing; a new leader's first entry.
    Blank,
    /// A command.
    Command(C),
    /// Who is in the group from here on.
    Members(Members),
}

/// Stands for a command that is not looked into.
#[derive(Serialize, Deserialize)]
enum Unread {}

/// What an entry says, the command still in its frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Blank,
    Command,
    Members(Members),
}

/// The number bincode writes for [`Payload::Command`].
const COMMAND_TAG: u8 = 1;

/// A command in its frame.
pub(crate) fn command<C: Serialize>(command: &C) -> Result<Bytes, FrameError> {
    frame::encode(Schema::Entry, &Payload::Command(command)).map(Bytes::from)
}

pub(crate) fn blank() -> Result<Bytes, FrameError> {
    frame::encode(Schema::Entry, &Payload::<Unread>::Blank).map(Bytes::from)
}

pub(crate) fn members(members: &Members) -> Result<Bytes, FrameError> {
    frame::encode(Schema::Entry, &Payload::<Unread>::Members(members.clone())).map(Bytes::from)
}

/// Checks a frame and says what kind of entry it is.
pub(crate) fn open(payload: &[u8]) -> Result<Body, FrameError> {
    if frame::unwrap(Schema::Entry, payload)?.first() == Some(&COMMAND_TAG) {
        return Ok(Body::Command);
    }
    match frame::decode(Schema::Entry, payload)? {
        Payload::<Unread>::Blank => Ok(Body::Blank),
        Payload::Members(members) => Ok(Body::Members(members)),
        Payload::Command(unread) => match unread {},
    }
}

/// The command in a frame that [`open`] calls one.
pub(crate) fn read_command<C: DeserializeOwned>(payload: &[u8]) -> Result<C, FrameError> {
    match frame::decode(Schema::Entry, payload)? {
        Payload::Command(command) => Ok(command),
        Payload::Blank | Payload::Members(_) => Err(FrameError::Body("not a command".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Peer;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn entries_are_written_like_this_for_ever() {
        let members_of = Members { configs: vec![vec![1]], peers: vec![Peer { id: 1, address: "a:1".to_owned() }] };
        let written = [blank(), command(&"hi".to_owned()), members(&members_of)].map(|frame| hex(&frame.expect("encodes")[12..]));
        assert_eq!(written, ["00", "01026869", "020101010101036131".replace("036131", "03613a31").as_str()]);
    }

    #[test]
    fn entries_are_read_back() {
        let peers = vec![Peer { id: 7, address: "seven:7071".to_owned() }];
        let some = Members { configs: vec![vec![7]], peers };
        assert_eq!(open(&blank().expect("encodes")), Ok(Body::Blank));
        assert_eq!(open(&members(&some).expect("encodes")), Ok(Body::Members(some)));
        let hello = command(&"hello").expect("encodes");
        assert_eq!(open(&hello), Ok(Body::Command));
        assert_eq!(read_command::<String>(&hello), Ok("hello".to_owned()));
        assert!(read_command::<String>(&blank().expect("encodes")).is_err());
    }
}
