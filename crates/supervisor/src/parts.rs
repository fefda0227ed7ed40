//! How the parts of a node are while it starts, and what that makes of the node: whole, in part, or nothing. Pure. Owns when a start is given up; must never
//! start, stop or ask anything.
//!
//! A node that had its place before serves with whatever works: a control plane that cannot read its log takes no gateway down, and the other way round.

use super::{
    child::Role,
    limits::STARTS_MAX,
    options::{Part, Ready},
    start_error::StartError,
};

/// The parts of one node.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Absent on a node that only works.
    control_plane: Option<One>,
    /// Absent on a node that only decides.
    worker: Option<One>,
    kind: Kind,
}

/// What a node has to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It gets its place with this start: whoever sets it up wants to know at once what is wrong.
    New,
    /// It served before.
    Known,
}

/// One part.
#[derive(Debug, Clone, Default)]
struct One {
    serves: bool,
    /// How often it ended since it served last.
    ends: u32,
    /// How, the last time.
    status: String,
    /// It has taken longer than any start should.
    late: bool,
}

/// What the parts make of the node.
#[derive(Debug)]
pub enum Verdict {
    /// Something may still come.
    Wait,
    /// Everything serves.
    Whole,
    /// This serves, and the rest does not: why, one sentence each.
    InPart(String),
    /// It is given up.
    Never(StartError),
}

impl Parts {
    /// Nothing has been seen of them yet.
    pub fn new(part: Part, kind: Kind) -> Self {
        let one = |present: bool| present.then(One::default);
        Self { control_plane: one(part.serves()), worker: one(part.works()), kind }
    }

    fn one(&mut self, role: Role) -> Option<&mut One> {
        match role {
            Role::ControlPlane => self.control_plane.as_mut(),
            Role::Worker => self.worker.as_mut(),
        }
    }

    /// A part serves.
    pub fn serves(&mut self, role: Role) {
        if let Some(one) = self.one(role) {
            one.serves = true;
        }
    }

    /// A part has ended by itself; another one is started.
    pub fn ended(&mut self, role: Role, status: String) {
        if let Some(one) = self.one(role) {
            *one = One { serves: false, ends: one.ends.saturating_add(1), status, late: one.late };
        }
    }

    /// What does not serve by now has had its time.
    pub fn late(&mut self) {
        for one in self.control_plane.iter_mut().chain(self.worker.iter_mut()) {
            one.late = true;
        }
    }

    /// Whether `role` is there and does not serve.
    pub fn lacks(&self, role: Role) -> bool {
        let one = match role {
            Role::ControlPlane => &self.control_plane,
            Role::Worker => &self.worker,
        };
        one.as_ref().is_some_and(|one| !one.serves)
    }

    /// What they make of the node by now.
    pub fn verdict(&self, waited_seconds: u64) -> Verdict {
        let present = || {
            [(Role::ControlPlane, &self.control_plane), (Role::Worker, &self.worker)]
                .into_iter()
                .filter_map(|(role, one)| Some((role, one.as_ref()?)))
        };
        let missing: Vec<_> = present().filter(|(_, one)| !one.serves).collect();
        let Some((role, first)) = missing.iter().find(|(_, one)| one.fails()).or(missing.first()) else { return Verdict::Whole };
        let error = || match first.fails() {
            true => StartError::ChildFails { role: role.noun(), times: first.ends, status: first.status.clone() },
            false => StartError::Late { what: role.noun(), waited_seconds },
        };
        let hopeless = |one: &One| one.fails() || one.late;
        match self.kind {
            Kind::New if missing.iter().any(|(_, one)| hopeless(one)) => Verdict::Never(error()),
            Kind::Known if missing.iter().all(|(_, one)| hopeless(one)) && present().any(|(_, one)| one.serves) => {
                Verdict::InPart(missing.iter().map(|(role, one)| one.why(*role)).collect::<Vec<_>>().join("; "))
            }
            // Nothing serves: giving up takes nothing from anybody, and says why. One that only takes long may be reading a long log.
            Kind::Known if missing.iter().all(|(_, one)| one.fails()) => Verdict::Never(error()),
            Kind::New | Kind::Known => Verdict::Wait,
        }
    }

    /// What of `ready` is true of the parts that serve.
    pub fn only(&self, ready: Ready) -> Ready {
        let (decides, works) = (!self.lacks(Role::ControlPlane), !self.lacks(Role::Worker));
        let if_decides = |address: Option<String>| address.filter(|_| decides);
        let if_works = |address: Option<String>| address.filter(|_| works);
        // A server's metrics are its control plane's, those of a node without one its worker's.
        let has_metrics = if self.control_plane.is_some() { decides } else { works };
        Ready {
            api: if_decides(ready.api),
            peer: if_decides(ready.peer),
            api_socket: ready.api_socket.filter(|_| decides),
            http: if_works(ready.http),
            https: if_works(ready.https),
            mesh: if_works(ready.mesh),
            metrics: ready.metrics.filter(|_| has_metrics),
            ..ready
        }
    }
}

impl One {
    fn fails(&self) -> bool {
        !self.serves && self.ends >= STARTS_MAX
    }

    fn why(&self, role: Role) -> String {
        match self.ends {
            0 => format!("no {role}: it does not answer yet"),
            ends => format!("no {role}: it ended {ends} times, the last time with {}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One word for a verdict.
    fn word(parts: &Parts) -> String {
        match parts.verdict(120) {
            Verdict::Wait => "wait".to_owned(),
            Verdict::Whole => "whole".to_owned(),
            Verdict::InPart(why) => format!("in part: {why}"),
            Verdict::Never(error) => format!("never: {error}"),
        }
    }

    fn crash(parts: &mut Parts, role: Role) {
        (0..STARTS_MAX).for_each(|_| parts.ended(role, "exit status: 1".into()));
    }

    #[test]
    fn a_part_that_fails_takes_no_other_down() {
        for (broken, whole, why) in [(Role::ControlPlane, Role::Worker, "control plane"), (Role::Worker, Role::ControlPlane, "worker")] {
            let mut parts = Parts::new(Part::Both, Kind::Known);
            crash(&mut parts, broken);
            assert_eq!(word(&parts), "wait", "the other one may serve yet");
            parts.serves(whole);
            assert_eq!(word(&parts), format!("in part: no {why}: it ended 5 times, the last time with exit status: 1"));
            parts.serves(broken);
            assert_eq!(word(&parts), "whole");
        }
    }

    #[test]
    fn a_new_node_is_given_up_at_the_first_part_that_fails() {
        let mut parts = Parts::new(Part::Both, Kind::New);
        parts.serves(Role::Worker);
        assert_eq!(word(&parts), "wait");
        crash(&mut parts, Role::ControlPlane);
        assert_eq!(word(&parts), "never: the control plane ended 5 times before it was ready, the last time with exit status: 1");
        let mut parts = Parts::new(Part::Both, Kind::New);
        parts.serves(Role::Worker);
        parts.late();
        assert_eq!(word(&parts), "never: the node was not ready within 120 s: control plane did not answer");
    }

    #[test]
    fn a_node_of_which_nothing_serves_ends_when_all_of_it_fails_and_not_before() {
        let mut parts = Parts::new(Part::Both, Kind::Known);
        crash(&mut parts, Role::Worker);
        parts.late();
        assert_eq!(word(&parts), "wait", "a long log is read for as long as it takes");
        crash(&mut parts, Role::ControlPlane);
        assert!(word(&parts).starts_with("never: the control plane ended 5 times"), "{}", word(&parts));
        let mut parts = Parts::new(Part::Worker, Kind::Known);
        crash(&mut parts, Role::Worker);
        assert!(word(&parts).starts_with("never: the worker ended 5 times"), "{}", word(&parts));
    }

    #[test]
    fn what_takes_long_holds_up_nothing_that_serves() {
        let mut parts = Parts::new(Part::Both, Kind::Known);
        parts.serves(Role::Worker);
        assert_eq!(word(&parts), "wait");
        parts.late();
        assert_eq!(word(&parts), "in part: no control plane: it does not answer yet");
    }

    #[test]
    fn only_what_serves_is_told() {
        let ready = Ready {
            api: Some("http://a".into()),
            http: Some("http://b".into()),
            metrics: Some("http://c/metrics".into()),
            peer: Some("d:1".into()),
            mesh: Some("e:1".into()),
            ..Ready::default()
        };
        let mut parts = Parts::new(Part::Both, Kind::Known);
        parts.serves(Role::Worker);
        let told = parts.only(ready.clone());
        assert_eq!((told.api, told.peer, told.metrics), (None, None, None));
        assert_eq!((told.http, told.mesh), (ready.http.clone(), ready.mesh.clone()));
        parts.serves(Role::ControlPlane);
        assert_eq!(parts.only(ready.clone()), ready);
    }
}
