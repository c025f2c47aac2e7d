/// Programs of others.
pub mod programs;

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use runtape::clock::Stopwatch;
use serde_json::Value;

/// The program under test.
pub const RUNTAPE: &str = env!("CARGO_BIN_EXE_runtape");

/// The release build, where `RUNTAPE_RELEASE_BIN` names it.
pub fn fast() -> PathBuf {
    std::env::var_os("RUNTAPE_RELEASE_BIN").map_or_else(|| PathBuf::from(RUNTAPE), PathBuf::from)
}

/// A number from the environment, for tests whose size is chosen.
pub fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Numbers that look random and are the same each time.
pub fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// An events directory that vanishes with its value, unless it is to be kept.
pub struct Events {
    path: PathBuf,
    _vanishes: Option<tempfile::TempDir>,
}

impl Events {
    pub fn new() -> Events {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Events { path: dir.path().to_owned(), _vanishes: Some(dir) }
    }

    /// A directory that stays.
    pub fn kept(path: PathBuf) -> Events {
        fs::create_dir_all(&path).expect("a writable directory");
        Events { path, _vanishes: None }
    }

    /// A copy of the streams of a directory, without its tape.
    pub fn copy_of(from: &Path) -> Events {
        let events = Events::new();
        for entry in fs::read_dir(from).expect("a readable directory").flatten() {
            if entry.file_name().to_string_lossy().contains(".jsonl") {
                fs::copy(entry.path(), events.path().join(entry.file_name())).expect("a readable stream");
            }
        }
        events
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn stream(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.jsonl"))
    }

    /// Appends bytes to a stream with one write.
    pub fn append(&self, stream: &str, bytes: impl AsRef<[u8]>) {
        append(&self.stream(stream), bytes.as_ref());
    }

    /// The state as `runtape replay -o json` prints it.
    pub fn replay(&self) -> Value {
        json(&run(&["replay", "--events", self.text(), "-o", "json"]))
    }

    /// The decisions as `runtape replay --decisions` prints them.
    pub fn decisions(&self) -> String {
        stdout(&run(&["replay", "--events", self.text(), "--decisions", "-o", "jsonl"]))
    }

    pub fn text(&self) -> &str {
        self.path().to_str().expect("a UTF-8 path")
    }
}

/// Appends bytes to a file with one write.
pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a writable stream");
    file.write_all(bytes).expect("a writable stream");
}

/// A directory below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    Command::new(RUNTAPE).args(args).stdin(Stdio::null()).output().expect("the program starts")
}

/// Standard output of a command that must succeed.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8 output")
}

pub fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("JSON output")
}

/// A serving process, killed with its value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts `runtape serve` on a free port and waits until it listens.
    pub fn start(events: &Path, more: &[&str]) -> Server {
        Server::start_in(events, more, &[])
    }

    /// The same, with variables of the environment.
    pub fn start_in(events: &Path, more: &[&str], env: &[(&str, &str)]) -> Server {
        Server::start_by(Path::new(RUNTAPE), events, more, env, Stdio::inherit())
    }

    /// The same, of the release build where there is one: for what needs its speed.
    pub fn start_fast(events: &Path, more: &[&str]) -> Server {
        Server::start_by(&fast(), events, more, &[], Stdio::inherit())
    }

    /// The same, with everything that it logs in a file.
    pub fn start_logging(events: &Path, log: &Path) -> Server {
        let log = fs::File::create(log).expect("a file");
        Server::start_by(Path::new(RUNTAPE), events, &[], &[("RUNTAPE_LOG", "debug")], log.into())
    }

    fn start_by(program: &Path, events: &Path, more: &[&str], env: &[(&str, &str)], log: Stdio) -> Server {
        let events = events.to_str().expect("a UTF-8 path");
        let mut child = Command::new(program)
            .args(["serve", "--events", events, "--listen", "127.0.0.1:0"])
            .args(more)
            .env("RUNTAPE_LOG", "warn")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().and_then(Result::ok).expect("the server says where it listens");
        let address = first.rsplit_once("http://").expect("an address").1.parse().expect("an address");
        // What it prints later must not block it.
        thread::spawn(move || lines.for_each(drop));
        Server { child, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn get(&self, path: &str) -> Response {
        request(self.address, path, &[]).expect("the server answers")
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        request(self.address, path, headers).expect("the server answers")
    }

    /// The text page.
    pub fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").body)
    }

    /// Waits until it has caught up.
    pub fn ready(&self) {
        let start = Stopwatch::start();
        loop {
            let answer = self.get("/readyz");
            if answer.status == 200 {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the server does not become ready: {}", answer.body);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("a dead server");
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        signal(self.pid(), "TERM");
        self.child.wait().expect("a dead server").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// Stops a process, and waits until none of its threads runs.
pub fn freeze(pid: u32) {
    signal(pid, "STOP");
    wait_until("all threads stand still", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
        let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
        tasks.flatten().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(stands))
    });
}

/// An HTTP answer.
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// One GET on a connection of its own.
pub fn request(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = String::from_utf8_lossy(bytes.get(end + 4..).unwrap_or_default()).into_owned();
    Ok(Response { status, body })
}

/// A text page, for looking up samples.
pub struct Metrics(pub String);

impl Metrics {
    /// The value of a sample by its name and labels, as they stand on the page.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// The sum over all samples of a family.
    pub fn sum(&self, family: &str) -> f64 {
        let of_family =
            |line: &&str| line.starts_with(&format!("{family}{{")) || line.starts_with(&format!("{family} "));
        self.0.lines().filter(of_family).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Waits for a condition for half a minute at most.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Stopwatch::start();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Compares with a file below `tests/golden`; `UPDATE_GOLDEN=1` rewrites it.
pub fn golden(name: &str, got: &str) {
    let path = repository("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a writable directory");
        fs::write(&path, got).expect("a writable file");
        return;
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        want == got,
        "{} differs; look at it, then UPDATE_GOLDEN=1 cargo test\n{}",
        path.display(),
        difference(&want, got)
    );
}

fn difference(want: &str, got: &str) -> String {
    let at = want.lines().zip(got.lines()).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| want.lines().count().min(got.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(end)").to_owned();
    format!("line {}:\n  want {}\n  got  {}", at + 1, line(want), line(got))
}
