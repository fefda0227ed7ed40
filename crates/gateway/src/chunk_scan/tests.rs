//! Bodies as they may and may not be framed, cut at every place.

use super::*;

/// What becomes of `body` fed whole, which must be what becomes of it fed byte by byte.
fn check(body: &str, wanted: ChunkStep) {
    assert_eq!(ChunkScan::default().step(body.as_bytes()), wanted, "{body:?}");
    let mut scan = ChunkScan::default();
    let mut outcome = ChunkStep::Through;
    for (at, byte) in body.bytes().enumerate() {
        outcome = match scan.step(&[byte]) {
            ChunkStep::End(1) => ChunkStep::End(at + 1),
            other => other,
        };
        if outcome != ChunkStep::Through {
            break;
        }
    }
    assert_eq!(outcome, wanted, "{body:?} byte by byte");
}

#[test]
fn bodies_end_where_they_say() {
    check("0\r\n\r\n", ChunkStep::End(5));
    check("5\r\nhello\r\n0\r\n\r\nGET", ChunkStep::End(15));
    check("A\r\n0123456789\r\n00\r\n\r\n", ChunkStep::End(21));
    check("5;a=b\r\nhello\r\n0\r\n\r\n", ChunkStep::End(19));
    check("0\r\nx-sum: 1\r\ny: 2\r\n\r\n", ChunkStep::End(21));
    check("5\r\nhel", ChunkStep::Through);
    check("5\r\nhello\r\n", ChunkStep::Through);
}

#[test]
fn anything_else_is_broken() {
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\rhello\r\n",
        "5;a\nb\r\n",
        "5;a\0\r\n",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "0\r\nx: 1\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\n: nameless\r\n\r\n",
        "0\r\n\rX",
        "1000000000000000\r\n",
        "0000000000000000\r\n",
    ] {
        check(body, ChunkStep::Broken);
    }
    check(&format!("1;{}\r\nx\r\n", "e".repeat(CHUNK_EXTENSION_BYTES_MAX)), ChunkStep::Broken);
    check(&format!("0\r\nx: {}\r\n\r\n", "e".repeat(TRAILER_BYTES_MAX)), ChunkStep::Broken);
    check(&format!("0\r\n{}\r\n", "x: 1\r\n".repeat(HEADERS_MAX + 1)), ChunkStep::Broken);
}

#[test]
fn extensions_are_limited_over_the_whole_body() {
    let many = format!("1;{}\r\nx\r\n", "e".repeat(100)).repeat(CHUNK_EXTENSION_BYTES_MAX / 100 + 1);
    check(&many, ChunkStep::Broken);
}
