use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::{
    files::{Space, space},
    layout::Layout,
    view::Load,
};

/// The file systems a directory lies on, by what they hold: often one and the same. What the system does not say is left
/// out.
pub fn disks(layout: &Layout) -> Vec<(&'static str, Space)> {
    let both = [("streams", layout.dir.clone()), ("tape", layout.own())];
    both.into_iter().filter_map(|(holds, path)| Some((holds, space(&path).ok()?))).collect()
}

/// How far what the system gives this process is used: descriptors, and memory against what the control group or else the
/// machine has. What the system does not say is left out.
pub fn loads() -> Vec<Load> {
    let load = |limit, (used, max): (u64, u64)| Load { limit, max, used: Some(used), reached: 0 };
    let both = [("descriptors", descriptors()), ("memory_bytes", memory())];
    both.into_iter().filter_map(|(limit, numbers)| Some(load(limit, numbers?))).collect()
}

/// Open, and the most that may be.
pub fn descriptors() -> Option<(u64, u64)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some((open, getrlimit(Resource::Nofile).current?))
}

/// Resident, and the most there is.
fn memory() -> Option<(u64, u64)> {
    let resident = kib("/proc/self/status", "VmRSS:")?;
    let machine = kib("/proc/meminfo", "MemTotal:")?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    Some((resident * 1024, group.map_or(machine * 1024, |group| group.min(machine * 1024))))
}

/// A number of a file of lines `name: number kB`.
fn kib(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_knows_the_disks_it_lies_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(dir.path());
        let holds = |layout: &Layout| disks(layout).into_iter().map(|(holds, _)| holds).collect::<Vec<_>>();
        assert_eq!(holds(&layout), ["streams"], "there is no tape yet");
        fs::create_dir(layout.own()).expect("a writable directory");
        assert_eq!(holds(&layout), ["streams", "tape"]);
        for (_, space) in disks(&layout) {
            assert!(0 < space.free && space.free <= space.bytes && space.free_files <= space.files, "{space:?}");
        }
    }

    #[test]
    fn the_process_knows_what_it_uses() {
        for load in loads() {
            assert!(load.used.is_some_and(|used| used > 0 && used <= load.max), "{load:?}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(loads().len(), 2);
    }
}
