//! hello plus what it was given: answers with its environment and the values of `wasi:config/store`, one a line. It also shows secrets: it is for trying out.

use wstd::http::{Body, Error, Request, Response};

mod bindings {
    wit_bindgen::generate!({
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
        generate_all,
    });
}

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    let values = bindings::wasi::config::store::get_all().unwrap_or_default();
    let mut lines: Vec<String> = values.into_iter().map(|(name, value)| format!("config {name}={value}\n")).collect();
    lines.extend(std::env::vars().map(|(name, value)| format!("env {name}={value}\n")));
    lines.sort();
    Ok(Response::new(lines.concat().into()))
}
