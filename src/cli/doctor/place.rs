use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::finding::Finding;
use crate::{
    cli::figures,
    files::{Kind, Space, space},
    layout::Layout,
    render::human,
    streams::scan,
};

/// Whether there is something to look at.
pub fn directory(layout: &Layout) -> Finding {
    const CHECK: &str = "directory";
    let dir = layout.dir.display();
    match layout.files.about(&layout.dir) {
        Ok(about) if about.kind == Kind::Directory => match scan::scan(&layout.files, &layout.dir) {
            Ok((found, _)) => Finding::ok(CHECK, format!("{dir}, {}", figures::some(found.len(), "file"))),
            Err(error) => Finding::fail(CHECK, format!("{dir} cannot be listed: {error}"), OWNER),
        },
        Ok(_) => Finding::fail(CHECK, format!("{dir} is not a directory"), "name the directory that holds the streams"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::fail(CHECK, format!("there is no {dir}"), format!("`mkdir -p {dir}`, or name another"))
        }
        Err(error) => Finding::fail(CHECK, format!("{dir} cannot be looked at: {error}"), OWNER),
    }
}

const OWNER: &str = "run it as the user who owns the directory, or give it to this one with chown";

/// Whether this user may do what a server does, and nobody more than that.
pub fn permissions(layout: &Layout, findings: &mut Vec<Finding>) {
    const CHECK: &str = "permissions";
    let (own, before) = (layout.own(), findings.len());
    let mut fail = |what: String, way_out: &str| findings.push(Finding::fail(CHECK, what, way_out));
    if let Some(not) = refused(&layout.dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        fail(format!("{} {not}", layout.dir.display()), OWNER);
    }
    match layout.files.about(&own) {
        Ok(about) if about.kind != Kind::Directory => {
            fail(format!("{} is not a directory", own.display()), "move it away; the server makes a directory there");
        }
        Ok(_) => {
            let mut paths = layout.files.list(&own).unwrap_or_default();
            paths.sort();
            let ours = [own].into_iter().chain(paths);
            if let Some(not) = ours.filter_map(|path| Some((refused(&path, Access::WRITE_OK)?, path))).next() {
                fail(format!("{} {}", not.1.display(), not.0), OWNER);
            }
        }
        Err(_) => {}
    }
    let found = scan::scan(&layout.files, &layout.dir).map(|(found, _)| found).unwrap_or_default();
    if let Some(not) = found.iter().find_map(|file| Some((refused(&file.path, Access::READ_OK)?, file))) {
        fail(format!("{} {}", not.1.path.display(), not.0), "let the server's group read what producers write");
    }
    if let Some(path) = [layout.stream("control"), layout.dir.clone()].into_iter().find(|path| is_open_to_all(path)) {
        let what = format!("everybody on this machine may write {}, and so command the fleet", path.display());
        findings.push(Finding::warn(CHECK, what, format!("`chmod o-w {}`", path.display())));
    }
    if findings.len() == before {
        findings.push(Finding::ok(CHECK, "this user may read, write and make files"));
    }
}

/// What this user may not do with a path. What is gone since it was listed, as a server's temporary files soon are, is
/// refused to nobody.
fn refused(path: &Path, wanted: Access) -> Option<String> {
    let kinds = [(Access::READ_OK, "read"), (Access::WRITE_OK, "written"), (Access::EXEC_OK, "entered")];
    let may = |kind| matches!(access(path, kind), Ok(()) | Err(Errno::NOENT));
    let not = kinds.into_iter().filter(|(kind, _)| wanted.contains(*kind) && !may(*kind));
    let not: Vec<&str> = not.map(|(_, word)| word).collect();
    (!not.is_empty()).then(|| format!("cannot be {} by this user", not.join(" or ")))
}

fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o002 != 0)
}

/// Whether there is room, on every disk that is written to.
pub fn disks(layout: &Layout, findings: &mut Vec<Finding>) {
    let own = layout.own();
    let device = |path: &Path| layout.files.about(path).ok().map(|about| about.id.dev);
    let apart = device(&own).is_some_and(|own| Some(own) != device(&layout.dir));
    for (holds, path) in [("streams", &layout.dir)].into_iter().chain(apart.then_some(("tape", &own))) {
        findings.push(match space(path) {
            Ok(space) => room(holds, &space),
            Err(error) => Finding::warn(
                "disk",
                format!("how full the disk of the {holds} is cannot be found out: {error}"),
                "see `df`",
            ),
        });
    }
    if apart {
        let what = format!("{} lies on another disk than the streams: no file can be linked there", own.display());
        let way_out = "keep both on one disk, or never delete a file of a stream: its history goes with it";
        findings.push(Finding::warn("disk", what, way_out));
    }
}

/// Below this there is no room for the next hours, whatever share of the disk it is.
const LEAST_BYTES: u64 = 64 << 20;

fn room(holds: &str, space: &Space) -> Finding {
    const WAY_OUT: &str =
        "move other things off the disk, or give it more room; what lies below .runtape is the history";
    let share = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
    let (bytes, files) = (share(space.free, space.bytes), share(space.free_files, space.files));
    let (free, all) = (human::bytes(space.free), human::bytes(space.bytes));
    let mut what = format!("{free} of {all} are free for the {holds} ({} %)", figures::three(bytes * 100.0));
    if files < 0.1 {
        what += &format!(", and {} of {} files", human::count(space.free_files), human::count(space.files));
    }
    match bytes.min(files) {
        least if least < 0.05 || space.free < LEAST_BYTES => Finding::fail("disk", what, WAY_OUT),
        least if least < 0.1 => Finding::warn("disk", what, WAY_OUT),
        _ => Finding::ok("disk", what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_refused_to_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        assert_eq!((refused(dir.path(), all), refused(&dir.path().join("gone"), all)), (None, None));
        // Nobody, whoever it is, enters what is a file.
        let file = dir.path().join("file");
        fs::write(&file, "").expect("a file");
        assert_eq!(refused(&file, all).as_deref(), Some("cannot be entered by this user"));
    }

    #[test]
    fn room_runs_out_in_bytes_and_in_files() {
        #[track_caller]
        fn check(bytes: (u64, u64), files: (u64, u64), want: &str) {
            let space = Space { free: bytes.0, bytes: bytes.1, free_files: files.0, files: files.1 };
            let said = room("tape", &space).to_string();
            assert_eq!(said.split("\n").next().unwrap_or(""), want);
        }
        const G: u64 = 1 << 30;
        check((50 * G, 100 * G), (0, 0), "ok   disk        50.0 GiB of 100.0 GiB are free for the tape (50 %)");
        check((9 * G, 100 * G), (0, 0), "warn disk        9.0 GiB of 100.0 GiB are free for the tape (9 %)");
        check((4 * G, 100 * G), (0, 0), "FAIL disk        4.0 GiB of 100.0 GiB are free for the tape (4 %)");
        check((G / 32, G / 16), (0, 0), "FAIL disk        32.0 MiB of 64.0 MiB are free for the tape (50 %)");
        check(
            (50 * G, 100 * G),
            (1000, 100_000),
            "FAIL disk        50.0 GiB of 100.0 GiB are free for the tape (50 %), and 1,000 of 100,000 files",
        );
    }
}
