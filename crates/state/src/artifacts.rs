//! Which artifacts the state refers to. Owns what counts as a reference; must never count less than what an undo needs: every kept revision refers to all it
//! names.

use std::collections::BTreeSet;

use model::id::Digest;

use crate::State;

/// What every digest starts with.
const MARK: &str = "sha256:";

impl State {
    /// Every digest that a kept revision names anywhere: components, files, and whatever else a manifest may name one day.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        self.all_revisions().flat_map(|revision| digests_in(&revision.frozen.canonical)).collect()
    }
}

/// Every digest that stands in `text`.
pub fn digests_in(text: &str) -> impl Iterator<Item = Digest> {
    let ends = |at: usize| at + MARK.len() + 2 * size_of::<Digest>();
    text.match_indices(MARK).filter_map(move |(at, _)| text.get(at..ends(at))?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_in_a_text_is_found() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let text =
            format!(r#"{{"source":{{"digest":"{one}","from":"{one}"}},"files":["{two}"],"env":{{"A":"sha256:abc"}},"end":"sha256:"}}"#);
        assert_eq!(digests_in(&text).collect::<BTreeSet<_>>(), BTreeSet::from([one, two]));
    }
}
