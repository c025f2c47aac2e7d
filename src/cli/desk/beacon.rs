use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    pub address: SocketAddr,
    pub pid: u32,
}

/// A beacon that was set up; taken down again when dropped, as at a clean stop.
#[derive(Debug)]
pub struct Lit {
    path: PathBuf,
    beacon: Beacon,
}

/// Says in a directory where its server is reached; only its owner may read it.
///
/// # Errors
/// The file cannot be written.
pub fn light(layout: &Layout, listens: SocketAddr) -> io::Result<Lit> {
    let (path, own) = (layout.server(), layout.own());
    let beacon = Beacon { address: reachable(listens), pid: std::process::id() };
    // A file of `tempfile` is readable by its owner only, and so is what it becomes.
    let mut file = tempfile::NamedTempFile::new_in(&own)?;
    serde_json::to_writer(&mut file, &beacon)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    layout.files.sync_dir(&own)?;
    Ok(Lit { path, beacon })
}

/// The beacon of a directory, if there is one that can be read. It may be that of a server that died.
pub fn read(layout: &Layout) -> Option<Beacon> {
    serde_json::from_slice(&fs::read(layout.server()).ok()?).ok()
}

impl Drop for Lit {
    fn drop(&mut self) {
        let own = fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<Beacon>(&bytes).ok());
        // Another server may have taken the directory since.
        if own.as_ref() == Some(&self.beacon) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An address one can connect to: whoever listens everywhere is reached on this machine.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_beacon_burns_as_long_as_its_server() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.own()).expect("a writable directory");
        assert_eq!(read(&layout), None);
        let lit = light(&layout, "0.0.0.0:8273".parse().expect("an address")).expect("a writable directory");
        let text = fs::read_to_string(layout.server()).expect("it is there");
        assert_eq!(text, format!("{{\"address\":\"127.0.0.1:8273\",\"pid\":{}}}\n", std::process::id()));
        let mode = fs::metadata(layout.server()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(lit);
        assert_eq!(read(&layout), None);
    }

    #[test]
    fn the_beacon_of_another_server_is_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.own()).expect("a writable directory");
        let lit = light(&layout, "127.0.0.1:1".parse().expect("an address")).expect("a writable directory");
        fs::write(layout.server(), "{\"address\":\"127.0.0.1:2\",\"pid\":1}").expect("a writable directory");
        drop(lit);
        assert_eq!(read(&layout).map(|beacon| beacon.pid), Some(1));
    }
}
