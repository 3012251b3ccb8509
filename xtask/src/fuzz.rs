//! `fuzz`: the targets in fuzz/, from what the tests of the crates know to what nobody thought of.
//!
//! # References
//! fuzz/README.md; <https://llvm.org/docs/LibFuzzer.html>.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::tools;
use crate::workspace::{self, Workspace};

/// How long `cargo xtask test` fuzzes, and `cargo xtask fuzz` unless told otherwise.
pub(crate) const DEFAULT_SECONDS: u32 = 30;

/// `fuzz [SECONDS]`.
pub(crate) fn run_words(words: &[&str]) -> Result {
    match words {
        [] => run(DEFAULT_SECONDS),
        [seconds] => run(parse_seconds(seconds)?),
        _ => Err("usage: cargo xtask fuzz [SECONDS]".into()),
    }
}

/// Builds the targets and feeds them for so long together. What one finds interesting is kept in the target folder for the
/// next run.
///
/// # Errors
/// An input broke a promise; libFuzzer has printed which, and where it was written. Or something is missing.
pub(crate) fn run(seconds: u32) -> Result {
    check()?;
    let workspace = Workspace::load()?;
    let folder = workspace.target.join("fuzz");
    let share = seconds.div_ceil(u32::try_from(TARGETS.len())?);
    for target in &TARGETS {
        let files = Files::in_folder(&folder, target.name);
        files.make((target.seeds)(&workspace.root)?)?;
        process::run(&mut fuzz(&workspace.root, &folder, target.name, &files, share))?;
    }
    Ok(())
}

/// # Errors
/// Names what is missing, and how to get it.
pub(crate) fn check() -> Result {
    let cargo_fuzz = process::output(&mut process::cargo(Path::new("/"), ["fuzz", "--version"]));
    if cargo_fuzz.is_err() {
        let hint = format!("cargo install cargo-fuzz --locked --version {CARGO_FUZZ}");
        return Err(format!("fuzzing needs cargo-fuzz\nhint: {hint}").into());
    }
    if tools::find("c++").is_none() {
        return Err("libFuzzer is C++, and there is no compiler for it\nhint: apt-get install g++".into());
    }
    Ok(())
}

fn parse_seconds(text: &str) -> Result<u32> {
    // To libFuzzer, 0 is for ever.
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    Ok(seconds.ok_or_else(|| format!("`{text}` is not a number of seconds"))?)
}

/// One fuzz target, and where it begins.
struct Target {
    name: &'static str,
    seeds: fn(&Path) -> Result<Seeds>,
}

/// What the tests of a crate know of its input.
struct Seeds {
    inputs: Vec<Vec<u8>>,
    /// Lines of `"word"`.
    dictionary: String,
}

const TARGETS: [Target; 4] = [
    Target { name: "filter_text", seeds: filter_seeds },
    Target { name: "netlink_reply", seeds: reply_seeds },
    Target { name: "program_bytes", seeds: program_seeds },
    Target { name: "ring_block", seeds: block_seeds },
];

/// What libFuzzer reads besides the target.
struct Files {
    /// Where it adds what it finds.
    corpus: PathBuf,
    seeds: PathBuf,
    dictionary: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path, target: &str) -> Self {
        let inside = |name: &str| folder.join(name).join(target);
        Self { corpus: inside("corpus"), seeds: inside("seeds"), dictionary: inside("dictionary") }
    }

    fn make(&self, seeds: Seeds) -> Result {
        let _ = fs::remove_dir_all(&self.seeds);
        for folder in [Some(self.corpus.as_path()), Some(&self.seeds), self.dictionary.parent()] {
            fs::create_dir_all(folder.expect("it was made of a folder and a name"))?;
        }
        for (index, input) in seeds.inputs.into_iter().enumerate() {
            fs::write(self.seeds.join(index.to_string()), input)?;
        }
        fs::write(&self.dictionary, seeds.dictionary)?;
        Ok(())
    }
}

/// Each filter of the tests with one of the frames, and the words of all.
fn filter_seeds(root: &Path) -> Result<Seeds> {
    let filters = filters(root)?;
    let inputs = filters.iter().zip(FRAMES.iter().cycle()).map(|(filter, frame)| seed(filter, frame));
    Ok(Seeds { inputs: inputs.collect(), dictionary: dictionary(&filters) })
}

/// A block that the kernel has made, and the words that it says of a VLAN tag: status, type.
fn block_seeds(root: &Path) -> Result<Seeds> {
    let block = fs::read(root.join("crates/capture/tests/data/open_block.bin"))?;
    Ok(Seeds {
        inputs: vec![block],
        dictionary: concat!(r#""\x51\x00\x00\x00""#, "\n", r#""\x00\x81""#, "\n").to_owned(),
    })
}

/// What a kernel has said of everything that is asked, and words that are looked for.
fn reply_seeds(root: &Path) -> Result<Seeds> {
    let folder = root.join("fuzz/seeds/netlink_reply");
    let files =
        fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let inputs = files.map(|file| Ok(fs::read(file?.path())?)).collect::<Result<_>>()?;
    let dictionary = ["counter", "nsntrace-1-a", "probe-in", "nsntrace pid 1 start 2"];
    let dictionary = dictionary.iter().flat_map(|word| ["\"", word, "\\x00\"\n"]).collect();
    Ok(Seeds { inputs, dictionary })
}

/// All frames in one input, and words of the protocols that are read.
fn program_seeds(_root: &Path) -> Result<Seeds> {
    let len = |frame: &[u8]| u16::try_from(frame.len()).map(u16::to_be_bytes);
    let mut input = Vec::new();
    for frame in FRAMES {
        input.extend(len(frame)?);
        input.extend(frame);
    }
    let key = format!("CLIENT_RANDOM {} {}\n", "ab".repeat(32), "cd".repeat(48));
    let inputs =
        vec![input, key.into_bytes(), b"nameserver 127.0.0.53\n".to_vec(), b"GET / HTTP/1.1\r\n".to_vec()];
    let dictionary = concat!(
        r#""Host: ""#,
        "\n",
        r#""\x16\x03\x01""#,
        "\n",
        r#""\xc0\x0c""#,
        "\n",
        r#""CLIENT_TRAFFIC_SECRET_0 ""#,
        "\n"
    );
    Ok(Seeds { inputs, dictionary: dictionary.to_owned() })
}

/// The filters that the tests of the crate know, the invalid ones too.
fn filters(root: &Path) -> Result<Vec<String>> {
    let mut filters = Vec::new();
    for name in ["corpus.tsv", "edges.txt"] {
        let text = workspace::read(root, &format!("crates/filter/tests/data/{name}"))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        filters.extend(lines.filter_map(|line| line.split('\t').next()).map(str::to_owned));
    }
    Ok(filters)
}

/// An input as fuzz/fuzz_targets/filter_text.rs describes it.
fn seed(filter: &str, frame: &[u8]) -> Vec<u8> {
    [filter.as_bytes(), &[0xff], frame].concat()
}

/// Lines of `"word"`. A word with a byte that would need quoting is left out.
fn dictionary(filters: &[String]) -> String {
    let words: BTreeSet<&str> = filters.iter().flat_map(|filter| filter.split_whitespace()).collect();
    let is_plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    words.into_iter().filter(is_plain).flat_map(|word| ["\"", word, "\"\n"]).collect()
}

fn fuzz(root: &Path, folder: &Path, target: &str, files: &Files, seconds: u32) -> Command {
    // No sanitizer, so that the pinned Rust does: fuzz/README.md says what that costs.
    let mut cargo = process::cargo(root, ["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    cargo.arg("--target-dir").arg(folder).arg(target).args([&files.corpus, &files.seeds]).arg("--");
    cargo.arg(format!("-max_total_time={seconds}")).arg(format!("-dict={}", files.dictionary.display()));
    cargo.args(LIMITS);
    cargo
}

/// The version that .ci/run installs.
const CARGO_FUZZ: &str = "0.13.2";
/// Bytes of an input, seconds and MiB that one may take; and a few numbers at the end instead of a line per new path.
const LIMITS: [&str; 5] =
    ["-max_len=65536", "-timeout=20", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"];

/// Ethernet frames: IPv4 with TCP, with a fragment of UDP, IPv6 with an extension header and UDP, ARP, a VLAN tag.
const FRAMES: [&[u8]; 5] = [
    b"\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\x08\0E\0\0\x28\0\x01\0\0\x40\x06\0\0\x0a\0\0\x01\x0a\0\0\x02\
      \x04\xd2\0\x50\0\0\0\0\0\0\0\0\x50\x02\0\0\0\0\0\0",
    b"\x01\0\x5e\0\0\x01\x66\x77\x88\x99\xaa\xbb\x08\0E\0\0\x24\0\x01\x20\x01\x40\x11\0\0\xc0\xa8\x01\x01\xe0\0\0\x01\
      \0\x35\0\x35\0\x10\0\0\0\0\0\0\0\0\0\0",
    b"\x33\x33\0\0\0\x01\x66\x77\x88\x99\xaa\xbb\x86\xdd\x60\0\0\0\0\x10\0\x40\
      \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\
      \x11\0\0\0\0\0\0\0\0\x35\0\x35\0\x08\0\0",
    b"\xff\xff\xff\xff\xff\xff\0\x11\x22\x33\x44\x55\x08\x06\0\x01\x08\0\x06\x04\0\x01\
      \0\x11\x22\x33\x44\x55\x0a\0\0\x01\0\0\0\0\0\0\x0a\0\0\x02",
    b"\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\x81\0\0\x64\x08\0E\0\0\x1c\0\x01\0\0\x40\x11\0\0\
      \x0a\0\0\x01\x0a\0\0\x02\0\x50\0\x50\0\x08\0\0",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
    }

    #[test]
    fn seconds_are_a_positive_number() {
        assert_eq!(parse_seconds("3600").unwrap(), 3600);
        for bad in ["0", "-1", "x", "", "1.5"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
        assert!(run_words(&["1", "2"]).is_err());
    }

    #[test]
    fn every_filter_of_the_tests_is_a_seed() {
        let filters = filters(root()).unwrap();
        assert!(filters.len() > 900, "{}", filters.len());
        assert!(filters.iter().any(|filter| filter == "host 10.0.0.1"));
        assert_eq!(seed("ip", &[1, 2]), b"ip\xff\x01\x02");
    }

    #[test]
    fn every_target_has_seeds_and_is_built() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        for target in &TARGETS {
            assert!(!(target.seeds)(root()).unwrap().inputs.is_empty(), "{}", target.name);
            assert!(manifest.contains(&format!("name = \"{}\"\n", target.name)), "{}", target.name);
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn a_dictionary_has_each_plain_word_once() {
        let filters = ["tcp or udp", "udp or \\tcp", "say \"x\" é"].map(str::to_owned);
        assert_eq!(dictionary(&filters), "\"or\"\n\"say\"\n\"tcp\"\n\"udp\"\n");
    }

    #[test]
    fn ci_installs_the_version_that_we_name() {
        let script = fs::read_to_string(root().join(".ci/run")).unwrap();
        let line = format!("cargo install cargo-fuzz --locked --version {CARGO_FUZZ}\n");
        assert!(script.contains(&line));
    }
}
