//! An app made of a bare .wasm: the manifest somebody did not have to write, for `shoal run` and `shoal dev`. Pure.
//! Owns its name and its host; the manifest goes the same way as a written one.

use std::path::Path;

use model::id::{NAME_BYTES_MAX, Name};
use serde_json::json;

/// The app's name: the file's, made fit to be a host name.
pub fn name_of(file: &Path) -> Name {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let fit: String = stem.chars().map(|one| if one.is_ascii_lowercase() || one.is_ascii_digit() { one } else { '-' }).collect();
    let fit: String = fit.trim_matches('-').chars().take(NAME_BYTES_MAX).collect();
    fit.trim_end_matches('-').parse().unwrap_or_else(|_| "app".parse().expect("`app` is a name"))
}

/// A manifest that runs `file` as component `web` of the app `name` under `name.localhost`.
pub fn manifest(name: &Name, file: &Path) -> String {
    let source = json!(file.display().to_string());
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {source}\n      \
         routes: [{{host: {name}.localhost}}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_host_names() {
        for (file, name) in [("a/hello.wasm", "hello"), ("My_App.v2.wasm", "my-app-v2"), ("__.wasm", "app"), ("ä.wasm", "app")] {
            assert_eq!(name_of(Path::new(file)).as_str(), name, "{file}");
        }
        assert_eq!(name_of(Path::new(&"x".repeat(99))).as_str().len(), NAME_BYTES_MAX);
    }

    #[test]
    fn the_manifest_is_a_manifest() {
        let name = name_of(Path::new("hello.wasm"));
        let text = manifest(&name, Path::new("./odd \"name.wasm"));
        assert!(model::manifest::parse(&text, "generated", &Default::default()).is_ok(), "{text}");
    }
}
