//! The house rules that a machine can check, so that nobody has to remember them.
//!
//! An exception stands in a table here, with its reason; one that is no longer needed fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a Rust file: an idea a file.
const LINES_MAX: usize = 500;

/// Longer files, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Which of our crates a crate may use. A crate that is not listed must be added here first.
const EDGES: &[(&str, &[&str])] = &[
    ("eventflow-proto", &[]),
    ("eventflow-certs", &["eventflow-proto"]),
    ("eventflow-db", &["eventflow-proto"]),
    ("eventflow-hub", &["eventflow-proto", "eventflow-certs", "eventflow-db"]),
    ("eventflow-spoke", &["eventflow-proto", "eventflow-certs"]),
    ("eventflow-stores", &["eventflow-proto", "eventflow-spoke"]),
    (
        "eventflow-testing",
        &["eventflow-proto", "eventflow-certs", "eventflow-db", "eventflow-hub", "eventflow-spoke"],
    ),
    (
        "eventflow",
        &[
            "eventflow-proto",
            "eventflow-certs",
            "eventflow-db",
            "eventflow-hub",
            "eventflow-spoke",
            "eventflow-stores",
            "eventflow-testing",
        ],
    ),
    ("eventflow-examples", &["eventflow-proto", "eventflow-spoke", "eventflow-stores", "eventflow-testing"]),
    (
        "eventflow-benches",
        &[
            "eventflow-proto",
            "eventflow-certs",
            "eventflow-db",
            "eventflow-hub",
            "eventflow-spoke",
            "eventflow-stores",
        ],
    ),
    (
        "eventflow-tests",
        &[
            "eventflow-proto",
            "eventflow-certs",
            "eventflow-db",
            "eventflow-hub",
            "eventflow-spoke",
            "eventflow-stores",
        ],
    ),
];

/// What must not be found among all that a crate links, and why.
const NOT_LINKED: &[(&str, &[&str], &str)] = &[
    ("eventflow-proto", &["tokio", "mio", "rustls", "sqlx"], "sessions must run in a test without a runtime"),
    ("eventflow-certs", &["tokio", "mio", "sqlx"], "keys and chains are made, not stored or sent"),
    (
        "eventflow-spoke",
        &["sqlx", "sqlx-core"],
        "no spoke ever talks to the hub's database; one that keeps projections in its own says so with a feature",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files of the repository with one of the extensions, as (path from the root, text).
pub(crate) fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)) {
                let from_root = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((from_root, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no files under {}", root.display());
    found
}

fn rust_files() -> Vec<(String, String)> {
    files(&["rs"])
}

/// What the build has fetched already: crates of other platforms are not asked for.
fn metadata() -> serde_json::Value {
    let compiler = Command::new("rustc").arg("-vV").current_dir(root()).output().unwrap();
    let compiler = String::from_utf8(compiler.stdout).unwrap();
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Fails with all of `offences`, so that one run shows them all.
fn none_of(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let metadata = metadata();
    let mut offences = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !package["source"].is_null() {
            continue;
        }
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = EDGES.iter().find(|(listed, _)| *listed == name) else {
            offences.push(format!("{name} is not in the table of edges"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let ours = !dependency["path"].is_null();
            if ours && dependency["kind"].is_null() && !allowed.contains(&used) {
                offences.push(format!("{name} uses {used}"));
            }
        }
    }
    none_of("crate edges that the design does not have", &offences);
}

#[test]
fn pure_crates_link_no_runtime_and_spokes_no_database() {
    let metadata = metadata();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    // Only what is linked: neither dev-dependencies nor build scripts.
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let linked = node["deps"].as_array().unwrap().iter().filter(|dependency| {
            dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
        });
        let linked = linked.map(|dependency| dependency["pkg"].as_str().unwrap()).collect();
        edges.insert(node["id"].as_str().unwrap(), linked);
    }
    let mut offences = Vec::new();
    for (krate, banned, reason) in NOT_LINKED {
        let start = names.iter().find(|(_, name)| *name == krate).map(|(id, _)| *id).unwrap();
        // The specs turn every feature on; users who ask for none must not get what is behind them.
        let asked_for = optional(&metadata, krate);
        let plain =
            edges[start].iter().copied().filter(|id| !asked_for.iter().any(|name| *name == names[id]));
        let mut open: Vec<_> = plain.collect();
        let mut seen: BTreeSet<_> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            open.extend(edges[id].iter().copied().filter(|next| seen.insert(next)));
        }
        let linked: BTreeSet<&str> = seen.iter().map(|id| names[id]).collect();
        for found in banned.iter().filter(|name| linked.contains(*name)) {
            offences.push(format!("{krate} links {found}: {reason}"));
        }
    }
    none_of("crates that link what they must not", &offences);
}

/// What `krate` links only if one of its features is asked for. None of them is on by itself.
fn optional(metadata: &serde_json::Value, krate: &str) -> BTreeSet<String> {
    let package =
        metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == krate).unwrap();
    assert!(package["features"]["default"].is_null(), "{krate} has features that nobody asked for");
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let optional = dependencies.filter(|dependency| dependency["optional"] == true);
    optional.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_crate_follows_the_workspace_lints() {
    let manifests = files(&["toml"]).into_iter().filter(|(path, _)| path.ends_with("/Cargo.toml"));
    let offences: Vec<_> = manifests
        .filter(|(path, text)| !path.starts_with("fuzz/") && !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| path)
        .collect();
    none_of("crates without `[lints] workspace = true`", &offences);
}

#[test]
fn every_file_opens_with_its_story() {
    let offences: Vec<_> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    none_of("files that do not open with `//!`", &offences);
}

#[test]
fn no_file_is_a_concept_without_a_name() {
    let banned = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];
    let offences: Vec<_> = rust_files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.split(['/', '.']).any(|part| banned.contains(&part)))
        .collect();
    none_of("files named for nothing", &offences);
}

#[test]
fn a_file_holds_one_idea() {
    let lines: BTreeMap<String, usize> =
        rust_files().into_iter().map(|(path, text)| (path, text.lines().count())).collect();
    let excused: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    let long =
        lines.iter().filter(|(path, lines)| **lines > LINES_MAX && !excused.contains_key(path.as_str()));
    let mut offences: Vec<_> = long.map(|(path, lines)| format!("{path} has {lines} lines")).collect();
    for path in excused.keys() {
        if lines.get(*path).is_none_or(|lines| *lines <= LINES_MAX) {
            offences.push(format!("{path} needs no exception any more"));
        }
    }
    none_of("files over the limit", &offences);
}

#[test]
fn every_statement_file_is_used() {
    let sources: String = rust_files()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("tests/"))
        .map(|(_, text)| text)
        .collect();
    let offences: Vec<_> = files(&["sql"])
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("sql/") && !sources.contains(&format!("/{path}\")")))
        .collect();
    none_of("files under sql/ that no source includes", &offences);
}

#[test]
fn statements_are_never_built_from_text_but_in_one_place() {
    let builders = [concat!("Assert", "SqlSafe"), concat!("Query", "Builder"), ".leak()", "Box::leak"];
    let mut offences = Vec::new();
    for (path, text) in rust_files() {
        // What the specs do to a database is not the product.
        if path == "db/src/statement.rs" || path.starts_with("tests/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if builders.iter().any(|builder| line.contains(builder)) {
                offences.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none_of("SQL built outside db/src/statement.rs", &offences);
}

#[test]
fn no_test_is_ignored_and_none_waits_for_time_to_pass() {
    let banned = [concat!("#[ig", "nore"), concat!("sle", "ep("), concat!("sle", "ep_until(")];
    let mut offences = Vec::new();
    for (path, text) in rust_files() {
        let all_tests = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let mut in_tests = all_tests;
        for (number, line) in text.lines().enumerate() {
            in_tests |= line.trim() == "#[cfg(test)]";
            if in_tests && banned.iter().any(|word| line.contains(word)) {
                offences.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none_of("tests that sleep or are ignored", &offences);
}

#[test]
fn nothing_is_left_unfinished() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("unimple", "mented!(")];
    let mut offences = Vec::new();
    for (path, text) in files(&["rs", "sql", "md", "toml"]) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offences.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none_of("marks of unfinished work", &offences);
}

#[test]
fn the_repository_explains_itself() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let mut offences = Vec::new();
    for path in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        if read(path).trim().is_empty() {
            offences.push(format!("{path} is missing or empty"));
        }
    }
    if !read("README.md").contains("tests/run") {
        offences.push("README.md does not name tests/run".to_owned());
    }
    let architecture = read("ARCHITECTURE.md");
    for member in files(&["toml"]).iter().filter_map(|(path, _)| path.strip_suffix("/Cargo.toml")) {
        if !architecture.contains(&format!("`{member}`")) {
            offences.push(format!("ARCHITECTURE.md does not say what `{member}` is for"));
        }
    }
    let decisions = std::fs::read_dir(root().join("docs/decisions")).map(Iterator::count).unwrap_or_default();
    if decisions == 0 {
        offences.push("docs/decisions/ is empty".to_owned());
    }
    none_of("what a newcomer looks for", &offences);
}
