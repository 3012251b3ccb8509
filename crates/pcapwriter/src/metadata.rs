//! Everything in a file that is not a packet: the heads of both formats, and pcapng's names, secrets, processes and closing statistics.
//!
//! What is in blocks the pcap-file crate writes, into memory, where it knows them. Their frames are ours: its own writer brings all blocks
//! there are, in both byte orders.
//!
//! # References
//! draft-ietf-opsawg-pcap section 4; draft-ietf-opsawg-pcapng sections 4.1 (section header), 4.2 (interface description),
//! 4.5 (name resolution), 4.6 (interface statistics) and 4.7 (decryption secrets); Wireshark's wiretap/pcapng.c for Apple's process block.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use byteorder_slice::NativeEndian;
use pcap_file::pcap::{PcapHeader, PcapTsResolution};
use pcap_file::pcapng::PcapNgState;
use pcap_file::pcapng::blocks::block_common::{
    INTERFACE_DESCRIPTION_BLOCK, INTERFACE_STATISTIC_BLOCK, NAME_RESOLUTION_BLOCK, PcapNgBlock,
    SECTION_HEADER_BLOCK,
};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness};

use crate::error::WriterError;
use crate::format::{Format, Interface, MAX_SNAPLEN, Section, Statistics};

/// The bytes that a file begins with, and what its end will need of them.
///
/// # Errors
/// What `section` says does not fit in the format.
pub(crate) fn head(format: Format, section: &Section<'_>) -> Result<(Vec<u8>, Blocks), WriterError> {
    check(section)?;
    match format {
        Format::Pcap => Ok((pcap_head(section.snaplen), Blocks(None))),
        Format::PcapNg => Ok(pcapng_head(section)),
    }
}

/// Makes blocks that stand between packets or behind them. Classic pcap has none: then all are empty.
#[derive(Default)]
pub(crate) struct Blocks(Option<PcapNgState>);

impl Blocks {
    /// The bytes that a file ends with. `delivered` is how many packets of each interface we were given.
    pub(crate) fn tail(&self, statistics: &Statistics, delivered: &[u64]) -> Vec<u8> {
        let Some(state) = &self.0 else { return Vec::new() };
        let mut bytes = Vec::new();
        for interface in 0..delivered.len() {
            let block = statistics_block(interface, statistics, delivered);
            bytes.append(&mut known(state, INTERFACE_STATISTIC_BLOCK, &block));
        }
        bytes
    }

    /// A process. What exceeds the limit of an option is left out.
    pub(crate) fn process(&self, pid: u32, name: &str) -> Vec<u8> {
        let name = &name.as_bytes()[..name.floor_char_boundary(MAX_NAME_LEN)];
        let len = u16::try_from(name.len()).expect("it was cut");
        let option = [&PROCESS_NAME.to_ne_bytes()[..], &len.to_ne_bytes(), name].concat();
        let body = [&pid.to_ne_bytes()[..], &padded(option), &[0; 4]].concat();
        self.framed(PROCESS_BLOCK, &body)
    }

    /// Lines of a TLS key log.
    pub(crate) fn secrets(&self, lines: &[u8]) -> Vec<u8> {
        let len = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let body = [&TLS_KEY_LOG.to_ne_bytes()[..], &len.to_ne_bytes(), lines].concat();
        self.framed(SECRETS_BLOCK, &padded(body))
    }

    /// Names of addresses, in blocks that no reader finds too long.
    pub(crate) fn names(&self, names: &[(IpAddr, &str)]) -> Vec<u8> {
        let Some(state) = &self.0 else { return Vec::new() };
        let fitting: Vec<_> = names.iter().filter(|(_, name)| name.len() <= MAX_NAME_LEN).collect();
        let mut bytes = Vec::new();
        for some in fitting.chunks(MAX_RECORDS) {
            let records = some.iter().map(|(address, name)| record(*address, name)).collect();
            let block = NameResolutionBlock { records, options: Vec::new() };
            bytes.append(&mut known(state, NAME_RESOLUTION_BLOCK, &block));
        }
        bytes
    }

    /// A block of a type that pcap-file does not know.
    fn framed(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        if self.0.is_some() { framed(kind, body) } else { Vec::new() }
    }
}

/// A block of a type that pcap-file knows.
fn known<'a>(state: &PcapNgState, kind: u32, block: &impl PcapNgBlock<'a>) -> Vec<u8> {
    let mut body = Vec::new();
    block.write_to::<NativeEndian, _>(state, &mut body).expect(VALID);
    framed(kind, &padded(body))
}

/// A body of whole words as a block: its type and length in front, its length behind.
fn framed(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + BLOCK_FRAME_LEN).expect(VALID).to_ne_bytes();
    [&kind.to_ne_bytes()[..], &len, body, &len].concat()
}

fn record(address: IpAddr, name: &str) -> Record<'_> {
    let names = vec![Cow::Borrowed(name)];
    match address {
        IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
        IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn check(section: &Section<'_>) -> Result<(), WriterError> {
    if section.interfaces.is_empty() {
        return Err(WriterError::NoInterface);
    }
    if !(1..=MAX_SNAPLEN).contains(&section.snaplen) {
        return Err(WriterError::Snaplen { snaplen: section.snaplen });
    }
    check_text("operating system", section.os)?;
    check_text("application", section.application)?;
    check_text("hardware", section.hardware.unwrap_or_default())?;
    check_text("comment", section.comment.unwrap_or_default())?;
    check_text("filter", section.filter.unwrap_or_default())?;
    section.interfaces.iter().try_for_each(|interface| {
        check_text("interface name", interface.name)?;
        check_text("interface description", interface.description)
    })
}

fn check_text(field: &'static str, text: &str) -> Result<(), WriterError> {
    let length = text.len();
    // The filter has one byte before its text.
    if length < usize::from(u16::MAX) { Ok(()) } else { Err(WriterError::TextTooLong { field, length }) }
}

fn pcap_head(snaplen: u32) -> Vec<u8> {
    let header = PcapHeader {
        version_major: 2,
        version_minor: 4,
        ts_correction: 0,
        ts_accuracy: 0,
        snaplen,
        datalink: DataLink::ETHERNET,
        ts_resolution: PcapTsResolution::NanoSecond,
        endianness: Endianness::native(),
    };
    let mut bytes = Vec::new();
    header.write_to(&mut bytes).expect("a vector takes everything");
    bytes
}

fn pcapng_head(section: &Section<'_>) -> (Vec<u8>, Blocks) {
    let mut state = PcapNgState::default();
    let mut bytes = known(&state, SECTION_HEADER_BLOCK, &section_header(section));
    for interface in section.interfaces {
        let block = interface_description(interface, section);
        bytes.append(&mut known(&state, INTERFACE_DESCRIPTION_BLOCK, &block));
        // The clocks of its statistics are its own.
        state.update_from_block(&block.into_block());
    }
    (bytes, Blocks(Some(state)))
}

fn section_header<'a>(section: &Section<'a>) -> SectionHeaderBlock<'a> {
    let comment = section.comment.map(|text| SectionHeaderOption::Common(CommonOption::Comment(text.into())));
    let hardware = section.hardware.map(|text| SectionHeaderOption::Hardware(text.into()));
    let os = SectionHeaderOption::OS(section.os.into());
    let application = SectionHeaderOption::UserApplication(section.application.into());
    SectionHeaderBlock {
        // The default of pcap-file's block is big endian.
        endianness: Endianness::native(),
        major_version: 1,
        minor_version: 0,
        // Unknown: packets are still to come.
        section_length: -1,
        options: [comment, hardware, Some(os), Some(application)].into_iter().flatten().collect(),
    }
}

fn interface_description<'a>(
    interface: &Interface<'a>,
    section: &Section<'a>,
) -> InterfaceDescriptionBlock<'a> {
    let mut options = vec![
        InterfaceDescriptionOption::IfName(interface.name.into()),
        InterfaceDescriptionOption::IfDescription(interface.description.into()),
        InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
    ];
    options.extend(section.filter.map(|text| InterfaceDescriptionOption::IfFilter(filter_option(text))));
    InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: section.snaplen, options }
}

/// `if_filter` begins with a byte that tells its language; 0 is text for libpcap.
fn filter_option(text: &str) -> Cow<'static, [u8]> {
    [&[0], text.as_bytes()].concat().into()
}

fn statistics_block(
    interface: usize,
    statistics: &Statistics,
    delivered: &[u64],
) -> InterfaceStatisticsBlock<'static> {
    let started = Duration::from_nanos(statistics.started_ns);
    let ended = Duration::from_nanos(statistics.ended_ns);
    let mut options =
        vec![InterfaceStatisticsOption::IsbStartTime(started), InterfaceStatisticsOption::IsbEndTime(ended)];
    options.append(&mut counts(interface, statistics, delivered));
    let interface_id = u32::try_from(interface).expect(VALID);
    InterfaceStatisticsBlock { interface_id, timestamp: ended, options }
}

/// What an interface received, lost and gave us. The kernel counts losses for the whole ring: the first interface has them all.
fn counts(
    interface: usize,
    statistics: &Statistics,
    delivered: &[u64],
) -> Vec<InterfaceStatisticsOption<'static>> {
    let (here, all): (u64, u64) = (delivered[interface], delivered.iter().sum());
    let dropped = statistics.dropped_by_kernel;
    let received = if interface == 0 { statistics.received.saturating_sub(all - here) } else { here };
    let mut options =
        vec![InterfaceStatisticsOption::IsbIfRecv(received), InterfaceStatisticsOption::IsbUsrDeliv(here)];
    if interface == 0 {
        options.push(InterfaceStatisticsOption::IsbOsDrop(dropped));
    } else if dropped == 0 {
        options.push(InterfaceStatisticsOption::IsbOsDrop(0));
    }
    if interface == 0 && dropped > 0 && delivered.len() > 1 {
        options.push(InterfaceStatisticsOption::Common(CommonOption::Comment(LOSSES_OF_ALL.into())));
    }
    options
}

/// `struct darwin_process_event_block`: a pid, and options of which 2 is the name.
const PROCESS_BLOCK: u32 = 0x8000_0001;
const PROCESS_NAME: u16 = 2;
const SECRETS_BLOCK: u32 = 10;
/// How far the secrets themselves are behind the beginning of their block: type and length of the block, type and length of the secrets.
pub(crate) const SECRETS_PLACE: u64 = 16;
/// "TLSK".
const TLS_KEY_LOG: u32 = 0x544c_534b;
/// Type and length in front, length behind.
const BLOCK_FRAME_LEN: usize = 12;
/// A record of a name holds an address besides.
const MAX_NAME_LEN: usize = 1024;
/// Of one block, which then has a quarter of a MiB at most. Readers refuse more than 16.
const MAX_RECORDS: usize = 256;
const LOSSES_OF_ALL: &str = "The kernel counts losses of all interfaces together: those of others are counted as received and lost here.";
const VALID: &str = "lengths were checked, the interface exists, and a vector takes everything";
