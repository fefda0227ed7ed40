//! `shoal recover`: the servers begin anew with the one on this machine. Owns what is shown and asked before; what may be done is the supervisor's to say.

use clap::Args;
use supervisor::{Stopped, Survivor};

use super::{
    failure::{Exit, Failure, Outcome},
    session::{self, Session},
};

/// What `shoal recover` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "The server must be stopped; its data directory is --data-dir or SHOAL_DATA_DIR. Refused while a majority of the servers can be reached."
)]
pub struct RecoverArgs {
    /// Do not ask: the name of the server whose data directory this is, as a sign that it is meant.
    #[arg(long, value_name = "NAME")]
    yes: Option<String>,
}

/// Shows what is there, asks, and begins anew.
pub async fn run(args: RecoverArgs, session: &Session) -> Outcome {
    let Some(data) = session::data_directory(&session.globals) else {
        return Err(Failure::usage("no data directory is named", "name that of the server that is left:   --data-dir DIR"));
    };
    let terminal = &session.terminal;
    terminal.live("asking the other servers …");
    let stopped = Stopped::open(&data).await?;
    let name = stopped.survivor.name.clone();
    for line in told(&stopped.survivor) {
        terminal.complain(format!("warning: {line}"));
    }
    let answer = match args.yes {
        Some(yes) => yes,
        None if terminal.interactive => terminal.ask(&format!("Type the name of this server ({name}) to go on: ")),
        None => return Err(Failure::usage("refusing to recover without a yes", format!("nobody can be asked here: add --yes {name}"))),
    };
    if answer != name {
        return Err(Failure::sentence(Exit::Error, format!("this is {name}, and not `{answer}`: nothing was changed"), ""));
    }
    let (last, hash) = (stopped.survivor.last(), stopped.survivor.state_hash());
    tokio::task::block_in_place(|| stopped.begin())?;
    terminal.data(format!("the servers begin anew with {name}, at entry {last}, state {hash}"));
    terminal.hint("next: start it again (shoal server), then   shoal join-token create server   for new servers");
    terminal.hint("a server of before that comes back is refused; it joins again with   --replace NAME");
    Ok(Exit::Done)
}

/// What is known and what may be lost.
fn told(survivor: &Survivor) -> Vec<String> {
    let (last, committed) = (survivor.last(), survivor.committed());
    let mut lines = vec![format!("{}'s log ends at entry {last}: what others acknowledged after it is lost", survivor.name)];
    if committed < last {
        lines.push(format!("entries {} to {last} may never have been acknowledged; they count from now on", committed + 1));
    }
    for other in &survivor.others {
        lines.push(match other.index {
            None => format!("{} at {} does not answer, and is a server no more", other.name, other.address),
            Some(index) if index > last => {
                format!("{} at {} answers and has entry {index}, more than here: recover there instead", other.name, other.address)
            }
            Some(_) => format!("{} at {} answers; stop it, it must join again", other.name, other.address),
        });
    }
    lines
}
