//! Rust source with its strings and comments blanked, so that rules look at code alone. Keeps every byte's place and every line break.

/// `text` with the content of comments, strings and character literals replaced by spaces.
pub fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if !is_word(bytes, at) => match raw_string(bytes, at) {
                Some(end) => end,
                None => at + 1,
            },
            b'\'' => end_of_character(bytes, at).unwrap_or(at + 1),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut masked[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(masked).expect("whole tokens are replaced by ASCII, so what is left is still UTF-8")
}

/// True when the byte at `at` continues a word, so that it starts no literal. `b` and `c` may stand before `r`.
fn is_word(bytes: &[u8], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|index| bytes[index]);
    let part = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if matches!(before(1), Some(b'b' | b'c')) { part(before(2)) } else { part(before(1)) }
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn end_of_block_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"` or `r#"…"#` at `at`; none when no raw string starts there.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// The end of `'x'` or `'\n'`; none for a lifetime.
fn end_of_character(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at + 1..];
    if rest.first() == Some(&b'\\') {
        let close = rest.iter().skip(2).position(|&byte| byte == b'\'')?;
        return Some(at + 1 + 2 + close + 1);
    }
    // One character is at most four bytes long.
    let text = std::str::from_utf8(&rest[..rest.len().min(4)]).or_else(|error| std::str::from_utf8(&rest[..error.valid_up_to()])).ok()?;
    let length = text.chars().next()?.len_utf8();
    (rest.get(length) == Some(&b'\'')).then_some(at + 1 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, kept: &str) {
        let masked = mask(source);
        assert_eq!(masked.len(), source.len(), "every byte keeps its place");
        assert_eq!(masked.lines().count(), source.lines().count(), "every line stays");
        assert_eq!(masked.split_whitespace().collect::<Vec<_>>().join(" "), kept);
    }

    #[test]
    fn literals_and_comments_go() {
        check("a // b { c\nd", "a d");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"a("b \" {", 1)"#, "a( , 1)");
        check("a(r\"b\\\", r#\"c \" d\"#, br##\"\"# \"##)", "a( , , b )");
        check("let x = '{'; let y = '\\''; let z = '\\u{7d}'; let w = 'ß';", "let x = ; let y = ; let z = ; let w = ;");
    }

    #[test]
    fn lifetimes_and_raw_names_stay() {
        check("fn f<'a>(x: &'a str) -> &'static str { r#type }", "fn f<'a>(x: &'a str) -> &'static str { r#type }");
        check("for 'outer: loop {}", "for 'outer: loop {}");
        check("var\"\"", "var");
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        for source in ["\"abc", "r#\"abc\"", "/* /* */", "'", "'\\", "a\\", "\"\\"] {
            assert_eq!(mask(source).len(), source.len(), "{source}");
        }
    }
}
