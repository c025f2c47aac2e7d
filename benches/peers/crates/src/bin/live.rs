//! A client of a metrics page that something keeps from a log file.
//!
//! `live idle ADDRESS PAGE FILE LINE SERIES APPENDS`: appends one line after the other, each with one write and 10 to 30 ms apart, and asks for the page
//! without pause until the series counts it. Prints one line per append: microseconds from before the write to the end of the answer that shows it.
//! `live round ADDRESS PAGE REQUESTS`: prints microseconds per answer.
//! `live load ADDRESS PAGE FILE SOURCE SERIES COUNT`: appends a whole file as fast as it can be written, and asks for the page every 20 ms until every series
//! of that name has reached the count. Prints the seconds it took.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// A kept connection; the answer to the last request.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    fn new(address: &str, page: &str) -> Client {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_nodelay(true).expect("a socket");
        let request = format!("GET {page} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        Client { stream, request, answer: Vec::new(), body: Vec::new() }
    }

    fn more(&mut self) {
        let filled = self.answer.len();
        self.answer.resize(filled + (1 << 16), 0);
        let read = self.stream.read(&mut self.answer[filled..]).expect("an answer");
        assert!(read > 0, "the connection ended");
        self.answer.truncate(filled + read);
    }

    /// The body of the page; with a length, or in chunks.
    fn page(&mut self) -> &[u8] {
        self.stream.write_all(&self.request).expect("a connection");
        self.answer.clear();
        let head = loop {
            self.more();
            if let Some(at) = find(&self.answer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let headers = String::from_utf8_lossy(&self.answer[..head]).to_ascii_lowercase();
        assert!(headers.starts_with("http/1.1 200"), "{headers}");
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
        self.body.clear();
        if let Some(length) = length {
            let end = head + length.trim().parse::<usize>().expect("a length");
            while self.answer.len() < end {
                self.more();
            }
            return &self.answer[head..end];
        }
        let mut at = head;
        loop {
            let line = loop {
                match find(&self.answer[at..], b"\r\n") {
                    Some(line) => break line,
                    None => self.more(),
                }
            };
            let size = str::from_utf8(&self.answer[at..at + line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            let start = at + line + 2;
            while self.answer.len() < start + size + 2 {
                self.more();
            }
            self.body.extend_from_slice(&self.answer[start..start + size]);
            at = start + size + 2;
            if size == 0 {
                return &self.body;
            }
        }
    }

    /// The least value of the series whose lines begin so; 0 without any.
    fn value(&mut self, series: &str) -> f64 {
        let page = self.page();
        let mut least: Option<f64> = None;
        let mut at = 0;
        while let Some(found) = find(&page[at..], series.as_bytes()) {
            let start = at + found;
            let end = start + find(&page[start..], b"\n").unwrap_or(page.len() - start);
            at = end;
            if start > 0 && page[start - 1] != b'\n' {
                continue;
            }
            let line = String::from_utf8_lossy(&page[start..end]);
            let value = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a sample");
            least = Some(least.map_or(value, |least| least.min(value)));
        }
        least.unwrap_or(0.0)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}

fn append(path: &str) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("a writable file")
}

fn idle(mut client: Client, file: &str, line: &str, series: &str, appends: usize) {
    let mut file = append(file);
    let line = format!("{line}\n");
    let mut count = client.value(series);
    for nth in 0..appends {
        thread::sleep(Duration::from_micros(10_000 + (nth as u64 * 7919) % 20_000));
        let start = Instant::now();
        file.write_all(line.as_bytes()).expect("a writable file");
        count += 1.0;
        while client.value(series) < count {}
        println!("{}", start.elapsed().as_secs_f64() * 1e6);
    }
}

fn round(mut client: Client, requests: usize) {
    for _ in 0..requests {
        let start = Instant::now();
        client.page();
        println!("{}", start.elapsed().as_secs_f64() * 1e6);
    }
}

fn load(mut client: Client, file: &str, source: &str, series: &str, count: f64) {
    let lines = fs::read(source).expect("the lines to append");
    let mut file = append(file);
    let expect = client.value(series) + count;
    let start = Instant::now();
    let writer = thread::spawn(move || {
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(1 << 18)];
            let whole = memchr::memrchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
            file.write_all(&rest[..whole]).expect("a writable file");
            rest = &rest[whole..];
        }
    });
    while client.value(series) < expect {
        thread::sleep(Duration::from_millis(20));
    }
    println!("{}", start.elapsed().as_secs_f64());
    writer.join().expect("the writer");
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    match arguments[..] {
        ["idle", address, page, file, line, series, appends] => {
            idle(Client::new(address, page), file, line, series, number(appends));
        }
        ["round", address, page, requests] => round(Client::new(address, page), number(requests)),
        ["load", address, page, file, source, series, count] => {
            load(Client::new(address, page), file, source, series, number(count) as f64);
        }
        _ => panic!("see the head of the source for what to type"),
    }
}
