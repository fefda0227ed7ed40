//! All certificates of a gateway, found by the name a client asks for. Owns which one answers: that of a route, then the exact name, then the wildcard above
//! it, then the pair called `default`; pure. Must never know where they come from.

use std::{collections::HashMap, sync::Arc};

use rustls::sign::CertifiedKey;

use crate::certificate::{Certificate, CertificateError, CertificatePair, DEFAULT};

/// Every certificate of a gateway at one time.
#[derive(Debug, Default)]
pub struct CertificateSet {
    certificates: Vec<Arc<Certificate>>,
    exact: HashMap<String, usize>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, usize>,
    default: Option<usize>,
    broken: Vec<String>,
    /// By the host of a route, before all others.
    routes: HashMap<String, Arc<Certificate>>,
}

impl CertificateSet {
    /// This set, and before it the pairs that answer for the hosts of routes: exact ones, and `*.suffix` for every name below. Those that cannot be used are
    /// told, once each; whoever asks for their host gets what the set has.
    pub fn with_hosts(&self, hosts: &[(String, CertificatePair)]) -> (Self, Vec<(String, CertificateError)>) {
        let mut set = Self::new(self.certificates.iter().cloned()).with_broken(self.broken.iter().cloned());
        // Many routes have one pair, and reading it is what costs.
        let mut read: Vec<(&CertificatePair, Option<Arc<Certificate>>)> = Vec::new();
        let mut at: HashMap<&str, usize> = HashMap::new();
        let mut refused = Vec::new();
        for (host, pair) in hosts {
            let known = at.get(pair.name.as_str()).map(|at| &read[*at]).filter(|(known, _)| *known == pair);
            let certificate = match known {
                Some((_, certificate)) => certificate.clone(),
                None => {
                    let certificate = Certificate::load(pair).map_err(|error| refused.push((pair.name.clone(), error))).ok().map(Arc::new);
                    at.insert(&pair.name, read.len());
                    read.push((pair, certificate.clone()));
                    certificate
                }
            };
            if let Some(certificate) = certificate {
                set.routes.insert(host.to_ascii_lowercase(), certificate);
            }
        }
        (set.with_broken(refused.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()), refused)
    }

    /// Those that answer for the hosts of routes, once for each name they are called by, in order.
    pub fn of_routes(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let mut by_name: Vec<_> = self.routes.values().collect();
        // Where two versions of one are in use at once, the one that ends first counts.
        by_name.sort_by(|one, two| (one.name(), one.facts().expires).cmp(&(two.name(), two.facts().expires)));
        by_name.dedup_by(|later, first| later.name() == first.name());
        by_name.into_iter()
    }

    /// The pair of the route for `host`, the most exact one first.
    fn of_route(&self, host: &str) -> Option<&Arc<Certificate>> {
        let suffixes =
            std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.')).map(|(_, suffix)| format!("*.{suffix}"));
        self.routes.get(host).or_else(|| suffixes.into_iter().find_map(|wildcard| self.routes.get(&wildcard)))
    }

    /// Puts certificates together. Where two have the same host, the first by name answers for it.
    pub fn new(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        certificates.sort_by(|one, two| one.name().cmp(two.name()));
        let mut set = Self { default: certificates.iter().position(|certificate| certificate.name() == DEFAULT), ..Self::default() };
        for (at, host) in
            certificates.iter().enumerate().flat_map(|(at, certificate)| certificate.facts().hosts.iter().map(move |host| (at, host)))
        {
            let (hosts, host) = match host.strip_prefix("*.") {
                Some(suffix) => (&mut set.wildcard, suffix),
                None => (&mut set.exact, host.as_str()),
            };
            hosts.entry(host.to_owned()).or_insert(at);
        }
        Self { certificates, ..set }
    }

    /// Reads pairs; those that cannot be used are told beside the set, which counts them as broken.
    pub fn load(pairs: &[CertificatePair]) -> (Self, Vec<(String, CertificateError)>) {
        let (mut good, mut broken) = (Vec::new(), Vec::new());
        for pair in pairs {
            match Certificate::load(pair) {
                Ok(certificate) => good.push(Arc::new(certificate)),
                Err(error) => broken.push((pair.name.clone(), error)),
            }
        }
        (Self::new(good).with_broken(broken.iter().map(|(name, _)| name.clone())), broken)
    }

    /// Notes pairs that cannot be used as they are now, so that metrics show them.
    pub fn with_broken(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.broken.extend(names);
        self.broken.sort();
        self.broken.dedup();
        self
    }

    /// In the order of their names.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The pairs that could not be used when they were last looked at, in order.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Who answers a client that asks for `host`. A client that names no host gets the default, or the first by name: it must be shown something.
    pub fn find(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        self.certificate(host).map(|certificate| certificate.key())
    }

    /// The same, with what is known of it.
    pub fn certificate(&self, host: Option<&str>) -> Option<&Arc<Certificate>> {
        let at = match host {
            None => self.default.or(if self.certificates.is_empty() { None } else { Some(0) }),
            Some(host) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                if let Some(certificate) = self.of_route(&host) {
                    return Some(certificate);
                }
                let above = || host.split_once('.').and_then(|(_, suffix)| self.wildcard.get(suffix));
                self.exact.get(&host).or_else(above).copied().or(self.default)
            }
        };
        at.map(|at| &self.certificates[at])
    }
}

#[cfg(test)]
mod tests;
