//! A refusal as users read it: its code, where in a manifest it belongs, and how to mend it. Owns these; must never know who asked.

use model::problem::Problem;

use super::{NotAdmitted, Refused};
use crate::ceilings::Ceiling;

impl Refused {
    /// `E0401` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RouteCollision(_) => "E0401",
            Self::HostTaken(_) => "E0419",
            Self::OtherCertificate(_) => "E0420",
            Self::Replicas { .. } => "E0107",
            Self::UnknownApp { .. }
            | Self::UnknownRevision { .. }
            | Self::NoEarlierRevision { .. }
            | Self::UnknownNode { .. }
            | Self::UnknownObject { .. }
            | Self::Missing { .. }
            | Self::UnknownToken { .. } => "E0402",
            Self::AlreadyWanted { .. }
            | Self::Conflict { .. }
            | Self::Deleting { .. }
            | Self::TokenExists { .. }
            | Self::ObjectConflict { .. } => "E0403",
            Self::Protected { .. } | Self::ObjectProtected { .. } => "E0404",
            Self::LimitReached { .. } | Self::TooManyKeys { .. } => "E0405",
            Self::Invalid { .. } => "E0408",
            Self::NameTaken { .. } | Self::KeyTaken { .. } => "E0411",
            Self::NotAdmitted { .. } | Self::LesserReplacement { .. } => "E0412",
            Self::LastServer { .. } => "E0413",
            Self::TooOld { .. } => "E0414",
            Self::AlreadyFounded { .. } | Self::NotFounded { .. } => "E0415",
            Self::KeyReused { .. } => "E0416",
            Self::StillUsed { .. } => "E0417",
            Self::Ceiling { .. } => "E0418",
        }
    }

    /// The refusal as users read it. The path names the field of the app's manifest, where there is one.
    pub fn problem(&self) -> Problem {
        let path = match self {
            Self::RouteCollision(at) => format!("spec.components.{}.routes[{}]", at.component.component, at.number),
            Self::HostTaken(at) => format!("spec.components.{}.routes[{}].host", at.component.component, at.number),
            Self::Conflict { .. } | Self::ObjectConflict { .. } => "metadata.resourceVersion".to_owned(),
            Self::Missing { component, field, .. } => format!("spec.components.{}.{field}", component.component),
            Self::Ceiling { component: Some(component), ceiling, .. } => {
                let field = match ceiling {
                    Ceiling::Host { .. } => ".routes",
                    Ceiling::Egress { .. } => ".egress.allow",
                    Ceiling::Interface { .. } => ".source",
                    Ceiling::Quota { .. } => "",
                };
                format!("spec.components.{component}{field}")
            }
            Self::Replicas { component, .. } => format!("spec.components.{}.scale.replicas", component.component),
            _ => String::new(),
        };
        let label = match self {
            Self::RouteCollision(at) => format!("belongs to `{}`", at.owner),
            Self::HostTaken(at) => format!("held by the namespace `{}`", at.holder),
            _ => String::new(),
        };
        Problem { code: self.code().to_owned(), message: self.to_string(), path, label, help: self.help(), span: None }
    }

    fn help(&self) -> String {
        match self {
            Self::RouteCollision(at) => {
                format!("choose another host or path, tell the two apart by `methods` or `headers`, or take the route from `{}`", at.owner)
            }
            Self::HostTaken(at) => format!(
                "choose another host, or have an admin list `{}` in `hosts` of the Namespace `{}`",
                at.host, at.component.app.namespace
            ),
            Self::OtherCertificate(at) if at.namespace == at.app.namespace => {
                format!("name the Secret `{}` in every route of the host; a new certificate is a new version of that Secret", at.secret)
            }
            Self::OtherCertificate(_) => "leave `tls` out: the host is answered with the certificate it has".to_owned(),
            Self::UnknownApp { .. } => "`shoal get apps` lists what there is".to_owned(),
            Self::UnknownRevision { app, oldest, newest, .. } => {
                format!("{oldest} to {newest} are kept: `shoal rollout history {app}`")
            }
            Self::NoEarlierRevision { app, .. } => format!("name one: `shoal rollout history {app}` lists them"),
            Self::AlreadyWanted { app, .. } => format!("name another: `shoal rollout history {app}` lists them"),
            Self::Conflict { app, .. } => {
                format!("read it again (`shoal get app {app} -o yaml`), merge your change and apply that, or leave `resourceVersion` out")
            }
            Self::Deleting { app } => {
                format!("wait until it is gone (`shoal describe app {app}` says what it waits for), then apply again")
            }
            Self::UnknownObject { .. } => {
                "`shoal get configs`, `shoal get secrets` and `shoal get namespaces` list what there is".to_owned()
            }
            Self::ObjectConflict { .. } => "read it again, merge your change and apply that, or leave `resourceVersion` out".to_owned(),
            Self::StillUsed { .. } => "deploy without it first; revisions that are only history go away after 50 newer ones".to_owned(),
            Self::Missing { .. } => "apply it first, in the same namespace, or in the same file as the app".to_owned(),
            Self::Ceiling { app, .. } => {
                format!("ask for less, or have an admin raise the ceiling: `shoal get namespace {} -o yaml`", app.namespace)
            }
            Self::Protected { .. } | Self::ObjectProtected { .. } => "set `metadata.protected: false`, apply, then delete".to_owned(),
            Self::LimitReached { .. } => "delete what is no longer needed, or split it".to_owned(),
            Self::Invalid { .. } => String::new(),
            Self::Replicas { .. } => "leave `scale` out; to have more instances, join another worker".to_owned(),
            Self::AlreadyFounded { .. } => "a cluster is founded once, by its first server on an empty data directory".to_owned(),
            Self::NotFounded { .. } => "the first server founds the cluster when it starts: try again in a moment".to_owned(),
            Self::NameTaken { name, .. } => format!(
                "choose another name with `--name`; when `{name}` is lost for good, start this node with `--replace {name}`, or remove \
                 the lost one with `shoal node remove {name} --lost`"
            ),
            Self::KeyTaken { .. } => "start the node with an empty data directory: a copied one is not another node".to_owned(),
            Self::NotAdmitted { reason: NotAdmitted::OtherRole { node, .. }, .. } => {
                format!("`shoal join-token create {node}` on a server makes one")
            }
            Self::NotAdmitted { .. } => {
                "`shoal join-token create server` or `shoal join-token create worker` on a server makes a new one".to_owned()
            }
            Self::LesserReplacement { name, .. } => {
                format!("start it as all that the lost one was; to do without, remove the lost one: `shoal node remove {name} --lost`")
            }
            Self::TooOld { .. } => "start the node with the version of shoal that the servers run: `shoal version`".to_owned(),
            Self::UnknownNode { .. } => "`shoal get nodes` lists what there is".to_owned(),
            Self::LastServer { .. } => "join another server first; to end a cluster, stop it".to_owned(),
            Self::UnknownToken { .. } => "`shoal join-token list` and `shoal token list` show what there is".to_owned(),
            Self::KeyReused { .. } => "make a new key for every new request".to_owned(),
            Self::TooManyKeys { .. } => "send it again in a minute, under the same key, and fewer changes at a time".to_owned(),
            Self::TokenExists { .. } => "ask again: ids are made at random".to_owned(),
        }
    }
}
