#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runtape_fuzz::decoder::judge(bytes));
