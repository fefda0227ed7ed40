//! `-o custom-columns=NAME:.metadata.name,…`: columns picked out of objects by path, with kubectl's grammar for fields and indices. Pure.

use serde_json::Value;

use super::table::Table;

/// Columns with the path each shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<(String, Vec<Segment>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(String),
    Index(usize),
    All,
}

impl std::str::FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let column = |part: &str| {
            let (title, path) = part.split_once(':').ok_or_else(|| format!("`{part}` is not a column; write TITLE:.path.to.field"))?;
            Ok((title.to_owned(), parse_path(path)?))
        };
        text.split(',').map(column).collect::<Result<_, String>>().map(Self)
    }
}

impl Columns {
    /// One row per object; `<none>` where a path leads nowhere.
    pub fn table(&self, objects: &[Value]) -> Table {
        let mut table = Table::new(self.0.iter().map(|(title, _)| title));
        for object in objects {
            table.row(self.0.iter().map(|(_, path)| {
                let found = lookup(object, path);
                if found.is_empty() { "<none>".to_owned() } else { found.into_iter().map(shown).collect::<Vec<_>>().join(",") }
            }));
        }
        table
    }
}

fn parse_path(path: &str) -> Result<Vec<Segment>, String> {
    let wrong = || format!("`{path}` is not a path; write it like .spec.components.web.routes[0].host");
    let mut segments = Vec::new();
    let mut rest = path.strip_prefix('.').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']').ok_or_else(wrong)?;
            segments.push(if index == "*" { Segment::All } else { Segment::Index(index.parse().map_err(|_| wrong())?) });
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let field = &rest[..end];
            if field.is_empty() {
                return Err(wrong());
            }
            segments.push(if field == "*" { Segment::All } else { Segment::Field(field.to_owned()) });
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    if segments.is_empty() { Err(wrong()) } else { Ok(segments) }
}

fn lookup<'a>(value: &'a Value, path: &[Segment]) -> Vec<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return vec![value] };
    let next: Vec<&Value> = match first {
        Segment::Field(field) => value.get(field).into_iter().collect(),
        Segment::Index(index) => value.get(index).into_iter().collect(),
        Segment::All => match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => Vec::new(),
        },
    };
    next.into_iter().flat_map(|value| lookup(value, rest)).collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_follow_fields_indices_and_stars() {
        let objects = [
            json!({"metadata": {"name": "hello"}, "spec": {"components": {"web": {"routes": [{"host": "a"}, {"host": "b"}]}}}}),
            json!({"metadata": {"name": "bare"}, "spec": {"components": {}}}),
        ];
        let columns: Columns =
            "name:.metadata.name,FIRST:.spec.components.web.routes[0].host,ALL:.spec.components.*.routes[*].host".parse().expect("columns");
        expect![[r#"
            NAME    FIRST    ALL
            hello   a        a,b
            bare    <none>   <none>"#]]
        .assert_eq(&columns.table(&objects).render(None));
    }

    #[test]
    fn wrong_columns_are_refused() {
        for wrong in ["NAME", "NAME:", "NAME:.a..b", "NAME:.a[x]", "NAME:.a[0"] {
            assert!(wrong.parse::<Columns>().is_err(), "{wrong}");
        }
    }
}
