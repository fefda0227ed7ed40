//! What a field may hold, as data. Owns the vocabulary of the tables; must never know a particular field.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Text; a bare number or boolean is refused.
    Text,
    /// Text, where a bare number or boolean counts as written: `PORT: 8080`.
    Raw,
    /// A DNS label.
    Name,
    /// Where a component's bytes come from.
    Source,
    /// What a component may reach: `https://api.example:443`.
    Egress,
    /// `true` or `false`.
    Boolean,
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `30s`
    Duration,
    /// `64Mi`
    Size,
    /// `250m`
    Cpu,
    /// `20%`
    Percent,
    /// `3` or `25%`
    CountOrPercent,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a record.
    WordOr(&'static [&'static str], &'static Record),
    /// Text, or a record that says where the text comes from.
    RawOr(&'static Record),
    /// Fields.
    Record(&'static Record),
    /// Fields, none of them required: what is said here is completed elsewhere.
    Partial(&'static Record),
    /// A map of values to `wasi:config`, or `{config: NAME}`.
    Settings,
    /// Values by free keys.
    Map(&'static Shape),
    /// Values by names.
    Names(&'static Shape),
    /// Values in order.
    List(&'static Shape),
}

/// A set of fields.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its name in the schema.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static [&'static str],
    /// The fields in the order they are shown.
    pub fields: &'static [Field],
    /// Sets of fields of which only one may be used.
    pub exclusive: &'static [&'static [&'static str]],
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it does, line by line.
    pub doc: &'static [&'static str],
    /// What it may hold.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// Its value when it is left out, as YAML.
    pub default: Option<&'static str>,
    /// Whether it is refused unless it holds its default.
    pub later: bool,
    /// What to write instead of a refused value.
    pub instead: &'static str,
}

impl Record {
    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// What it is, in one text.
    pub fn text(&self) -> String {
        text(self.doc)
    }
}

impl Field {
    /// A field in effect that may be left out.
    pub const fn new(name: &'static str, doc: &'static [&'static str], shape: Shape) -> Self {
        Self { name, doc, shape, required: false, default: None, later: false, instead: "" }
    }

    /// It must be there.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Its value when left out, as YAML.
    pub const fn default(mut self, yaml: &'static str) -> Self {
        self.default = Some(yaml);
        self
    }

    /// It is refused unless it holds its default.
    pub const fn later(mut self) -> Self {
        self.later = true;
        self
    }

    /// What to write instead of a refused value.
    pub const fn instead(mut self, line: &'static str) -> Self {
        self.instead = line;
        self
    }

    /// What it does, in one text.
    pub fn text(&self) -> String {
        text(self.doc)
    }
}

impl Shape {
    /// The record inside, through lists and maps, when there is one.
    pub fn record(self) -> Option<&'static Record> {
        match self {
            Self::Record(record) | Self::Partial(record) | Self::WordOr(_, record) | Self::RawOr(record) => Some(record),
            Self::Map(inner) | Self::Names(inner) | Self::List(inner) => inner.record(),
            _ => None,
        }
    }

    /// Whether keys stand between this and the record inside.
    pub fn is_map(self) -> bool {
        matches!(self, Self::Map(_) | Self::Names(_))
    }

    /// What a value of this shape is called in a sentence.
    pub fn called(self) -> String {
        match self {
            Self::Text | Self::Raw => "text".into(),
            Self::Name => "a name".into(),
            Self::Source => "the path of a file or a digest".into(),
            Self::Egress => "a destination like https://api.example:443".into(),
            Self::Boolean => "true or false".into(),
            Self::Integer { .. } => "a whole number".into(),
            Self::Duration => "a duration like 30s".into(),
            Self::Size => "a size like 64Mi".into(),
            Self::Cpu => "an amount of processor like 250m".into(),
            Self::Percent => "a share like 20%".into(),
            Self::CountOrPercent => "a whole number or a share like 25%".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::WordOr(words, record) => format!("{}, or a map of {}", words.join(", "), names(record)),
            Self::RawOr(record) => format!("text, or a map of {}", names(record)),
            Self::Record(record) | Self::Partial(record) => format!("a map of {}", names(record)),
            Self::Settings | Self::Map(_) | Self::Names(_) => "a map".into(),
            Self::List(_) => "a list".into(),
        }
    }
}

/// The first fields of `record`; nobody reads twenty in one sentence.
fn names(record: &Record) -> String {
    let mut names: Vec<&str> = record.fields.iter().map(|field| field.name).take(4).collect();
    if record.fields.len() > names.len() {
        names.push("…");
    }
    names.join(", ")
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// A record from doc comments and `"field": shape; word(), word(value)` lines.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        pub $static:ident $name:literal $([$($group:expr),+])? {
            $($(#[doc = $field_doc:literal])+ $field:literal: $shape:expr $(; $($word:ident($($argument:expr)?)),+)?),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        pub(crate) static $static: $crate::kinds::Record = $crate::kinds::Record {
            name: $name,
            doc: &[$($doc),+],
            fields: &[$($crate::kinds::Field::new($field, &[$($field_doc),+], $shape)$($(.$word($($argument)?))+)?),*],
            exclusive: &[$($(&$group),+)?],
        };
    };
}
pub(crate) use record;

/// A field's shape that holds the record `$record`.
macro_rules! record_of {
    ($record:path) => {
        $crate::kinds::Shape::Record(&$record)
    };
}
pub(crate) use record_of;
