//! `inspect` survives any bytes: it answers or refuses, and never panics, whatever an upload holds.

use inspect::inspect;
use proptest::{collection::vec, prelude::*};

/// A component with a bit of everything that is read.
fn component() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (import "wasi:http/types@0.2.12" (instance $types (export "fields" (type (sub resource)))))
            (import "wasi:cli/environment@0.2.12" (instance (export "get-arguments" (func (result (list string))))))
            (core module $m
                (@producers (language "Rust" "") (processed-by "rustc" "1.95.0"))
                (memory (export "memory") 1)
                (func (export "handle") (param i32 i32))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
            (core instance $c (instantiate $m))
            (component $inner (import "a" (func)) (type (component (import "b:c/d" (instance (export "e" (func)))))))
            (type $t (record (field "x" u32) (field "y" (option string))))
            (func $f (param "s" string) (canon lift (core func $c "handle") (memory (core memory $c "memory")) (realloc (core func $c "realloc"))))
            (instance $i (export "handle" (func $f)))
            (export "wasi:http/incoming-handler@0.2.12" (instance $i)))"#,
    )
    .expect("the text above is a component")
}

#[test]
fn the_component_that_is_damaged_below_is_whole() {
    inspect(&component()).unwrap();
}

#[test]
fn every_beginning_of_a_component_is_refused_or_read() {
    let whole = component();
    for end in 0..whole.len() {
        let _ = inspect(&whole[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_component_never_panics(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = component();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = inspect(&bytes);
    }

    #[test]
    fn cut_doubled_and_swapped_parts_never_panic(first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>()) {
        let whole = component();
        let (first, second) = (first.index(whole.len()), second.index(whole.len()));
        let (low, high) = (first.min(second), first.max(second));
        let _ = inspect(&[&whole[..low], &whole[high..]].concat());
        let _ = inspect(&[&whole[..high], &whole[low..]].concat());
    }

    #[test]
    fn random_bytes_behind_a_header_never_panic(is_component in any::<bool>(), bytes in vec(any::<u8>(), 0..256)) {
        let header: &[u8] = if is_component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
        let _ = inspect(&[header, &bytes].concat());
    }
}
