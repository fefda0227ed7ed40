//! The conversations in tests/scripts, which are the specification of rollout and placement. Owns the interpreter.
//!
//! A conversation is blocks of commands, `----`, and what they answer, ended by an empty line. `UPDATE_EXPECT=1` rewrites the answers; the diff is the review.
//!
//! ```text
//! node a memory=1GiB                     a node joins, the first one founds the cluster; or comes back with other memory
//! remove a                               a node is lost, and removed
//! deploy hello web v=1 memory=256MiB     deploy; another v is another revision; web=2 wishes for two; route=h.test/v1 gives every component one
//! undo hello [r1] | delete hello
//! plan                                   plan, show and carry out
//! keep | carry                           plan and keep it; carry out what was kept
//! ready hello/web.1 [r2] | ready all     a worker reports; also `stopped`, and `fail hello/web.1 [r2] E0301 why`
//! silent a | back a                      a node stops reporting; or reports again
//! later 30s                              time passes
//! run                                    plan and work until there is nothing to do
//! show                                   apps, placements, and what waits
//! ```

mod support;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use model::{
    frozen::RouteKeyV1,
    id::{InstanceId, RevisionNumber, Timestamp},
};
use state::{
    Applied, Refused, Rollout,
    command::{Plan, SeenPhase},
};
use support::{Part, World};

#[test]
fn every_script_answers_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts");
    let entries = fs::read_dir(&directory).expect("the scripts are there");
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    scripts.sort();
    assert!(scripts.len() >= 8, "the scripts are in {}", directory.display());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = String::new();
    for path in scripts {
        let written = fs::read_to_string(&path).expect("a readable script");
        let answered = Talk::new().answer(&written);
        if written != answered && update {
            fs::write(&path, answered).expect("a writable script");
        } else if written != answered {
            write!(wrong, "{}\n{answered}\n", path.display()).expect("writing to a string");
        }
    }
    assert!(wrong.is_empty(), "these answer otherwise now (UPDATE_EXPECT=1 rewrites them):\n{wrong}");
}

struct Talk {
    world: World,
    kept: Plan,
}

impl Talk {
    fn new() -> Self {
        Self { world: World::new(), kept: Plan::default() }
    }

    /// The script with the answers it gives now.
    fn answer(&mut self, script: &str) -> String {
        let (mut out, mut answer, mut skipping) = (String::new(), String::new(), false);
        for line in script.lines() {
            match line {
                "----" => {
                    out.push_str("----\n");
                    out.push_str(&std::mem::take(&mut answer));
                    skipping = true;
                }
                "" => {
                    skipping = false;
                    out.push('\n');
                }
                _ if skipping => {}
                line => {
                    writeln!(out, "{line}").expect("writing to a string");
                    if !line.starts_with('#') {
                        self.command(line, &mut answer);
                    }
                }
            }
        }
        assert!(answer.is_empty(), "a block without ---- answers:\n{answer}");
        out
    }

    fn command(&mut self, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["node", name, memory] => self.world.join(name, bytes(memory.trim_start_matches("memory="))),
            ["deploy", app, wishes @ ..] => self.deploy(app, wishes, out),
            ["remove", name] => said(self.world.remove(name), out),
            ["undo", app, rest @ ..] => {
                let to = rest.first().map(|number| number.parse().expect("a revision"));
                let undone = self.world.undo(&app.parse().expect("an app"), to);
                said(undone, out);
            }
            ["delete", app] => said(self.world.delete(&app.parse().expect("an app")), out),
            ["plan"] => {
                let plan = self.world.plan();
                self.carry(plan, out);
            }
            ["keep"] => self.kept = self.world.plan(),
            ["carry"] => {
                let plan = std::mem::take(&mut self.kept);
                self.carry(plan, out);
            }
            ["ready", "all"] => self.world.work(|_| false),
            [phase @ ("ready" | "stopped" | "fail"), instance, rest @ ..] => self.report(phase, instance, rest),
            ["silent", name] => drop(self.world.observed.silent.insert(self.node(name))),
            ["back", name] => drop(self.world.observed.silent.remove(&self.node(name))),
            ["later", seconds] => {
                let seconds: u64 = seconds.trim_end_matches('s').parse().expect("seconds");
                self.world.now = Timestamp(self.world.now.0 + seconds * 1_000);
            }
            ["run"] => self.run(out),
            ["show"] => self.show(out),
            other => panic!("no such command: {other:?}"),
        }
    }

    fn deploy(&mut self, app: &str, wishes: &[&str], out: &mut String) {
        let (mut version, mut memory, mut routes, mut counts) = (1, 100 << 20, Vec::new(), Vec::new());
        for wish in wishes {
            match wish.split_once('=').unwrap_or((wish, "1")) {
                ("v", number) => version = number.parse().expect("a version"),
                ("memory", amount) => memory = bytes(amount),
                ("route", route) => routes.push(route_of(route)),
                (component, count) => counts.push((component, count.parse().expect("a count"))),
            }
        }
        let part = |(name, replicas): (&str, u32)| Part { name: name.to_owned(), replicas, memory, routes: routes.clone() };
        let parts: Vec<Part> = counts.into_iter().map(part).collect();
        said(self.world.deploy(&app.parse().expect("an app"), version, &parts), out);
    }

    fn report(&mut self, phase: &str, instance: &str, rest: &[&str]) {
        let instance: InstanceId = instance.parse().expect("an instance");
        let revision: Option<RevisionNumber> =
            rest.first().filter(|word| word.starts_with('r')).map(|word| word.parse().expect("a revision"));
        let rest = &rest[usize::from(revision.is_some())..];
        for placement in self.world.find(&instance, revision) {
            match phase {
                "ready" if placement.runs() => self.world.report(&placement, SeenPhase::Ready),
                "stopped" if !placement.runs() => self.world.report(&placement, SeenPhase::Stopped),
                "fail" if placement.runs() => {
                    let (code, message) = rest.split_first().expect("a code and why");
                    self.world.report(&placement, SeenPhase::Failed { code: (*code).to_owned(), message: message.join(" ") });
                }
                _ => {}
            }
        }
    }

    fn carry(&mut self, plan: Plan, out: &mut String) {
        if plan.is_empty() {
            out.push_str("nothing to do\n");
            return;
        }
        plan.steps.iter().for_each(|step| writeln!(out, "{}", self.world.text(step)).expect("writing to a string"));
        let stale = self.world.carry(plan);
        if stale > 0 {
            writeln!(out, "stale: {stale}").expect("writing to a string");
        }
    }

    fn run(&mut self, out: &mut String) {
        for _ in 0..50 {
            self.world.work(|_| false);
            let plan = self.world.plan();
            if plan.is_empty() {
                return;
            }
            self.carry(plan, out);
        }
        panic!("fifty plans, and still something to do:\n{out}");
    }

    fn show(&self, out: &mut String) {
        for app in self.world.state.apps() {
            let serving = app.serving.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
            let rollout = match &app.rollout {
                _ if app.deleted => "deleted".to_owned(),
                Rollout::Progressing => "progressing".to_owned(),
                Rollout::Done => "done".to_owned(),
                Rollout::Failed { code, message } => format!("failed: {code} {message}"),
            };
            writeln!(out, "{} wants {}, serves {serving}, {rollout}", app.id, app.wanted).expect("writing to a string");
            for placement in self.world.state.placements_of(&app.id) {
                let phase = match self.world.observed.phase(placement) {
                    SeenPhase::Failed { code, .. } => format!("failed {code}"),
                    phase => format!("{phase:?}").to_lowercase(),
                };
                let (node, stopping) = (self.world.node_name(placement.node), if placement.runs() { "" } else { "stopping, " });
                writeln!(out, "  {} {} on {node}: {stopping}{phase}", placement.instance, placement.revision).expect("writing to a string");
            }
            for (instance, reason) in scheduler::waiting(&self.world.state, &self.world.observed, &app.id) {
                writeln!(out, "  {instance} {reason}").expect("writing to a string");
            }
        }
    }

    fn node(&self, name: &str) -> model::id::NodeId {
        self.world.state.node_named(name).expect("a node of that name").id
    }
}

fn said(applied: Result<Applied, Refused>, out: &mut String) {
    let text = match applied {
        Ok(Applied::Deployed { revision, outcome, .. }) => format!("{revision} {}", format!("{outcome:?}").to_lowercase()),
        Ok(Applied::Undone { revision, of, .. }) => format!("{revision} repeats {of}"),
        Ok(Applied::NodeRemoved { node, placements }) => format!("{node} is removed, with {placements} placements"),
        Ok(Applied::Deleted { gone, .. }) => (if gone { "gone" } else { "going" }).to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(refused) => {
            let problem = refused.problem();
            format!("{}: {}\n  help: {}", problem.code, problem.message, problem.help)
        }
    };
    writeln!(out, "{text}").expect("writing to a string");
}

fn bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("no such unit: {other}"),
    };
    number.parse::<u64>().expect("a number") * unit
}

fn route_of(text: &str) -> RouteKeyV1 {
    let (host, path) = text.split_at(text.find('/').expect("a path"));
    RouteKeyV1 { host: host.to_owned(), path: path.to_owned(), exact: false, methods: vec![], headers: vec![] }
}
