use std::io::{Cursor, Read};

use anyhow::Context;

/// The most that an archive's members may hold unpacked.
const BYTES_MAX: u64 = 1 << 30;

/// Whether the bytes are a zip archive.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The results in an archive: its JSON files, but for the configuration and the parameters of strategies that freqtrade
/// puts beside them (`NAME_config.json`, `NAME_STRATEGY.json`), which have no trades.
///
/// # Errors
/// It is no archive that can be read, or too large.
pub fn documents(name: &str, bytes: &[u8]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let cannot = || format!("cannot read the archive {name}");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).with_context(cannot)?;
    let (mut documents, mut left) = (Vec::new(), BYTES_MAX);
    for index in 0..archive.len() {
        let member = archive.by_index(index).with_context(cannot)?;
        let inside = member.name().with_context(cannot)?.into_owned();
        if !inside.ends_with(".json") {
            continue;
        }
        let mut unpacked = Vec::new();
        member.take(left + 1).read_to_end(&mut unpacked).with_context(cannot)?;
        left = left.checked_sub(unpacked.len() as u64).with_context(|| format!("{name} holds more than 1 GiB"))?;
        if memchr::memmem::find(&unpacked, b"\"trades\"").is_some() {
            documents.push((format!("{name}/{inside}"), unpacked));
        }
    }
    if documents.is_empty() {
        anyhow::bail!("{name} holds no backtest result (a .json file with trades)");
    }
    Ok(documents)
}
