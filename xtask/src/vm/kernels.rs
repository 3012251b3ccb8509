//! Which kernels Debian offers, for cloud machines: those of each series, of every release that its server still has.
//!
//! # Theory of operation
//! A server's lists name kernels that it no longer has whole: from 6.19 on, an image is a package that needs the kernel itself and
//! its modules from packages of their own, and the older of those are gone. Such are passed over. Of a release near its end even the newest may be gone,
//! which only who fetches it finds out: so all are kept of a series. The list is a file, so that later runs boot the same ones, and need no network.
//!
//! # References
//! apt-cache(8); <https://wiki.debian.org/DebianReleases>.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::machine::Machine;
use crate::apt::{Apt, Release};
use crate::process::{self, Result};

/// A series of kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `6.12`
    pub(super) series: String,
    /// Each image, and what it needs of the same version, newest first.
    pub(super) images: Vec<Vec<String>>,
}

/// Each series, oldest first, as found by an earlier run or asked now.
///
/// # Errors
/// The server cannot be reached, or has none.
pub(super) fn offered(folder: &Path, machine: &Machine, apt: &Apt) -> Result<Vec<Kernel>> {
    let list = folder.join("kernels");
    if !list.exists() {
        println!("asking for kernels for {}", machine.arch);
        let updated = apt.update();
        let kernels = ask(machine, apt)?;
        let Err(error) = updated else {
            fs::write(&list, kernels.iter().map(Kernel::lines).collect::<String>())?;
            return some(kernels);
        };
        // A release that is old enough leaves the server, and others are still there.
        println!("not every release can be asked: {error}");
        return some(kernels);
    }
    some(read(&fs::read_to_string(&list)?))
}

fn some(kernels: Vec<Kernel>) -> Result<Vec<Kernel>> {
    if kernels.is_empty() { Err("the server has no kernels".into()) } else { Ok(kernels) }
}

/// Every release with a kernel of its own. Those of older ones are at archive.debian.org, signed by keys that have expired.
pub(super) const RELEASES: &[Release] = &[
    Release { archive: "debian", suite: "bullseye" },
    Release { archive: "debian-security", suite: "bullseye-security" },
    Release { archive: "debian", suite: "bookworm" },
    Release { archive: "debian-security", suite: "bookworm-security" },
    Release { archive: "debian", suite: "trixie" },
    Release { archive: "debian-security", suite: "trixie-security" },
    Release { archive: "debian", suite: "trixie-backports" },
    Release { archive: "debian", suite: "forky" },
];

impl Kernel {
    /// One for each image.
    fn lines(&self) -> String {
        let lines = self.images.iter().map(|packages| format!("{} {}\n", self.series, packages.join(" ")));
        lines.collect()
    }
}

/// What [`Kernel::lines`] has written.
fn read(text: &str) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for (series, packages) in text.lines().filter_map(|line| line.split_once(' ')) {
        let packages = packages.split(' ').map(str::to_owned).collect();
        match kernels.last_mut() {
            Some(kernel) if kernel.series == series => kernel.images.push(packages),
            _ => kernels.push(Kernel { series: series.to_owned(), images: vec![packages] }),
        }
    }
    kernels
}

fn ask(machine: &Machine, apt: &Apt) -> Result<Vec<Kernel>> {
    let pattern = format!("^linux-image-[0-9].*-cloud-{}$", machine.debian);
    let found = process::output(&mut apt.command("apt-cache", &["search", "--names-only", &pattern]))?;
    let images: Vec<_> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    // All at once: apt-cache may have to read its lists for each call.
    let depends = process::output(apt.command("apt-cache", &["depends"]).args(&images))?;
    let kernels = by_series(images.into_iter()).into_iter().map(|((major, minor), images)| {
        let whole = images.into_iter().filter_map(|image| packages(image, of_image(image, &depends)));
        Kernel { series: format!("{major}.{minor}"), images: whole.collect() }
    });
    Ok(kernels.filter(|kernel| !kernel.images.is_empty()).collect())
}

/// What `apt-cache depends` prints of one of several packages: a line with its name, and those below that are indented.
fn of_image<'a>(image: &str, depends: &'a str) -> impl Iterator<Item = &'a str> {
    depends
        .lines()
        .skip_while(move |line| *line != image)
        .skip(1)
        .take_while(|line| line.starts_with([' ', '|']))
}

/// Images by the first two numbers of their version, newest first.
fn by_series<'a>(images: impl Iterator<Item = &'a str>) -> BTreeMap<(u32, u32), Vec<&'a str>> {
    let mut all: Vec<_> = images.map(|image| (numbers(image), image)).collect();
    all.sort_by(|one, other| other.cmp(one));
    let mut series: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (numbers, image) in all {
        // With two numbers alone it is a name for the newest.
        if let [major, minor, _, ..] = numbers[..] {
            series.entry((major, minor)).or_default().push(image);
        }
    }
    series
}

/// The numbers of `linux-image-6.12.118+deb13-cloud-amd64`, but for that of the architecture.
fn numbers(image: &str) -> Vec<u32> {
    let version = image.split("-cloud-").next().unwrap_or_default();
    version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

/// `image` and the packages of its version that `apt-cache depends` prints of it. `None` if one is a name that no package has.
fn packages<'a>(image: &str, depends: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let release = image.strip_prefix("linux-image-")?;
    let needs = depends.filter_map(|line| line.trim().strip_prefix("Depends: "));
    let of_release = needs.filter(|name| name.trim_end_matches('>').ends_with(release));
    let mut packages = vec![image.to_owned()];
    for name in of_release {
        packages.push((!name.starts_with('<')).then(|| name.to_owned())?);
    }
    Some(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_comes_first() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.90+deb13.1-cloud-amd64",
            "linux-image-6.12.118+deb13-cloud-amd64",
        ];
        let series = by_series(names.into_iter());
        assert_eq!(series.keys().copied().collect::<Vec<_>>(), [(5, 10), (6, 1), (6, 12)]);
        assert_eq!(series[&(6, 1)], [names[1], names[0], names[2]]);
        assert_eq!(series[&(6, 12)][0], names[6]);
    }

    #[test]
    fn a_kernel_comes_with_its_parts_or_is_passed_over() {
        let image = "linux-image-7.3.4+deb13-cloud-arm64";
        let depends = "  PreDepends: linux-base\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    tiny\n  \
            Depends: linux-binary-7.3.4+deb13-cloud-arm64\n  Depends: linux-modules-7.3.4+deb13-cloud-arm64\n";
        let found = packages(image, depends.lines()).unwrap();
        assert_eq!(
            found[1..],
            ["linux-binary-7.3.4+deb13-cloud-arm64", "linux-modules-7.3.4+deb13-cloud-arm64"]
        );
        let gone = depends
            .replace("linux-modules-7.3.4+deb13-cloud-arm64", "<linux-modules-7.3.4+deb13-cloud-arm64>");
        assert_eq!(packages(image, gone.lines()), None);
        let text = format!("other\n  Depends: {image}\n{image}\n{depends}next\n  Depends: x\n");
        assert!(of_image(image, &text).eq(depends.lines()), "{text}");
        let old =
            Kernel { series: "6.1".to_owned(), images: vec![vec!["a".to_owned()], vec!["b".to_owned()]] };
        let new = Kernel { series: "7.3".to_owned(), images: vec![found] };
        assert_eq!(read(&(old.lines() + &new.lines())), [old, new]);
    }
}
