//! Whether a file still has a name: one that was removed takes all that is written to it, and nobody will ever read it.
//!
//! # Kernel interface
//! fstat(2), `st_nlink`.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// A file with a name. Holds it open.
pub(super) struct Place(File);

impl Place {
    /// `None` for what is no file, or had no name from the start, and for want of a descriptor.
    pub(super) fn of(file: &File) -> Option<Self> {
        if is_named(file) { file.try_clone().ok().map(Self) } else { None }
    }

    /// Whether it has no name any more.
    pub(super) fn is_gone(&self) -> bool {
        !is_named(&self.0)
    }
}

fn is_named(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_when_its_last_name_is() {
        let directory = std::env::temp_dir().join(format!("nsntrace-place-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.join(name));
        let file = File::create_new(&one).unwrap();
        let place = Place::of(&file).unwrap();
        std::fs::rename(&one, &other).unwrap();
        assert!(!place.is_gone(), "by another name");
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(place.is_gone());
        assert!(Place::of(&file).is_none(), "it never had one");
        assert!(Place::of(&File::open("/dev/null").unwrap()).is_none());
    }
}
