//! The machines that qemu emulates for us.

/// An architecture: its names, and how to emulate it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// As Rust and uname(1) name it.
    pub(super) arch: &'static str,
    /// As Debian names it.
    pub(super) debian: &'static str,
    /// What our binary is built for.
    pub(super) triple: &'static str,
    pub(super) qemu: &'static str,
    pub(super) qemu_package: &'static str,
    /// `-machine` and `-cpu` of qemu(1).
    pub(super) hardware: [&'static str; 2],
    /// `thread` of `-accel tcg`: whether each processor has a thread of its own.
    pub(super) threads: &'static str,
    /// The kernel's name of the serial line.
    pub(super) console: &'static str,
}

/// Those that `dist` builds for.
pub(super) const MACHINES: [Machine; 2] = [
    Machine {
        arch: "x86_64",
        debian: "amd64",
        triple: "x86_64-unknown-linux-musl",
        qemu: "qemu-system-x86_64",
        qemu_package: "qemu-system-x86",
        hardware: ["q35", "max"],
        // The kernel changes code that another processor may be at, by way of a breakpoint. With a thread for each, that one may still find the
        // breakpoint when the kernel has forgotten about it: `Oops: int3`, in one boot of thirteen beside other work.
        threads: "single",
        console: "ttyS0",
    },
    Machine {
        arch: "aarch64",
        debian: "arm64",
        triple: "aarch64-unknown-linux-musl",
        qemu: "qemu-system-aarch64",
        qemu_package: "qemu-system-arm",
        // `max` signs pointers, which takes an emulator long.
        hardware: ["virt", "cortex-a57"],
        threads: "multi",
        console: "ttyAMA0",
    },
];
