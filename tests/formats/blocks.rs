//! A file as blocks.py sees it.

use std::path::Path;
use std::process::{Command, Stdio};

use nsntrace_testkit::Process;
use serde_json::Value;

use crate::sender::{is_on_loopback, number_in};

/// What a file is made of.
#[derive(Clone, Debug)]
pub(crate) struct Blocks(Value);

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Nanoseconds since the epoch.
    pub(crate) ns: u64,
    pub(crate) original_len: u64,
    pub(crate) bytes: Vec<u8>,
    /// Of pcapng.
    pub(crate) interface: Option<u64>,
    pub(crate) dropped_before: u64,
}

impl Blocks {
    /// Reads a file, in which everything has to be right.
    #[track_caller]
    pub(crate) fn of(path: &Path) -> Self {
        let blocks = Self::read(&[path]).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(blocks.0["torn"], 0);
        blocks
    }

    /// Reads one that may end within a block.
    #[track_caller]
    pub(crate) fn of_torn(path: &Path) -> Self {
        Self::read(&[Path::new("--torn"), path]).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// What is wrong with a file.
    #[track_caller]
    pub(crate) fn refusal(path: &Path) -> String {
        Self::read(&[path]).expect_err("it is not right")
    }

    pub(crate) fn read(arguments: &[&Path]) -> Result<Self, String> {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/blocks.py"));
        command.args(arguments).stdin(Stdio::null());
        let finished = Process::spawn(command).wait();
        if !finished.status.success() {
            return Err(finished.stderr);
        }
        Ok(Self(serde_json::from_slice(&finished.stdout).expect("it prints JSON")))
    }

    /// Everything that was read.
    pub(crate) fn all(&self) -> &Value {
        &self.0
    }

    pub(crate) fn is_pcapng(&self) -> bool {
        self.0["format"] == "pcapng"
    }

    /// Kinds of blocks in their order, those in a row once.
    pub(crate) fn order(&self) -> Vec<&str> {
        texts(&self.0["order"])
    }

    pub(crate) fn packets(&self) -> Vec<Packet> {
        list(&self.0["packets"]).iter().map(packet).collect()
    }

    /// The numbers of the sender's packets, each of which has to be where it belongs.
    #[track_caller]
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let numbered = self.packets().into_iter().filter_map(|one| Some((number_in(&one.bytes)?, one)));
        let check = |(number, one): (u64, Packet)| {
            let interface = u64::from(is_on_loopback(number));
            assert!(one.interface.is_none_or(|found| found == interface), "{number} is in the wrong place");
            number
        };
        numbered.map(check).collect()
    }

    /// A count in the statistics of all interfaces, summed up.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let of_one = |interface: &Value| interface["statistics"][name].as_u64().unwrap_or(0);
        list(&self.0["interfaces"]).iter().map(of_one).sum()
    }

    /// Holds the statistics against the packets, where nothing was lost.
    #[track_caller]
    pub(crate) fn assert_statistics(&self) {
        for interface in list(&self.0["interfaces"]) {
            let (packets, said) = (&interface["packets"], &interface["statistics"]);
            assert_eq!((&said["received"], &said["delivered"]), (packets, packets), "{interface}");
            assert_eq!(said["os_dropped"], 0, "{interface}");
            assert_eq!(said["comments"], serde_json::json!([]), "{interface}");
        }
    }
}

fn packet(value: &Value) -> Packet {
    let hex = value["data"].as_str().expect("hexadecimal").as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = hex.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    Packet {
        ns: value["ns"].as_u64().expect("a number"),
        original_len: value["original"].as_u64().expect("a number"),
        bytes: bytes.collect::<Option<_>>().expect("hexadecimal"),
        interface: value["interface"].as_u64(),
        dropped_before: value["dropped"].as_u64().unwrap_or(0),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}
