//! Completions and man pages, judged by the programs that read them.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use crate::support::{Events, programs::tool, run, stdout};

/// Every command, as the help lists them.
fn commands() -> Vec<String> {
    let help = stdout(&run(&["--help"]));
    let list = help.split_once("Commands:\n").expect("a list of commands").1;
    let list = list.lines().take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned));
    names.filter(|name| !name.is_empty() && name != "help").collect()
}

/// Gives a text to a program, which must accept it without a word; what it prints.
#[track_caller]
fn accepted(program: &str, args: &[&str], text: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    let text = text.to_owned();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    let _ = writing.join();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn shells_accept_their_completions() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = stdout(&run(&["completions", shell]));
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
        assert!(!script.contains("drill"), "{shell}: what is hidden is not offered");
        if tool(shell).is_some() {
            accepted(shell, &[check], &script);
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn bash_completes_commands_and_options() {
    let script = stdout(&run(&["completions", "bash"]));
    let complete = |words: &str| {
        let asked = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))\n_runtape runtape \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\necho \"${{COMPREPLY[@]}}\"\n"
        );
        accepted("bash", &["--norc"], &asked).trim().to_owned()
    };
    assert_eq!(complete("runtape quar"), "quarantine");
    assert_eq!(complete("runtape serve --sna"), "--snapshot-every");
    assert_eq!(complete("runtape policy sh"), "show");
    assert_eq!(complete("runtape completions z"), "zsh");
}

#[test]
fn man_pages_for_every_command() {
    let dir = Events::new();
    stdout(&run(&["man", dir.text()]));
    let (mut pages, groff) = (0, tool("groff"));
    for name in commands().iter().map(|command| format!("runtape-{command}")).chain(["runtape".to_owned()]) {
        let path = dir.path().join(format!("{name}.1"));
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
        if groff.is_some() {
            let text = accepted("groff", &["-man", "-Tutf8", "-ww", "-Kutf8"], &page);
            assert!(text.contains("General Commands Manual") && text.contains("Print help"), "{name}: {text}");
        }
        pages += 1;
    }
    assert!(pages > 25, "only {pages} pages");
    assert!(dir.path().join("runtape-policy-apply.1").exists());
    assert!(!dir.path().join("runtape-drill.1").exists(), "what is hidden has no page");
    let one = stdout(&run(&["man", "-"]));
    assert_eq!(one, fs::read_to_string(dir.path().join("runtape.1")).expect("the page"));
}
