//! How objects are named on the command line: `hello`, `app/hello`, `hello/web`, `hello/web.1`, `KIND NAME`. Pure.
//! Owns kinds and their short names; must never ask a server.

use model::id::{AppId, Name};

use super::failure::Failure;

/// The kinds that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apps.
    App,
    /// Components of apps.
    Component,
    /// Instances of components.
    Instance,
    /// Versions of apps.
    Revision,
    /// Machines.
    Node,
    /// What happened.
    Event,
    /// Host and path to component.
    Route,
    /// Values that components read.
    Config,
    /// Values that nobody else reads.
    Secret,
    /// Where objects live.
    Namespace,
    /// Servers that hold the state.
    Member,
}

impl Kind {
    const NAMES: [(Self, &'static [&'static str]); 11] = [
        (Self::App, &["apps", "app"]),
        (Self::Component, &["components", "component", "comp"]),
        (Self::Instance, &["instances", "instance", "inst"]),
        (Self::Revision, &["revisions", "revision", "rev"]),
        (Self::Node, &["nodes", "node", "no"]),
        (Self::Event, &["events", "event", "ev"]),
        (Self::Route, &["routes", "route"]),
        (Self::Config, &["configs", "config", "cfg"]),
        (Self::Secret, &["secrets", "secret", "sec"]),
        (Self::Namespace, &["namespaces", "namespace", "ns"]),
        (Self::Member, &["members", "member"]),
    ];

    /// Reads a kind in the singular, the plural or short.
    ///
    /// # Errors
    /// A usage failure that lists the kinds.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let known = Self::NAMES.iter().find(|(_, names)| names.contains(&text.to_lowercase().as_str()));
        known.map(|(kind, _)| *kind).ok_or_else(|| {
            let all: Vec<&str> = Self::NAMES.iter().map(|(_, names)| names[0]).collect();
            Failure::usage(format!("`{text}` is not a kind"), format!("one of {}", all.join(", ")))
        })
    }

    /// The singular.
    pub fn singular(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map(|(_, names)| names[1]).expect("every kind has its names")
    }
}

/// Splits `KIND NAME`, `KIND/NAME` and `KIND` as kubectl does.
///
/// # Errors
/// A usage failure for an unknown kind.
pub fn kind_and_name(kind: &str, name: Option<&str>) -> Result<(Kind, Option<String>), Failure> {
    match (kind.split_once('/'), name) {
        (Some((kind, name)), None) => Ok((Kind::parse(kind)?, Some(name.to_owned()))),
        _ => Ok((Kind::parse(kind)?, name.map(str::to_owned))),
    }
}

/// An app, one of its components, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The app.
    pub app: AppId,
    /// Its component, when one is meant.
    pub component: Option<Name>,
    /// The instance's number, when one is meant.
    pub ordinal: Option<u32>,
}

impl Target {
    /// Reads `[app/]APP[/COMPONENT[.N]]` in `namespace`. A leading `app/` is the kind, so a component of an app named `app` is `app/app/web`.
    ///
    /// # Errors
    /// A usage failure that says what is accepted.
    pub fn parse(text: &str, namespace: &Name) -> Result<Self, Failure> {
        let wrong = |rule: String| {
            Failure::usage(
                format!("`{text}` names no app, component or instance: {rule}"),
                "write it as APP, APP/COMPONENT or APP/COMPONENT.N",
            )
        };
        let name = |part: &str| part.parse::<Name>().map_err(|error| wrong(error.rule.to_owned()));
        let bare = ["app/", "apps/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
        let (app, rest) = bare.split_once('/').map_or((bare, None), |(app, rest)| (app, Some(rest)));
        let (component, ordinal) = match rest.map(|rest| rest.split_once('.').map_or((rest, None), |(name, number)| (name, Some(number)))) {
            None => (None, None),
            Some((component, None)) => (Some(name(component)?), None),
            Some((component, Some(number))) => {
                (Some(name(component)?), Some(number.parse().map_err(|_| wrong(format!("`{number}` is not a number")))?))
            }
        };
        Ok(Self { app: AppId { namespace: namespace.clone(), name: name(app)? }, component, ordinal })
    }

    /// As [`Target::parse`], but nothing smaller than an app.
    ///
    /// # Errors
    /// A usage failure that says what is accepted.
    pub fn app(text: &str, namespace: &Name) -> Result<AppId, Failure> {
        let target = Self::parse(text, namespace)?;
        match target.component {
            None => Ok(target.app),
            Some(_) => Err(Failure::usage(format!("`{text}` is smaller than an app"), format!("write it as app/{}", target.app.name))),
        }
    }

    /// As [`Target::parse`], but exactly a component.
    ///
    /// # Errors
    /// A usage failure that says what is accepted.
    pub fn component(text: &str, namespace: &Name) -> Result<(AppId, Name), Failure> {
        let target = Self::parse(text, namespace)?;
        match (target.component, target.ordinal) {
            (Some(component), None) => Ok((target.app, component)),
            _ => Err(Failure::usage(format!("`{text}` is not a component"), "write it as APP/COMPONENT")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Option<&str>, Option<u32>)>) {
        let namespace = Name::default_namespace();
        let found = Target::parse(text, &namespace).ok();
        let shown = found.as_ref().map(|target| (target.app.name.as_str(), target.component.as_ref().map(Name::as_str), target.ordinal));
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn targets_are_apps_components_or_instances() {
        check("hello", Some(("hello", None, None)));
        check("app/hello", Some(("hello", None, None)));
        check("hello/web", Some(("hello", Some("web"), None)));
        check("hello/web.3", Some(("hello", Some("web"), Some(3))));
        check("app/app/web", Some(("app", Some("web"), None)));
        for wrong in ["", "Hello", "hello/", "hello/web.x", "hello/web/more", "app/"] {
            check(wrong, None);
        }
    }

    #[test]
    fn kinds_have_plurals_and_short_names() {
        for (text, kind) in [("apps", Kind::App), ("inst", Kind::Instance), ("Nodes", Kind::Node), ("ev", Kind::Event)] {
            assert_eq!(Kind::parse(text).ok(), Some(kind));
        }
        let (kind, name) = kind_and_name("app/hello", None).expect("a kind and a name");
        assert_eq!((kind, name.as_deref()), (Kind::App, Some("hello")));
        assert_eq!(Kind::parse("pods").expect_err("not ours").exit as u8, 64);
    }
}
