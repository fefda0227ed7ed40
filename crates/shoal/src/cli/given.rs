//! Values of Configs and Secrets that stand beside the manifest or in the environment: read, so that a server gets texts only. Owns the reading; must never
//! show a value.

use model::{
    limits::{CONFIG_VALUE_BYTES_MAX, SECRET_BYTES_MAX},
    manifest::Document,
    object::Given,
    problem::Problem,
};

use super::{
    documents::{Documents, Object},
    failure::Failure,
    files,
};

/// Puts the text in the place of every `fromFile` and `fromEnv`.
///
/// # Errors
/// E0207 for each that cannot be read, at its place in the manifest.
pub fn read(documents: &mut Documents) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (number, object) in documents.objects.iter_mut().enumerate() {
        let Object { document, directory, .. } = object;
        let (kind, name, bytes_max) = match document {
            Document::Config(config) => ("Config", config.metadata.name.clone(), CONFIG_VALUE_BYTES_MAX),
            Document::Secret(secret) => ("Secret", secret.metadata.name.clone(), SECRET_BYTES_MAX),
            Document::App(_) | Document::Namespace(_) => continue,
        };
        let data = match document {
            Document::Config(config) => &mut config.spec.data,
            Document::Secret(secret) => &mut secret.spec.data,
            Document::App(_) | Document::Namespace(_) => continue,
        };
        for (key, given) in data {
            let read = match given {
                Given::Text(_) | Given::Nothing {} => continue,
                Given::File { from_file } => files::text(from_file, directory, bytes_max),
                Given::Env { from_env } => variable(from_env),
            };
            match read {
                Ok(text) => *given = Given::Text(text),
                Err((why, help)) => {
                    let problem = Problem::new("E0207", format!("the value `{key}` of the {kind} `{name}`: {why}"));
                    problems.push((number, problem.at(format!("spec.data.{key}")).label("cannot be read").help(help)));
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(documents.failure(problems)) }
}

fn variable(name: &str) -> Result<String, (String, &'static str)> {
    match std::env::var(name) {
        Ok(text) => Ok(text),
        Err(std::env::VarError::NotPresent) => Err((format!("there is no environment variable {name}"), "set it where `shoal` runs")),
        Err(std::env::VarError::NotUnicode(_)) => Err((format!("the environment variable {name} is not UTF-8"), "put it into a file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::documents::FileArgs;

    fn load(manifest: &str) -> (tempfile::TempDir, Documents) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.yaml");
        std::fs::write(&path, manifest).expect("written");
        let documents = Documents::load(&FileArgs::one(path), None).expect("a right manifest");
        (directory, documents)
    }

    const SECRET: &str = "apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {name: db}\nspec: {data: {password: {fromFile: FILE}}}\n";

    #[test]
    fn a_file_beside_the_manifest_becomes_the_value() {
        let (directory, mut documents) = load(&SECRET.replace("FILE", "./password"));
        std::fs::write(directory.path().join("password"), "hunter2").expect("written");
        read(&mut documents).expect("readable");
        assert_eq!(documents.canonical()[0]["spec"]["data"]["password"], "hunter2");
        assert!(!format!("{documents:?}").contains("hunter2"), "a value is not shown");
    }

    #[test]
    fn what_cannot_be_read_is_told_at_its_place_and_what_lies_elsewhere_is_not_read() {
        for (file, expected) in [("./nothing", "nothing"), ("/etc/hostname", "leads out of the manifest's directory")] {
            let (_directory, mut documents) = load(&SECRET.replace("FILE", file));
            let told = read(&mut documents).expect_err("unreadable").render(false);
            assert!(told.contains("E0207") && told.contains("a.yaml:4:") && told.contains(expected), "{told}");
        }
    }
}
