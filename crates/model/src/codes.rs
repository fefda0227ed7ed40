//! Every code a problem may carry, with its page. Owns the list; the pages are the files of docs/reference/errors/. Must never know where a code is raised.

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `E0204`.
    pub code: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// The page: what it means, an example, how to mend it. Markdown.
    pub page: &'static str,
}

/// The code called `code`, in any case.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code.eq_ignore_ascii_case(code))
}

macro_rules! codes {
    ($($code:literal $title:literal)+) => {
        /// All codes in order.
        pub static CODES: &[Code] =
            &[$(Code { code: $code, title: $title, page: include_str!(concat!("../../../docs/reference/errors/", $code, ".md")) }),+];
    };
}

codes! {
    "E0101" "not YAML"
    "E0102" "unknown field"
    "E0103" "wrong type"
    "E0104" "duplicate key"
    "E0105" "missing field"
    "E0106" "invalid value"
    "E0107" "not supported yet"
    "E0108" "manifest too large"
    "E0109" "a Kubernetes kind"
    "E0110" "unknown kind or apiVersion"
    "E0111" "undefined variable"
    "E0112" "fields that exclude each other"
    "E0201" "not a WebAssembly component"
    "E0202" "a core module, not a component"
    "E0203" "a release candidate of WASI 0.3"
    "E0204" "an import nothing provides"
    "E0205" "routes, but no request handler"
    "E0206" "artifact unknown"
    "E0207" "source file not readable"
    "E0208" "artifact too large"
    "E0209" "digest does not match"
    "E0210" "a reuse mode the component cannot have"
    "E0211" "permissions not accepted"
    "E0212" "a file for the guest cannot be used"
    "E0301" "compilation failed"
    "E0302" "code cannot be opened"
    "E0303" "sandbox does not start"
    "E0304" "trap"
    "E0305" "memory limit reached"
    "E0306" "timeout"
    "E0307" "the guest sent no response"
    "E0308" "no free sandbox"
    "E0309" "too expensive to compile"
    "E0310" "processor time used up"
    "E0311" "instance memory full"
    "E0312" "host limit reached"
    "E0313" "egress denied"
    "E0314" "the sandbox ended"
    "E0401" "routes collide"
    "E0402" "not found"
    "E0403" "changed by somebody else"
    "E0404" "protected"
    "E0405" "limit reached"
    "E0406" "storage not writable"
    "E0407" "unavailable"
    "E0408" "bad request"
    "E0409" "upload too large"
    "E0410" "Host header not allowed"
    "E0411" "name or key of another node"
    "E0412" "not admitted"
    "E0413" "the last server"
    "E0414" "program too old"
    "E0415" "not one cluster"
    "E0416" "idempotency key used for something else"
    "E0417" "still in use"
    "E0418" "over a ceiling of the namespace"
    "E0419" "host of another namespace"
    "E0420" "two certificates for one host"
    "E0421" "not allowed"
    "E0422" "no leader"
    "E0423" "token not valid"
    "E0428" "watch too far behind"
    "E0430" "a rotation is under way"
    "E0431" "not known whether it was done"
    "E0501" "no route"
    "E0502" "method not allowed"
    "E0503" "no instance ready in time"
    "E0504" "queue full"
    "E0505" "no response headers in time"
    "E0506" "request body too large"
    "E0507" "malformed request"
    "E0508" "upgrade not supported"
    "E0509" "request headers too large"
    "E0510" "component failed"
    "E0511" "silent for too long"
    "E0512" "shutting down"
    "E0513" "TLS certificate problem"
    "E0514" "answered over HTTPS only"
    "E0601" "address in use"
    "E0602" "data directory in use"
    "E0603" "data directory of another format"
    "E0605" "server unreachable"
    "E0606" "system limit too low"
    "E0607" "disk full"
    "E0608" "certificate directory not usable"
    "E0609" "cannot join"
    "E0610" "server not trusted"
    "E0611" "node not fit for its place"
    "E0612" "snapshot not usable"
    "E0613" "nothing to recover from"
    "E0617" "part of a node down"
    "E0618" "members disagree"
    "E0619" "formation token not valid"
    "E0620" "peers told differently"
    "E0621" "cluster exists already"
    "E0622" "cluster not formed yet"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_opens_with_it() {
        for pair in CODES.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} stands before {}", pair[0].code, pair[1].code);
        }
        for Code { code, title, page } in CODES {
            assert!(page.starts_with(&format!("# {code}: {title}\n")), "the page of {code} opens with `# {code}: {title}`");
            assert!(page.contains("\n## How to mend it\n"), "the page of {code} says how to mend it");
        }
    }

    #[test]
    fn the_list_of_pages_is_in_step() {
        let mut list = String::from(
            "# Error codes\n\nEvery error names a code; `shoal explain CODE` prints its page.\n\n| code | what |\n|---|---|\n",
        );
        for Code { code, title, .. } in CODES {
            list.push_str(&format!("| [{code}]({code}.md) | {title} |\n"));
        }
        expect_test::expect_file!["../../../docs/reference/errors/README.md"].assert_eq(&list);
    }

    #[test]
    fn every_page_belongs_to_a_code() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/errors");
        for page in std::fs::read_dir(folder).expect("the folder of the pages is part of the repository") {
            let name = page.expect("the folder of the pages can be read").file_name();
            let name = name.to_string_lossy();
            assert!(name == "README.md" || find(name.trim_end_matches(".md")).is_some(), "{name} is the page of no code");
        }
    }
}
