//! What must hold of the cluster, its nodes, its tokens and what people put into it. Owns these invariants; must never mend what it finds.

use std::collections::BTreeSet;

use super::ensure;
use crate::{
    FOUNDER, State,
    limits::{
        API_TOKENS_MAX, AUTHORITIES_RETIRED_MAX, CHANGES_MAX, CONFIGS_MAX, JOIN_TOKENS_MAX, NAMESPACES_MAX, NODES_MAX,
        PLACEMENTS_PER_NODE_MAX, SECRET_VERSIONS_KEPT, SECRETS_MAX, VALUE_BYTES_MAX,
    },
    record::authority::Step,
};

impl State {
    pub(super) fn check_cluster(&self) -> Result<(), String> {
        ensure(self.changes.len() <= CHANGES_MAX, || format!("{} changes are kept", self.changes.len()))?;
        let Some(cluster) = self.cluster() else {
            return ensure(self.nodes.size() == 0, || "there are nodes, and no cluster".to_owned());
        };
        let least = self.servers().map(|server| server.schema).min();
        ensure(least == Some(cluster.schema), || format!("the cluster writes {}, and its servers read {least:?}", cluster.schema))?;
        ensure(cluster.version <= self.index, || "the cluster comes from the future".to_owned())?;
        self.check_authorities(&cluster.ca_certificate)
    }

    fn check_authorities(&self, signing: &Vec<u8>) -> Result<(), String> {
        let authorities = self.authorities();
        ensure(authorities.version <= self.index, || "the authorities come from the future".to_owned())?;
        ensure(authorities.retired.len() <= AUTHORITIES_RETIRED_MAX, || {
            format!("{} authorities are remembered", authorities.retired.len())
        })?;
        let other = authorities.rotation.as_ref().map(|rotation| match &rotation.step {
            Step::Learning { next, .. } => next,
            Step::Renewing { last } => last,
        });
        let all = authorities.retired.iter().map(|retired| &retired.certificate).chain(other).chain([signing]);
        let (count, distinct) = (all.clone().count(), all.collect::<BTreeSet<_>>().len());
        ensure(count == distinct, || "an authority took its own place".to_owned())?;
        let Some(rotation) = &authorities.rotation else { return Ok(()) };
        ensure(rotation.began <= authorities.version, || "a rotation began after its last step".to_owned())?;
        ensure(rotation.confirmed.iter().all(|(node, _)| node.0 <= self.index.0), || "a node of the future has confirmed".to_owned())
    }

    pub(super) fn check_nodes(&self) -> Result<(), String> {
        let (mut names, mut keys, mut ordinals) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for node in self.nodes.values() {
            let name = &node.name;
            ensure(names.insert(name), || format!("two nodes are called {name}"))?;
            ensure(node.keys.roles().all(|(_, key)| keys.insert(key)), || format!("{name} has the key of another"))?;
            ensure(node.keys.roles().next().is_some(), || format!("{name} is neither server nor worker"))?;
            ensure(node.id == FOUNDER || node.id.0 > 1, || format!("{name} has the id of no entry"))?;
            ensure(node.id.0 <= self.index.0 && node.version <= self.index, || format!("{name} comes from the future"))?;
            ensure(node.is_worker() == (node.ordinal > 0), || format!("{name} has the number {}", node.ordinal))?;
            ensure(!node.is_worker() || ordinals.insert(node.ordinal), || format!("two workers have the number {}", node.ordinal))?;
            ensure(node.replaces.is_none_or(|lost| self.node(lost).is_none()), || format!("{name} replaces a node that is there"))?;
            let placed = self.placements_on(node.id).count();
            ensure(placed <= PLACEMENTS_PER_NODE_MAX, || format!("{name} has {placed} placements"))?;
            ensure(placed == 0 || node.is_worker(), || format!("{name} is no worker, and has placements"))?;
        }
        ensure(self.nodes.size() <= NODES_MAX, || format!("{} nodes", self.nodes.size()))
    }

    pub(super) fn check_values(&self) -> Result<(), String> {
        for secret in self.secrets.values() {
            let numbers: Vec<u64> = secret.versions.iter().map(|version| version.number).collect();
            ensure(!numbers.is_empty() && numbers.is_sorted_by(|one, other| one < other), || {
                format!("{} has the versions {numbers:?}", secret.id)
            })?;
            let oldest = (numbers.last().copied().unwrap_or(0) + 1).saturating_sub(SECRET_VERSIONS_KEPT);
            // Those that were named when they were kept may be named no longer.
            let recent = numbers.iter().filter(|number| **number >= oldest).count() as u64;
            ensure(recent <= SECRET_VERSIONS_KEPT, || format!("{} keeps {recent} versions", secret.id))?;
            ensure(secret.version <= self.index, || format!("{} comes from the future", secret.id))?;
        }
        let sizes = (self.configs.size(), self.secrets.size(), self.namespaces.size());
        let fits = sizes.0 <= CONFIGS_MAX && sizes.1 <= SECRETS_MAX && sizes.2 <= NAMESPACES_MAX;
        ensure(fits && self.derived.value_bytes <= VALUE_BYTES_MAX, || format!("{sizes:?} configs, secrets and namespaces"))
    }

    pub(super) fn check_tokens(&self) -> Result<(), String> {
        let both = self.join_tokens.values().find(|token| self.api_tokens.contains(&token.id));
        ensure(both.is_none(), || format!("two tokens have the id of {both:?}"))?;
        ensure(self.join_tokens.size() <= JOIN_TOKENS_MAX, || format!("{} join tokens", self.join_tokens.size()))?;
        ensure(self.api_tokens.size() <= API_TOKENS_MAX, || format!("{} tokens", self.api_tokens.size()))
    }
}
