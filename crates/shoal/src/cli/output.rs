//! `-o`: the forms a list of objects is printed in. Pure. Owns the forms; what the columns of a kind are, `views` knows.

use serde_json::{Value, json};

use super::{columns::Columns, table::Table, yaml::to_yaml};

/// A form of output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// A table with the usual columns.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON as the API has it.
    Json,
    /// The same as YAML.
    Yaml,
    /// `app/hello`, one a line.
    Name,
    /// A table with columns picked by path.
    Columns(Columns),
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            other => match other.strip_prefix("custom-columns=") {
                Some(columns) => columns.parse().map(Self::Columns),
                None => Err(format!("`{other}` is not a form of output: wide, json, yaml, name or custom-columns=TITLE:.path,…")),
            },
        }
    }
}

/// Objects ready to be printed in any form.
#[derive(Debug, Clone)]
pub struct Listing {
    /// One row per object.
    pub table: Table,
    /// The objects as JSON, in the order of the rows.
    pub objects: Vec<Value>,
    /// `app/hello`, in the order of the rows.
    pub names: Vec<String>,
    /// One object was asked for by name: JSON and YAML print it bare.
    pub single: bool,
}

impl Listing {
    /// The listing as text without a final line end; empty when there is nothing to show.
    pub fn text(&self, format: &Format, width: Option<usize>) -> String {
        match format {
            Format::Table | Format::Wide if self.table.is_empty() => String::new(),
            Format::Table | Format::Wide => self.table.render(width),
            Format::Json => serde_json::to_string_pretty(&self.value()).expect("objects have string keys only"),
            Format::Yaml => self.documents(),
            Format::Name => self.names.join("\n"),
            Format::Columns(columns) => columns.table(&self.objects).render(width),
        }
    }

    /// What is new or different since `before`, for a watch; JSON is one object a line.
    pub fn news(&self, before: &Self, format: &Format, width: Option<usize>) -> String {
        let old: std::collections::BTreeMap<&String, &Value> = before.names.iter().zip(&before.objects).collect();
        let is_news: Vec<bool> = self.names.iter().zip(&self.objects).map(|(name, object)| old.get(name) != Some(&object)).collect();
        let news = self.only(&is_news);
        match format {
            Format::Table | Format::Wide => news.table.render_below(&before.table, width),
            Format::Json => news.objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
            Format::Yaml => news.objects.iter().map(|object| format!("---\n{}", to_yaml(object))).collect::<Vec<_>>().join("\n"),
            Format::Name => news.names.join("\n"),
            Format::Columns(columns) => columns.table(&news.objects).render_below(&columns.table(&before.objects), width),
        }
    }

    /// What `fields` say of an object in `now` they say here too: they change all the time, which is no news.
    pub fn take_over(&mut self, now: &Self, fields: &[&str]) {
        let known: std::collections::BTreeMap<&String, &Value> = now.names.iter().zip(&now.objects).collect();
        for (name, object) in self.names.iter().zip(&mut self.objects) {
            let Some((now, Value::Object(object))) = known.get(name).zip(Some(object)) else { continue };
            for field in fields {
                match now.get(field) {
                    Some(value) => object.insert((*field).to_owned(), value.clone()),
                    None => object.remove(*field),
                };
            }
        }
    }

    /// This listing and, below it, `other` of the same kind; several objects are a list, never one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.table.append(other.table);
        self.objects.extend(other.objects);
        self.names.extend(other.names);
        Self { single: false, ..self }
    }

    fn only(&self, kept: &[bool]) -> Self {
        let objects = self.objects.iter().zip(kept).filter(|(_, kept)| **kept).map(|(object, _)| object.clone()).collect();
        let names = self.names.iter().zip(kept).filter(|(_, kept)| **kept).map(|(name, _)| name.clone()).collect();
        Self { table: self.table.only(kept), objects, names, single: self.single }
    }

    fn value(&self) -> Value {
        match self.objects.as_slice() {
            [one] if self.single => one.clone(),
            all => json!({"apiVersion": api::v1::API_VERSION, "kind": "List", "items": all}),
        }
    }

    /// Documents one after the other, so that what is printed can be applied.
    fn documents(&self) -> String {
        self.objects.iter().map(to_yaml).collect::<Vec<_>>().join("\n---\n")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn listing(ready: &[(&str, u32)]) -> Listing {
        let mut table = Table::new(["name", "ready"]);
        ready.iter().for_each(|(name, count)| table.row([(*name).to_owned(), count.to_string()]));
        let objects = ready.iter().map(|(name, count)| json!({"name": name, "ready": count})).collect();
        let names = ready.iter().map(|(name, _)| format!("app/{name}")).collect();
        Listing { table, objects, names, single: false }
    }

    fn check(format: &str, expected: Expect) {
        let format = if format.is_empty() { Format::Table } else { format.parse().expect("a form") };
        expected.assert_eq(&listing(&[("a", 1), ("b", 2)]).text(&format, None));
    }

    #[test]
    fn every_form_shows_every_object() {
        check(
            "",
            expect![[r#"
            NAME   READY
            a      1
            b      2"#]],
        );
        check(
            "name",
            expect![[r#"
            app/a
            app/b"#]],
        );
        check(
            "yaml",
            expect![[r#"
            name: a
            ready: 1
            ---
            name: b
            ready: 2"#]],
        );
        check(
            "custom-columns=N:.name",
            expect![[r#"
            N
            a
            b"#]],
        );
        check(
            "json",
            expect![[r#"
            {
              "apiVersion": "shoal.dev/v1",
              "kind": "List",
              "items": [
                {
                  "name": "a",
                  "ready": 1
                },
                {
                  "name": "b",
                  "ready": 2
                }
              ]
            }"#]],
        );
        assert!("table".parse::<Format>().is_err());
    }

    #[test]
    fn listings_of_several_names_are_one() {
        let both = Listing { single: true, ..listing(&[("a", 1)]) }.and(Listing { single: true, ..listing(&[("long", 2)]) });
        assert_eq!(both.text(&Format::Table, None), "NAME   READY\na      1\nlong   2");
        assert!(both.text(&Format::Json, None).contains("\"kind\": \"List\""));
    }

    #[test]
    fn a_watch_shows_what_changed() {
        let (before, after) = (listing(&[("a", 1), ("b", 2)]), listing(&[("a", 1), ("b", 3), ("c", 1)]));
        assert_eq!(after.news(&before, &Format::Table, None), "b      3\nc      1");
        assert_eq!(after.news(&before, &Format::Json, None), "{\"name\":\"b\",\"ready\":3}\n{\"name\":\"c\",\"ready\":1}");
        assert_eq!(after.news(&after, &Format::Table, None), "");
        let mut before = before;
        before.take_over(&after, &["ready"]);
        assert_eq!(after.news(&before, &Format::Name, None), "app/c", "how many are ready is no news then");
    }
}
