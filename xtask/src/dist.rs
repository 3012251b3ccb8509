//! `dist`: one static binary for each architecture, checked, in `target/dist`.

mod elf;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};
use elf::Elf;

/// A binary that was made.
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    runs_here: bool,
}

/// Makes every binary, and returns the one that this machine runs.
pub(crate) fn run() -> Result<Binary> {
    let workspace = Workspace::load()?;
    let binaries: Vec<Binary> =
        TARGETS.iter().map(|target| make(&workspace, target)).collect::<Result<_>>()?;
    let native = binaries.into_iter().find(|binary| binary.runs_here);
    Ok(native.ok_or("none of the binaries is for this machine")?)
}

/// Makes the one binary that this machine runs.
pub(crate) fn run_native() -> Result<Binary> {
    let native = TARGETS.iter().find(|target| target.arch == std::env::consts::ARCH);
    make(&Workspace::load()?, native.ok_or("there is no static binary for this machine")?)
}

struct Target {
    triple: &'static str,
    /// `e_machine` of elf(5).
    machine: u16,
    arch: &'static str,
}

const TARGETS: [Target; 2] = [
    Target { triple: "x86_64-unknown-linux-musl", machine: 62, arch: "x86_64" },
    Target { triple: "aarch64-unknown-linux-musl", machine: 183, arch: "aarch64" },
];

fn make(workspace: &Workspace, target: &Target) -> Result<Binary> {
    check_installed(&workspace.root, target)?;
    process::run(&mut build(&workspace.root, target))?;
    let built = workspace.target.join(target.triple).join("release").join(PRODUCT);
    let bytes = fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
    check(&bytes, target).map_err(|error| format!("{}: {error}", built.display()))?;
    let folder = workspace.target.join("dist");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{PRODUCT}-{}-{}", workspace.product()?.version, target.triple));
    fs::copy(&built, &path)?;
    println!("{} {} bytes, static, stripped", path.display(), bytes.len());
    Ok(Binary { path, runs_here: target.arch == std::env::consts::ARCH })
}

fn build(root: &Path, target: &Target) -> Command {
    let mut cargo =
        process::cargo(root, ["build", "--release", "--package", PRODUCT, "--target", target.triple]);
    // The linker that comes with Rust does for every architecture; a C compiler as linker would not.
    let variable = format!("CARGO_TARGET_{}_LINKER", target.triple.to_uppercase().replace('-', "_"));
    cargo.env(variable, "rust-lld");
    cargo
}

fn check_installed(root: &Path, target: &Target) -> Result {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(root).args(["--print", "target-libdir", "--target", target.triple]);
    let folder = process::output(&mut rustc)?;
    if Path::new(folder.trim_end()).exists() {
        return Ok(());
    }
    let triple = target.triple;
    Err(format!("Rust's library for {triple} is missing\nhint: rustup target add {triple}").into())
}

fn check(bytes: &[u8], target: &Target) -> std::result::Result<(), String> {
    let elf = Elf::parse(bytes)?;
    if elf.machine != target.machine {
        return Err(format!("is for machine {}, not {}", elf.machine, target.machine));
    }
    if elf.has_interpreter {
        return Err("asks for a dynamic loader".to_owned());
    }
    if elf.needed_count > 0 {
        return Err(format!("needs {} shared libraries", elf.needed_count));
    }
    if elf.has_symbols { Err("is not stripped".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_elf(elf: &elf::Sample, expected: std::result::Result<(), &str>) {
        assert_eq!(check(&elf.bytes(), &TARGETS[0]), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_binary_is_for_its_machine_static_and_stripped() {
        let good =
            elf::Sample { machine: 62, segments: vec![1], dynamic_tags: vec![21, 0], sections: vec![3] };
        check_elf(&good, Ok(()));
        check_elf(&elf::Sample { machine: 183, ..good.clone() }, Err("is for machine 183, not 62"));
        check_elf(&elf::Sample { segments: vec![3], ..good.clone() }, Err("asks for a dynamic loader"));
        check_elf(
            &elf::Sample { dynamic_tags: vec![1, 1, 0, 1], ..good.clone() },
            Err("needs 2 shared libraries"),
        );
        check_elf(&elf::Sample { sections: vec![3, 2], ..good }, Err("is not stripped"));
    }

    #[test]
    fn a_missing_target_says_how_to_get_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Known to Rust, and never made for download.
        let target = Target { triple: "mips64-openwrt-linux-musl", ..TARGETS[0] };
        let error = check_installed(root, &target).unwrap_err().to_string();
        assert!(error.ends_with("hint: rustup target add mips64-openwrt-linux-musl"), "{error}");
    }

    #[test]
    fn each_target_is_linked_by_rust_itself() {
        let cargo = build(Path::new("/"), &TARGETS[1]);
        let variables: Vec<_> = cargo.get_envs().collect();
        let name = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER";
        assert_eq!(variables, [(name.as_ref(), Some("rust-lld".as_ref()))]);
    }
}
