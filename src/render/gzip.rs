//! Response bodies as gzip, for those who accept it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::negotiate::weighted;

/// The pieces of a body compressed at the fast level: a page of series repeats itself so much that the slower ones gain
/// little. The same body gives the same bytes (no time in the header).
pub fn gzip<'a>(body: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in body {
        // A Vec takes every write.
        let _ = encoder.write_all(piece);
    }
    encoder.finish().unwrap_or_default()
}

/// Whether an `Accept-Encoding` header allows gzip: named with a weight above 0, or not named and covered by `*`.
pub fn accepts_gzip(header: Option<&str>) -> bool {
    let (mut named, mut wildcard) = (None, None);
    for item in weighted(header.unwrap_or("")) {
        if item.name.eq_ignore_ascii_case("gzip") || item.name.eq_ignore_ascii_case("x-gzip") {
            named = Some(item.weight.max(named.unwrap_or(0.0)));
        } else if item.name == "*" {
            wildcard = Some(item.weight);
        }
    }
    named.or(wildcard).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[track_caller]
    fn check(header: &str, expect: bool) {
        assert_eq!(accepts_gzip(Some(header)), expect, "Accept-Encoding: {header}");
    }

    #[test]
    fn gzip_only_where_it_is_accepted() {
        assert!(!accepts_gzip(None));
        check("", false);
        check("gzip", true);
        check("GZip", true);
        check("x-gzip", true);
        check("deflate, gzip;q=0.5, br", true);
        check("gzip;q=0", false);
        check("gzip;q=0.000", false);
        check("gzip; q=0.001", true);
        check("gzip;q=0, *", false);
        check("*", true);
        check("*;q=0", false);
        check("*;q=0, gzip", true);
        check("identity, br", false);
        check("gzipped", false);
        check("gzip;q=much", false);
    }

    #[test]
    fn a_body_comes_back() {
        let page = "agent_runs_total{agent=\"a\"} 1\n".repeat(10_000);
        for body in ["", "x", page.as_str()] {
            let packed = gzip(body.as_bytes().chunks(1000));
            let mut back = String::new();
            GzDecoder::new(&packed[..]).read_to_string(&mut back).unwrap();
            assert_eq!(back, body);
            assert_eq!(packed, gzip([body.as_bytes()].into_iter()), "the same body gives the same bytes");
        }
        assert!(gzip([page.as_bytes()].into_iter()).len() < page.len() / 50);
    }
}
