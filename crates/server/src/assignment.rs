//! From the state to what one worker must know: a pure function. Owns the derivation; must never know how it travels or what a worker does with it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use api::node::{AssignedFile, AssignedPlacement, AssignedProgram, AssignedRoute, Assignment, Wanted};
use model::{
    app::{App, Route},
    id::{ComponentId, Generation, NodeId, RevisionNumber},
};
use state::{Revision, State};

/// Everything `node` must know. `parse` gives the app a revision froze; a revision that cannot be read is left out.
pub(crate) fn derive(state: &State, node: NodeId, parse: impl Fn(&Revision) -> Option<Arc<App>>) -> Assignment {
    Assignment { generation: Generation(state.index().0), node, programs: programs(state, node, &parse), routes: routes(state, &parse) }
}

fn programs(state: &State, node: NodeId, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Vec<AssignedProgram> {
    let mut programs: BTreeMap<(ComponentId, RevisionNumber), AssignedProgram> = BTreeMap::new();
    for placement in state.placements_on(node) {
        let component = &placement.instance.component;
        let program = match programs.entry((component.clone(), placement.revision)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let revision = state.revision(&component.app, placement.revision);
                match revision.and_then(|revision| program(component, revision, parse)) {
                    Some(program) => entry.insert(program),
                    None => continue,
                }
            }
        };
        let wanted = if placement.runs() { Wanted::Run } else { Wanted::Stop };
        program.placements.push(AssignedPlacement { placement: placement.id, ordinal: placement.instance.ordinal, wanted });
    }
    programs.into_values().collect()
}

fn program(component: &ComponentId, revision: &Revision, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Option<AssignedProgram> {
    let app = parse(revision)?;
    let spec = app.spec.components.get(&component.component)?;
    let files = spec.files.iter().map(|file| Some(AssignedFile { digest: file.source.digest()?, to: file.to.clone() }));
    Some(AssignedProgram {
        component: component.clone(),
        revision: revision.number,
        digest: spec.source.digest()?,
        env: spec.env.clone(),
        config: spec.config.clone(),
        args: spec.args.clone(),
        resources: spec.resources.clone(),
        reuse: spec.reuse.clone(),
        egress: spec.egress.clone(),
        files: files.collect::<Option<_>>()?,
        placements: Vec::new(),
    })
}

fn routes(state: &State, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Vec<AssignedRoute> {
    let routed = state.apps().filter_map(|app| state.revision(&app.id, app.routed()?));
    routed
        .filter_map(|revision| parse(revision).map(|app| (revision, app)))
        .flat_map(|(revision, app)| {
            let routes = |(name, component): (&model::id::Name, &model::app::Component)| {
                let id = revision.app.component(name.clone());
                component.routes.iter().map(move |from| route(&id, revision.number, from)).collect::<Vec<_>>()
            };
            app.spec.components.iter().flat_map(routes).collect::<Vec<_>>()
        })
        .collect()
}

fn route(component: &ComponentId, revision: RevisionNumber, route: &Route) -> AssignedRoute {
    AssignedRoute {
        component: component.clone(),
        revision,
        host: route.host.clone(),
        path: route.path.clone(),
        exact: route.exact,
        methods: route.methods.clone(),
        headers: route.headers.clone(),
        rewrite: route.rewrite.clone(),
        timeout: route.timeout,
        idle_timeout: route.idle_timeout,
        max_body: route.max_body,
    }
}

/// Whether the two tell a worker the same, whatever state they were derived from.
pub(crate) fn says_the_same(left: &Assignment, right: &Assignment) -> bool {
    left.node == right.node && left.programs == right.programs && left.routes == right.routes
}
