//! What `nft` sees, without what differs between two equal rulesets.

use std::process::Command;

use serde_json::Value;

/// The ruleset of the calling thread's network namespace, as `nft -j list ruleset` prints it, one object a line, without
/// handles, without the version of nft, and without the flags of tables: owning a table is the one thing that the others
/// cannot be asked for, and nft 1.0.6 prints the table's name in that place.
///
/// # Panics
/// If nft fails or prints no JSON.
#[must_use]
pub fn ruleset() -> Vec<String> {
    // A child is born in the namespace of the thread that starts it.
    let output = Command::new("nft").args(["-j", "list", "ruleset"]).output().expect("nft is installed");
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    let listed = serde_json::from_slice(&output.stdout).expect("nft prints JSON");
    normal(&listed).iter().map(Value::to_string).collect()
}

fn normal(listed: &Value) -> Vec<Value> {
    let mut objects = listed["nftables"].as_array().expect("nft lists objects").clone();
    objects.retain(|object| object.get("metainfo").is_none());
    for (kind, fields) in objects.iter_mut().filter_map(Value::as_object_mut).flatten() {
        let Some(fields) = fields.as_object_mut() else { continue };
        fields.remove("handle");
        if kind == "table" {
            fields.remove("flags");
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_else_is_taken_out() {
        let listed = json!({"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "inet", "name": "t", "handle": 3, "flags": "owner"}},
            {"rule": {"chain": "c", "handle": 4, "flags": "f", "expr": [{"match": {"op": "==", "handle": 5}}]}},
        ]});
        let expected = [
            json!({"table": {"family": "inet", "name": "t"}}),
            json!({"rule": {"chain": "c", "flags": "f", "expr": [{"match": {"op": "==", "handle": 5}}]}}),
        ];
        assert_eq!(normal(&listed), expected);
    }
}
