use runtape::policy::Policy;

/// A policy that is taken is the same when it is written out and read back.
pub fn judge(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = match Policy::from_toml(text) {
        Ok(policy) => policy,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let canonical = serde_json::to_string(&policy).expect("a policy holds only finite numbers and text");
    let again: Policy = serde_json::from_str(&canonical).expect("the canonical form can be read");
    assert_eq!(again.hash(), policy.hash());
    let written = toml::to_string(&policy).expect("a policy is written as TOML");
    let again = Policy::from_toml(&written).expect("what was written can be read");
    assert_eq!(again.hash(), policy.hash(), "{written}");
}
