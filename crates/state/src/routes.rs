//! When two routes collide. Owns that definition; must never know how a gateway picks a route.
//!
//! Gateways prefer the exact host to the wildcard, the longer path to the shorter, the exact path to the prefix, more header matches to fewer.
//! Two routes *collide* when none of these tells them apart and some request matches both:
//! - their hosts are equal (`*.example.com` and `a.example.com` are not: the exact one is preferred),
//! - both are exact or both are prefixes, and their paths are equal; `/v1/` and `/v1` are the same prefix,
//! - they share a method: one of them has every method, or a method is in both lists,
//! - their header matches are equal.
//!
//! Routes of one component never collide with each other: whichever is taken, the same component answers.

use model::{
    frozen::RouteKeyV1,
    id::{AppId, ComponentId},
};

use crate::{
    State, hosts,
    record::Revision,
    refused::{Collision, Refused},
};

/// Whether `left` and `right` collide.
pub fn collide(left: &RouteKeyV1, right: &RouteKeyV1) -> bool {
    left.host == right.host
        && left.exact == right.exact
        && path_of(left) == path_of(right)
        && methods_overlap(&left.methods, &right.methods)
        && left.headers == right.headers
}

pub(crate) fn path_of(route: &RouteKeyV1) -> &str {
    if route.exact { &route.path } else { route.path.trim_end_matches('/') }
}

fn methods_overlap(left: &[String], right: &[String]) -> bool {
    left.is_empty() || right.is_empty() || left.iter().any(|method| right.contains(method))
}

/// The routes of a revision, each with its component and its number there.
pub(crate) fn of(revision: &Revision) -> impl Iterator<Item = (ComponentId, usize, &RouteKeyV1)> {
    revision.frozen.spec.components.iter().flat_map(|component| {
        let id = revision.app.component(component.name.clone());
        component.routes.iter().enumerate().map(move |(number, route)| (id.clone(), number, route))
    })
}

/// Refuses `revision` when one of its routes collides with a route of another of its components, or of another app that is not being deleted.
pub(crate) fn refuse_collisions(state: &State, revision: &Revision) -> Result<(), Refused> {
    let mine: Vec<_> = of(revision).collect();
    for (at, (component, number, route)) in mine.iter().enumerate() {
        let earlier = mine[..at].iter().find(|(other, _, theirs)| other != component && collide(route, theirs));
        if let Some((owner, _, _)) = earlier {
            return Err(collision(component, *number, route, owner));
        }
    }
    for (component, number, route) in &mine {
        if let Some(owner) = owner_of_equal(state, &revision.app, route) {
            return Err(collision(component, *number, route, &owner));
        }
    }
    hosts::refuse_hosts_of_others(state, revision)
}

/// The component of another app that owns a route which `route` collides with: one of that app's wanted or serving revision.
fn owner_of_equal(state: &State, app: &AppId, route: &RouteKeyV1) -> Option<ComponentId> {
    let others = state.derived.owners.at(route).iter().filter(|other| *other != app).filter_map(|other| state.app(other));
    let held = others.filter(|other| !other.deleted).flat_map(|other| other.held().filter_map(|number| state.revision(&other.id, number)));
    held.flat_map(of).find(|(_, _, theirs)| collide(route, theirs)).map(|(component, _, _)| component)
}

fn collision(component: &ComponentId, number: usize, route: &RouteKeyV1, owner: &ComponentId) -> Refused {
    Refused::RouteCollision(Box::new(Collision {
        component: component.clone(),
        number,
        host: route.host.clone(),
        path: route.path.clone(),
        owner: owner.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `host path [= for exact] [GET,POST] [x:1]`
    fn route(text: &str) -> RouteKeyV1 {
        let mut words = text.split(' ');
        let (host, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut key = RouteKeyV1 { host: host.into(), path: path.into(), exact: false, methods: vec![], headers: vec![] };
        for word in words {
            match word.split_once(':') {
                _ if word == "=" => key.exact = true,
                Some((name, value)) => key.headers.push((name.into(), value.into())),
                None => key.methods = word.split(',').map(str::to_owned).collect(),
            }
        }
        key
    }

    #[test]
    fn routes_collide_only_when_nothing_tells_them_apart() {
        let check = |left: &str, right: &str, expected: bool| {
            assert_eq!(collide(&route(left), &route(right)), expected, "{left} and {right}");
            assert_eq!(collide(&route(right), &route(left)), expected, "{right} and {left}");
        };
        check("a.test /", "a.test /", true);
        check("a.test /", "b.test /", false);
        check("*.a.test /", "x.a.test /", false);
        check("a.test /v1", "a.test /v1/", true);
        check("a.test /v1", "a.test /v10", false);
        check("a.test /v1 =", "a.test /v1", false);
        check("a.test /v1 =", "a.test /v1/ =", false);
        check("a.test / GET", "a.test / POST", false);
        check("a.test / GET", "a.test / GET,POST", true);
        check("a.test / GET", "a.test /", true);
        check("a.test / x:1", "a.test /", false);
        check("a.test / x:1", "a.test / x:2", false);
        check("a.test / x:1", "a.test / x:1", true);
    }
}
