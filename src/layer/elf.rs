//! What an ELF file needs of the system it runs on, and what it offers as a library.
//!
//! Only what the dynamic linker looks at is read: program headers and the dynamic section, whose
//! version tables are those of `.gnu.version_r` and `.gnu.version_d` (LSB Core, symbol versioning).

use std::io::{Read, Seek};

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef, StringTable};
use serde::{Deserialize, Serialize};

/// The first bytes of every ELF file.
pub(crate) const MAGIC: [u8; 4] = *b"\x7fELF";
/// The longest table that is walked; no real file comes near it.
const TABLE_LIMIT: usize = 1 << 16;

/// What an ELF file needs and offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Whether it is a 64-bit file.
    pub wide: bool,
    /// Whether it is little-endian.
    pub little: bool,
    /// Whether it can be loaded: an executable or a shared object; no object file, no core.
    pub loadable: bool,
    /// The dynamic linker that it asks for; of programs.
    pub interpreter: Option<String>,
    /// Sonames of the libraries that it needs, in order.
    pub needed: Vec<String>,
    /// Directories where its libraries are looked for first, unless there is a `runpath`.
    pub rpath: Vec<String>,
    /// Directories where its libraries are looked for after `LD_LIBRARY_PATH`.
    pub runpath: Vec<String>,
    /// Versions that it needs of a library, by soname; weak ones are left out.
    pub versions: Vec<(String, Vec<String>)>,
    /// Versions that it defines.
    pub defined: Vec<String>,
}

impl Elf {
    /// The architecture as platforms name it.
    pub fn architecture(&self) -> String {
        let name = match (elf::Machine(self.machine), self.wide, self.little) {
            (elf::EM_X86_64, true, true) => "amd64",
            (elf::EM_386, false, true) => "386",
            (elf::EM_AARCH64, true, true) => "arm64",
            (elf::EM_ARM, false, true) => "arm",
            (elf::EM_PPC64, true, true) => "ppc64le",
            (elf::EM_S390, true, false) => "s390x",
            (elf::EM_RISCV, true, true) => "riscv64",
            (elf::EM_LOONGARCH, true, true) => "loong64",
            (elf::Machine(machine), ..) => return format!("machine {machine}"),
        };
        name.to_owned()
    }

    /// Whether it is a program, not only a library.
    pub fn is_program(&self) -> bool {
        self.interpreter.is_some()
    }
}

/// Reads an ELF file; `None` for what is none or is malformed, which no system loads.
pub fn read_elf(content: impl Read + Seek) -> Option<Elf> {
    let data = ReadCache::new(content);
    let ident: &[u8] = (&data).read_bytes_at(0, 5).ok()?;
    if !ident.starts_with(&MAGIC) {
        return None;
    }
    match ident[4] {
        1 => read::<elf::FileHeader32<object::Endianness>, _>(&data),
        2 => read::<elf::FileHeader64<object::Endianness>, _>(&data),
        _ => None,
    }
}

fn read<'d, H: FileHeader<Endian = object::Endianness>, R: ReadRef<'d>>(data: R) -> Option<Elf> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut found = Elf {
        machine: header.e_machine(endian).0,
        wide: header.is_class_64(),
        little: header.is_little_endian(),
        loadable: matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN),
        ..Elf::default()
    };
    if !found.loadable {
        return Some(found);
    }
    let segments = header.program_headers(endian, data).ok()?;
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            found.interpreter = Some(text(interpreter));
        }
    }
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, data).ok().flatten());
    if let Some(entries) = dynamic {
        Dynamic::<H, R>::new(endian, data, segments, entries)?.read(&mut found);
    }
    Some(found)
}

/// The dynamic section of a file.
struct Dynamic<'d, H: FileHeader, R: ReadRef<'d>> {
    endian: H::Endian,
    data: R,
    entries: Vec<(elf::DynamicTag, u64)>,
    segments: &'d [H::ProgramHeader],
    strings: StringTable<'d, R>,
}

impl<'d, H: FileHeader, R: ReadRef<'d>> Dynamic<'d, H, R> {
    fn new(endian: H::Endian, data: R, segments: &'d [H::ProgramHeader], all: &'d [H::Dyn]) -> Option<Self> {
        let entries = all.iter().map(|entry| (entry.tag(endian), entry.val(endian)));
        let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != elf::DT_NULL).collect();
        let mut dynamic = Self { endian, data, entries, segments, strings: StringTable::default() };
        let start = dynamic.address(elf::DT_STRTAB)?;
        let size = dynamic.value(elf::DT_STRSZ)?;
        dynamic.strings = StringTable::new(data, start, start.checked_add(size)?);
        Some(dynamic)
    }

    fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        self.entries.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value)
    }

    /// The place in the file of a table that an entry points at.
    fn address(&self, tag: elf::DynamicTag) -> Option<u64> {
        let address = self.value(tag)?;
        self.segments.iter().filter(|s| s.p_type(self.endian) == elf::PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(self.endian).into())?;
            (within < segment.p_filesz(self.endian).into())
                .then(|| segment.p_offset(self.endian).into() + within)
        })
    }

    fn string(&self, offset: u64) -> Option<String> {
        self.strings.get(u32::try_from(offset).ok()?).ok().map(text)
    }

    fn strings(&self, tag: elf::DynamicTag) -> Vec<String> {
        let offsets = self.entries.iter().filter(|(found, _)| *found == tag).map(|(_, value)| *value);
        offsets.filter_map(|offset| self.string(offset)).collect()
    }

    fn directories(&self, tag: elf::DynamicTag) -> Vec<String> {
        let paths = self.strings(tag);
        let directories = paths.iter().flat_map(|path| path.split(':')).filter(|d| !d.is_empty());
        directories.map(str::to_owned).collect()
    }

    fn read(&self, found: &mut Elf) {
        found.needed = self.strings(elf::DT_NEEDED);
        found.rpath = self.directories(elf::DT_RPATH);
        found.runpath = self.directories(elf::DT_RUNPATH);
        found.versions = self.needed_versions().unwrap_or_default();
        found.defined = self.defined_versions().unwrap_or_default();
    }

    fn needed_versions(&self) -> Option<Vec<(String, Vec<String>)>> {
        let mut at = self.address(elf::DT_VERNEED)?;
        let mut libraries = Vec::new();
        for _ in 0..self.length(elf::DT_VERNEEDNUM) {
            let need: &elf::Verneed<H::Endian> = self.data.read_at(at).ok()?;
            let mut next = at + u64::from(need.vn_aux.get(self.endian));
            let mut versions = Vec::new();
            for _ in 0..need.vn_cnt.get(self.endian) {
                let version: &elf::Vernaux<H::Endian> = self.data.read_at(next).ok()?;
                // The dynamic linker only warns where a weak one is missing.
                if !version.vna_flags.get(self.endian).contains(elf::VER_FLG_WEAK) {
                    versions.extend(self.string(version.vna_name.get(self.endian).into()));
                }
                next += u64::from(version.vna_next.get(self.endian));
            }
            if let Some(library) = self.string(need.vn_file.get(self.endian).into()) {
                libraries.push((library, versions));
            }
            at += u64::from(need.vn_next.get(self.endian));
        }
        Some(libraries)
    }

    fn defined_versions(&self) -> Option<Vec<String>> {
        let mut at = self.address(elf::DT_VERDEF)?;
        let mut versions = Vec::new();
        for _ in 0..self.length(elf::DT_VERDEFNUM) {
            let definition: &elf::Verdef<H::Endian> = self.data.read_at(at).ok()?;
            // The base definition is the file's own name; of the others the first name is the version.
            if !definition.vd_flags.get(self.endian).contains(elf::VER_FLG_BASE) {
                let aux = at + u64::from(definition.vd_aux.get(self.endian));
                let name: &elf::Verdaux<H::Endian> = self.data.read_at(aux).ok()?;
                versions.extend(self.string(name.vda_name.get(self.endian).into()));
            }
            at += u64::from(definition.vd_next.get(self.endian));
        }
        Some(versions)
    }

    fn length(&self, tag: elf::DynamicTag) -> usize {
        usize::try_from(self.value(tag).unwrap_or(0)).unwrap_or(usize::MAX).min(TABLE_LIMIT)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_says_what_it_needs() {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let found = read_elf(file).unwrap();
        assert!(found.loadable && found.is_program() && found.wide);
        assert!(found.interpreter.as_deref().unwrap().starts_with("/lib"), "{:?}", found.interpreter);
        assert!(found.needed.iter().any(|name| name == "libc.so.6"), "{:?}", found.needed);
        let (_, versions) = found.versions.iter().find(|(name, _)| name == "libc.so.6").unwrap();
        assert!(versions.iter().any(|version| version.starts_with("GLIBC_2.")), "{versions:?}");
        assert!(found.defined.is_empty());
    }

    #[test]
    fn what_is_no_elf_file_or_is_cut_off_has_no_facts() {
        let read = |bytes: &[u8]| read_elf(std::io::Cursor::new(bytes.to_vec()));
        assert_eq!(read(b""), None);
        assert_eq!(read(b"#!/bin/sh\n"), None);
        assert_eq!(read(b"\x7fELF\x02\x01\x01"), None);
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [16, 64, 200, 4096] {
            // Whatever is left of it, reading ends.
            let _ = read(&own[..length]);
        }
    }
}
