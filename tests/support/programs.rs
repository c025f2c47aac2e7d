//! Programs of others that judge ours: found, or left out with a word; with `CI=true` a missing one is a failure.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::{Events, RUNTAPE};

/// A program that is installed, or the reason to fail or to leave a test out.
pub fn tool(name: &str) -> Option<PathBuf> {
    let works = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return Some(name.into());
    }
    missing(&format!("{name} is not installed"))
}

/// Says what a test is left out for.
pub fn missing<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}, and CI=true");
    eprintln!("left out: {why}");
    None
}

/// Our program as somebody who owns nothing, for whom permissions hold.
pub fn as_nobody(args: &[&str]) -> Option<Output> {
    let program = Events::new();
    let copy = program.path().join("runtape");
    std::fs::copy(RUNTAPE, &copy).expect("a copy of the program");
    // A temporary directory is readable by its owner only.
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(program.path(), all).expect("our own directory");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(args).stdin(Stdio::null());
    let output = command.output().ok();
    let became = output.filter(|output| !String::from_utf8_lossy(&output.stderr).contains("setpriv:"));
    became.or_else(|| missing("nobody can become another user here"))
}

/// An address on this machine that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A server of others in a directory of its own, killed with its value.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts one of the Prometheus family: a configuration of that name, data below the option `storage`.
    pub fn start(program: &Path, name: &str, config: &str, storage: &str, more: &[&str]) -> Daemon {
        Daemon::start_in(tempfile::tempdir().expect("a temporary directory"), program, name, config, storage, more)
    }

    /// The same over data that lies in a directory already, as `data`.
    pub fn start_in(
        dir: tempfile::TempDir,
        program: &Path,
        name: &str,
        config: &str,
        storage: &str,
        more: &[&str],
    ) -> Daemon {
        let file = dir.path().join(name);
        std::fs::write(&file, config).expect("a writable directory");
        let address = free_address();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("{storage}={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(more)
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Daemon { child, address, _dir: dir }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
