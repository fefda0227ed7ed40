//! The routing table joined with what the gateway counts. Owns publishing: the swap is atomic, endpoints and queues survive it, held requests wake. Must
//! never know how a request is answered.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use model::id::{ComponentId, RevisionNumber};
use tokio::sync::watch;

use crate::{
    endpoint::{EndpointReading, EndpointSet, EndpointState},
    metrics::Metrics,
    queue::ComponentState,
    stack::Target,
    table::{Instances, Route, RoutingTable},
};

/// A table in use.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) table: Arc<RoutingTable>,
    /// In the order of the table's instances.
    backends: Vec<Arc<Backend>>,
}

/// A component at a revision, as a route finds it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) component: Arc<ComponentState>,
    pub(crate) revision: RevisionNumber,
    pub(crate) endpoints: Arc<EndpointSet>,
    pub(crate) queue_length: u32,
    pub(crate) queue_wait: Duration,
}

impl Live {
    pub(crate) fn backend(&self, route: &Route) -> &Arc<Backend> {
        &self.backends[route.target]
    }
}

/// The one who swaps tables.
#[derive(Debug)]
pub(crate) struct Publisher {
    live: ArcSwap<Live>,
    changed: watch::Sender<()>,
    known: Mutex<Known>,
    metrics: Metrics,
}

/// What survives a swap.
#[derive(Debug, Default)]
struct Known {
    components: HashMap<ComponentId, Arc<ComponentState>>,
    endpoints: HashMap<(ComponentId, RevisionNumber, u32), Arc<EndpointState>>,
}

impl Publisher {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { live: ArcSwap::default(), changed: watch::Sender::new(()), known: Mutex::default(), metrics }
    }

    /// The table in use, for as long as one decision takes.
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// Sees every table published from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Puts `table` in use. Requests under way finish with what they have; those who wait look at the new table.
    pub(crate) fn publish(&self, table: Arc<RoutingTable>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let backends: Vec<_> = table.instances.iter().map(|instances| Arc::new(known.backend(instances))).collect();
        known.forget(&backends);
        self.metrics.watch(known.components.values().cloned().collect());
        let mut sets: HashMap<&ComponentId, Vec<_>> = HashMap::new();
        for backend in &backends {
            sets.entry(&backend.component.id).or_default().push((backend.revision, backend.endpoints.clone()));
        }
        let sets: Vec<_> = known.components.values().map(|component| (component.clone(), sets.remove(&component.id))).collect();
        self.live.store(Arc::new(Live { table, backends }));
        for (component, sets) in sets {
            component.update(sets.unwrap_or_default());
        }
        self.changed.send_replace(());
    }

    /// Requests at one instance, whether the table in use names it or an older one did.
    pub(crate) fn in_flight(&self, target: &Target) -> u32 {
        self.read(target).map_or(0, |reading| reading.in_flight)
    }

    /// What was counted at one instance.
    pub(crate) fn read(&self, target: &Target) -> Option<EndpointReading> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.component.clone(), target.revision, target.ordinal);
        known.endpoints.get(&key).map(|endpoint| endpoint.read())
    }

    /// Wakes those who wait without a new table: something else they look at has changed.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }
}

impl Known {
    fn backend(&mut self, instances: &Instances) -> Backend {
        let id = &instances.component;
        let component = self.components.entry(id.clone()).or_insert_with(|| Arc::new(ComponentState::new(id.clone()))).clone();
        let revision = instances.revision;
        let endpoints = instances.endpoints.iter().map(|endpoint| {
            let target = || Target { component: id.clone(), revision, ordinal: endpoint.ordinal };
            let key = (id.clone(), revision, endpoint.ordinal);
            let state = self.endpoints.entry(key);
            let state = state.or_insert_with(|| Arc::new(EndpointState::new(target(), endpoint.capacity, endpoint.local)));
            state.update(endpoint.capacity, endpoint.local);
            state.clone()
        });
        let endpoints = Arc::new(EndpointSet::new(endpoints.collect()));
        Backend { component, revision, endpoints, queue_length: instances.queue_length, queue_wait: instances.queue_wait }
    }

    /// Forgets what the table no longer names, once nobody is in it any more: an endpoint that comes back must find its count.
    fn forget(&mut self, backends: &[Arc<Backend>]) {
        let named: HashSet<&ComponentId> = backends.iter().map(|backend| &backend.component.id).collect();
        self.components.retain(|id, component| named.contains(id) || component.waiting() > 0 || component.metrics.is_busy());
        let kept: HashSet<*const EndpointState> = backends.iter().flat_map(|backend| backend.endpoints.all()).map(Arc::as_ptr).collect();
        self.endpoints.retain(|_, endpoint| kept.contains(&Arc::as_ptr(endpoint)) || endpoint.in_flight() > 0);
    }
}
