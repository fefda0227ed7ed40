//! Values of secrets on their way into the state and out of it, and whether they are what their type says. Owns the form in which they are sealed; must never
//! show or keep one.

use std::collections::BTreeMap;

use api::node::SecretText;
use certificates::{Certificate, CertificatePair, KeyText};
use data_encoding::{BASE64, HEXLOWER};
use model::{
    id::ObjectId,
    object::{TLS_CERTIFICATE, TLS_KEY},
    problem::Problem,
};
use serde::Serialize;
use state::{
    SecretRecord,
    command::{Sealed, SecretKind},
};
use transport::{ClusterKey, Place};
use zeroize::Zeroizing;

/// Values by key, each in base64: a value may be any bytes.
pub type Encoded = BTreeMap<String, String>;

/// What the values of `id` are bound to.
fn place(id: &ObjectId) -> String {
    format!("secret/{}/{}", id.namespace, id.name)
}

/// The text of a manifest's values, encoded.
pub fn encoded<'a>(texts: impl Iterator<Item = (&'a String, &'a str)>) -> Zeroizing<Values> {
    Zeroizing::new(Values(texts.map(|(key, text)| (key.clone(), BASE64.encode(text.as_bytes()))).collect()))
}

/// Values that are wiped with their owner.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Values(pub Encoded);

impl zeroize::Zeroize for Values {
    fn zeroize(&mut self) {
        self.0.values_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// `data` sealed as the next version of `id`, of which `known` is there already.
pub fn seal(key: &ClusterKey, id: &ObjectId, known: Option<&SecretRecord>, data: &Encoded) -> Sealed {
    let text = Zeroizing::new(serde_json::to_vec(data).expect("values have string keys only"));
    let number = known.and_then(|known| known.versions.last()).map_or(1, |last| last.number + 1);
    Sealed(key.seal(&text, Place { id: &place(id), version: number }).to_bytes())
}

/// What a change of a Secret is remembered by: who asks again for the same values under the same `key` is answered alike, and nobody else can compare them.
pub fn remembered(cluster_key: &ClusterKey, key: &str, asked: &impl Serialize) -> String {
    let text = Zeroizing::new(serde_json::to_vec(&(key, asked)).expect("values have string keys only"));
    HEXLOWER.encode(&cluster_key.mark(&text))
}

/// The values of the version `number` of `record`; none when it is not there or cannot be opened, which the log tells.
pub fn open(key: &ClusterKey, record: &SecretRecord, number: u64) -> Option<Zeroizing<Values>> {
    let version = record.version_of(Some(number))?;
    let id = place(&record.id);
    let opened = transport::Sealed::from_bytes(&version.sealed.0).and_then(|sealed| key.open(&sealed, Place { id: &id, version: number }));
    let opened = opened.inspect_err(|error| tracing::error!(secret = %record.id, error = %error, "a secret cannot be opened")).ok()?;
    // A parser's complaint may quote what it read.
    serde_json::from_slice::<Encoded>(&opened).ok().map(|values| Zeroizing::new(Values(values)))
}

/// The values of the version `number` of `record` that are text, as guests get them.
pub fn texts(key: &ClusterKey, record: &SecretRecord, number: u64) -> BTreeMap<String, SecretText> {
    let Some(values) = open(key, record, number) else { return BTreeMap::new() };
    let text = |value: &String| String::from_utf8(BASE64.decode(value.as_bytes()).ok()?).ok().filter(|text| !text.contains('\0'));
    values.0.iter().filter_map(|(name, value)| Some((name.clone(), SecretText::new(text(value)?)))).collect()
}

/// What keeps `data` from being the values of a Secret `id` of type `kind`. None of the words comes out of a value.
pub fn unfit(id: &ObjectId, kind: SecretKind, data: &Encoded) -> Option<Problem> {
    if kind != SecretKind::Tls {
        return None;
    }
    let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(BASE64.decode(value.as_bytes()).ok()?).ok());
    let problem = |why: String| Problem::new("E0513", format!("the Secret `{id}` of type tls cannot be used: {why}")).at("spec.data");
    let (Some(chain), Some(private)) = (text(TLS_CERTIFICATE), text(TLS_KEY)) else {
        return Some(problem(format!("it needs `{TLS_CERTIFICATE}` and `{TLS_KEY}`, both PEM")).help("give both"));
    };
    let pair = CertificatePair { name: id.to_string(), chain, key: KeyText::new(private) };
    let error = Certificate::load(&pair).err()?;
    Some(problem(error.to_string()).help("give the certificate chain, the server's own first, and the key that belongs to it"))
}

#[cfg(test)]
mod tests {
    use model::id::{Index, Timestamp};
    use state::SecretVersion;

    use super::*;

    fn record(sealed: Vec<Sealed>) -> SecretRecord {
        let version = |(number, sealed): (usize, Sealed)| SecretVersion {
            number: number as u64 + 1,
            at: Timestamp(0),
            by: String::new(),
            keys: Default::default(),
            sealed,
        };
        SecretRecord {
            id: "team/db".parse().expect("an id"),
            described: Default::default(),
            kind: SecretKind::Opaque,
            versions: sealed.into_iter().enumerate().map(version).collect(),
            created_at: Timestamp(0),
            version: Index(1),
        }
    }

    #[test]
    fn what_was_sealed_opens_as_its_version_and_no_other() {
        let key = ClusterKey::random();
        let id = "team/db".parse().expect("an id");
        let values = |text: &str| encoded([(&"password".to_owned(), text)].into_iter());
        let first = seal(&key, &id, None, &values("one").0);
        let second = seal(&key, &id, Some(&record(vec![first.clone()])), &values("two").0);
        let both = record(vec![first.clone(), second.clone()]);
        assert_eq!(texts(&key, &both, 2)["password"].reveal(), "two");
        assert_eq!(texts(&key, &both, 1)["password"].reveal(), "one");
        assert!(open(&key, &record(vec![second, first]), 1).is_none(), "a version is not another one");
        assert!(open(&ClusterKey::random(), &both, 1).is_none());
    }

    #[test]
    fn bytes_that_are_no_text_do_not_reach_guests() {
        let key = ClusterKey::random();
        let id: ObjectId = "team/db".parse().expect("an id");
        let data = Encoded::from([("bytes".to_owned(), BASE64.encode(&[0xff, 0xfe])), ("text".to_owned(), BASE64.encode(b"t"))]);
        let record = record(vec![seal(&key, &id, None, &data)]);
        assert_eq!(texts(&key, &record, 1).keys().collect::<Vec<_>>(), ["text"]);
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let id: ObjectId = "team/web".parse().expect("an id");
        let data = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, text)| ((*key).to_owned(), BASE64.encode(text.as_bytes()))).collect();
        let check = |data: Encoded, expected: &str| {
            let problem = unfit(&id, SecretKind::Tls, &data).expect("a problem");
            assert!(problem.code == "E0513" && problem.message.contains(expected), "{}", problem.message);
        };
        check(data(&[(TLS_CERTIFICATE, "x")]), "it needs `tls.crt` and `tls.key`");
        check(data(&[(TLS_CERTIFICATE, "no PEM"), (TLS_KEY, "canary")]), "there is no certificate in the file");
        assert!(unfit(&id, SecretKind::Opaque, &Encoded::new()).is_none());
    }
}
