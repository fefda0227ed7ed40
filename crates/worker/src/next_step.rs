//! What to do next about one placement: a pure match over what is wanted and what is seen. Must never do it.

use api::node::{Phase, Wanted};

/// How far a placement is on this node. Only ever moves down this list, except that a step that failed for a passing reason is taken again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing of it is here.
    Absent,
    /// Its artifact is on the way.
    Fetching,
    /// Its artifact is here, its code is not.
    Fetched,
    /// Its code is being made.
    Compiling,
    /// Its code is in the store.
    Compiled,
    /// Its code is in the store; its secrets have not come.
    Withheld {
        /// What it waits for, in the words everybody uses.
        message: String,
    },
    /// Its code is being opened and a probe sandbox started.
    Starting,
    /// A sandbox of it has started; the gateway does not know yet.
    Started,
    /// In the routing table.
    Ready,
    /// Out of the routing table, with requests left.
    Draining,
    /// Out of the routing table, without requests.
    Drained,
    /// Gone.
    Stopped,
    /// Cannot run, and why.
    Failed {
        /// `E0301` and the like.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bring the artifact here, unless the code is already.
    Fetch,
    /// Have the code made.
    Compile,
    /// Open the code and start a probe sandbox.
    Start,
    /// Give it to the gateway.
    Publish,
    /// Take it from the gateway.
    Withdraw,
    /// Let go of whatever is held for it.
    Drop,
}

/// The next step towards `wanted`, or none: it is there, something is under way, or nothing can be done.
pub fn next_step(wanted: Wanted, seen: &Seen) -> Option<Step> {
    match (wanted, seen) {
        (Wanted::Run, Seen::Absent) => Some(Step::Fetch),
        (Wanted::Run, Seen::Fetched) => Some(Step::Compile),
        (Wanted::Run, Seen::Compiled) => Some(Step::Start),
        (Wanted::Run, Seen::Started) => Some(Step::Publish),
        (Wanted::Run, Seen::Fetching | Seen::Compiling | Seen::Withheld { .. } | Seen::Starting | Seen::Ready) => None,
        // A placement never comes back: whoever wants the instance again makes another placement.
        (Wanted::Run, Seen::Draining | Seen::Drained | Seen::Stopped | Seen::Failed { .. }) => None,
        (Wanted::Stop, Seen::Ready) => Some(Step::Withdraw),
        (Wanted::Stop, Seen::Draining | Seen::Stopped) => None,
        (Wanted::Stop, _) => Some(Step::Drop),
    }
}

impl Seen {
    /// The phase others are told.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Absent => Phase::Assigned,
            Self::Fetching | Self::Fetched => Phase::Fetching,
            Self::Compiling | Self::Compiled => Phase::Compiling { since: None, bytes: None },
            Self::Withheld { message } => Phase::Waiting { message: message.clone() },
            Self::Starting | Self::Started => Phase::Starting,
            Self::Ready => Phase::Ready,
            Self::Draining | Self::Drained => Phase::Draining,
            Self::Stopped => Phase::Stopped,
            Self::Failed { code, message } => Phase::Failed { code: code.clone(), message: message.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of (wanted, seen) is a row: the step towards running, the step towards stopping.
    #[test]
    fn every_pair_has_its_step() {
        let failed = Seen::Failed { code: "E0301".into(), message: "no".into() };
        let table = [
            (Seen::Absent, Some(Step::Fetch), Some(Step::Drop)),
            (Seen::Fetching, None, Some(Step::Drop)),
            (Seen::Fetched, Some(Step::Compile), Some(Step::Drop)),
            (Seen::Compiling, None, Some(Step::Drop)),
            (Seen::Compiled, Some(Step::Start), Some(Step::Drop)),
            (Seen::Withheld { message: "waits".into() }, None, Some(Step::Drop)),
            (Seen::Starting, None, Some(Step::Drop)),
            (Seen::Started, Some(Step::Publish), Some(Step::Drop)),
            (Seen::Ready, None, Some(Step::Withdraw)),
            (Seen::Draining, None, None),
            (Seen::Drained, None, Some(Step::Drop)),
            (Seen::Stopped, None, None),
            (failed, None, Some(Step::Drop)),
        ];
        for (seen, run, stop) in table {
            assert_eq!(next_step(Wanted::Run, &seen), run, "run, {seen:?}");
            assert_eq!(next_step(Wanted::Stop, &seen), stop, "stop, {seen:?}");
        }
    }
}
