//! Every id of the system in one place: a glossary that compiles. Owns how ids print and parse; must never know what they point to.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, de};

/// Longest name in bytes: a DNS label (RFC 1123), because names become host names.
pub const NAME_BYTES_MAX: usize = 63;

/// Longest id of a token in bytes: 160 random bits in base32, so that ids never meet.
pub const TOKEN_ID_BYTES_MAX: usize = 32;

/// The namespace a manifest lands in when it names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What was wrong with the text of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct InvalidId {
    /// The text as given, shortened.
    pub text: String,
    /// The kind of id that was expected.
    pub what: &'static str,
    /// The rule the text breaks.
    pub rule: &'static str,
}

impl InvalidId {
    fn new(text: &str, what: &'static str, rule: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what, rule }
    }
}

/// A DNS label: lower-case letters, digits and `-`, starting and ending with a letter or digit, 1 to 63 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace `default`.
    pub fn default_namespace() -> Self {
        Self(DEFAULT_NAMESPACE.into())
    }
}

impl FromStr for Name {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "use lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 characters";
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid =
            !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidId::new(text, "name", rule)) }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An app in its namespace. Prints as `hello` in the default namespace and `team/hello` in any other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId {
    /// The namespace.
    pub namespace: Name,
    /// The app's name, unique in the namespace.
    pub name: Name,
}

impl AppId {
    /// The component `component` of this app.
    pub fn component(&self, component: Name) -> ComponentId {
        ComponentId { app: self.clone(), component }
    }
}

impl FromStr for AppId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once('/') {
            Some((namespace, name)) => Ok(Self { namespace: namespace.parse()?, name: name.parse()? }),
            None => Ok(Self { namespace: Name::default_namespace(), name: text.parse()? }),
        }
    }
}

/// A component of an app. Prints as `hello/web`, or `team/hello/web` outside the default namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId {
    /// The app it belongs to.
    pub app: AppId,
    /// The component's name, unique in the app.
    pub component: Name,
}

impl FromStr for ComponentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (app, component) = text.rsplit_once('/').ok_or_else(|| InvalidId::new(text, "component", "write it as app/component"))?;
        Ok(Self { app: app.parse()?, component: component.parse()? })
    }
}

/// One replica of a component, with a stable number from 1. Prints as `hello/web.1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The component it is a replica of.
    pub component: ComponentId,
    /// 1 to the number of replicas.
    pub ordinal: u32,
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId::new(text, "instance", "write it as app/component.NUMBER");
        let (component, ordinal) = text.rsplit_once('.').ok_or_else(wrong)?;
        Ok(Self { component: component.parse()?, ordinal: ordinal.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == DEFAULT_NAMESPACE { out.pad(&self.name.0) } else { write!(out, "{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.app, self.component)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.component, self.ordinal)
    }
}

/// A Config or a Secret in its namespace. Prints as `settings` in the default namespace and `team/settings` in any other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The namespace.
    pub namespace: Name,
    /// The object's name, unique among the objects of its kind in the namespace.
    pub name: Name,
}

impl FromStr for ObjectId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let AppId { namespace, name } = text.parse()?;
        Ok(Self { namespace, name })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == DEFAULT_NAMESPACE { out.pad(&self.name.0) } else { write!(out, "{}/{}", self.namespace, self.name) }
    }
}

/// The part of a token that may be shown: it names the token and lets nobody in. Lower-case letters and digits, 1 to 32 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = !text.is_empty() && text.len() <= TOKEN_ID_BYTES_MAX && text.bytes().all(inner);
        if valid { Ok(Self(text.into())) } else { Err(InvalidId::new(text, "token id", "use 1 to 32 lower-case letters and digits")) }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// Gives a text id its Debug and serde forms from Display and FromStr, so that JSON and bincode hold the printed form.
macro_rules! as_text {
    ($($id:ty),+) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl TryFrom<&str> for $id {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
    )+};
}
as_text!(Name, AppId, ObjectId, ComponentId, InstanceId, TokenId, Digest);

/// The sha256 of an artifact's bytes. Prints as `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 hex digits without `sha256:`: safe in file names.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first 12 hex digits, for tables.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId::new(text, "digest", "write it as sha256: and 64 hex digits");
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// Numbers that cannot be mixed up: each prints with its prefix, serialises as the bare number.
macro_rules! number_ids {
    ($($(#[$doc:meta])+ $id:ident $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $id(pub u64);

        impl $id {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("ids never reach 2^64"))
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&format!(concat!($prefix, "{}"), self.0))
            }
        }

        impl FromStr for $id {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text.strip_prefix($prefix).unwrap_or(text);
                let wrong = |_| InvalidId::new(text, stringify!($id), concat!("write it as ", $prefix, "NUMBER"));
                digits.parse().map(Self).map_err(wrong)
            }
        }
    )+};
}
number_ids! {
    /// A machine running `shoal`. The number is the log index at which it joined, so it is never used twice.
    NodeId "node-",
    /// A place in the replicated log; also the resource version of whatever that entry changed.
    Index "",
    /// An immutable version of an app, counted from 1 per app.
    RevisionNumber "r",
    /// One decision to run an instance on a node. The number is unique in the cluster's life.
    PlacementId "placement-",
    /// Orders the instructions one receiver gets: it only grows, and a receiver refuses an older one.
    Generation "g",
}

/// Milliseconds since the Unix epoch. Made at the edge, carried inside commands, never read in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; zero when `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
