//! What the gateway of this node routes: the assignment's routes, joined with the instances that are ready here. Pure; must never publish it.

use std::sync::Arc;

use api::node::{AssignedProgram, AssignedRoute};
use gateway::{Builder, Endpoint, Instances, RouteRule, RoutingTable, TableError};

use crate::{
    next_step::Seen,
    roster::{ProgramKey, Roster},
};

/// The table of `roster`, and the routes that cannot be in one. Routes whose component has no ready instance are kept: their requests wait.
pub fn table(roster: &Roster) -> (Arc<RoutingTable>, Vec<TableError>) {
    let mut builder = Builder::new();
    let mut refused = Vec::new();
    for part in roster.apps().values() {
        part.programs.iter().for_each(|program| builder.instances(instances(roster, program)));
        refused.extend(part.routes.iter().filter_map(|route| builder.route(rule(route)).err()));
    }
    (builder.build(), refused)
}

fn instances(roster: &Roster, program: &AssignedProgram) -> Instances {
    let key = ProgramKey::of(program);
    let held = roster.of_program(&key).into_iter().filter_map(|id| roster.placements().get(&id));
    let ready = held.filter(|held| held.seen == Seen::Ready);
    let endpoints = ready.map(|held| Endpoint { ordinal: held.ordinal, capacity: program.resources.max_in_flight, local: true });
    Instances {
        endpoints: endpoints.collect(),
        component: key.component,
        revision: key.revision,
        queue_length: program.resources.queue_length,
        queue_wait: program.resources.queue_wait.duration(),
    }
}

fn rule(route: &AssignedRoute) -> RouteRule {
    RouteRule {
        component: route.component.clone(),
        revision: route.revision,
        host: route.host.clone(),
        path: route.path.clone(),
        exact: route.exact,
        methods: route.methods.clone(),
        headers: route.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        rewrite: route.rewrite.clone(),
        timeout: route.timeout.duration(),
        idle_timeout: route.idle_timeout.duration(),
        max_body_bytes: route.max_body.0,
        https: route.https,
    }
}

#[cfg(test)]
mod tests {
    use api::node::{Assignment, Wanted};
    use model::id::PlacementId;

    use super::*;
    use crate::fixtures::{assignment, place, route};

    fn endpoints(table: &RoutingTable) -> Vec<String> {
        let each = |instances: &Instances| {
            instances
                .endpoints
                .iter()
                .map(|endpoint| format!("{}.{}@{}", instances.component, endpoint.ordinal, instances.revision))
                .collect()
        };
        table.instances().iter().flat_map(|instances| -> Vec<String> { each(instances) }).collect()
    }

    #[test]
    fn only_ready_instances_receive_traffic_and_every_route_stays() {
        let mut roster = Roster::default();
        let programs = vec![
            place("hello/web", 1, 1, Wanted::Run),
            place("hello/web", 2, 2, Wanted::Run),
            place("other/web", 1, 3, Wanted::Run),
            place("gone/web", 1, 4, Wanted::Stop),
        ];
        let routes = vec![route("hello.localhost", "hello/web", 1), route("other.localhost", "other/web", 1)];
        roster.accept(Assignment { routes, ..assignment(1, programs) }.into()).unwrap();
        roster.set(PlacementId(1), Seen::Ready);
        roster.set(PlacementId(2), Seen::Ready);
        roster.set(PlacementId(3), Seen::Started);
        roster.set(PlacementId(4), Seen::Draining);
        let (table, refused) = table(&roster);
        assert_eq!(refused, []);
        assert_eq!(endpoints(&table), ["hello/web.1@r1", "hello/web.2@r2"]);
        assert!(table.knows_host("hello.localhost") && table.knows_host("other.localhost") && !table.knows_host("gone.localhost"));
    }

    #[test]
    fn a_route_that_cannot_be_is_told_and_the_others_stay() {
        let mut roster = Roster::default();
        let routes = vec![route("not a host", "hello/web", 1), route("hello.localhost", "hello/web", 1)];
        roster.accept(Assignment { routes, ..assignment(1, vec![]) }.into()).unwrap();
        let (table, refused) = table(&roster);
        assert_eq!(refused.len(), 1);
        assert!(table.knows_host("hello.localhost"));
    }

    #[test]
    fn before_the_first_assignment_nothing_is_routed() {
        assert_eq!(table(&Roster::default()).0.instances().len(), 0);
    }
}
