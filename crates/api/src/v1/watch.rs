//! Watching objects: what a stream of server-sent events carries. Owns the messages and the position in the stream; must never know what an object means.
//!
//! List first, and watch from the list's `resourceVersion`: nothing falls between. The id of each event is the position after it, on every server alike, so
//! that whoever is cut off goes on with it at any of them.

use std::{fmt, str::FromStr};

use model::id::{Index, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use utoipa::ToSchema;

/// What `GET /v1/watch` takes. The header `Last-Event-ID` counts for more than `after`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectQuery {
    /// Changes after this position: a list's `resourceVersion`, or the id of an event. Absent: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub after: Option<Position>,
    /// Only these kinds, separated by commas: `App,Instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only objects of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
}

/// A place in the stream of all changes: `7` is behind everything that entry 7 of the log changed, `7.2` behind the third thing that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry.
    pub index: Index,
    /// The last change of it that was seen; absent when all were.
    pub within: Option<u32>,
}

impl Position {
    /// Behind everything that the entry `index` changed.
    pub fn after(index: Index) -> Self {
        Self { index, within: None }
    }

    /// Whether the change `number` of the entry `index` comes behind this.
    pub fn is_before(self, index: Index, number: u32) -> bool {
        index > self.index || (index == self.index && self.within.is_some_and(|seen| number > seen))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.within {
            None => write!(out, "{}", self.index.0),
            Some(number) => write!(out, "{}.{number}", self.index.0),
        }
    }
}

/// A text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no position of a watch: write INDEX or INDEX.NUMBER, as a list or an event has it")]
pub struct InvalidPosition {
    /// The text.
    pub text: String,
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition { text: text.chars().take(64).collect() };
        let (index, within) = match text.split_once('.') {
            None => (text, None),
            Some((index, number)) => (index, Some(number.parse().map_err(|_| invalid())?)),
        };
        Ok(Self { index: Index(index.parse().map_err(|_| invalid())?), within })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a watcher hears. The event's name is the tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum ObjectEvent {
    /// There is a new object.
    Added(ObjectChange),
    /// An object is another than before.
    Modified(ObjectChange),
    /// An object is gone.
    Deleted(ObjectChange),
    /// Everything up to here was told. Comes at the beginning and now and then.
    Bookmark {
        /// The position, which is the event's id too.
        #[schema(value_type = String)]
        at: Position,
    },
    /// The watcher was too slow, and what comes next is forgotten: list again. Nothing follows.
    Compacted {
        /// Changes after this index are known still.
        #[schema(value_type = u64)]
        oldest: Index,
    },
}

/// One changed object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// The position behind it, which is the event's id too.
    #[schema(value_type = String)]
    pub at: Position,
    /// `App`, `Instance`, `Config`, …
    pub kind: String,
    /// The namespace it lives in; absent when it lives in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
    /// As users name it.
    pub name: String,
    /// The object as it was when this was sent, as its list shows it: perhaps newer than the change, and then the next change follows. Absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_and_compared() {
        let read = |text: &str| text.parse::<Position>();
        for text in ["0", "7", "7.0", "7.12"] {
            assert_eq!(read(text).map(|position| position.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "x", "7.", ".1", "7.x", "-1", "7.1.2"] {
            assert!(read(text).is_err(), "{text}");
        }
        let check = |position: &str, index, number, expected| {
            assert_eq!(
                read(position).map(|position| position.is_before(Index(index), number)),
                Ok(expected),
                "{position} {index}.{number}"
            );
        };
        check("7", 7, 0, false);
        check("7", 8, 0, true);
        check("7.1", 7, 1, false);
        check("7.1", 7, 2, true);
        check("7.1", 6, 9, false);
    }
}
