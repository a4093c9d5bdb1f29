//! Downloads, and the tools that are such.

use std::sync::Arc;

use minijinja::value::Value;

use super::Expansion;
use super::layers::{ROOT, octal};
use crate::manifest::{Download, NO_USER, Template, Tool, ToolUse, parse_sha256, without_user};
use crate::matrix::address;
use crate::matrix::cell::{ConcreteDownload, ConcreteExtract, starts_with_base_env};
use crate::matrix::template::{Failed, Point, did_you_mean};

impl<'m> Expansion<'m> {
    pub(super) fn tool(
        &mut self,
        tool_use: &'m ToolUse,
        point: &Point,
    ) -> Result<Option<ConcreteDownload>, Failed> {
        if !self.wanted(tool_use.when.as_ref(), point)? {
            return Ok(None);
        }
        let (tool, own) = self.named_tool(tool_use, point)?;
        let mut extra: Vec<(Arc<str>, Value)> = vec![("tool".into(), Value::from(tool.name.value.as_str()))];
        let version = match own {
            Some(text) => Some((&tool_use.tool, text)),
            None => match (&tool_use.version, &tool.version) {
                // What was looked up or supposed stands where several tools may have it from: it is taken
                // as it is, as templates are known by their places.
                (None, Some(version)) if tool.discovery.is_some() || version.is_literal() => {
                    Some((version, version.text.as_str().into()))
                }
                (Some(version), _) | (None, Some(version)) => {
                    Some((version, self.renderer.render(version, point, &[])?))
                }
                (None, None) => None,
            },
        };
        if let Some((version, text)) = version {
            if !is_version(&text) {
                let why = format!("`{text}` is not a version");
                let help = "use letters, digits, `.`, `_`, `+`, `-` and `~`, e.g. `v1.24.3`";
                return Err(self.malformed(version, &text, "malformed-version", why, help));
            }
            extra.push(("version".into(), Value::from(text.to_string())));
        }
        self.download(&tool.download, &tool.name.value, 0o755, point, &extra).map(Some)
    }

    /// The tool that a layer names, and the version where a template gives `name@version`.
    fn named_tool(
        &mut self,
        tool_use: &'m ToolUse,
        point: &Point,
    ) -> Result<(&'m Tool, Option<Arc<str>>), Failed> {
        let written = &tool_use.tool;
        let manifest = self.manifest;
        let text: Arc<str> = match written.is_literal() {
            true => written.text.as_str().into(),
            false => self.renderer.render(written, point, &[])?,
        };
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(Arc::from(version))),
            None => (&*text, None),
        };
        let Some(tool) = manifest.tools.iter().find(|tool| tool.name.value == name) else {
            let known = manifest.tools.iter().map(|tool| tool.name.value.as_str());
            let help = did_you_mean(name, known).unwrap_or_else(|| "define it under `[tools]`".to_owned());
            return Err(self.malformed(
                written,
                &text,
                "unknown-tool",
                format!("there is no tool `{name}`"),
                &help,
            ));
        };
        if version.is_some() && tool_use.version.is_some() {
            let why = format!("`{text}` has a version, and `version` is written too");
            return Err(self.malformed(written, &text, "exclusive-keys", why, "keep one of them"));
        }
        if tool.download.urls.is_empty() || tool.download.path.text.is_empty() {
            let why = format!("`{name}` has no URL or no `path`: it is only what other tools extend");
            let help = "name one of the tools that extend it, or complete it";
            return Err(self.malformed(written, &text, "missing-key", why, help));
        }
        Ok((tool, version))
    }

    pub(super) fn download(
        &mut self,
        download: &'m Download,
        name: &str,
        default_mode: u32,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<ConcreteDownload, Failed> {
        let mut urls = Vec::new();
        for url in &download.urls {
            let text = self.renderer.render(url, point, extra)?;
            if let Some(address) = without_user(&text) {
                let why = format!("the URL of `{address}` holds credentials");
                return Err(self.malformed(url, &address, "credentials-in-url", why, NO_USER));
            }
            let parsed = url::Url::parse(&text);
            if !parsed.is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
                let why = format!("`{text}` is not an http or https URL");
                return Err(self.malformed(
                    url,
                    &text,
                    "malformed-url",
                    why,
                    "write e.g. `https://host/path`",
                ));
            }
            urls.push(text.to_string());
        }
        let shown = self.shown(&download.urls[0], &urls[0], point, extra);
        let sha256 = match &download.sha256 {
            None => None,
            Some(template) => {
                let text = self.renderer.render(template, point, extra)?;
                Some(parse_sha256(&text).map_err(|_| {
                    let why = format!("`{text}` is not a sha256");
                    let help = "write its 64 lower-case hexadecimal digits";
                    self.malformed(template, &text, "malformed-sha256", why, help)
                })?)
            }
        };
        let extract = match &download.extract {
            None => None,
            Some(extract) => {
                let members: Result<Vec<String>, Failed> = extract
                    .members
                    .iter()
                    .map(|m| self.renderer.render(m, point, extra).map(|text| text.to_string()))
                    .collect();
                Some(ConcreteExtract {
                    format: extract.format.into(),
                    members: members?,
                    strip: extract.strip,
                })
            }
        };
        let mode = match (&download.mode, &extract) {
            (Some(mode), _) => Some(octal(Some(&mode.value), default_mode)),
            (None, None) => Some(default_mode),
            (None, Some(_)) => None,
        };
        let owner = download.owner.as_ref().map_or(ROOT, |o| o.value);
        let mut path = self.path(&download.path, point, extra)?;
        if path.ends_with('/') && extract.is_none() {
            let Some(file) = urls.first().and_then(|url| file_name(url)) else {
                let why = format!("`{path}` is a directory, and the URL names no file");
                return Err(self.malformed(
                    &download.path,
                    &path,
                    "malformed-path",
                    why,
                    "write the path of the file itself",
                ));
            };
            path.push_str(file);
        }
        Ok(ConcreteDownload {
            name: name.to_owned(),
            urls,
            shown,
            sha256,
            path,
            extract,
            mode,
            owner: (owner.uid, owner.gid),
        })
    }

    /// A URL without what the command line gives for its query.
    fn shown(
        &mut self,
        template: &'m Template,
        url: &str,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> String {
        let Some(masked) = &mut self.masked else { return url.to_owned() };
        masked.set_item(self.renderer.item());
        let masked = masked.render(template, point, extra).ok();
        address::shown(url, masked.as_deref())
    }

    pub(super) fn path(
        &mut self,
        template: &'m Template,
        point: &Point,
        extra: &[(Arc<str>, Value)],
    ) -> Result<String, Failed> {
        let text = self.renderer.render(template, point, extra)?;
        let clean = (text.starts_with('/') || starts_with_base_env(&text))
            && !text.split('/').any(|part| part == "..")
            && !text.contains('\0');
        if clean {
            return Ok(text.to_string());
        }
        let why = format!("`{text}` is not an absolute path without `..`");
        Err(self.malformed(template, &text, "relative-path", why, "paths in images start with `/`"))
    }
}

/// The name of the file that a URL ends with, without a query.
fn file_name(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1;
    path.rsplit_once('/').map(|(_, name)| name).filter(|name| !matches!(*name, "" | "." | ".."))
}

/// As the manifest's own check of a version that is no template.
fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'~'))
}
