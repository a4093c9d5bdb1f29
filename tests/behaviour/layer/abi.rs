//! Programs of upper layers on bases whose libraries are older, missing, elsewhere, or their own.

use std::sync::Arc;

use railyard::layer::{
    Abi, AbiSpec, Elf, Examined, Facts, Finding, Kind, KnownFacts, LayerIndex, Tree, elf_candidates, examine,
};
use railyard::oci::Digest;

use super::support::{Layer, Tarball, path};

/// x86-64 and its 32-bit ancestor.
const AMD64: u16 = 62;
const I386: u16 = 3;
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Layers whose files are known by what they are; the content is the path.
#[derive(Default)]
struct Image {
    layers: Vec<Vec<(String, Facts)>>,
}

impl Image {
    fn layer(mut self, files: &[(&str, Elf)]) -> Self {
        let facts = files.iter().map(|(path, elf)| ((*path).to_owned(), Facts::Elf(elf.clone())));
        self.layers.push(facts.collect());
        self
    }

    fn judged_with(&self, base_layers: usize, variables: (&str, &str), configured: &[&str]) -> Vec<Finding> {
        let mut known = KnownFacts::new();
        let mut indexes: Vec<Arc<LayerIndex>> = Vec::new();
        for (number, files) in self.layers.iter().enumerate() {
            let mut tar = Tarball::new();
            for (path, facts) in files {
                let content = format!("{number} {path}");
                known.insert(Digest::of(content.as_bytes()), facts.clone());
                tar = tar.file(path, &content);
            }
            indexes.push(Arc::new(tar.index()));
        }
        let tree = Tree::new(indexes);
        let spec = AbiSpec {
            tree: &tree,
            base_layers,
            architecture: "amd64",
            path: variables.0,
            library_path: variables.1,
            configured: configured.iter().map(|directory| path(directory)).collect(),
        };
        let abi = Abi::new(spec, &known);
        for library in abi.libraries() {
            assert!(library.elf(&known).is_some(), "only libraries are asked for: {:?}", library.path);
        }
        abi.judge(&known)
    }

    /// What is said of each file, the lowest layer being the base.
    fn judged(&self) -> Vec<String> {
        self.judged_with(1, ("", ""), &[]).iter().map(ToString::to_string).collect()
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn elf() -> Elf {
    Elf { machine: AMD64, wide: true, little: true, loadable: true, ..Elf::default() }
}

fn library(defined: &[&str]) -> Elf {
    Elf { defined: texts(defined), ..elf() }
}

/// A shared object that needs versions of libraries.
fn module(needs: &[(&str, &[&str])]) -> Elf {
    let versions = needs.iter().filter(|(_, versions)| !versions.is_empty());
    Elf {
        needed: needs.iter().map(|(soname, _)| (*soname).to_owned()).collect(),
        versions: versions.map(|(soname, versions)| ((*soname).to_owned(), texts(versions))).collect(),
        ..elf()
    }
}

fn program(needs: &[(&str, &[&str])]) -> Elf {
    Elf { interpreter: Some(LOADER.into()), ..module(needs) }
}

/// A base with glibc 2.26 and libstdc++ of GCC 7.
fn base() -> Image {
    Image::default().layer(&[
        ("lib64/ld-linux-x86-64.so.2", library(&["GLIBC_2.2.5"])),
        ("lib64/libc.so.6", library(&["GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.26", "GLIBC_PRIVATE"])),
        ("lib64/libm.so.6", library(&["GLIBC_2.2.5", "GLIBC_2.26"])),
        ("usr/lib64/libstdc++.so.6", library(&["GLIBCXX_3.4", "GLIBCXX_3.4.24", "CXXABI_1.3.11"])),
        // Its own programs are not judged.
        ("usr/bin/odd", program(&[("libc.so.6", &["GLIBC_9.9"])])),
    ])
}

const NEW: &[(&str, &[&str])] =
    &[("libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.27", "GLIBC_2.28"]), ("libm.so.6", &["GLIBC_2.27"])];

#[test]
fn a_program_that_fits_is_passed_and_a_newer_one_is_named_with_what_is_offered() {
    let old = program(&[("libc.so.6", &["GLIBC_2.9"]), ("libstdc++.so.6", &["GLIBCXX_3.4.24"])]);
    assert_eq!(base().layer(&[("opt/old", old)]).judged(), [""; 0]);
    assert_eq!(
        base().layer(&[("var/lang/bin/node", program(NEW))]).judged(),
        ["`/var/lang/bin/node` needs GLIBC_2.28, the base offers up to GLIBC_2.26"]
    );
    let cxx = module(&[("libstdc++.so.6", &["GLIBCXX_3.4.30", "GLIBCXX_3.4.26", "CXXABI_1.3.13"])]);
    assert_eq!(
        base().layer(&[("opt/x.node", cxx)]).judged(),
        [
            "`/opt/x.node` needs CXXABI_1.3.13 and GLIBCXX_3.4.30, the base offers up to CXXABI_1.3.11 and GLIBCXX_3.4.24"
        ]
    );
}

#[test]
fn a_marker_version_is_compared_with_the_release() {
    let marked = program(&[("libc.so.6", &["GLIBC_ABI_DT_RELR"])]);
    assert_eq!(
        base().layer(&[("opt/p", marked)]).judged(),
        ["`/opt/p` needs GLIBC_ABI_DT_RELR, the base offers up to GLIBC_2.26"]
    );
}

#[test]
fn a_missing_library_fails_programs_and_whoever_needs_versions_of_it() {
    let image = base().layer(&[
        ("opt/bin/tool", program(&[("libgcc_s.so.1", &[])])),
        ("opt/lib/versioned.so", module(&[("libgcc_s.so.1", &["GCC_3.0"])])),
        ("opt/lib/plain.so", module(&[("libgcc_s.so.1", &[])])),
        // A plugin's optional library is nobody's business.
        ("opt/bin/gui", program(&[("libX11.so.6", &[])])),
    ]);
    assert_eq!(
        image.judged(),
        [
            "`/opt/lib/versioned.so` needs `libgcc_s.so.1` (GCC_3.0), which the image does not have",
            "`/opt/bin/tool` needs `libgcc_s.so.1`, which the image does not have",
        ]
    );
}

#[test]
fn a_missing_dynamic_linker_fails_programs_and_static_ones_need_none() {
    let musl = Elf { interpreter: Some("/lib/ld-musl-x86_64.so.1".into()), ..elf() };
    let image = base().layer(&[("opt/musl", musl), ("opt/static", elf())]);
    assert_eq!(
        image.judged(),
        ["`/opt/musl` needs the dynamic linker `/lib/ld-musl-x86_64.so.1`, which the image does not have"]
    );
}

#[test]
fn libraries_that_come_along_are_found_where_programs_say() {
    let needs: &[(&str, &[&str])] = &[("libstdc++.so.6", &["GLIBCXX_3.4.30"])];
    let own = library(&["GLIBCXX_3.4.24", "GLIBCXX_3.4.30"]);
    let beside = ("var/lang/lib/libstdc++.so.6", own);
    let runpath = Elf { runpath: texts(&["$ORIGIN/../lib"]), ..program(needs) };
    let rpath = Elf { rpath: texts(&["/var/lang/lib"]), ..program(needs) };
    for program in [&runpath, &rpath] {
        let image = base().layer(&[beside.clone(), ("var/lang/bin/p", program.clone())]);
        assert_eq!(image.judged(), [""; 0]);
    }
    // What a program loads finds what the program finds.
    let image = base().layer(&[
        beside.clone(),
        ("var/lang/bin/p", runpath.clone()),
        ("var/lang/lib/modules/m.so", module(needs)),
    ]);
    assert_eq!(image.judged(), [""; 0]);
    // A runpath takes the rpath's place.
    let both = Elf { rpath: texts(&["/var/lang/lib"]), runpath: texts(&["/nowhere"]), ..program(needs) };
    let image = base().layer(&[beside.clone(), ("var/lang/bin/p", both)]);
    assert_eq!(image.judged().len(), 1);
    // Without any of these it is found by the image's variable, or by ld.so.conf.
    let image = base().layer(&[beside, ("opt/p", program(needs))]);
    assert_eq!(image.judged().len(), 1);
    assert_eq!(image.judged_with(1, ("", "/var/lang/lib:/lib64"), &[]), []);
    assert_eq!(image.judged_with(1, ("", ""), &["var/lang/lib"]), []);
}

#[test]
fn an_own_library_that_is_too_old_is_named_itself() {
    let needs: &[(&str, &[&str])] = &[("libstdc++.so.6", &["GLIBCXX_3.4.30"])];
    let program = Elf { runpath: texts(&["$ORIGIN"]), ..program(needs) };
    let image = base().layer(&[("opt/p", program), ("opt/libstdc++.so.6", library(&["GLIBCXX_3.4.20"]))]);
    assert_eq!(
        image.judged(),
        ["`/opt/p` needs GLIBCXX_3.4.30, `/opt/libstdc++.so.6` offers up to GLIBCXX_3.4.20"]
    );
}

#[test]
fn libraries_for_another_architecture_are_passed_over_in_the_search() {
    let narrow = Elf { machine: I386, wide: false, ..library(&["GLIBC_2.0"]) };
    let mut image = base();
    image.layers[0].push(("opt/lib32/libc.so.6".into(), Facts::Elf(narrow)));
    let program = Elf { rpath: texts(&["/opt/lib32"]), ..program(&[("libc.so.6", &["GLIBC_2.9"])]) };
    assert_eq!(image.layer(&[("opt/p", program)]).judged(), [""; 0]);
}

#[test]
fn a_library_without_versions_is_taken_as_it_is() {
    let loader = ("lib64/ld-linux-x86-64.so.2", elf());
    let image = Image::default().layer(&[loader, ("lib/libc.so.6", elf())]);
    assert_eq!(image.layer(&[("opt/p", program(NEW))]).judged().len(), 1, "libm is missing");
    let image = Image::default().layer(&[("lib64/ld-linux-x86-64.so.2", elf()), ("lib/libc.so.6", elf())]);
    assert_eq!(image.layer(&[("opt/p", program(&NEW[..1]))]).judged(), [""; 0]);
}

#[test]
fn files_for_another_architecture_fail_alone_in_their_layer_or_in_path() {
    let foreign = Elf { machine: 183, ..elf() };
    let said = "`/usr/local/bin/docker` is for arm64, the image is for amd64";
    let docker = ("usr/local/bin/docker", foreign.clone());
    assert_eq!(base().layer(std::slice::from_ref(&docker)).judged(), [said]);
    // A package with files for several platforms.
    let mixed = base().layer(&[docker, ("usr/lib/x/amd64", elf()), ("usr/lib/x/arm64", foreign)]);
    assert_eq!(mixed.judged(), [""; 0]);
    let findings = mixed.judged_with(1, ("/usr/local/bin:/bin", ""), &[]);
    assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
}

#[test]
fn what_is_replaced_is_not_judged_and_the_worst_comes_first() {
    let replaced = base().layer(&[("opt/p", program(NEW))]).layer(&[("opt/p", elf())]);
    assert_eq!(replaced.judged(), [""; 0]);
    let needing = |version: &'static str| program(&[("libc.so.6", &[version])]);
    let image = base().layer(&[
        ("opt/a", needing("GLIBC_2.27")),
        ("opt/b", needing("GLIBC_2.34")),
        ("usr/bin/c", needing("GLIBC_2.28")),
    ]);
    let findings = image.judged_with(1, ("/usr/bin", ""), &[]);
    let order: Vec<String> = findings.iter().map(|finding| finding.path.to_string()).collect();
    assert_eq!(order, ["/usr/bin/c", "/opt/b", "/opt/a"]);
    assert_eq!(image.judged_with(2, ("", ""), &[]), [], "a base is relied on");
}

#[test]
fn a_stored_layer_is_examined_in_one_pass() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let tar = Tarball::new()
        .file("etc/os-release", "ID=debian\n")
        .file("short", "\u{7f}ELF")
        .file("usr/bin/script", &format!("#!/bin/sh\n{}", "# text\n".repeat(20)))
        .file("usr/lib/cut.so", "\u{7f}ELF\u{2}\u{1}\u{1} and then nothing of the kind, for quite long")
        .binary("usr/bin/tests", &own);
    let Layer { index, stored } = tar.layer();
    let candidates = elf_candidates(&index);
    assert_eq!(candidates.len(), 3, "what is too short is no ELF file");
    let place = |name: &str| match index.get(&path(name)).unwrap().kind {
        Kind::File { size, sha256, offset, .. } => Examined { sha256, size, offset, text: true },
        _ => panic!("{name} is no file"),
    };
    let release = place("etc/os-release");
    let directory = tempfile::tempdir().unwrap();
    let wanted = candidates.iter().copied().chain([release, release]).collect();
    let facts: KnownFacts =
        examine(stored.as_slice(), wanted, directory.path()).unwrap().into_iter().collect();
    assert_eq!(facts[&release.sha256], Facts::Text("ID=debian\n".into()));
    assert_eq!(facts[&place("usr/bin/script").sha256], Facts::Other);
    assert_eq!(facts[&place("usr/lib/cut.so").sha256], Facts::Other);
    let Facts::Elf(elf) = &facts[&Digest::of(&own)] else { panic!("{facts:?}") };
    assert!(elf.needed.contains(&"libc.so.6".to_owned()), "{elf:?}");
    assert!(examine(&stored[..2048], candidates, directory.path()).is_err(), "a layer that is cut off");
}
