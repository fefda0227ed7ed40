//! A pinned authority that was replaced: the context follows it to the next one. Owns when that is safe to write down; that the old one vouches for the new one is
//! proven before, with every connection.

use api::v1::AuthorityView;
use transport::AuthorityDigest;

use super::file::{self, Contexts};
use crate::cli::session::Session;

/// What is to be done about an authority that another one vouched for.
#[derive(Debug, PartialEq, Eq)]
enum Follow {
    /// Pin it from now on.
    Pin,
    /// The rotation is not over: servers may still show the old one.
    Later,
}

/// Pins the authority that this command was led to by the one that was pinned, once every server shows it. What goes wrong here changes nothing about the command.
pub async fn authority(session: &Session) {
    let Some((client, shown)) = session.followed() else { return };
    let Ok(view) = client.authority().await else { return };
    if judge(&view, shown) == Follow::Later {
        return;
    }
    let told = match session.context_name() {
        Some(name) => write(name, shown).map(|()| format!("context {name} pins the new one from now on")),
        None => Ok(format!("pin the new one: SHOAL_CA_DIGEST={shown}")),
    };
    match told {
        Ok(what) => session.terminal.hint(format!("the cluster's authority was rotated; {what}")),
        Err(why) => {
            session.terminal.complain(format!("warning: the cluster's authority was rotated, and the context cannot follow: {why}"))
        }
    }
}

fn judge(view: &AuthorityView, shown: AuthorityDigest) -> Follow {
    if view.rotation.is_none() && view.digest == shown.to_string() { Follow::Pin } else { Follow::Later }
}

fn write(name: &str, shown: AuthorityDigest) -> Result<(), String> {
    let path = file::path().ok_or("there is no place for contexts")?;
    let said = |failure: crate::cli::failure::Failure| failure.render(false);
    let mut contexts = Contexts::load(&path).map_err(said)?;
    let context = contexts.all.get_mut(name).ok_or("it is gone")?;
    context.ca_digest = Some(shown);
    contexts.save(&path).map_err(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pin_follows_once_every_server_shows_the_new_authority() {
        let (new, other) = (AuthorityDigest::from_bytes([1; 32]), AuthorityDigest::from_bytes([2; 32]));
        let view = |digest: AuthorityDigest, rotates: bool| -> AuthorityView {
            let rotation =
                json!({"by": "ana", "since": "2026-11-21T20:00:00Z", "phase": "renewing", "next": new.to_string(), "waitsFor": []});
            let whole = json!({"digest": digest.to_string(), "notAfter": "2036-11-18T12:00:00Z", "rotation": rotates.then_some(rotation)});
            serde_json::from_value(whole).expect("the shape of the API")
        };
        assert_eq!(judge(&view(new, false), new), Follow::Pin);
        assert_eq!(judge(&view(new, true), new), Follow::Later);
        assert_eq!(judge(&view(other, true), new), Follow::Later);
        assert_eq!(judge(&view(other, false), new), Follow::Later, "it was rotated again meanwhile");
    }
}
