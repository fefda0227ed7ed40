//! The cluster itself: members, tokens, configs, secrets, the audit log. Owns one method per endpoint; must never keep a token it was given to make.

use http::Method;
use model::id::{Index, Name};

use super::{Client, ClientError, query};
use crate::v1::{
    ApiTokenRequest, ApiTokenView, AuditQuery, AuditView, AuthorityView, ClusterView, ConfigRequest, ConfigView, JoinTokenRequest,
    JoinTokenView, List, MemberAnswer, NamespaceView, NewApiToken, NewJoinToken, Principal, SecretRequest, SecretView, TransferRequest,
    WriteAnswer,
};

impl Client {
    /// The group of servers that holds the state.
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.get("/v1/cluster").await
    }

    /// Gives the learner `node` a vote.
    pub async fn promote_member(&self, node: &str) -> Result<MemberAnswer, ClientError> {
        self.call(Method::POST, &format!("/v1/members/{}/promote", query::escape(node)), None).await
    }

    /// Makes `node` no member any more; its worker stays.
    pub async fn remove_member(&self, node: &str) -> Result<MemberAnswer, ClientError> {
        self.call(Method::DELETE, &format!("/v1/members/{}", query::escape(node)), None).await
    }

    /// Removes the node with everything on it; `lost` says that it will not come back.
    pub async fn remove_node(&self, node: &str, lost: bool) -> Result<MemberAnswer, ClientError> {
        let lost = if lost { "?lost=true" } else { "" };
        self.call(Method::DELETE, &format!("/v1/nodes/{}{lost}", query::escape(node)), None).await
    }

    /// Lets another member lead.
    pub async fn transfer_leadership(&self, request: &TransferRequest) -> Result<MemberAnswer, ClientError> {
        self.post("/v1/leader", request).await
    }

    /// Who signs the nodes' certificates, and how far replacing it is.
    pub async fn authority(&self) -> Result<AuthorityView, ClientError> {
        self.get("/v1/authority").await
    }

    /// Lets another authority take its place.
    pub async fn rotate_authority(&self) -> Result<AuthorityView, ClientError> {
        self.call(Method::POST, "/v1/authority/rotate", None).await
    }

    /// Makes a token that lets nodes join.
    pub async fn create_join_token(&self, request: &JoinTokenRequest) -> Result<NewJoinToken, ClientError> {
        self.post("/v1/join-tokens", request).await
    }

    /// All join tokens that are still good.
    pub async fn join_tokens(&self) -> Result<List<JoinTokenView>, ClientError> {
        self.get("/v1/join-tokens").await
    }

    /// Ends a join token.
    pub async fn revoke_join_token(&self, id: &str) -> Result<WriteAnswer, ClientError> {
        self.call(Method::DELETE, &format!("/v1/join-tokens/{}", query::escape(id)), None).await
    }

    /// Makes a token of the API.
    pub async fn create_token(&self, request: &ApiTokenRequest) -> Result<NewApiToken, ClientError> {
        self.post("/v1/tokens", request).await
    }

    /// All tokens of the API that are still good.
    pub async fn tokens(&self) -> Result<List<ApiTokenView>, ClientError> {
        self.get("/v1/tokens").await
    }

    /// Ends a token of the API.
    pub async fn revoke_token(&self, id: &str) -> Result<WriteAnswer, ClientError> {
        self.call(Method::DELETE, &format!("/v1/tokens/{}", query::escape(id)), None).await
    }

    /// Who the server takes us for.
    pub async fn whoami(&self) -> Result<Principal, ClientError> {
        self.get("/v1/whoami").await
    }

    /// Every change somebody asked for, the oldest first.
    pub async fn audit(&self, question: &AuditQuery) -> Result<List<AuditView>, ClientError> {
        self.get(&query::append("/v1/audit", question)).await
    }

    /// All configs, or those of one namespace.
    pub async fn configs(&self, namespace: Option<&Name>) -> Result<List<ConfigView>, ClientError> {
        self.get(&super::in_namespace("/v1/configs", namespace)).await
    }

    /// One config.
    pub async fn config(&self, namespace: &Name, name: &Name) -> Result<ConfigView, ClientError> {
        self.get(&object_path(namespace, "configs", name)).await
    }

    /// Writes a config whole.
    pub async fn put_config(&self, namespace: &Name, name: &Name, request: &ConfigRequest) -> Result<WriteAnswer, ClientError> {
        self.put(&object_path(namespace, "configs", name), request).await
    }

    /// Deletes a config.
    pub async fn delete_config(&self, namespace: &Name, name: &Name, expect: Option<Index>) -> Result<WriteAnswer, ClientError> {
        self.call(Method::DELETE, &expecting(&object_path(namespace, "configs", name), expect), None).await
    }

    /// All namespaces with ceilings.
    pub async fn namespaces(&self) -> Result<List<NamespaceView>, ClientError> {
        self.get("/v1/namespaces").await
    }

    /// Takes the ceilings of a namespace away.
    pub async fn delete_namespace(&self, name: &Name, expect: Option<Index>) -> Result<WriteAnswer, ClientError> {
        self.call(Method::DELETE, &expecting(&format!("/v1/namespaces/{name}"), expect), None).await
    }

    /// All secrets without their values, or those of one namespace.
    pub async fn secrets(&self, namespace: Option<&Name>) -> Result<List<SecretView>, ClientError> {
        self.get(&super::in_namespace("/v1/secrets", namespace)).await
    }

    /// Sets all values of a secret: a new version of it.
    pub async fn put_secret(&self, namespace: &Name, name: &Name, request: &SecretRequest) -> Result<WriteAnswer, ClientError> {
        self.put(&object_path(namespace, "secrets", name), request).await
    }

    /// Deletes a secret with all its versions.
    pub async fn delete_secret(&self, namespace: &Name, name: &Name, expect: Option<Index>) -> Result<WriteAnswer, ClientError> {
        self.call(Method::DELETE, &expecting(&object_path(namespace, "secrets", name), expect), None).await
    }
}

fn object_path(namespace: &Name, kind: &str, name: &Name) -> String {
    format!("/v1/namespaces/{namespace}/{kind}/{name}")
}

fn expecting(path: &str, expect: Option<Index>) -> String {
    expect.map_or_else(|| path.to_owned(), |expect| format!("{path}?expect={}", expect.0))
}
