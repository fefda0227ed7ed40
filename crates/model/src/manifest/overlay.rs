//! One manifest laid over another. Owns which document an overlay's document goes to; must never know a field below `metadata`.

use super::words::near;
use crate::{
    problem::Problem,
    tree::{self, Node},
};

/// Lays the documents of `over` on those of `base`.
pub(super) fn lay(base: &mut [Node], over: Vec<Node>, problems: &mut Vec<Problem>) {
    for document in over {
        let fitting: Vec<usize> = (0..base.len()).filter(|&index| fits(&base[index], &document)).collect();
        match fitting.as_slice() {
            [index] => tree::merge(&mut base[*index], document),
            [] => problems.push(homeless(base, &document)),
            [_, ..] => {
                let problem = Problem::new("E0105", "the overlay's document fits several documents below it");
                problems.push(problem.help("name one: kind: App, metadata: {name: NAME}").span(Some(document.place.span())));
            }
        }
    }
}

/// Whether what `over` says of kind, name and namespace is what `base` says.
fn fits(base: &Node, over: &Node) -> bool {
    let same = |base: Option<&Node>, over: Option<&Node>| match (base.and_then(Node::text), over.and_then(Node::text)) {
        (_, None) => true,
        (base, over) => base == over,
    };
    let of = |node: &Node, field: &str| node.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
    same(base.get("kind"), over.get("kind"))
        && same(of(base, "name").as_ref(), of(over, "name").as_ref())
        && same(of(base, "namespace").as_ref(), of(over, "namespace").as_ref())
}

fn homeless(base: &[Node], over: &Node) -> Problem {
    let name = |node: &Node| node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text).unwrap_or("").to_owned();
    let names: Vec<String> = base.iter().map(name).collect();
    let place = over.get("metadata").and_then(|metadata| metadata.get("name")).map_or(&over.place, |name| &name.place);
    let help = match near(&name(over), names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the documents below it are {}", names.join(", ")),
    };
    let problem = Problem::new("E0106", format!("the overlay's document `{}` fits no document below it", name(over)));
    problem.at("metadata.name").label("nothing to lay it on").help(help).span(Some(place.span()))
}
