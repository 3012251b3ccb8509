//! `dist`: one static binary for each architecture, checked, weighed and packed, in `target/dist`.

mod elf;
mod foreign;
mod library;
mod parcel;
mod sbom;
mod size;
mod twice;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::{PRODUCT, Workspace};
use elf::Elf;
use library::Library;

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
    let archives = TARGETS.iter().zip(&binaries);
    let archives = archives.map(|(target, binary)| parcel::pack(&workspace, &binary.path, target.triple));
    write_sums(&archives.collect::<Result<Vec<_>>>()?)?;
    let native = binaries.into_iter().find(|binary| binary.runs_here);
    Ok(native.ok_or("none of the binaries is for this machine")?)
}

/// Makes the one binary that this machine runs.
pub(crate) fn run_native() -> Result<Binary> {
    make(&Workspace::load()?, native_target()?)
}

/// Runs what [`run`] has made for other machines, as far as no network is needed, beside `native`.
///
/// # Errors
/// One says something else, or there is no emulator.
pub(crate) fn check_foreign(workspace: &Workspace, native: &Binary) -> Result {
    for target in TARGETS.iter().filter(|target| target.arch != std::env::consts::ARCH) {
        foreign::check(&native.path, &dist_path(workspace, target)?, target.arch)?;
    }
    Ok(())
}

/// Makes the one binary that this machine runs, and once more.
pub(crate) fn run_twice() -> Result {
    let binary = run_native()?;
    check_twice(&Workspace::load()?, &binary)
}

/// Makes `native` once more, from a copy of the sources in another folder, and compares.
pub(crate) fn check_twice(workspace: &Workspace, native: &Binary) -> Result {
    let target = native_target()?;
    let library = Library::find(&workspace.root)?;
    let build = |root: &Path, folder: &Path| build(root, folder, target, &library);
    twice::check(workspace, &native.path, build, target.triple)
}

fn native_target() -> Result<&'static Target> {
    let native = TARGETS.iter().find(|target| target.arch == std::env::consts::ARCH);
    Ok(native.ok_or("there is no static binary for this machine")?)
}

/// What [`run`] packs for a target.
pub(crate) struct Parcel {
    pub(crate) triple: &'static str,
    /// The architecture, as Rust and as Debian name it.
    pub(crate) arch: &'static str,
    pub(crate) debian: &'static str,
    /// The folder that is in the archive.
    pub(crate) tree: PathBuf,
}

/// Where [`run`] leaves what it packs.
///
/// # Errors
/// The workspace has no product.
pub(crate) fn parcels(workspace: &Workspace) -> Result<Vec<Parcel>> {
    let folder = workspace.target.join("dist");
    let parcel = |target: &Target| {
        let Target { triple, arch, debian, .. } = *target;
        Ok(Parcel { triple, arch, debian, tree: parcel::tree(workspace, &folder, triple)? })
    };
    TARGETS.iter().map(parcel).collect()
}

struct Target {
    triple: &'static str,
    /// `e_machine` of elf(5).
    machine: u16,
    arch: &'static str,
    debian: &'static str,
    /// How many bytes it may have. The number may go down; the aim is 1 MiB.
    ceiling: usize,
}

const TARGETS: [Target; 2] = [
    Target {
        triple: "x86_64-unknown-linux-musl",
        machine: 62,
        arch: "x86_64",
        debian: "amd64",
        ceiling: 1 << 20,
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        machine: 183,
        arch: "aarch64",
        debian: "arm64",
        ceiling: 1 << 20,
    },
];

fn make(workspace: &Workspace, target: &Target) -> Result<Binary> {
    check_installed(&workspace.root, target)?;
    let library = Library::find(&workspace.root)?;
    process::run(&mut build(&workspace.root, &workspace.target, target, &library))?;
    let built = workspace.target.join(target.triple).join("release").join(PRODUCT);
    let bytes = fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
    check(&bytes, target).map_err(|error| format!("{}: {error}", built.display()))?;
    let folder = workspace.target.join("dist");
    fs::create_dir_all(&folder)?;
    let path = dist_path(workspace, target)?;
    fs::copy(&built, &path)?;
    let map = fs::read_to_string(workspace.target.join(target.triple).join(MAP))?;
    print!("{}", size::table(&map));
    println!("{} {} bytes, static, stripped", path.display(), bytes.len());
    size::check(bytes.len(), target.ceiling)?;
    Ok(Binary { path, runs_here: target.arch == std::env::consts::ARCH })
}

/// Where the binary for a target is left.
fn dist_path(workspace: &Workspace, target: &Target) -> Result<PathBuf> {
    let name = format!("{PRODUCT}-{}-{}", workspace.product()?.version, target.triple);
    Ok(workspace.target.join("dist").join(name))
}

/// Builds from the workspace in `root` into the folder `target`, wherever both are.
fn build(root: &Path, folder: &Path, target: &Target, library: &Library) -> Command {
    let mut cargo =
        process::cargo(root, ["build", "--release", "--package", PRODUCT, "--target", target.triple]);
    let variable = |what| format!("CARGO_TARGET_{}_{what}", target.triple.to_uppercase().replace('-', "_"));
    // The linker that comes with Rust does for every architecture; a C compiler as linker would not.
    cargo.env(variable("LINKER"), "rust-lld");
    let map = folder.join(target.triple).join(MAP);
    cargo.env(variable("RUSTFLAGS"), flags(root, library.folder(), &map).join(" "));
    Library::make_by(&mut cargo);
    cargo.env("CARGO_TARGET_DIR", folder);
    cargo
}

/// What makes the binary small, and the same wherever it is made.
fn flags(root: &Path, library: &Path, map: &Path) -> Vec<String> {
    let home = process::cargo_home();
    let paths = [(Some(root.to_owned()), "/nsntrace"), (home, "/cargo"), (Some(library.to_owned()), "/rust")];
    let remap =
        |(from, to): (Option<PathBuf>, &str)| Some(format!("--remap-path-prefix={}={to}", from?.display()));
    // No tables for unwinding and no words for a panic, docs/decisions/0015; what `{:?}` says is for tests.
    let code = [
        "-Zunstable-options",
        "-Cpanic=immediate-abort",
        "-Cforce-unwind-tables=no",
        "-Zlocation-detail=none",
        "-Zfmt-debug=none",
    ];
    let link = ["--icf=all", "--pack-dyn-relocs=relr", &format!("-Map={}", map.display())]
        .map(|argument| format!("-Clink-arg={argument}"));
    paths.into_iter().filter_map(remap).chain(code.map(str::to_owned)).chain(link).collect()
}

/// `SHA256SUMS`, as `sha256sum --check` reads it.
fn write_sums(archives: &[PathBuf]) -> Result {
    let folder = archives.first().and_then(|archive| archive.parent()).ok_or("there is no archive")?;
    let mut sum = Command::new("sha256sum");
    sum.current_dir(folder).arg("--").args(archives.iter().filter_map(|archive| archive.file_name()));
    let sums = process::output(&mut sum)?;
    print!("{sums}");
    Ok(fs::write(folder.join("SHA256SUMS"), sums)?)
}

/// The linker's map of where each byte comes from, beside `release`.
const MAP: &str = "nsntrace.map";

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
    fn each_target_is_linked_by_rust_itself_and_knows_no_folder() {
        let library = Library::of(Path::new("/r"));
        let cargo = build(Path::new("/some/where"), Path::new("/t"), &TARGETS[1], &library);
        let variables: Vec<_> =
            cargo.get_envs().map(|(name, value)| (name.to_str(), value.unwrap())).collect();
        let find = |name: &str| variables.iter().find(|one| one.0 == Some(name)).unwrap().1.to_str().unwrap();
        assert_eq!(find("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER"), "rust-lld");
        let flags = find("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS");
        assert!(flags.contains("--remap-path-prefix=/some/where=/nsntrace"), "{flags}");
        assert!(flags.contains("--remap-path-prefix=/r/lib/rustlib/src/rust=/rust"), "{flags}");
        assert!(flags.contains("-Map=/t/aarch64-unknown-linux-musl/nsntrace.map"), "{flags}");
    }
}
