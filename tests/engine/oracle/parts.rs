//! What is put into images against Dockerfiles: given files, downloads, and what commands leave.

use std::io::Write;

use crate::support::compare::Rules;
use crate::support::fixture::{
    Entry, Fixture, dir, file, gzip, hard_link, member, programs, shell, symlink, tar_of,
};
use crate::support::lab::{Case, Lab};
use crate::support::server::serve;

// ---- files and directories ----------------------------------------------------------------------

#[test]
fn files_and_directories_are_as_cat_and_mkdir_make_them() {
    let mut lab = Lab::new("files");
    lab.push("base", &Fixture::new(shell()));
    lab.judge(&Case {
        tables: r##"[layers.part]
files = [
  { path = "/etc/app/app.conf", content = "a = 1\nb = 2\n" },
  { path = "/opt/run.sh", content = "#!/bin/sh\nexit 0\n", mode = "0755", owner = "1001:0" },
  { path = "/opt/data/secret", content = "s", mode = "0400", owner = "1000:1001" },
  { path = "/sbin/tool", content = "tool", mode = "4755" },
  { path = "/tmp/empty", content = "" },
  { path = "/etc/hosts.allow", content = "ALL\n", owner = "5" },
]
dirs = [
  { path = "/opt/scripts", mode = "0777" },
  { path = "/opt/deep/er", mode = "1777", owner = "5:6" },
  { path = "/opt/data", mode = "2750", owner = "10:11" },
  { path = "/usr/sbin" },
  { path = "/sbin/sub", mode = "0700" },
]
"##,
        image: "base = \"$base\"\nlayers = [\"part\"]",
        dockerfile: r##"FROM $base
RUN mkdir -p /etc/app && printf 'a = 1\nb = 2\n' >/etc/app/app.conf
RUN printf '#!/bin/sh\nexit 0\n' >/opt/run.sh && chown 1001:0 /opt/run.sh && chmod 0755 /opt/run.sh
RUN printf s >/opt/data/secret && chown 1000:1001 /opt/data/secret && chmod 0400 /opt/data/secret
RUN printf tool >/sbin/tool && chmod 4755 /sbin/tool
RUN touch /tmp/empty && printf 'ALL\n' >/etc/hosts.allow && chown 5:5 /etc/hosts.allow
RUN mkdir -m 777 /opt/scripts && mkdir -p /opt/deep && mkdir -m 1777 /opt/deep/er && chown 5:6 /opt/deep/er
RUN chown 10:11 /opt/data && chmod 2750 /opt/data && chown 0:0 /usr/sbin && chmod 755 /usr/sbin
RUN mkdir -m 700 /sbin/sub
"##,
        rules: Rules::any_time(),
        ..Case::default()
    });
}

// ---- tools and downloads ------------------------------------------------------------------------

#[test]
fn tools_are_a_file_or_a_member_of_an_archive() {
    let mut lab = Lab::new("tools");
    let files = crate::support::setting("RAILYARD_DEV_FILES");
    lab.name("files", &files);
    lab.push("base", &Fixture::new(shell()));
    let raw = "public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template";
    let template = lab.registry.download(&format!("{files}/{raw}"));
    let docker = lab.registry.download(&format!("{files}/linux/static/stable/x86_64/docker-20.10.24.tgz"));
    lab.judge(&Case {
        tables: r#"
[tools.docker]
version = "20.10.24"
url = "$files/linux/static/stable/x86_64/docker-{{ version }}.tgz"
path = "/usr/local/bin/docker"
extract = { members = ["docker/docker"] }
mode = "0755"
[tools.go-template]
version = "v0.4.5"
urls = ["$files/nothing/{{ version }}", "$files/public/shared/tools/go-template/release/{{ version }}/bin/{{ os }}/{{ arch }}/go-template"]
path = "/opt/harness/client-tools/go-template"
owner = "1001:0"
[layers.part]
tools = ["docker", "go-template"]
downloads = [
  { url = "$files/linux/static/stable/x86_64/docker-20.10.24.tgz", path = "/sbin/", extract = { members = ["docker/docker-init"] , strip = 1 } },
  { url = "$files/public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template", path = "/opt/plain" },
]
"#,
        image: "base = \"$base\"\nlayers = [\"part\"]",
        dockerfile: "FROM $base\nCOPY docker /usr/local/bin/docker\n\
             RUN mkdir -p /opt/harness/client-tools\n\
             COPY --chown=1001:0 go-template /opt/harness/client-tools/go-template\n\
             COPY docker-init /sbin/docker-init\nCOPY plain /opt/plain\n",
        context: vec![
            ("docker", member(&docker, "docker/docker"), 0o755),
            ("docker-init", member(&docker, "docker/docker-init"), 0o755),
            ("go-template", template.clone(), 0o755),
            ("plain", template, 0o644),
        ],
        rules: Rules::any_time(),
        ..Case::default()
    });
}

fn archive() -> Vec<Entry> {
    vec![
        dir("app-1.0").mode(0o750),
        dir("app-1.0/bin"),
        file("app-1.0/bin/tool", "tool").mode(0o755),
        file("app-1.0/bin/su", "su").mode(0o4755),
        hard_link("app-1.0/bin/same", "app-1.0/bin/tool").mode(0o755),
        symlink("app-1.0/current", "bin/tool"),
        file("app-1.0/made/up/parents", "x").mode(0o640),
        dir("app-1.0/empty").mode(0o1777),
        file("app-1.0/read-only", "x").mode(0o444),
    ]
}

#[test]
fn an_archive_is_extracted_as_add_does() {
    let mut lab = Lab::new("archive");
    let packed = gzip(&tar_of(&archive()));
    lab.name("server", &serve([("app.tgz", packed.clone())]));
    lab.push("base", &Fixture::new(shell()));
    lab.judge(&Case {
        tables: r#"
[layers.part]
downloads = [
  { url = "$server/app.tgz", path = "/opt/data", extract = {} },
  { url = "$server/app.tgz", path = "/opt/new/place", extract = { format = "tar.gz" } },
]
"#,
        image: "base = \"$base\"\nlayers = [\"part\"]",
        dockerfile: "FROM $base\nADD app.tar.gz /opt/data/\nADD app.tar.gz /opt/new/place/\n",
        context: vec![("app.tar.gz", packed, 0o644)],
        ..Case::default()
    });
}

#[test]
fn an_archives_top_directory_can_be_dropped() {
    let mut lab = Lab::new("strip");
    let packed = gzip(&tar_of(&archive()));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_directory("top/sub", options.unix_permissions(0o755)).unwrap();
    zip.start_file("top/sub/tool", options.unix_permissions(0o755)).unwrap();
    zip.write_all(b"zipped tool").unwrap();
    zip.start_file("top/readme", options.unix_permissions(0o644)).unwrap();
    zip.write_all(b"zipped readme").unwrap();
    let zip = zip.finish().unwrap().into_inner();
    lab.name("server", &serve([("app.tgz", packed.clone()), ("app.zip", zip)]));
    lab.push("base", &Fixture::new(shell()));
    lab.judge(&Case {
        tables: r#"
[layers.part]
downloads = [
  { url = "$server/app.tgz", path = "/opt/app", extract = { members = ["app-1.0/bin", "app-1.0/current"], strip = 1 } },
  { url = "$server/app.zip", path = "/opt/zip", extract = { strip = 1 }, owner = "7:8" },
]
"#,
        image: "base = \"$base\"\nlayers = [\"part\"]",
        dockerfile: "FROM $base AS unpacked\nADD app.tar.gz /unpacked/\n\
             RUN mkdir -p /top/opt/app && cp -a /unpacked/app-1.0/bin /unpacked/app-1.0/current /top/opt/app/\n\
             FROM $base\nCOPY --from=unpacked /top/opt/app /opt/app\n\
             COPY --chown=7:8 zip /opt/zip\n",
        context: vec![
            ("app.tar.gz", packed, 0o644),
            ("zip/sub/tool", b"zipped tool".to_vec(), 0o755),
            ("zip/readme", b"zipped readme".to_vec(), 0o644),
        ],
        rules: Rules { times: vec!["/opt/zip".into()], ..Rules::default() },
        ..Case::default()
    });
}

// ---- commands -----------------------------------------------------------------------------------

/// What a command can do to a base.
fn before() -> Fixture {
    let mut entries = shell();
    entries.extend([
        dir("work").mode(0o775),
        file("work/removed", "x"),
        file("work/changed", "old"),
        file("work/mode", "x"),
        file("work/owner", "x"),
        file("work/becomes-dir", "x"),
        file("work/linked", "x"),
        hard_link("work/linked-2", "work/linked"),
        symlink("work/relinked", "old"),
        dir("work/gone"),
        file("work/gone/file", "x"),
        dir("work/anew"),
        file("work/anew/old", "x"),
        dir("work/anew/old-dir"),
        file("work/anew/old-dir/deep", "x"),
        dir("work/becomes-file"),
        file("work/becomes-file/inside", "x"),
        dir("work/renamed"),
        file("work/renamed/inside", "x").mode(0o600),
        dir("work/dir-mode"),
        file("work/dir-mode/same", "x"),
    ]);
    Fixture::new(entries)
}

const CHANGES: &str = "rm /work/removed; rm -r /work/gone
echo new >/work/changed; chmod 4711 /work/mode; chown 5:6 /work/owner
rm /work/becomes-dir; mkdir /work/becomes-dir; echo x >/work/becomes-dir/inside
rm -r /work/becomes-file; echo x >/work/becomes-file
rm -r /work/anew; mkdir -m 750 /work/anew; echo new >/work/anew/new
mv /work/renamed /work/renamed-now; chmod 1770 /work/dir-mode
ln -sf new /work/relinked; ln /work/changed /work/changed-2; chmod 640 /work/linked
mkdir -p /made/by/script; ln -s nowhere /made/dangling; : >/tmp/left; chmod 700 /tmp
";

#[test]
fn a_setup_step_leaves_what_run_leaves() {
    let mut lab = Lab::new("setup");
    lab.push("base", &before());
    let script = CHANGES.replace('\n', "; ");
    let dockerfile = format!("FROM $base\nRUN set -e; {script} true\n");
    let tables = String::new();
    let image = format!("base = \"$base\"\nsetup = [{{ script = \"\"\"\n{CHANGES}\"\"\" }}]");
    lab.judge(&Case {
        tables: &tables,
        image: &image,
        dockerfile: &dockerfile,
        rules: Rules::any_time(),
        runs: true,
        ..Case::default()
    });
}

#[test]
fn what_engines_mount_over_is_not_part_of_a_setup_step() {
    let mut lab = Lab::new("setup-mounts");
    lab.push("base", &Fixture::new(programs(&["mkdir", "sh", "touch"])));
    lab.judge(&Case {
        image: "base = \"$base\"\nsetup = [{ script = \"mkdir /made; touch /etc/made /root/made /tmp/made\" }]",
        dockerfile: "FROM $base\nRUN mkdir /made; touch /etc/made /root/made /tmp/made\n",
        // Declared: BuildKit leaves the directories that it mounted something on.
        rules: Rules { paths: ["dev", "proc", "sys"].map(str::to_owned).to_vec(), ..Rules::any_time() },
        runs: true,
        ..Case::default()
    });
}

#[test]
fn setup_steps_are_chained_and_layers_go_on_top() {
    let mut lab = Lab::new("setup-chain");
    lab.push("base", &before());
    let source = Fixture::new([
        dir("opt"),
        dir("opt/kept").mode(0o755),
        file("opt/kept/from-layer", "x"),
        file("opt/tool", "tool").mode(0o755),
        dir("work"),
        file("work/removed", "back again"),
    ]);
    lab.push("source", &source);
    lab.judge(&Case {
        tables: "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/kept\", \"/opt/tool\", \"/work/removed\"] }]",
        image: "base = \"$base\"\nuser = \"root\"\nlayers = [\"part\"]\nsetup = [\n\
            { script = \"mkdir -m 700 /opt/kept; echo $GREETING >/opt/kept/first; rm /work/removed\", env = { GREETING = \"hello\" } },\n\
            { script = \"cat first >second; rm first; chown 1000:1001 . second\", workdir = \"/opt/kept\" },\n\
            { script = \"echo third >third\", user = \"1000\", workdir = \"/opt/kept\" },\n]",
        dockerfile: "FROM $base\nRUN mkdir -m 700 /opt/kept; echo hello >/opt/kept/first; rm /work/removed\n\
            RUN cd /opt/kept; cat first >second; rm first; chown 1000:1001 . second\n\
            USER 1000\nRUN cd /opt/kept; echo third >third\nUSER root\n\
            COPY --from=$source /opt/kept /opt/kept\nCOPY --from=$source /opt/tool /opt/tool\n\
            COPY --from=$source /work/removed /work/removed\n",
        rules: Rules::any_time(),
        runs: true,
        ..Case::default()
    });
}

#[test]
fn what_a_run_keeps_is_what_run_in_the_image_leaves() {
    let mut lab = Lab::new("run");
    lab.push("base", &Fixture::new(shell()));
    let script = "mkdir -p -m 750 /opt/tree/sub; echo x >/opt/tree/sub/file; chmod 4711 /opt/tree/sub/file\n\
         ln /opt/tree/sub/file /opt/tree/same; ln -s sub/file /opt/tree/link; chown -R 1000:1001 /opt/tree/sub\n\
         mkdir /opt/tree/empty; chmod 1777 /opt/tree/empty; ln -s ../opt/tree/link /usr/sbin/tool\n\
         echo '#!/bin/sh' >/opt/single; chmod 755 /opt/single";
    let tables = format!(
        "[layers.part]\nrun = {{ image = \"$base\", keep = [\"/opt/tree\", \"/opt/single\", \"/sbin/tool\"], script = \"\"\"\n\
         {script}\necho noise >/opt/data/noise; rm /etc/passwd\"\"\" }}"
    );
    let dockerfile = format!("FROM $base\nRUN set -e; {}\n", script.replace('\n', "; "));
    lab.judge(&Case {
        tables: &tables,
        image: "base = \"$base\"\nlayers = [\"part\"]",
        dockerfile: &dockerfile,
        rules: Rules::any_time(),
        runs: true,
        ..Case::default()
    });
}
