//! What an ELF file asks of its system: a loader, libraries; and whether its symbols are still there.
//!
//! # References
//! elf(5); System V Application Binary Interface, chapters 4 and 5. Only 64 bits and little endian, as our targets are.

/// What matters of an ELF file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) machine: u16,
    /// `PT_INTERP` is there.
    pub(super) has_interpreter: bool,
    /// How many `DT_NEEDED` there are.
    pub(super) needed_count: usize,
    /// `SHT_SYMTAB` is there.
    pub(super) has_symbols: bool,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// It is not ELF of this kind, or ends early.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return Err("is not a 64-bit little-endian ELF file".to_owned());
        }
        Self::read(file).ok_or_else(|| "ends before its headers do".to_owned())
    }

    fn read(file: &[u8]) -> Option<Self> {
        let segments = table(file, number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?)?;
        let sections = table(file, number(file, 40, 8)?, number(file, 58, 2)?, number(file, 60, 2)?)?;
        let dynamic = segments.iter().find(|segment| number(segment, 0, 4) == Some(PT_DYNAMIC));
        let tags = match dynamic {
            Some(segment) => table(file, number(segment, 8, 8)?, DYN_LEN, number(segment, 32, 8)? / DYN_LEN)?,
            None => Vec::new(),
        };
        let tags = tags.iter().map_while(|entry| number(entry, 0, 8)).take_while(|&tag| tag != DT_NULL);
        Some(Self {
            machine: u16::try_from(number(file, 18, 2)?).ok()?,
            has_interpreter: segments.iter().any(|segment| number(segment, 0, 4) == Some(PT_INTERP)),
            needed_count: tags.filter(|&tag| tag == DT_NEEDED).count(),
            has_symbols: sections.iter().any(|section| number(section, 4, 4) == Some(SHT_SYMTAB)),
        })
    }
}

/// `count` entries of `length` bytes from `offset` on.
fn table(file: &[u8], offset: usize, length: usize, count: usize) -> Option<Vec<&[u8]>> {
    let end = offset.checked_add(length.checked_mul(count)?)?;
    Some(file.get(offset..end)?.chunks_exact(length.max(1)).collect())
}

/// A little-endian number of `length` bytes, 8 at most.
fn number(bytes: &[u8], offset: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(offset..offset + length)?;
    bytes.iter().rev().try_fold(0_usize, |number, &byte| Some(number.checked_mul(256)? | usize::from(byte)))
}

const PT_DYNAMIC: usize = 2;
const PT_INTERP: usize = 3;
const SHT_SYMTAB: usize = 2;
const DT_NULL: usize = 0;
const DT_NEEDED: usize = 1;
/// `sizeof(Elf64_Dyn)`
const DYN_LEN: usize = 16;

/// A small ELF file with headers and nothing else.
#[cfg(test)]
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) machine: u16,
    /// `p_type` of each segment besides the dynamic one.
    pub(super) segments: Vec<u32>,
    pub(super) dynamic_tags: Vec<u64>,
    /// `sh_type` of each section.
    pub(super) sections: Vec<u32>,
}

#[cfg(test)]
impl Sample {
    /// Header, segments, sections, dynamic table.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (segment_count, section_count) = (self.segments.len() + 1, self.sections.len());
        let sections_at = 64 + 56 * segment_count;
        let dynamic_at = sections_at + 64 * section_count;
        let mut file = vec![0; dynamic_at + 16 * self.dynamic_tags.len()];
        let mut put = |offset: usize, value: usize, length: usize| {
            file[offset..offset + length].copy_from_slice(&value.to_le_bytes()[..length]);
        };
        put(18, self.machine.into(), 2);
        for (offset, value, length) in [
            (32, 64, 8),
            (40, sections_at, 8),
            (54, 56, 2),
            (56, segment_count, 2),
            (58, 64, 2),
            (60, section_count, 2),
        ] {
            put(offset, value, length);
        }
        for (index, kind) in self.segments.iter().enumerate() {
            put(64 + 56 * (index + 1), *kind as usize, 4);
        }
        put(64, PT_DYNAMIC, 4);
        put(64 + 8, dynamic_at, 8);
        put(64 + 32, 16 * self.dynamic_tags.len(), 8);
        for (index, kind) in self.sections.iter().enumerate() {
            put(sections_at + 64 * index + 4, *kind as usize, 4);
        }
        for (index, tag) in self.dynamic_tags.iter().enumerate() {
            put(dynamic_at + 16 * index, usize::try_from(*tag).unwrap(), 8);
        }
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_test_program_is_dynamic_and_has_symbols() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&file).unwrap();
        assert!(elf.has_interpreter && elf.needed_count > 0 && elf.has_symbols, "{elf:?}");
    }

    #[test]
    fn what_is_cut_short_is_refused_at_every_length() {
        let sample = Sample { machine: 62, segments: vec![1], dynamic_tags: vec![1, 0], sections: vec![2] };
        let whole = sample.bytes();
        assert_eq!(Elf::parse(&whole).map(|elf| elf.needed_count), Ok(1));
        for length in 0..whole.len() {
            assert!(Elf::parse(&whole[..length]).is_err(), "{length}");
        }
        let huge = [&whole[..32], &[0xff; 32], &whole[64..]].concat();
        assert_eq!(Elf::parse(&huge), Err("ends before its headers do".to_owned()));
    }
}
