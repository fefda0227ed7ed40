//! Code files and linking: what is opened, and what is refused before it could run.

use std::{fs, os::unix::fs::PermissionsExt};

use model::id::Digest;
use runtime::{Kind, OpenError, ProgramConfig, code_store::CodeStore};

use crate::support::{Bench, compiled, config, handler, sample};

const EMPTY_HANDLER: &str = r#"(func (export "handle") (param i32 i32))"#;

/// A code file that was written whole and protected, but not by this engine's compiler, is refused with E0302.
fn check_foreign(code: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = CodeStore::new(directory.path()).put(&Digest::of(b"x"), Kind::Wasi02, code).unwrap();
    let error = Bench::new().runtime.open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(error.code(), "E0302");
}

#[test]
fn code_of_another_engine_is_refused() {
    check_foreign(b"");
    check_foreign(b"#!/bin/sh");
    let other_settings = wasmtime::Engine::default();
    check_foreign(&other_settings.precompile_component(&wat::parse_str(handler(EMPTY_HANDLER)).unwrap()).unwrap());
}

/// Goal: a file is read whole once, and again only when somebody touched it. Method: a file whose code was changed is noticed by its times alone.
#[test]
fn a_file_that_was_touched_is_checked_again() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(compiled(&sample("lean")).file_name().unwrap());
    let write = |bytes: &[u8]| {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    };
    let whole = fs::read(compiled(&sample("lean"))).unwrap();
    write(&whole);
    assert_eq!(bench.runtime.open_again(&path).unwrap().kind(), Kind::Wasi02);
    assert_eq!(bench.runtime.open_again(&path).unwrap().kind(), Kind::Wasi02);
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    write(&changed);
    assert!(matches!(bench.runtime.open_again(&path), Err(OpenError::Damaged { .. })));
    write(&whole);
    assert!(bench.runtime.open_again(&path).is_ok());
}

#[test]
fn a_damaged_file_is_refused() {
    let whole = compiled(&sample("hello"));
    let directory = tempfile::tempdir().unwrap();
    let bytes = fs::read(&whole).unwrap();
    let check = |bytes: &[u8], mode: u32| {
        let path = directory.path().join(format!("{mode:o}-{}", bytes.len()));
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Bench::new().runtime.open(&path).map(drop).map_err(|error| error.code())
    };
    assert_eq!(check(&bytes, 0o400), Ok(()));
    assert_eq!(check(&bytes[..bytes.len() / 2], 0o400), Err("E0302"));
    assert_eq!(check(&bytes, 0o644), Err("E0302"));
    let missing = Bench::new().runtime.open(&directory.path().join("missing")).err().unwrap();
    assert!(matches!(missing, OpenError::Read { .. }), "{missing:?}");
}

#[test]
fn an_import_nobody_offers_is_named() {
    let bench = Bench::new();
    let component = r#"(component (import "acme:rockets/launch@1.0.0" (instance (export "go" (func)))))"#;
    let code = bench.open(&wat::parse_str(component).unwrap());
    let error = bench.runtime.program(&code, config()).err().unwrap();
    assert_eq!(error.code(), "E0204");
    assert!(error.to_string().contains("acme:rockets/launch@1.0.0"), "{error}");
}

#[test]
fn a_component_without_a_handler_is_refused() {
    let bench = Bench::new();
    let code = bench.open(&wat::parse_str("(component)").unwrap());
    let error = bench.runtime.program(&code, config()).err().unwrap();
    assert_eq!(error.code(), "E0205");
    assert!(error.to_string().contains("incoming-handler"), "{error}");
}

#[test]
fn more_than_a_slot_holds_is_refused_in_words() {
    let bench = Bench::new();
    let open = |component: &str| bench.runtime.open(&compiled(&wat::parse_str(component).unwrap())).err().unwrap().to_string();
    let modules = "(core module $one (memory 1)) ".to_owned() + &"(core instance (instantiate $one)) ".repeat(5);
    let memories = open(&format!("(component {modules})"));
    assert!(memories.starts_with("the component does not fit into a sandbox: ") && memories.contains("maximum of 4"), "{memories}");
    let table = open(&handler(&format!("(table 20001 funcref) {EMPTY_HANDLER}")));
    assert!(table.starts_with("the component does not fit into a sandbox: ") && table.contains("20001"), "{table}");
    let code = bench.open(&wat::parse_str(handler(EMPTY_HANDLER)).unwrap());
    let error = bench.runtime.program(&code, ProgramConfig { memory_bytes: 2 << 30, ..config() }).err().unwrap();
    assert!(matches!(error, OpenError::TooLarge { .. }) && error.code() == "E0303", "{error:?}");
}
