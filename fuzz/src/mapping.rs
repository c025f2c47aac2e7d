use runtape::import::{Format, Mapping, Records, draft::whole};

/// A mapping, and what it makes of records. What stands before the first NUL is the mapping, the rest the records; a tab
/// after it says that they are CSV.
pub fn judge(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (mapping, records) = (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default());
    let (format, records) = match records.strip_prefix(b"\t") {
        Some(records) => (Format::Csv, records),
        None => (Format::Json, records),
    };
    let records = Records::read("file", records, format, None);
    for record in &records.records {
        assert_eq!(whole(record), whole(&record.clone()));
    }
    let Ok(mapping) = std::str::from_utf8(mapping) else { return };
    let Ok(mapping) = Mapping::parse(mapping) else { return };
    let drafts = mapping.convert(&records.records);
    assert_eq!(drafts.records, records.records.len());
    for draft in &drafts.drafts {
        let (line, fault) = (draft.line(), draft.fault(4096));
        assert!(!line.contains('\n'), "a line is one line");
        assert_eq!(draft.fault(4096), fault);
        assert!(fault.is_some() || runtape::event::decode(line.as_bytes(), 4096).is_ok());
    }
}
