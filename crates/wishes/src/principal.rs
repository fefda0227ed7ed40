//! Who asks and what they may: roles, namespaces, and the one table that says what an endpoint needs. Pure. Must never know how somebody proved who they are.

use api::v1::{ApiRole, ErrorDetail, Principal};
use http::Method;
use model::id::Name;

/// What an endpoint needs of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: health, the API's own description.
    Nobody,
    /// To read within a namespace, or everywhere.
    Read,
    /// To change what runs, within a namespace.
    Deploy,
    /// To change the cluster, or to see its secrets' names everywhere.
    Admin,
}

/// What a call of `method` to the route `path` needs; `path` is the route as the router writes it.
pub fn needs(method: &Method, path: &str) -> Needs {
    const OPEN: [&str; 4] = ["/healthz", "/readyz", "/openapi.json", "/v1/version"];
    const ADMIN: [&str; 9] = [
        "/v1/cluster",
        "/v1/authority",
        "/v1/members",
        "/v1/leader",
        "/v1/join-tokens",
        "/v1/tokens",
        "/v1/audit",
        "/v1/snapshot",
        "/v1/nodes/",
    ];
    if OPEN.contains(&path) {
        return Needs::Nobody;
    }
    let administers = ADMIN.iter().any(|prefix| path.starts_with(prefix));
    match (administers, method.is_safe()) {
        // Whoever may read may see who the members are; tokens, the audit log and snapshots are for admins only.
        (true, true) if ["/v1/cluster", "/v1/authority", "/v1/nodes/"].iter().any(|seen| path.starts_with(seen)) => Needs::Read,
        (true, _) => Needs::Admin,
        // A plan changes nothing, though it is asked by POST.
        (false, _) if path == "/v1/plan" => Needs::Read,
        // Whether an artifact is stored matters to whoever may store it, and tells others what runs elsewhere.
        (false, _) if path.starts_with("/v1/artifacts/") => Needs::Deploy,
        (false, _) if path == "/v1/namespaces/{name}" && !method.is_safe() => Needs::Admin,
        (false, true) => Needs::Read,
        (false, false) => Needs::Deploy,
    }
}

/// Whether `principal` may make such a call at all; which namespaces it touches is held against [`within`].
///
/// # Errors
/// E0421 naming the role that is missing.
pub fn allow(principal: &Principal, needs: Needs, what: &str) -> Result<(), ErrorDetail> {
    let least = match needs {
        Needs::Nobody | Needs::Read => ApiRole::Viewer,
        Needs::Deploy => ApiRole::Deployer,
        Needs::Admin => ApiRole::Admin,
    };
    if principal.role >= least {
        return Ok(());
    }
    let (has, least) = (role_name(principal.role), role_name(least));
    let message = format!("{} is {has} and may not {what}: that takes the role {least}", principal.name);
    Err(ErrorDetail::new("E0421", message, format!("ask an admin for a token:   shoal token create --role {least} NAME")))
}

/// Whether `principal` may touch `namespace`.
///
/// # Errors
/// E0421 naming both.
pub fn within(principal: &Principal, namespace: &Name) -> Result<(), ErrorDetail> {
    match &principal.namespace {
        Some(only) if only != namespace => {
            let message = format!("the token of {} is for namespace `{only}`, not for `{namespace}`", principal.name);
            Err(ErrorDetail::new("E0421", message, format!("use a token for `{namespace}`, or   -n {only}")))
        }
        _ => Ok(()),
    }
}

/// E0421: `what` is of all namespaces, and the token for one.
pub fn too_wide(principal: &Principal, what: &str, help: &str) -> ErrorDetail {
    let only = principal.namespace.as_ref().map_or_else(String::new, Name::to_string);
    let message = format!("the token of {} is for namespace `{only}` alone, and {what} may be of another", principal.name);
    ErrorDetail::new("E0421", message, help)
}

/// The namespace a listing is limited to: what was asked for, or the only one this principal sees.
///
/// # Errors
/// E0421 when another one was asked for.
pub fn listed(principal: &Principal, asked: Option<Name>) -> Result<Option<Name>, ErrorDetail> {
    match asked {
        Some(namespace) => within(principal, &namespace).map(|()| Some(namespace)),
        None => Ok(principal.namespace.clone()),
    }
}

/// A role as users write it.
pub fn role_name(role: ApiRole) -> &'static str {
    match role {
        ApiRole::Viewer => "viewer",
        ApiRole::Deployer => "deployer",
        ApiRole::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_needs() {
        let check = |method: Method, path: &str, expected| assert_eq!(needs(&method, path), expected, "{method} {path}");
        check(Method::GET, "/healthz", Needs::Nobody);
        check(Method::GET, "/v1/apps", Needs::Read);
        check(Method::POST, "/v1/plan", Needs::Read);
        check(Method::POST, "/v1/apply", Needs::Deploy);
        check(Method::PUT, "/v1/artifacts/{digest}", Needs::Deploy);
        check(Method::HEAD, "/v1/artifacts/{digest}", Needs::Deploy);
        check(Method::DELETE, "/v1/namespaces/{namespace}/apps/{app}", Needs::Deploy);
        check(Method::PUT, "/v1/namespaces/{namespace}/secrets/{name}", Needs::Deploy);
        check(Method::PUT, "/v1/namespaces/{name}", Needs::Admin);
        check(Method::GET, "/v1/namespaces/{name}", Needs::Read);
        check(Method::GET, "/v1/nodes", Needs::Read);
        check(Method::DELETE, "/v1/nodes/{name}", Needs::Admin);
        check(Method::GET, "/v1/cluster", Needs::Read);
        check(Method::GET, "/v1/authority", Needs::Read);
        check(Method::POST, "/v1/authority/rotate", Needs::Admin);
        check(Method::GET, "/v1/join-tokens", Needs::Admin);
        check(Method::GET, "/v1/tokens", Needs::Admin);
        check(Method::GET, "/v1/audit", Needs::Admin);
        check(Method::GET, "/v1/snapshot", Needs::Admin);
        check(Method::POST, "/v1/members/{name}/promote", Needs::Admin);
    }

    #[test]
    fn a_principal_may_what_its_role_and_namespace_say() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let principal = |role, namespace: Option<&str>| Principal { name: "ci".into(), role, namespace: namespace.map(name) };
        let check =
            |role, needs, expected: bool| assert_eq!(allow(&principal(role, None), needs, "x").is_ok(), expected, "{role:?} {needs:?}");
        check(ApiRole::Viewer, Needs::Read, true);
        check(ApiRole::Viewer, Needs::Deploy, false);
        check(ApiRole::Deployer, Needs::Deploy, true);
        check(ApiRole::Deployer, Needs::Admin, false);
        check(ApiRole::Admin, Needs::Admin, true);
        let refused = allow(&principal(ApiRole::Viewer, None), Needs::Deploy, "x").expect_err("a viewer reads");
        assert_eq!(
            refused.help, "ask an admin for a token:   shoal token create --role deployer NAME",
            "a command that can be given as it is"
        );
        let bound = principal(ApiRole::Deployer, Some("team"));
        assert!(within(&bound, &name("team")).is_ok());
        assert_eq!(within(&bound, &name("other")).expect_err("another namespace").code, "E0421");
        assert_eq!(listed(&bound, None).ok().flatten(), Some(name("team")));
        assert!(listed(&bound, Some(name("other"))).is_err());
        assert_eq!(listed(&principal(ApiRole::Admin, None), None).ok(), Some(None));
    }
}
