//! `[registries."host/path"]`, its credentials, and `version_tags`.

use crate::manifest::reader::Fields;
use crate::manifest::{
    AccessText, Diagnostic, EcrSettings, ExistingTags, Located, RegistryAccess, RegistrySettings, TagRule,
    VersionTag, grammar, values,
};

/// Keys that say something about a host, not about repositories.
const OF_HOST: [&str; 5] = ["insecure", "requests_per_second", "concurrency", "ca", "skip_tls_verify"];

pub(super) fn registry(name: &Located<String>, fields: &Fields<'_>) -> RegistrySettings {
    let reader = fields.reader();
    // A malformed name has been reported.
    if let Some((host, _)) = name.value.split_once('/').filter(|_| values::registry(&name.value).is_ok()) {
        for key in OF_HOST {
            if let Some(at) = fields.key_at(key) {
                let message = format!("`{key}` is about the host `{host}`, not about a part of it");
                reader.push(
                    Diagnostic::new("host-setting", at, message)
                        .also(name.at, "these are repositories of the host")
                        .help(format!("write it under `[registries.\"{host}\"]`")),
                );
            }
        }
    }
    let credentials = access(name, fields, "credentials");
    let pull = access(name, fields, "pull");
    let create = fields.bool("create").unwrap_or(false);
    let lifecycle_policy = fields.plain("lifecycle_policy");
    let is_ecr =
        matches!(credentials, Some(RegistryAccess::Ecr(_))) || values::ecr_host(&name.value).is_some();
    for key in ["create", "lifecycle_policy"] {
        if let Some(at) = fields.key_at(key).filter(|_| !is_ecr) {
            let message = format!("`{key}` is for Amazon ECR, which `{}` is not", name.value);
            reader.push(
                Diagnostic::new("not-ecr", at, message)
                    .help("remove it, or say with `credentials = { ecr = { … } }` that it is"),
            );
        }
    }
    RegistrySettings {
        insecure: fields.bool("insecure").unwrap_or(false),
        requests_per_second: fields.number("requests_per_second"),
        concurrency: fields.count("concurrency"),
        ca: fields.plain("ca").map(|file| file.value),
        skip_tls_verify: fields.bool("skip_tls_verify").unwrap_or(false),
        credentials,
        pull,
        existing_tags: existing_tags(fields),
        create,
        lifecycle_policy: lifecycle_policy.map(|file| file.value),
    }
}

/// `existing_tags`, of a registry or an image.
pub(super) fn existing_tags(fields: &Fields<'_>) -> Option<TagRule> {
    let written = fields.located("existing_tags")?;
    let value = match written.value.as_str() {
        "move" => ExistingTags::Move,
        "keep" => ExistingTags::Keep,
        "refuse" => ExistingTags::Refuse,
        _ => return None,
    };
    Some(Located::new(value, written.at))
}

/// The ways to be somebody, of which a credential has one.
const WAYS: [&str; 6] = ["password", "identity_token", "helper", "docker_config", "ecr", "anonymous"];

fn access(name: &Located<String>, fields: &Fields<'_>, key: &'static str) -> Option<RegistryAccess> {
    let fields = fields.table(key, &grammar::ACCESS)?;
    let reader = fields.reader();
    let username = open_text(&fields, "username");
    let password = secret(&fields, "password");
    let token = secret(&fields, "identity_token");
    let helper = fields.value("helper", values::helper);
    let config = fields.plain("docker_config");
    let ecr = fields.table("ecr", &grammar::ECR).map(|table| ecr(name, &table));
    let anonymous = fields.bool("anonymous");
    let written: Vec<_> = WAYS.iter().filter_map(|key| fields.key_at(key).map(|at| (*key, at))).collect();
    match written.as_slice() {
        [] if !fields.lacks("username") => reader.push(
            Diagnostic::new("missing-key", fields.at(), "the credential has a user but no password")
                .label("`password` is missing here")
                .help("add `password = { env = \"NAME\" }` or `password = { file = \"…\" }`"),
        ),
        // An unknown key has been reported.
        [] if WAYS.iter().all(|key| fields.lacks(key)) && fields.others().next().is_none() => reader.push(
            Diagnostic::new("missing-key", fields.at(), "the credential says nothing").label("nobody").help(
                "write `username` and `password`, or one of `identity_token`, `helper`, `docker_config`, \
                     `ecr` and `anonymous`",
            ),
        ),
        [("password", at)] if fields.lacks("username") => reader.push(
            Diagnostic::new("missing-key", *at, "the credential has a password but no user")
                .label("`username` is missing beside this")
                .help("add `username = \"…\"` or `username = { env = \"NAME\" }`"),
        ),
        [("password", _)] => {}
        [(first, at)] => {
            if let Some(user) = fields.key_at("username") {
                reader.push(
                    Diagnostic::new(
                        "exclusive-keys",
                        user,
                        format!("`username` is of no use with `{first}`"),
                    )
                    .label("no password goes with it")
                    .also(*at, "this is the credential")
                    .help("remove it, or give a `password`"),
                );
            }
        }
        [(first, first_at), (second, second_at), ..] => reader.push(
            Diagnostic::new(
                "exclusive-keys",
                *second_at,
                format!("`{first}` and `{second}` are both written"),
            )
            .label("and this")
            .also(*first_at, "this")
            .help("a credential comes from one place: keep one of them"),
        ),
        _ => {}
    }
    match written.as_slice() {
        [("password", _)] => Some(RegistryAccess::Password { username: username?, password: password? }),
        [("identity_token", _)] => token.map(RegistryAccess::IdentityToken),
        [("helper", _)] => helper.map(|helper| RegistryAccess::Helper(helper.value)),
        [("docker_config", _)] => config.map(|file| RegistryAccess::DockerConfig(file.value)),
        [("ecr", _)] => ecr.map(RegistryAccess::Ecr),
        [("anonymous", _)] => (anonymous == Some(true)).then_some(RegistryAccess::Anonymous),
        _ => None,
    }
}

fn ecr(name: &Located<String>, fields: &Fields<'_>) -> EcrSettings {
    let reader = fields.reader();
    let account = fields.value("account", values::aws_account);
    let region = fields.value("region", values::aws_region);
    let told = values::ecr_host(&name.value);
    let contradicts = |key: &str, written: &Located<String>, told: &str| {
        let message = format!("`{key}` is `{}`, but the host is of `{told}`", written.value);
        reader.push(
            Diagnostic::new("contradicts-host", written.at, message)
                .also(name.at, "the host")
                .help(format!("remove `{key}`: the host tells it")),
        );
    };
    match (&told, &account, &region) {
        (Some((told, _)), Some(account), _) if account.value != *told => {
            contradicts("account", account, told)
        }
        (Some((_, told)), _, Some(region)) if region.value != *told => contradicts("region", region, told),
        (None, _, None) if fields.lacks("region") => reader.push(
            Diagnostic::new(
                "missing-key",
                fields.at(),
                format!("`{}` does not tell an AWS region", name.value),
            )
            .label("`region` is missing here")
            .help("add `region = \"…\"`; a host `{account}.dkr.ecr.{region}.amazonaws.com` tells it"),
        ),
        _ => {}
    }
    let role = open_text(fields, "role");
    if let Some(AccessText::Literal(text)) = &role
        && let (Err(fault), Some(value)) = (values::aws_role(text), fields.located("role"))
    {
        reader.fault(value.at, fault);
    }
    if let (Some(at), true) = (fields.key_at("external_id"), fields.lacks("role")) {
        reader.push(
            Diagnostic::new("missing-key", at, "`external_id` is told to a role, and there is none")
                .label("`role` is missing beside this")
                .help("add `role = \"arn:aws:iam::…:role/…\"`, or remove it"),
        );
    }
    EcrSettings {
        account: account.map(|account| account.value),
        region: region.map(|region| region.value),
        role,
        external_id: open_text(fields, "external_id"),
        endpoint: fields.value("endpoint", values::aws_endpoint).map(|url| url.value),
    }
}

/// A text as it stands, or where it comes from.
fn open_text(fields: &Fields<'_>, key: &'static str) -> Option<AccessText> {
    if fields.get(key)?.get_ref().is_str() {
        return fields.plain(key).map(|text| AccessText::Literal(text.value));
    }
    secret(fields, key)
}

fn secret(fields: &Fields<'_>, key: &'static str) -> Option<AccessText> {
    let fields = fields.table(key, &grammar::SECRET)?;
    let reader = fields.reader();
    let variable = fields.located("env");
    if let Some(variable) = &variable
        && let Err(fault) = values::variable(&variable.value)
    {
        reader.fault(variable.at, fault);
    }
    let file = fields.plain("file");
    match (fields.key_at("env"), fields.key_at("file")) {
        (Some(env), Some(file)) => reader.push(
            Diagnostic::new("exclusive-keys", file, "`env` and `file` are both written")
                .label("and this")
                .also(env, "this")
                .help("keep one of them"),
        ),
        (None, None) if fields.lacks("env") && fields.lacks("file") => reader.push(
            Diagnostic::new("missing-key", fields.at(), format!("it is not said where `{key}` comes from"))
                .label("nothing in it")
                .help("write `{ env = \"NAME\" }` or `{ file = \"…\" }`"),
        ),
        _ => {}
    }
    let variable = variable.map(AccessText::Environment);
    variable.or(file.map(AccessText::File))
}

/// `version_tags` of an image.
pub(super) fn version_tags(fields: &Fields<'_>) -> Option<Vec<VersionTag>> {
    let reader = fields.reader();
    let list = fields.list("version_tags")?;
    let tag = |value| {
        let at = reader.at(&toml::Spanned::span(value));
        match fields.inner(value, &grammar::VERSION_TAG) {
            None => Some(VersionTag {
                at,
                version: reader.template(value, values::version_tag)?,
                prefix: None,
                suffix: None,
            }),
            Some(table) => Some(VersionTag {
                at,
                version: table.needed("version", values::version_tag),
                prefix: table.template("prefix", values::anything),
                suffix: table.template("suffix", values::anything),
            }),
        }
    };
    Some(list.filter_map(tag).collect())
}
