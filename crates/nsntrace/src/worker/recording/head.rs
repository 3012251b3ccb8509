//! What every file of a trace begins with, and the output behind it.

use std::fs::File;
use std::io;

use nsntrace_pcapwriter::{
    Compression, DirectFile, Gzip, Interface, Output, OutputFile, PastCache, Section, Writer, WriterError,
};

use crate::outfile::Encoding;
use crate::plan::Plan;
use crate::transport::Transport;

/// What every file of the trace begins with.
pub(super) struct Head {
    os: String,
    hardware: Option<String>,
    filter: Option<String>,
    snaplen: u32,
    comment: String,
    encoding: Encoding,
    past_cache: PastCache,
    max_kept: usize,
}

impl Head {
    pub(super) fn of(plan: &Plan, transport: Transport, max_kept: usize) -> Self {
        let uname = rustix::system::uname();
        Self {
            os: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            hardware: uname.machine().to_str().ok().map(str::to_owned),
            filter: plan.options.filter.clone(),
            snaplen: plan.options.snaplen,
            comment: comment(plan, transport),
            encoding: plan.outfile.encoding,
            past_cache: if plan.options.direct { PastCache::Always } else { PastCache::WhenFast },
            max_kept,
        }
    }

    /// Begins a file.
    pub(super) fn write_to(&self, file: File) -> Result<Writer<Box<dyn Output + Send>>, WriterError> {
        let output = self.output(file).map_err(|source| WriterError::Output { source })?;
        let section = Section {
            os: &self.os,
            application: concat!("nsntrace ", env!("CARGO_PKG_VERSION")),
            hardware: self.hardware.as_deref(),
            comment: Some(&self.comment),
            filter: self.filter.as_deref(),
            snaplen: self.snaplen,
            interfaces: &[
                Interface { name: "eth0", description: "the traced program's way out" },
                Interface { name: "lo", description: "the traced program's loopback" },
            ],
        };
        Writer::new(output, self.encoding.format, &section)
    }

    fn output(&self, file: File) -> io::Result<Box<dyn Output + Send>> {
        if self.encoding.compression == Compression::Gzip {
            return Ok(Box::new(Gzip::new(OutputFile::new(file)?)?));
        }
        Ok(match DirectFile::new(file, self.past_cache, self.max_kept) {
            Ok(direct) => Box::new(direct),
            // A pipe, or a file with somebody's bytes, or on a file system that cannot.
            Err(file) => Box::new(OutputFile::new(file)?),
        })
    }
}

/// Where the file is from, and what a reader of it may wonder about.
fn comment(plan: &Plan, transport: Transport) -> String {
    let uname = rustix::system::uname();
    let mut lines = vec![
        format!("host: {}", uname.nodename().to_string_lossy()),
        format!("program: {}", plan.options.program.to_string_lossy()),
        format!("transport: {}", transport.name()),
    ];
    if transport == Transport::Proxy {
        lines.push(PROXIED.into());
    }
    if !plan.options.no_offload {
        lines.push(OFFLOADED.into());
    }
    lines.join("\n")
}

const PROXIED: &str = "Connections end at a proxy on this machine: addresses, ports and bytes are those of the peers; round-trip times, \
    windows, options and retransmissions are the proxy's.";

/// So that nobody wonders at "bad checksum".
const OFFLOADED: &str = "Frames that the program sent were recorded before the checksum was computed, and may be longer than \
    the MTU: the kernel leaves both to the device (checksum and segmentation offload).";
