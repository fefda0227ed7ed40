//! Tables of single decisions, and whole groups of machines that are cut off, started again, emptied and told other lists, in any order. Owns the claim that there
//! is one cluster at most, and one in the end.

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use transport::TokenId;

use super::*;

const TOKEN: TokenId = TokenId::from_bytes([7; 5]);

fn authority(number: u8) -> AuthorityDigest {
    AuthorityDigest::from_bytes([number; 32])
}

fn peers(names: &[&str]) -> Peers {
    let told: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Peers::new(told.len(), &told).expect("a list")
}

fn seen(name: &str, list: &Peers) -> Seen {
    let (run, is) = (format!("run of {name}"), Some(format!("{name}:7071")));
    Seen { run, name: name.to_owned(), peers: list.all().to_vec(), is, bound: None }
}

fn told(step: Result<Step, Refusal>) -> String {
    match step {
        Ok(Step::Wait(waits)) => waits.iter().map(|wait| format!("waits for {wait}\n")).collect(),
        Ok(step) => format!("{step:?}\n"),
        Err(refusal) => format!("{}: {refusal}\n", refusal.code()),
    }
}

/// What `a`, the first of three, does when it sees `b` and `c` so.
fn check(bond: Option<Bond>, b: View, c: View, expected: &[&str]) {
    let list = peers(&["a", "b", "c"]);
    let own = Own { run: "run of a", name: "a", peers: &list, is: Some("a:7071"), bond };
    let views = Views::from([("b:7071".to_owned(), b), ("c:7071".to_owned(), c)]);
    assert_eq!(told(decide(own, &views)).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_first_founds_when_all_others_are_bound() {
    let list = peers(&["a", "b", "c"]);
    let free = |name: &str| View::Seen(seen(name, &list));
    let bound = |name: &str, number| View::Seen(Seen { bound: Some(authority(number)), ..seen(name, &list) });
    let founder = Some(Bond { token: TOKEN, authority: authority(1), part: Part::Founder });
    check(None, free("b"), View::Unreached("refused".into()), &["waits for c:7071 to answer (refused)"]);
    check(None, free("b"), free("c"), &["Begin"]);
    check(
        founder,
        free("b"),
        bound("c", 1),
        &[r#"Bind(AuthorityDigest(aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq), ["b:7071"])"#],
    );
    check(founder, bound("b", 1), View::Unreached("refused".into()), &["waits for c:7071 to answer (refused)"]);
    check(founder, bound("b", 1), bound("c", 1), &["Found"]);
    check(
        founder,
        bound("b", 1),
        bound("c", 2),
        &[
            "waits for c:7071 to be free: it is bound to the cluster with the authority aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba, which this machine does not found",
        ],
    );
    // The founder's disk was emptied.
    check(
        None,
        bound("b", 1),
        bound("c", 1),
        &[
            "waits for b:7071 to be free: it is bound to the cluster with the authority aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq, which this machine does not found",
            "waits for c:7071 to be free: it is bound to the cluster with the authority aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq, which this machine does not found",
        ],
    );
    check(
        None,
        View::Clustered,
        free("c"),
        &["E0621: b:7071 belongs to a cluster already, and this machine, whose data directory is empty, does not found a second one"],
    );
    // Bound already: it joins, whatever it sees.
    let member = Some(Bond { token: TOKEN, authority: authority(1), part: Part::Member });
    check(
        member,
        View::Clustered,
        View::Unreached("refused".into()),
        &["Join(AuthorityDigest(aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq))"],
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    let (list, other) = (peers(&["a", "b", "c"]), peers(&["a", "b", "d"]));
    check(
        None,
        View::OtherToken,
        View::Seen(seen("c", &other)),
        &[
            "waits for b:7071 to have the same formation token: it has another one",
            "waits for c:7071 to have the same --peers: it was told a:7071,b:7071,d:7071",
        ],
    );
    let twin = View::Seen(Seen { name: "b".into(), ..seen("c", &list) });
    check(None, View::Seen(seen("b", &list)), twin, &["waits for c:7071 to have a name of its own: `b` is taken by another peer"]);
    let mirror = View::Seen(Seen { run: "run of a".into(), ..seen("b", &list) });
    check(None, mirror, View::Seen(seen("c", &list)), &["E0620: a:7071 and b:7071 of --peers both lead to this machine"]);
}

#[test]
fn a_machine_knows_itself_by_its_run() {
    let list = peers(&["a", "b"]);
    let check = |run: &str, views: &[(&str, View)], expected: &str| {
        let own = Own { run, name: "x", peers: &list, is: None, bond: None };
        let views = views.iter().map(|(peer, view)| ((*peer).to_owned(), view.clone())).collect();
        let told = told(decide(own, &views));
        assert!(told.contains(expected), "{told}");
    };
    let (a, b) = (("a:7071", View::Seen(seen("a", &list))), ("b:7071", View::Seen(seen("b", &list))));
    check("run of b", &[a.clone(), b.clone()], "waits for a:7071, the first of the peers, to found");
    check("run of a", &[a.clone(), b.clone()], "Begin");
    check("run of c", &[a.clone(), b], "E0620: none of the addresses in --peers (a:7071, b:7071) leads to this machine");
    check("run of b", &[a], "one of --peers to lead to this machine");
}

#[test]
fn a_machine_binds_itself_once_and_only_to_the_first() {
    let (list, other) = (peers(&["a", "b", "c"]), peers(&["a", "b"]));
    let free = Own { run: "run of b", name: "b", peers: &list, is: Some("b:7071"), bond: None };
    let bond = Bond { token: TOKEN, authority: authority(1), part: Part::Member };
    assert_eq!(consent(free, &seen("a", &list), authority(1), TOKEN), Some(bond));
    assert_eq!(consent(free, &seen("c", &list), authority(1), TOKEN), None, "c is not the first");
    assert_eq!(consent(free, &seen("a", &other), authority(1), TOKEN), None, "another list");
    assert_eq!(consent(Own { bond: Some(bond), ..free }, &seen("a", &list), authority(2), TOKEN), None, "it is bound");
    assert_eq!(consent(Own { is: Some("a:7071"), ..free }, &seen("a", &list), authority(1), TOKEN), None, "it is the first itself");
}

/// Something that happens in a group of machines.
#[derive(Debug, Clone)]
enum Event {
    /// The way from one to the other is cut or mended.
    Way(usize, usize, bool),
    /// A program starts again, with a list that may be another one.
    Restart(usize, usize),
    /// All programs start again, with the same list.
    Relist(usize),
    /// A machine comes back with an empty disk.
    Empty(usize),
    /// One looks at the other.
    Look(usize, usize),
    /// One does what it decides; the answers of some are lost.
    Turn(usize, [bool; 4]),
    /// One looks at all, and does what it decides.
    Round(usize),
}

/// What disks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disks {
    Keep,
    /// They lose the bond when the program starts again: what must show.
    Forget,
}

#[derive(Debug, Clone)]
struct Machine {
    name: &'static str,
    run: String,
    peers: Peers,
    is: Option<String>,
    views: Views,
    bond: Option<Bond>,
    place: Option<AuthorityDigest>,
}

impl Machine {
    fn own(&self) -> Own<'_> {
        Own { run: &self.run, name: self.name, peers: &self.peers, is: self.is.as_deref(), bond: self.bond }
    }

    fn seen(&self) -> Seen {
        let bound = self.bond.map(|bond| bond.authority);
        Seen { run: self.run.clone(), name: self.name.to_owned(), peers: self.peers.all().to_vec(), is: self.is.clone(), bound }
    }
}

/// Four machines; the last of them never loses its disk and is on every list.
struct Group {
    machines: Vec<Machine>,
    cut: Vec<(usize, usize)>,
    lives: u32,
    authorities: u8,
    founded: Vec<AuthorityDigest>,
    disks: Disks,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Group {
    fn new(disks: Disks) -> Self {
        let machine = |name: &'static str| Machine {
            name,
            run: format!("first run of {name}"),
            peers: peers(&NAMES),
            is: None,
            views: Views::new(),
            bond: None,
            place: None,
        };
        Self { machines: NAMES.map(machine).to_vec(), cut: Vec::new(), lives: 0, authorities: 0, founded: Vec::new(), disks }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || !self.cut.contains(&(from, to))
    }

    /// Lists that have the last machine in common.
    fn list(number: usize) -> Peers {
        [peers(&NAMES), peers(&["a", "d"]), peers(&["b", "c", "d"])][number % 3].clone()
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Way(from, to, open) => {
                self.cut.retain(|way| *way != (*from, *to));
                if !open {
                    self.cut.push((*from, *to));
                }
            }
            Event::Restart(who, list) => self.restart(*who, Self::list(*list)),
            Event::Relist(list) => (0..NAMES.len()).for_each(|who| self.restart(who, Self::list(*list))),
            Event::Empty(who) if *who == NAMES.len() - 1 => {}
            Event::Empty(who) => {
                (self.machines[*who].bond, self.machines[*who].place) = (None, None);
                self.restart(*who, self.machines[*who].peers.clone());
            }
            Event::Look(from, to) => self.look(*from, *to),
            Event::Turn(who, heard) => self.turn(*who, heard),
            Event::Round(who) => self.round(*who),
        }
    }

    fn restart(&mut self, who: usize, list: Peers) {
        self.lives += 1;
        let machine = &mut self.machines[who];
        machine.run = format!("run {} of {}", self.lives, machine.name);
        (machine.is, machine.views, machine.peers) = (None, Views::new(), list);
        if self.disks == Disks::Forget {
            machine.bond = None;
        }
    }

    fn look(&mut self, from: usize, to: usize) {
        let other = &self.machines[to];
        let view = match other.place {
            _ if !self.reaches(from, to) => View::Unreached("cut".into()),
            Some(_) => View::Clustered,
            None => View::Seen(other.seen()),
        };
        let machine = &mut self.machines[from];
        let address = format!("{}:7071", NAMES[to]);
        if from == to && machine.peers.has(&address) {
            machine.is = Some(address.clone());
        }
        if machine.peers.has(&address) {
            machine.views.insert(address, view);
        }
    }

    fn turn(&mut self, who: usize, heard: &[bool; 4]) {
        if self.machines[who].place.is_some() {
            return;
        }
        match decide(self.machines[who].own(), &self.machines[who].views) {
            Ok(Step::Begin) => {
                self.authorities += 1;
                let authority = authority(self.authorities);
                self.machines[who].bond = Some(Bond { token: TOKEN, authority, part: Part::Founder });
            }
            Ok(Step::Bind(authority, whom)) => {
                for (to, heard) in (0..NAMES.len()).zip(heard) {
                    if whom.contains(&format!("{}:7071", NAMES[to])) && self.reaches(who, to) && self.machines[to].place.is_none() {
                        let bond = consent(self.machines[to].own(), &self.machines[who].seen(), authority, TOKEN);
                        self.machines[to].bond = bond.or(self.machines[to].bond);
                        if *heard {
                            self.look(who, to);
                        }
                    }
                }
            }
            Ok(Step::Found) => {
                let bond = self.machines[who].bond.take().expect("a founder is bound");
                self.machines[who].place = Some(bond.authority);
                self.founded.push(bond.authority);
            }
            Ok(Step::Join(authority)) => {
                let open = (0..NAMES.len()).any(|to| self.reaches(who, to) && self.machines[to].place == Some(authority));
                if open {
                    (self.machines[who].place, self.machines[who].bond) = (Some(authority), None);
                }
            }
            Ok(Step::Wait(_)) | Err(_) => {}
        }
    }

    /// All ways are open, and everybody looks and acts until nothing is left to do.
    fn heal(&mut self) {
        self.cut.clear();
        for _ in 0..8 {
            (0..NAMES.len()).for_each(|who| self.round(who));
        }
    }

    fn round(&mut self, who: usize) {
        (0..NAMES.len()).for_each(|to| self.look(who, to));
        self.turn(who, &[true; 4]);
    }
}

fn machine() -> impl Strategy<Value = usize> {
    0..NAMES.len()
}

fn calm_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (machine(), machine(), any::<bool>()).prop_map(|(from, to, open)| Event::Way(from, to, open)),
        1 => machine().prop_map(|who| Event::Restart(who, 0)),
        6 => (machine(), machine()).prop_map(|(from, to)| Event::Look(from, to)),
        4 => machine().prop_map(Event::Round),
        4 => (machine(), any::<[bool; 4]>()).prop_map(|(who, heard)| Event::Turn(who, heard)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        15 => calm_event(),
        1 => (0..3_usize).prop_map(Event::Relist),
        1 => (machine(), 0..3_usize).prop_map(|(who, list)| Event::Restart(who, list)),
        1 => machine().prop_map(Event::Empty),
    ]
}

/// Whatever happened, there is one cluster at most, and nobody is in another.
fn one_cluster(events: &[Event], disks: Disks) -> Result<(), TestCaseError> {
    let mut group = Group::new(disks);
    for event in events {
        group.happen(event);
    }
    group.heal();
    let places: Vec<_> = group.machines.iter().filter_map(|machine| machine.place).collect();
    prop_assert!(group.founded.len() <= 1, "founded: {:?}", group.founded);
    prop_assert!(places.iter().all(|place| group.founded.contains(place)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn there_are_never_two_clusters(events in prop::collection::vec(event(), 0..300)) {
        one_cluster(&events, Disks::Keep)?;
    }

    #[test]
    fn there_is_one_in_the_end(events in prop::collection::vec(calm_event(), 0..200)) {
        let mut group = Group::new(Disks::Keep);
        for event in &events {
            group.happen(event);
        }
        group.heal();
        let founded = group.founded.clone();
        prop_assert_eq!(founded.len(), 1);
        prop_assert!(group.machines.iter().all(|machine| machine.place == Some(founded[0])), "{:?}", group.machines);
    }
}

#[test]
fn disks_that_forget_are_found_out() {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::with_cases(4_000) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let found = runner.run(&prop::collection::vec(event(), 0..300), |events| one_cluster(&events, Disks::Forget));
    assert!(found.is_err(), "the property holds without what it stands on: it shows nothing");
}
