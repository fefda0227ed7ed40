//! What people ask for. Owns that each change is done once per key, and written down with who asked and what came of it; must never know what a change does.

use std::{borrow::Cow, collections::BTreeSet};

use model::id::Index;
use sha2::{Digest as _, Sha256};

use crate::{
    Applied, Refused, State,
    answers::asker,
    command::{Change, Join, PutSecret, Recover, RotateAuthority, Sealed, SecretKind, UserCommand},
    limits::{ANSWERS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, bounded},
    record::{AnswerRecord, AuditEntry, AuditOutcome},
};

impl State {
    /// Does what `user` asks for, unless it was done under the same key.
    pub(super) fn user(&mut self, user: &UserCommand) -> Result<Applied, Refused> {
        let by = bounded(&user.by);
        let asked = self.asked(user);
        if let Some(known) = asked.as_ref().and_then(|asked| self.answered(asked, user)) {
            return Ok(known.answer.clone());
        }
        let applied = self.refuse_wrong_key(user).and_then(|()| self.dispatch(user));
        if self.trial {
            return applied;
        }
        if let (Some((asker, asked)), Ok(answer)) = (asked, &applied) {
            self.answers.keep(AnswerRecord { asker, at: user.at, index: self.index, asked, answer: answer.clone() });
        }
        let entry = AuditEntry {
            sequence: 0,
            index: self.index,
            at: user.at,
            by,
            token: user.token.clone(),
            from: bounded(&user.from),
            verb: user.change.verb().to_owned(),
            object: bounded(&user.change.object()),
            outcome: match (&user.change, &applied) {
                (Change::Witness(_), Ok(_)) => AuditOutcome::Begun,
                _ => outcome(&applied),
            },
        };
        self.write_down(entry);
        applied
    }

    /// Whether `user` was done under the same key, and is answered as it was then.
    pub fn remembers(&self, user: &UserCommand) -> bool {
        self.asked(user).is_some_and(|asked| self.answered(&asked, user).is_some())
    }

    /// Who asks under which key, and for what.
    fn asked(&self, user: &UserCommand) -> Option<([u8; 16], [u8; 32])> {
        user.key.as_ref().map(|key| (asker(&bounded(&user.by), key), hash(&user.change)))
    }

    fn answered(&self, (asker, asked): &([u8; 16], [u8; 32]), user: &UserCommand) -> Option<&AnswerRecord> {
        self.answers.get(asker, user.at).filter(|known| known.asked == *asked)
    }

    /// Writes down that a node was let in, or was not, by a token somebody made.
    pub(super) fn audit_join(&mut self, join: &Join, verb: &str, applied: &Result<Applied, Refused>) {
        let (Some(admission), false) = (&join.admission, matches!(applied, Ok(Applied::Joined { fresh: false, .. }))) else { return };
        let entry = AuditEntry {
            sequence: 0,
            index: self.index,
            at: join.at,
            by: format!("join-token/{}", admission.token),
            token: Some(admission.token.clone()),
            from: bounded(&join.node.addresses.peer),
            verb: verb.to_owned(),
            object: bounded(&format!("node/{}", join.node.name)),
            outcome: outcome(applied),
        };
        self.write_down(entry);
    }

    /// Writes down that the group began anew, or did not: whoever did it has the data directory of the server, and asked nobody.
    pub(super) fn audit_recovery(&mut self, recover: &Recover, applied: &Result<Applied, Refused>) {
        let entry = AuditEntry {
            sequence: 0,
            index: self.index,
            at: recover.at,
            by: bounded(&format!("node/{}", recover.facts.name)),
            token: None,
            from: bounded(&recover.facts.addresses.peer),
            verb: "recover".to_owned(),
            object: "cluster".to_owned(),
            outcome: outcome(applied),
        };
        self.write_down(entry);
    }

    fn write_down(&mut self, entry: AuditEntry) {
        if !self.trial {
            self.audit.push(|sequence| AuditEntry { sequence, ..entry });
        }
    }

    fn dispatch(&mut self, user: &UserCommand) -> Result<Applied, Refused> {
        match &user.change {
            Change::Deploy(deploy) => self.deploy(user, deploy),
            Change::Undo(undo) => self.undo(user, undo),
            Change::Delete(delete) => self.delete(user, delete),
            Change::CreateJoinToken(create) => self.create_join_token(user, create),
            Change::RevokeJoinToken(revoke) => self.revoke_join_token(&revoke.id),
            Change::CreateApiToken(create) => self.create_api_token(user, create),
            Change::RevokeApiToken(revoke) => self.revoke_api_token(&revoke.id),
            Change::RemoveNode(remove) => self.remove_node(user, remove),
            Change::PutConfig(put) => self.put_config(user, put),
            Change::DeleteConfig(delete) => self.delete_config(user, delete),
            Change::PutSecret(put) => self.put_secret(user, put),
            Change::DeleteSecret(delete) => self.delete_secret(user, delete),
            Change::PutNamespace(put) => self.put_namespace(user, put),
            Change::DeleteNamespace(delete) => self.delete_namespace(user, delete),
            Change::Witness(_) => Ok(Applied::Witnessed),
            Change::RotateAuthority(rotate) => self.rotate_authority(user, rotate),
        }
    }

    fn refuse_wrong_key(&mut self, user: &UserCommand) -> Result<(), Refused> {
        let Some(key) = &user.key else { return Ok(()) };
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(Refused::Invalid { what: "reading the idempotency key".to_owned(), rule: "it has 1 to 128 bytes" });
        }
        if self.answers.get(&asker(&bounded(&user.by), key), user.at).is_some() {
            return Err(Refused::KeyReused { key: key.clone() });
        }
        let room = if self.trial { self.answers.has_room(user.at) } else { self.answers.make_room(user.at) };
        if room { Ok(()) } else { Err(Refused::TooManyKeys { limit: ANSWERS_MAX }) }
    }
}

/// Of what was asked. What a server makes for it is another each time, so it is left out: of a Secret the key itself says what was asked, and a rotation has
/// nothing else.
fn hash(change: &Change) -> [u8; 32] {
    let nothing = || Sealed(Vec::new());
    let change = &match change {
        Change::PutSecret(put) => Cow::Owned(Change::PutSecret(PutSecret {
            id: put.id.clone(),
            described: None,
            kind: SecretKind::Opaque,
            keys: BTreeSet::new(),
            sealed: nothing(),
            expect: None,
        })),
        Change::RotateAuthority(_) => Cow::Owned(Change::RotateAuthority(RotateAuthority {
            after: Index(0),
            certificate: Vec::new(),
            cross: Vec::new(),
            key: nothing(),
        })),
        change => Cow::Borrowed(change),
    };
    let bytes = bincode::serde::encode_to_vec(change, bincode::config::standard()).expect("a change that was decoded can be encoded");
    Sha256::digest(bytes).into()
}

fn outcome(applied: &Result<Applied, Refused>) -> AuditOutcome {
    match applied {
        Ok(_) => AuditOutcome::Done,
        Err(refused) => AuditOutcome::Refused { code: refused.code().to_owned(), message: bounded(&refused.to_string()) },
    }
}
