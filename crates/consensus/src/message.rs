//! What members say to each other. Owns the bytes on the wire; must never know how they travel, nor act on them.
//!
//! Every message is one frame. Variants are only ever appended and their fields never change, so that members of two versions understand each other.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    GroupId, Peer,
    frame::{self, Schema},
    log::{Entry, LogId, Vote},
};

/// A message and for whom it is: one that reaches the wrong member, or a member of another group, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) group: GroupId,
    pub(crate) to: u64,
    pub(crate) message: Message,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    AppendV1 { vote: Vote, previous: Option<LogId>, entries: Vec<Entry>, committed: Option<LogId> },
    VoteV1 { vote: Vote, last: Option<LogId>, transfer: bool },
    PreVoteV1 { vote: Vote, last: Option<LogId>, transfer: bool },
    TransferV1 { vote: Vote, to: u64, last: Option<LogId> },
    SnapshotV1(Piece),
    ReadIndexV1,
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) vote: Vote,
    /// Which sending it belongs to, unique for a leader in its term.
    pub(crate) transfer: u64,
    /// Where it stands in the file, in bytes.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
    pub(crate) end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    AppendV1(Appended),
    VoteV1 { vote: Vote, granted: bool, last: Option<LogId> },
    TransferV1(Transferred),
    SnapshotV1(Received),
    ReadIndexV1(ReadIndex),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Appended {
    Whole,
    Upto(Option<LogId>),
    Conflict,
    Higher(Vote),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transferred {
    Accepted,
    VoteChanged { expected: Vote, actual: Vote },
    NotFlushed { expected: Option<LogId>, actual: Option<LogId> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Received {
    /// Send on from here; 0 is the start.
    SendFrom(u64),
    /// All of it is there and the state is restored, or `vote` is higher than the sender's.
    Done { vote: Vote },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReadIndex {
    At(u64),
    NotLeader { leader: Option<Peer> },
    NoQuorum,
}

pub(crate) fn encode(envelope: &Envelope) -> io::Result<Bytes> {
    frame::encode(Schema::Message, envelope).map(Bytes::from).map_err(invalid)
}

pub(crate) fn decode(bytes: &[u8]) -> io::Result<Envelope> {
    read(Schema::Message, bytes)
}

/// Who says in `message` that it leads, and in which term: `(term, member)`. Only what a leader sends says so, and it was elected then, whether or not it has
/// written anything. For those who carry messages and look whether a term has one leader.
///
/// # Errors
/// It is no message.
pub fn leader_in(message: &[u8]) -> io::Result<Option<(u64, u64)>> {
    let vote = match decode(message)?.message {
        Message::AppendV1 { vote, .. } | Message::TransferV1 { vote, .. } => vote,
        Message::SnapshotV1(piece) => piece.vote,
        Message::VoteV1 { .. } | Message::PreVoteV1 { .. } | Message::ReadIndexV1 => return Ok(None),
    };
    Ok(vote.committed.then_some((vote.term, vote.node)))
}

pub(crate) fn encode_answer(answer: &Answer) -> io::Result<Bytes> {
    frame::encode(Schema::Reply, answer).map(Bytes::from).map_err(invalid)
}

pub(crate) fn decode_answer(bytes: &[u8]) -> io::Result<Answer> {
    read(Schema::Reply, bytes)
}

fn read<T: DeserializeOwned>(schema: Schema, bytes: &[u8]) -> io::Result<T> {
    frame::decode(schema, bytes).map_err(invalid)
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const AT: LogId = LogId { term: 3, index: 300 };
    const VOTE: Vote = Vote { term: 3, committed: true, node: 2 };

    fn messages() -> Vec<Message> {
        let entry = Entry { id: AT, payload: Bytes::from_static(b"payload") };
        let piece = Piece { vote: VOTE, transfer: 4, offset: 1 << 20, bytes: Bytes::from_static(b"piece"), end: true };
        vec![
            Message::AppendV1 { vote: VOTE, previous: Some(AT), entries: vec![entry], committed: None },
            Message::VoteV1 { vote: VOTE, last: Some(AT), transfer: true },
            Message::PreVoteV1 { vote: VOTE, last: None, transfer: false },
            Message::TransferV1 { vote: VOTE, to: 7, last: Some(AT) },
            Message::SnapshotV1(piece),
            Message::ReadIndexV1,
        ]
    }

    fn answers() -> Vec<Answer> {
        let peer = Peer { id: 7, address: "a:1".to_owned() };
        vec![
            Answer::AppendV1(Appended::Whole),
            Answer::AppendV1(Appended::Upto(Some(AT))),
            Answer::AppendV1(Appended::Conflict),
            Answer::AppendV1(Appended::Higher(VOTE)),
            Answer::VoteV1 { vote: VOTE, granted: true, last: Some(AT) },
            Answer::TransferV1(Transferred::Accepted),
            Answer::TransferV1(Transferred::VoteChanged { expected: VOTE, actual: VOTE }),
            Answer::TransferV1(Transferred::NotFlushed { expected: Some(AT), actual: None }),
            Answer::SnapshotV1(Received::SendFrom(9)),
            Answer::SnapshotV1(Received::Done { vote: VOTE }),
            Answer::ReadIndexV1(ReadIndex::At(300)),
            Answer::ReadIndexV1(ReadIndex::NotLeader { leader: Some(peer) }),
            Answer::ReadIndexV1(ReadIndex::NoQuorum),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes[frame::HEADER_BYTES..].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_are_written_like_this_for_ever() {
        let envelope = |message| Envelope { group: GroupId([6; 16]), to: 5, message };
        let written: Vec<String> = messages().into_iter().map(|message| hex(&encode(&envelope(message)).expect("encodes"))).collect();
        expect![[r#"
            0606060606060606060606060606060605000301020103fb2c010103fb2c01077061796c6f616400
            0606060606060606060606060606060605010301020103fb2c0101
            0606060606060606060606060606060605020301020000
            060606060606060606060606060606060503030102070103fb2c01
            06060606060606060606060606060606050403010204fc0000100005706965636501
            060606060606060606060606060606060505"#]]
        .assert_eq(&written.join("\n"));
        for message in messages() {
            assert_eq!(decode(&encode(&envelope(message.clone())).expect("encodes")).expect("decodes"), envelope(message));
        }
    }

    #[test]
    fn answers_are_written_like_this_for_ever() {
        let written: Vec<String> = answers().iter().map(|answer| hex(&encode_answer(answer).expect("encodes"))).collect();
        expect![[r#"
            0000
            00010103fb2c01
            0002
            0003030102
            01030102010103fb2c01
            0200
            0201030102030102
            02020103fb2c0100
            030009
            0301030102
            0400fb2c01
            0401010703613a31
            0402"#]]
        .assert_eq(&written.join("\n"));
        for answer in answers() {
            assert_eq!(decode_answer(&encode_answer(&answer).expect("encodes")).expect("decodes"), answer);
        }
    }

    #[test]
    fn what_a_leader_sends_says_that_it_leads() {
        let envelope = |message| Envelope { group: GroupId([6; 16]), to: 5, message };
        let said: Vec<_> =
            messages().into_iter().map(|message| leader_in(&encode(&envelope(message)).expect("encodes")).expect("a message")).collect();
        assert_eq!(said, [Some((3, 2)), None, None, Some((3, 2)), Some((3, 2)), None]);
        let asks = Vote { committed: false, ..VOTE };
        let append = Message::AppendV1 { vote: asks, previous: None, entries: Vec::new(), committed: None };
        assert_eq!(leader_in(&encode(&envelope(append)).expect("encodes")).expect("a message"), None);
        assert!(leader_in(b"nothing").is_err());
    }

    #[test]
    fn a_question_is_no_answer() {
        let envelope = Envelope { group: GroupId::default(), to: 1, message: Message::ReadIndexV1 };
        assert!(decode_answer(&encode(&envelope).expect("encodes")).is_err());
    }
}
