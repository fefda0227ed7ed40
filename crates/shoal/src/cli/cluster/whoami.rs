//! `shoal whoami`: who the server takes this command for. Owns the sentence.

use api::v1::Principal;
use clap::Args;

use super::{OneArgs, views};
use crate::cli::{
    failure::{Exit, Outcome},
    session::Session,
};

/// What `shoal whoami` takes.
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    #[command(flatten)]
    output: OneArgs,
}

/// Asks and prints.
pub async fn run(args: WhoamiArgs, session: &Session) -> Outcome {
    let client = session.client().await?;
    let principal = client.whoami().await?;
    session.terminal.data(args.output.text(&principal, &principal.name, sentence(&principal)));
    session.terminal.hint(format!(
        "at {}{}",
        client.server(),
        session.context_name().map(|name| format!(", context {name}")).unwrap_or_default()
    ));
    Ok(Exit::Done)
}

/// Who, and what they may.
pub fn sentence(principal: &Principal) -> String {
    let role = views::api_role(principal.role);
    let scope = principal.namespace.as_ref().map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    format!("{}: {role} of {scope}", principal.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_principal_is_one_sentence() {
        let said = |value| sentence(&serde_json::from_value(value).expect("the shape of the API"));
        assert_eq!(said(json!({"name": "ci", "role": "deployer", "namespace": "team"})), "ci: deployer of namespace team");
        assert_eq!(said(json!({"name": "ana", "role": "admin"})), "ana: admin of all namespaces");
    }
}
