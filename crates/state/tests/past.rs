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
        30 commands, 17 of them done: bf832d4cf13ae381
        60 commands, 29 of them done: 95928d59b0cc469d
        90 commands, 43 of them done: 4ecb2d7339e7f5b0
        120 commands, 53 of them done: 6b876ee1dcd05161
        150 commands, 69 of them done: f8fce9d64c0053e4
        180 commands, 80 of them done: 171447fbeab2429e
        210 commands, 91 of them done: e568e7650d83076f
        240 commands, 105 of them done: 94ddcd3f3064de02
        270 commands, 118 of them done: 7f52b2643144d32e
        300 commands, 129 of them done: 82c509aa998db141"#]]
    .assert_eq(&lines.join("\n"));
}
