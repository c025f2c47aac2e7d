use std::process::Command;

use super::*;

/// Hundreds of requests made from the document, valid and not: no answer that the document does not know, and none that
/// says the server failed.
#[test]
fn the_document_is_what_the_server_does() {
    let Some(python) = std::env::var_os("RUNTAPE_PYTHON") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must name a Python in RUNTAPE_PYTHON");
        eprintln!("left out: RUNTAPE_PYTHON names no Python with schemathesis");
        return;
    };
    let (_events, server) = open();
    let base = format!("http://{}", server.address);
    let output = Command::new(python)
        .current_dir(repository("tests/api"))
        .args(["-m", "schemathesis.cli", "--config-file", "schemathesis.toml"])
        .args(["run", &format!("{base}/api/v1/openapi.json"), "--url", &base])
        .args(["--phases", "coverage,fuzzing", "--max-examples", "20", "--generation-deterministic"])
        .args(["--suppress-health-check", "all", "--warnings", "off", "--workers", "1"])
        .env("NO_COLOR", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.get("/healthz").status, 200, "it lives");
}
