use std::{fs, path::PathBuf};

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use crate::{
    event::{Nanos, time},
    layout::Layout,
    render::human,
    streams::watch::Watch,
};

/// Whether the kernel says when a file changes.
pub fn notifications(layout: &Layout) -> Finding {
    let mode = Watch::new(&layout.dir).map_or("nothing", |watch| watch.mode());
    let limit = |name: &str| fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    notified(mode, limit("max_user_instances").trim(), limit("max_user_watches").trim())
}

fn notified(mode: &str, instances: &str, watches: &str) -> Finding {
    if mode == "inotify" {
        return Finding::ok(
            "inotify",
            format!("changes are told by the kernel ({instances} instances, {watches} watches)"),
        );
    }
    let what =
        format!("the kernel tells nothing ({instances} instances, {watches} watches per user): files are polled");
    Finding::warn("inotify", what, "`sysctl fs.inotify.max_user_instances=512`, or end what uses them up")
}

/// Whether enough files and connections can be open at once.
pub fn descriptors() -> Finding {
    opened(getrlimit(Resource::Nofile).current)
}

fn opened(limit: Option<u64>) -> Finding {
    let what = limit.map_or("no limit".to_owned(), |limit| format!("{} at once", human::count(limit)));
    let way_out = "raise it: `ulimit -n 65536`, or LimitNOFILE= of the unit";
    match limit {
        Some(..128) => Finding::fail("open files", format!("{what}: a server cannot work with that"), way_out),
        // Half of them are for connections.
        Some(..1024) => Finding::warn("open files", format!("{what}: clients will have to wait"), way_out),
        _ => Finding::ok("open files", what),
    }
}

/// Clocks of one machine, and those behind a network file system, differ by less.
const DRIFT: Nanos = 60 * time::SECOND;

/// Whether the clock was set back behind what was written already.
pub fn clock(now: Nanos, newest: Option<(PathBuf, Nanos)>) -> Finding {
    let at = time::format(now);
    match newest {
        Some((path, newest)) if newest > now.saturating_add(DRIFT) => Finding::fail(
            "clock",
            format!("it is {at}, but {} was written at {}", path.display(), time::format(newest)),
            "set the clock, of this machine or of the one that wrote it, and keep it (chrony, systemd-timesyncd)",
        ),
        _ => Finding::ok("clock", at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_grants() {
        let first = |finding: Finding| finding.to_string().lines().next().unwrap_or("").to_owned();
        assert_eq!(
            first(notified("inotify", "128", "65536")),
            "ok   inotify     changes are told by the kernel (128 instances, 65536 watches)"
        );
        assert_eq!(
            first(notified("poll", "128", "9")),
            "warn inotify     the kernel tells nothing (128 instances, 9 watches per user): files are polled"
        );
        assert_eq!(first(opened(Some(64))), "FAIL open files  64 at once: a server cannot work with that");
        assert_eq!(first(opened(Some(1000))), "warn open files  1,000 at once: clients will have to wait");
        assert_eq!(first(opened(Some(65_536))), "ok   open files  65,536 at once");
        assert_eq!(first(opened(None)), "ok   open files  no limit");
    }

    #[test]
    fn a_clock_that_was_set_back() {
        let newest = |seconds: i64| Some((PathBuf::from("tape.jsonl"), seconds * time::SECOND));
        let now = 1_700_000_000;
        assert_eq!(clock(now * time::SECOND, newest(now + 50)).to_string(), "ok   clock       2023-11-14T22:13:20Z");
        let said = clock(now * time::SECOND, newest(now + 100)).to_string();
        assert!(said.starts_with(
            "FAIL clock       it is 2023-11-14T22:13:20Z, but tape.jsonl was written at 2023-11-14T22:15:00Z\n"
        ));
    }
}
