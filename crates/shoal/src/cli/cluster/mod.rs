//! Commands about the cluster itself: members, nodes, tokens, secrets, who asks and who changed what. Owns one file per command; must never hold a rule about
//! who may do what: servers say so.

pub mod audit;
pub mod ca;
pub mod formation_token;
pub mod join_token;
pub mod kinds;
pub mod member;
pub mod node;
pub mod secret;
mod secret_values;
pub mod token;
pub mod views;
pub mod whoami;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    age,
    failure::{Exit, Failure, Outcome},
    output::{Format, Listing},
    session::Session,
    yaml::to_yaml,
};

/// `-o` of commands that list.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// wide, json, yaml, name or custom-columns=TITLE:.path,…
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
}

impl ListArgs {
    fn format(&self) -> Format {
        self.output.clone().unwrap_or_default()
    }

    /// How the table is wanted now.
    fn shape(&self) -> super::views::Shape {
        super::views::Shape { wide: self.format() == Format::Wide, ..super::views::Shape::plain(age::now()) }
    }

    /// Prints the listing, or `none` beside it when there is nothing.
    fn show(&self, listing: &Listing, none: &str, session: &Session) -> Outcome {
        let text = listing.text(&self.format(), session.terminal.width);
        if text.is_empty() {
            session.terminal.hint(none)
        } else {
            session.terminal.data(text)
        }
        Ok(Exit::Done)
    }
}

/// `-o` of commands that make or change one thing.
#[derive(Debug, Clone, Args)]
pub struct OneArgs {
    /// json, yaml or name.
    #[arg(short, long, value_name = "FORM", value_parser = one_form)]
    output: Option<Format>,
}

impl OneArgs {
    /// The object as JSON or YAML, its name, or, without `-o`, `plain`.
    fn text(&self, object: &impl Serialize, name: &str, plain: String) -> String {
        match self.output {
            Some(Format::Json) => format!("{:#}", json!(object)),
            Some(Format::Yaml) => to_yaml(&json!(object)),
            Some(Format::Name) => name.to_owned(),
            _ => plain,
        }
    }

    /// Refuses the name alone, of something that is shown once and whole.
    fn refuse_name(&self, what: &str) -> Result<(), Failure> {
        match self.output {
            Some(Format::Name) => {
                let message = format!("-o name leaves {what} out, which is shown this once");
                Err(Failure::usage(message, format!("without -o there is {what} alone, and -o json has everything")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a person reads it.
    fn is_plain(&self) -> bool {
        self.output.is_none()
    }
}

fn one_form(text: &str) -> Result<Format, String> {
    match text.parse()? {
        form @ (Format::Json | Format::Yaml | Format::Name) => Ok(form),
        _ => Err(format!("`{text}` is not a form of output here: json, yaml or name")),
    }
}

/// A span as the wire has it; longer than an age is an age.
fn millis(span: std::time::Duration) -> model::quantity::Millis {
    model::quantity::Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn values<T: Serialize>(items: &[T]) -> Vec<Value> {
    items.iter().map(|item| json!(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_has_no_columns() {
        for form in ["json", "yaml", "name"] {
            assert!(one_form(form).is_ok(), "{form}");
        }
        for form in ["wide", "custom-columns=A:.a", "table"] {
            assert!(one_form(form).is_err(), "{form}");
        }
        let args = OneArgs { output: Some(Format::Name) };
        assert_eq!(args.text(&json!({"id": 1}), "token/1", "secret".to_owned()), "token/1");
        assert_eq!(OneArgs { output: None }.text(&json!({}), "token/1", "secret".to_owned()), "secret");
    }
}
