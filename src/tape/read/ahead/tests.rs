use std::{
    io::{Cursor, Read},
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::streams::{LineReader, source};

/// Longest line allowed, so that some are too long.
const MOST: usize = 120;

/// Fails.
struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

/// Says that it was begun, and breaks off a while later.
struct Breaking(Sender<()>);

impl Read for Breaking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.send(()).expect("somebody waits");
        thread::sleep(Duration::from_millis(50));
        panic!("reading breaks off")
    }
}

fn reader(bytes: &[u8], chunk: usize, end: Option<Box<dyn Read + Send>>) -> ExtentReader {
    let bytes = Cursor::new(bytes.to_vec());
    let all: source::Bytes = match end {
        None => Box::new(bytes),
        Some(end) => Box::new(bytes.chain(end)),
    };
    LineReader::new(all.take(u64::MAX), 1000, MOST).with_chunk(chunk)
}

fn shown(offset: u64, raw: RawLine, line: Result<Line, Malformed>) -> String {
    format!("{offset} {raw:?} {line:?}")
}

/// Line by line, each decoded when it is its turn; then how it ended, and the digest of all.
fn in_turn(mut reader: ExtentReader) -> Vec<String> {
    let (mut decoder, mut told) = (Decoder::default(), Vec::new());
    loop {
        match reader.advance() {
            Ok(true) => {
                let line = match reader.line() {
                    RawLine::Line(bytes) => decoder.line(bytes, MOST),
                    RawLine::Oversize(length) => Err(Malformed::oversize(length, MOST)),
                };
                told.push(shown(reader.offset(), reader.line(), line));
            }
            end => {
                told.push(format!("{end:?} {} {}", reader.rest(), reader.digest()));
                return told;
            }
        }
    }
}

/// The same ahead, with so many helpers.
fn ahead(reader: ExtentReader, helpers: usize) -> Vec<String> {
    let readahead = Arc::<Readahead>::default();
    let (mut ahead, mut told) = (Ahead::new(&readahead, reader, MOST), Vec::new());
    thread::scope(|scope| {
        let reading = Reading::of(&readahead);
        for _ in 0..helpers {
            scope.spawn(|| readahead.help_on(&mut Decoder::default()));
        }
        let mut decoder = Decoder::default();
        loop {
            match ahead.advance(&mut decoder) {
                Ok(true) => {
                    let mut line = Line::default();
                    let said = ahead.say(&mut line).map(|()| line);
                    told.push(shown(ahead.offset(), ahead.raw(), said));
                }
                end => {
                    told.push(format!("{end:?} {}", ahead.with_reader(|r| format!("{} {}", r.rest(), r.digest()))));
                    break;
                }
            }
        }
        drop(reading);
    });
    told
}

#[track_caller]
fn check(bytes: &[u8], chunk: usize, fails: bool) {
    let end = || fails.then(|| Box::new(Failing) as Box<dyn Read + Send>);
    let want = in_turn(reader(bytes, chunk, end()));
    for helpers in [0, 1, 3] {
        assert_eq!(ahead(reader(bytes, chunk, end()), helpers), want, "{helpers} helpers, {chunk} bytes at once");
    }
}

#[test]
fn lines_of_every_kind_at_the_borders_of_blocks() {
    let long = format!("{}\n{}\n \t\r\n", "x".repeat(MOST), " ".repeat(3 * MOST));
    let lines = [
        "",
        "\n\n",
        "{\"agent\":\"a\",\"run_id\":\"r\",\"reward\":1}\r\n",
        "{\"agent\":\"\\u0061\",\"reward\":1}\nnonsense\n{\"realized_pnl_bps\":1}\n",
        "{\"agent\":\"\u{e9}\",\"reward\":1}\n",
        &long,
        &"y".repeat(4 * MOST),
        "\n{\"symbol\":\"X\",\"price\":2}\n{\"kind\":\"weather\"}\n",
        "{\"agent\":\"a\",",
    ];
    let mut all = lines.concat().into_bytes();
    for chunk in [1, 7, 64, 4096] {
        check(&all, chunk, false);
        check(&all, chunk, true);
    }
    // Not UTF-8.
    let place = all.iter().position(|byte| *byte == 0xa9).unwrap();
    all[place] = b'x';
    [5, 4096].into_iter().for_each(|chunk| check(&all, chunk, false));
}

#[test]
fn nobody_waits_for_a_helper_that_broke_off() {
    let line = b"{\"agent\":\"a\",\"reward\":1}\n";
    let readahead = Arc::<Readahead>::default();
    let (begun, waits) = channel();
    let mut ahead = Ahead::new(&readahead, reader(line, 4096, Some(Box::new(Breaking(begun)))), MOST);
    let (told, helped) = thread::scope(|scope| {
        let helper = scope.spawn(|| while readahead.help(&mut Decoder::default()) {});
        waits.recv().expect("the second block is being read");
        let mut decoder = Decoder::default();
        let told = [(); 3].map(|()| ahead.advance(&mut decoder).map_err(|error| error.to_string()));
        (told, helper.join())
    });
    let broken = Err("decoding was broken off".to_owned());
    assert_eq!((told, helped.is_err()), ([Ok(true), broken, Ok(false)], true));
}

proptest! {
    #[test]
    fn any_bytes(bytes in "([a-z{}\" :,\n]|\n|\u{e9}|\n\\{\"agent\":\"[a-c]\",\"reward\":[0-9]\\}\n){0,400}", torn: u8, at: prop::sample::Index, chunk in 1..300_usize) {
        let mut bytes = bytes.into_bytes();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = torn;
        }
        check(&bytes, chunk, false);
    }
}
