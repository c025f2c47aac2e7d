//! Lines from standard input: which are appended, which are refused, and what is told of either.

use std::{
    fmt::Write as _,
    fs,
    io::Write,
    process::{Child, Command, Stdio},
};

use crate::support::{Events, RUNTAPE};

/// The command, with its input still open.
fn started(events: &Events, shell: &str) -> Child {
    let script = format!("{shell} exec \"$0\" append runs --events \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, RUNTAPE, events.text()]).stdin(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("a shell")
}

/// What is in the stream behind an input, the exit code, and what was told.
#[track_caller]
fn check(input: &str, stream: &str, code: i32, told: &[&str]) {
    check_in("", input, stream, code, told);
}

/// The same where a shell set something before.
#[track_caller]
fn check_in(shell: &str, input: &str, stream: &str, code: i32, told: &[&str]) {
    let events = Events::new();
    let mut child = started(&events, shell);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("all of it is read");
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    told.iter().for_each(|words| assert!(said.contains(words), "{words:?} is not said: {said}"));
    let written = fs::read_to_string(events.stream("runs")).expect("a stream");
    assert!(written == stream, "{} bytes were written, not {}", written.len(), stream.len());
}

fn line(nth: usize) -> String {
    format!("{{\"agent\":\"a\",\"reward\":{nth}}}\n")
}

fn lines(count: usize) -> String {
    (1..=count).map(line).collect()
}

#[test]
fn every_line_is_appended_once_and_in_order() {
    check("", "", 0, &["appended 0 lines"]);
    for count in [1, 999, 1000, 1001, 25_000] {
        check(&lines(count), &lines(count), 0, &[&format!("appended {count} lines"), "refused 0"]);
    }
    check(&format!("\n \t\r\n{}\n{}", line(1), line(2)), &lines(2), 0, &["appended 2 lines"]);
    check(lines(3).trim_end(), &lines(3), 0, &["appended 3 lines"]);
}

#[test]
fn what_is_refused_is_told_by_its_number_and_the_rest_is_appended() {
    let control = "{\"kind\":\"command\",\"event_id\":\"e\",\"actor\":\"x\",\"action\":\"kill\",\"agent\":\"a\"}\n";
    let long = format!("{{\"agent\":\"{}\"}}\n", "x".repeat(2 << 20));
    let (mut input, mut stream) = (String::new(), String::new());
    for nth in 1..=6000 {
        match nth {
            2500 => input.push_str("{\"agent\":\n"),
            4000 => input.push_str(control),
            5000 => input.push_str(&long),
            _ => {
                input.push_str(&line(nth));
                stream.push_str(&line(nth));
            }
        }
    }
    let told =
        ["line 2500: refused: ", "line 4000: refused: a command counts only", "line 5000: refused: ", "refused 3"];
    check(&input, &stream, 1, &told);
}

#[test]
fn long_lines_take_no_more_memory_the_more_there_are() {
    let mut input = String::new();
    for nth in 0..160 {
        writeln!(input, "{{\"agent\":\"a\",\"reward\":{nth},\"x\":\"{}\"}}", "y".repeat(900_000)).expect("a string");
    }
    // 144 MB of lines, and not so much room that a pack could hold them all.
    check_in("ulimit -v 220000;", &input, &input, 0, &["appended 160 lines"]);
}

#[test]
fn a_write_that_fails_is_told_while_the_input_is_still_open() {
    let events = Events::new();
    let mut child = started(&events, "trap '' XFSZ; ulimit -f 400;");
    let mut input = child.stdin.take().expect("a pipe");
    // It may end before it has read all.
    let _ = input.write_all(lines(200_000).as_bytes());
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let written = fs::read_to_string(events.stream("runs")).expect("a stream");
    let whole = written.lines().filter(|line| line.ends_with('}')).count();
    let told = said.split("not appended (").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(
        told.is_some_and(|told| told > 0 && (told..told + 1000).contains(&whole)),
        "{whole} lines are there: {said}"
    );
    assert!(written.starts_with(&lines(told.unwrap_or(0))), "those that were told of are there");
    drop(input);
}
