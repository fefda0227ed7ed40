//! A log that was written once, as it is: what comes of it may never be another, or members of two versions differ. Owns the log, in `past/log.hex` with a command a
//! line, and the hashes of the states it leads to. A new command is added at the end of the log; no line is ever changed.

use expect_test::expect;
use state::{Command, State};

/// Commands between two hashes that are looked at.
const EVERY: usize = 30;

fn log() -> Vec<Command> {
    let byte = |line: &str, at: usize| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
    let bytes = |line: &str| -> Vec<u8> { (0..line.len()).step_by(2).map(|at| byte(line, at)).collect() };
    let read =
        |line| bincode::serde::decode_from_slice(&bytes(line), bincode::config::standard()).expect("what was written is read for ever").0;
    include_str!("past/log.hex").lines().map(read).collect()
}

#[test]
fn the_past_leads_where_it_led() {
    let (mut state, mut done, mut lines) = (State::empty(), 0, Vec::new());
    for (number, command) in (1..).zip(log()) {
        done += usize::from(state.apply(state.index().next(), &command).is_ok());
        if number % EVERY == 0 {
            let hash: String = state.hash()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{number} commands, {done} of them done: {hash}"));
            let restored = State::restore(&mut state.records().map(Ok)).expect("its own records are a state");
            state = restored;
        }
    }
    state.check().expect("every invariant holds");
    expect![[r#"
        30 commands, 15 of them done: d9c1f80102e98651
        60 commands, 26 of them done: 9a274c744c9cb6e2
        90 commands, 37 of them done: e803326486a1eed6
        120 commands, 52 of them done: 80064d977be7d3e8
        150 commands, 68 of them done: 82342992604dc678
        180 commands, 80 of them done: d488a9420dcceb25
        210 commands, 91 of them done: dfccd0f4f854233a
        240 commands, 101 of them done: fd2e8afcf340fbc9
        270 commands, 112 of them done: 53663a616601817a
        300 commands, 125 of them done: 9cb1269c43626347"#]]
    .assert_eq(&lines.join("\n"));
}
