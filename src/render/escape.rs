//! What is escaped inside a label value and a help text. Everything else, control characters included, passes as it is:
//! both formats are UTF-8, and two different names must stay two different series.

use super::exposition::Format;

/// The inside of a quoted label value; the same in both formats.
pub fn label_value(out: &mut Vec<u8>, value: &str) {
    escaped(out, value, |byte| matches!(byte, b'\\' | b'"' | b'\n'));
}

/// The text of a `# HELP` line. OpenMetrics also escapes quotes there.
pub(super) fn help(out: &mut Vec<u8>, text: &str, format: Format) {
    let quotes = format == Format::OpenMetrics100;
    escaped(out, text, |byte| matches!(byte, b'\\' | b'\n') || (quotes && byte == b'"'));
}

/// Copies whole stretches between the bytes to escape: nearly every text has none. All three are ASCII, so none of them
/// is ever part of a longer character.
fn escaped(out: &mut Vec<u8>, text: &str, special: impl Fn(u8) -> bool) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| special(byte)) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(if rest[at] == b'\n' { b'n' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, as_label: &str, as_help: &str, as_openmetrics_help: &str) {
        let spell = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(spell(&|out| label_value(out, text)), as_label, "label");
        assert_eq!(spell(&|out| help(out, text, Format::Text004)), as_help, "help");
        assert_eq!(spell(&|out| help(out, text, Format::OpenMetrics100)), as_openmetrics_help, "OpenMetrics help");
    }

    #[test]
    fn only_what_would_end_the_text_is_escaped() {
        check("", "", "", "");
        check("plain name", "plain name", "plain name", "plain name");
        check(r#"say "hi""#, r#"say \"hi\""#, r#"say "hi""#, r#"say \"hi\""#);
        check(r"C:\new", r"C:\\new", r"C:\\new", r"C:\\new");
        check("two\nlines\n", r"two\nlines\n", r"two\nlines\n", r"two\nlines\n");
        check("\\\n\"", r#"\\\n\""#, "\\\\\\n\"", r#"\\\n\""#);
        check("🦀 naïve 交易\t\r", "🦀 naïve 交易\t\r", "🦀 naïve 交易\t\r", "🦀 naïve 交易\t\r");
    }
}
