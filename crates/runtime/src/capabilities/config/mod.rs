//! `wasi:config/store`: the values a manifest sets under `config`. Owns the interface's text, because the engine ships another draft; must never write.

use std::{collections::BTreeMap, sync::Arc};

use wasmtime::component::{HasData, Linker};

use self::bindings::wasi::config::store;
use super::{Capability, Host, Surroundings};
use crate::{error::OpenError, logs::SandboxLog, program::ProgramConfig};

mod bindings {
    //! Made from the interface's text.
    #![allow(missing_docs, reason = "made by a macro")]

    wasmtime::component::bindgen!({
        inline: "
            package wasi:config@0.2.0-rc.1;

            interface store {
                variant error {
                    upstream(string),
                    io(string),
                }

                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }

            world imports {
                import store;
            }
        ",
        world: "imports",
    });
}

pub(super) struct Config;

/// Prepared once per program, shared by its sandboxes.
pub(super) struct Values(Arc<BTreeMap<String, String>>);

impl HasData for Config {
    type Data<'a> = &'a mut Values;
}

impl Capability for Config {
    type Grant = Arc<BTreeMap<String, String>>;
    type Part = Values;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, Self>(linker, |host| &mut host.config)
    }

    /// The interface is the same for components of either WASI.
    fn link3(_: &mut Linker<Host>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn grant(config: &ProgramConfig, _: &Surroundings) -> Result<Arc<BTreeMap<String, String>>, OpenError> {
        Ok(Arc::new(config.config.clone()))
    }

    fn build(grant: &Arc<BTreeMap<String, String>>, _: &SandboxLog) -> Values {
        Values(Arc::clone(grant))
    }
}

impl store::Host for Values {
    fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        Ok(self.0.get(&key).cloned())
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        Ok(self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
