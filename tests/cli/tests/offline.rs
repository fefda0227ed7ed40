//! What `shoal` says without a server: each test holds one conversation of `golden/`, or looks into an output that is too long to hold.

use cli_tests::{Place, converse};

#[test]
fn lint_finds_what_is_wrong() {
    converse("lint");
}

#[test]
fn explain_has_a_page_for_codes_and_fields() {
    converse("explain");
}

#[test]
fn inspect_says_what_a_component_is() {
    converse("inspect");
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    converse("usage");
}

#[test]
fn clusters_secrets_and_members_need_no_server_to_say_what_is_wrong() {
    converse("access");
}

#[test]
fn without_a_server_the_error_says_what_was_tried() {
    converse("no-server");
}

#[test]
fn the_schema_is_json_and_knows_apps() {
    let said = Place::new().shoal(&["schema"]);
    assert_eq!(said.code, 0, "{said:?}");
    let schema: serde_json::Value = serde_json::from_str(&said.out).expect("a schema is JSON");
    assert!(schema["$schema"].is_string(), "{}", said.out);
    assert!(said.out.contains("components") && said.out.contains("maxInFlight"), "it names the fields");
    assert!(said.err.starts_with("next: "), "{}", said.err);
    assert_eq!(Place::new().shoal(&["schema", "-q"]).err, "", "-q silences the hint");
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = Place::new().shoal(&["completions", shell]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shell}");
        assert!(said.out.contains("rollout") && !said.out.contains("control-plane"), "{shell}: commands, but not the hidden ones");
    }
}

#[test]
fn the_version_is_told_with_and_without_a_server() {
    let said = Place::new().shoal(&["version", "--client"]);
    assert_eq!((said.code, said.out.trim()), (0, concat!("shoal ", env!("CARGO_PKG_VERSION"))));
    let said = Place::new().shoal(&["version", "-o", "json", "--server", "unix:none.sock"]);
    let version: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &version["server"]), (0, &serde_json::Value::Null));
}

#[test]
fn help_is_no_error() {
    let said = Place::new().shoal(&["--help"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.contains("Examples:") && !said.out.contains("internal"), "{}", said.out);
}
