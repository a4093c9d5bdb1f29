//! The CI images of an account: what is shown, what is sent, what is said when the API refuses.

use serde_json::{Value, json};

use super::api::{Answer, Api};
use super::copy::{bare, mirror, upstream};
use crate::project::registry::setting;
use crate::project::{Ended, Project};

const SECRET: &str = "pat.abc.SeCrEtVaLuE.xyz";
const DEFAULTS: &str = r#"{
    "addonTag": "harness/ci-addon:1.14.4",
    "liteEngineTag": "harness/ci-lite-engine:1.14.4",
    "gitCloneTag": "harness/drone-git:1.1.0-rootless",
    "gcsUploadTag": "plugins/gcs:1.2.6",
    "s3UploadTag": "plugins/s3:1.0.5",
    "securityTag": "harness/sto-plugin:latest",
    "buildAndPushGARTag": "plugins/kaniko-gar:1.3.1"
}"#;
const PATH: &str = "/gateway/ci/execution-config";

/// The API with these documents, and a directory whose environment has the key.
fn account(defaults: &str, customer: &str) -> (Api, Project) {
    let (api, mut project) = (Api::start(), bare());
    api.answer(&format!("{PATH}/get-default-config"), Answer::data(defaults));
    api.answer(&format!("{PATH}/get-customer-config"), Answer::data(customer));
    project.set("HARNESS_API_KEY", SECRET);
    project.set("HARNESS_ACCOUNT_ID", "acc-1");
    project.set("HARNESS_URL", &format!("http://{}/gateway", api.host));
    (api, project)
}

/// Runs `ci-images`; the key is nowhere in what is said.
#[track_caller]
fn ci_images(project: &Project, arguments: &[&str]) -> Ended {
    let ended = project.run(&[&["ci-images"], arguments].concat());
    for text in [&ended.out, &ended.err] {
        assert!(!text.contains(SECRET) && !text.contains("SeCrEt"), "{text}");
    }
    ended
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}{}", ended.out, ended.err))
}

#[test]
fn diff_shows_every_field_known_or_not() {
    let customer = r#"{"gcsUploadTag":"plugins/gcs:1.2.0","s3UploadTag":"plugins/s3:1.0.5","addonTag":"harness/ci-addon:1.11.0",
        "ownTag":"acme/own:1","odd":{"deep":[1]},"gitCloneTag":null}"#;
    let (api, project) = account(DEFAULTS, customer);
    let ended = ci_images(&project, &["diff"]).code(0);
    let ended = ended.prints(&[
        "DIFFERS  gcsUploadTag",
        "plugins/gcs:1.2.0  (default plugins/gcs:1.2.6)",
        "set      s3UploadTag",
        "default  liteEngineTag",
        "default  gitCloneTag",
        "own      ownTag",
        r#"own      odd                 {"deep":[1]}"#,
        "out of window, 3 releases behind, newest known 1.14.4",
        "supported, the latest release, newest known 1.14.4",
        "support unknown: no window is published for it",
        "a field that railyard's facts do not list",
        "4 default, 1 set to the default, 2 differ, 2 without default",
        "next publication by the calendar: 20",
    ]);
    drop(ended);
    ci_images(&project, &["diff", "--exit-code"]).code(1);
    let rows = json_of(&ci_images(&project, &["diff", "--format", "json"]).code(0));
    let row = |field: &str| {
        let rows = rows["fields"].as_array().unwrap();
        rows.iter().find(|row| row["field"] == field).unwrap().clone()
    };
    assert_eq!((&row("odd")["current"], &row("odd")["state"]), (&json!({"deep": [1]}), &json!("no-default")));
    assert_eq!(row("addonTag")["support"]["state"], "out-of-window");
    assert_eq!(row("securityTag")["support"]["state"], "unknown");
    assert_eq!(row("buildAndPushGARTag")["listed"], false);

    let asked = api.seen("get-customer-config");
    assert_eq!(
        asked[0].line,
        format!("GET {PATH}/get-customer-config?accountIdentifier=acc-1&infra=K8&overridesOnly=true")
    );
    assert_eq!(asked[0].headers["x-api-key"], SECRET);
    assert!(!asked[0].headers.contains_key("authorization"));
    ci_images(&project, &["diff", "--infra", "vm", "--account", "other"]).code(0);
    assert_eq!(api.seen("accountIdentifier=other&infra=VM").len(), 2);
    assert!(api.seen("POST").is_empty());
}

#[test]
fn an_account_without_settings_has_all_defaults() {
    for customer in ["{}", "null"] {
        let (_api, project) = account(DEFAULTS, customer);
        let ended = ci_images(&project, &["diff", "--exit-code"]).code(0);
        ended.prints(&["7 default, 0 set to the default, 0 differ"]);
        ci_images(&project, &["reset"]).code(0).prints(&["nothing to change"]);
    }
}

#[test]
fn a_bearer_token_will_do_and_keys_come_from_the_environment_alone() {
    let (api, mut project) = account(DEFAULTS, "{}");
    project.set("HARNESS_API_KEY", "");
    ci_images(&project, &["diff"]).code(3).says(&["there is no key", "HARNESS_API_KEY", "HARNESS_TOKEN"]);
    project.set("HARNESS_TOKEN", SECRET);
    ci_images(&project, &["diff"]).code(0);
    let seen = &api.seen("get-default-config")[0];
    assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    assert!(!seen.headers.contains_key("x-api-key"));
    project.set("HARNESS_ACCOUNT_ID", " ");
    ci_images(&project, &["diff"]).code(2).says(&["which account"]);
    let clear =
        ci_images(&project, &["diff", "--account", "a", "--url", "http://app.example/gateway"]).code(2);
    clear.says(&["is not https", "in the clear"]);
}

#[test]
fn updates_are_shown_and_sent_only_when_applied() {
    let customer = r#"{"gitCloneTag":"harness/drone-git:1.0.9-rootless","ownTag":"acme/own:1"}"#;
    let (api, project) = account(DEFAULTS, customer);
    let arguments = [
        "update",
        "gitCloneTag=harness/drone-git:1.1.0-rootless",
        "newTag=plugins/new:2",
        "ownTag=acme/own:1",
    ];
    let shown = ci_images(&project, &arguments).code(0);
    let shown = shown.says(&["`newTag` is no field of the defaults"]).prints(&[
        "would send POST",
        "/ci/execution-config/update-config?accountIdentifier=acc-1&infra=K8",
        "nothing was sent; --apply sends it",
        "kept     ownTag",
    ]);
    drop(shown);
    assert!(api.seen("POST").is_empty());

    api.answer(&format!("{PATH}/update-config"), Answer::data("true"));
    let after = r#"{"gitCloneTag":"harness/drone-git:1.1.0-rootless","newTag":"plugins/new:2","ownTag":"acme/own:1"}"#;
    api.answers(&format!("{PATH}/get-customer-config"), vec![Answer::data(customer), Answer::data(after)]);
    ci_images(&project, &[&arguments[..], &["--apply"]].concat())
        .code(0)
        .says(&["the account has all 2 changes"]);
    let sent = api.seen("POST");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&sent[0].body).unwrap();
    // What is set already is not sent again.
    assert_eq!(
        body,
        json!([
            {"field": "gitCloneTag", "value": "harness/drone-git:1.1.0-rootless"},
            {"field": "newTag", "value": "plugins/new:2"}
        ])
    );
    for bad in ["gitCloneTag", "gitCloneTag=", "gitCloneTag=harness/drone-git", "=a/b:1"] {
        ci_images(&project, &["update", bad]).code(2).says(&["help: write e.g."]);
    }
    // An API that takes a change and does not make it is found out.
    api.answers(&format!("{PATH}/get-customer-config"), vec![Answer::data(customer), Answer::data(customer)]);
    let ended = ci_images(&project, &["update", "gitCloneTag=a/b:1", "--apply"]).code(3);
    ended.says(&["the account does not show it for gitCloneTag"]);
}

#[test]
fn only_what_was_mirrored_becomes_the_accounts_images() {
    let (api, project) = account(DEFAULTS, "{}");
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let from = upstream();
    mirror(
        &project,
        0,
        &["--to", &to, "--from", &from, "plugins/s3:1.0.5", "harness/drone-git:1.1.0-rootless"],
    );
    let ended = ci_images(&project, &["diff", "--to", &to]).code(0);
    ended.prints(&["mirrored; support unknown", "not mirrored"]);
    let shown = ci_images(&project, &["update", "--to", &to, "--format", "json"]).code(0);
    let shown = json_of(&shown);
    assert_eq!(
        shown["body"],
        json!([
            {"field": "gitCloneTag", "value": "harness/drone-git:1.1.0-rootless"},
            {"field": "s3UploadTag", "value": "plugins/s3:1.0.5"}
        ])
    );
    assert_eq!((shown["left_out"].as_array().unwrap().len(), shown["applied"].as_bool()), (5, Some(false)));
    let qualified =
        ci_images(&project, &["update", "--to", &to, "--qualified", "s3UploadTag=plugins/s3:1.0.5"]).code(0);
    qualified.prints(&[&format!("\"value\": \"{to}/plugins/s3:1.0.5\"")]);
    // What is set with the mirror's own address is found there.
    api.answer(
        &format!("{PATH}/get-customer-config"),
        Answer::data(&format!(r#"{{"s3UploadTag":"{to}/plugins/s3:1.0.5"}}"#)),
    );
    let rows = json_of(&ci_images(&project, &["diff", "--to", &to, "--format", "json"]).code(0));
    let row =
        rows["fields"].as_array().unwrap().iter().find(|row| row["field"] == "s3UploadTag").unwrap().clone();
    assert_eq!((&row["mirrored"], &row["state"]), (&json!(true), &json!("differs")));

    api.answer(&format!("{PATH}/update-config"), Answer::data("true"));
    let after = r#"{"gitCloneTag":"harness/drone-git:1.1.0-rootless","s3UploadTag":"plugins/s3:1.0.5"}"#;
    api.answers(&format!("{PATH}/get-customer-config"), vec![Answer::data("{}"), Answer::data(after)]);
    let applied = ci_images(&project, &["update", "--to", &to, "--apply"]).code(1);
    applied.prints(&["left out addonTag=harness/ci-addon:1.14.4: not mirrored"]).says(&["has all 2 changes"]);
}

#[test]
fn resets_send_the_fields_that_are_set() {
    let (api, project) = account(DEFAULTS, r#"{"gitCloneTag":"a/b:1","gcsUploadTag":"plugins/gcs:1.2.0"}"#);
    let shown = ci_images(&project, &["reset", "gitCloneTag", "s3UploadTag", "zzz"]).code(0);
    shown
        .says(&["`s3UploadTag` has its default already", "`zzz` is no field"])
        .prints(&["would send POST", "\"gitCloneTag\""]);
    assert!(api.seen("POST").is_empty());
    api.answer(&format!("{PATH}/reset-config"), Answer::data("true"));
    let before = Answer::data(r#"{"gitCloneTag":"a/b:1","gcsUploadTag":"plugins/gcs:1.2.0"}"#);
    api.answers(&format!("{PATH}/get-customer-config"), vec![before, Answer::data("{}")]);
    ci_images(&project, &["reset", "--apply"]).code(0).says(&["all 2 changes"]);
    let sent: Value = serde_json::from_str(&api.seen("POST")[0].body).unwrap();
    assert_eq!(sent, json!([{"field": "gcsUploadTag"}, {"field": "gitCloneTag"}]));
    assert!(api.seen("POST")[0].line.contains("/reset-config?accountIdentifier=acc-1&infra=K8"));
}

#[test]
fn refusals_are_shown_with_code_message_and_correlation_id() {
    let (api, project) = account(DEFAULTS, "{}");
    let path = format!("{PATH}/get-default-config");
    let refused = format!(
        r#"{{"status":"ERROR","code":"INVALID_TOKEN","message":"Token {SECRET} is not valid","correlationId":"c-77","responseMessages":[]}}"#
    );
    api.answer(&path, Answer::json(401, &refused));
    let ended = ci_images(&project, &["diff"]).code(3);
    ended.says(&[
        "get-default-config",
        "401 ERROR, code INVALID_TOKEN: Token … is not valid [correlation id c-77]",
        "help: check the key",
    ]);
    api.answer(&path, Answer::json(200, "<html>log in</html>"));
    ci_images(&project, &["diff"]).code(3).says(&["no JSON of the API: a web page", "check --url"]);
    api.answer(&path, Answer::json(302, "").header("Location", "http://127.0.0.1:1/elsewhere"));
    ci_images(&project, &["diff"]).code(3).says(&["a redirect, which is not followed"]);
    api.answer(&path, Answer::data("[1]"));
    ci_images(&project, &["diff"]).code(3).says(&["its `data` is no table of fields"]);

    // A change that may have been made is not sent twice.
    api.answer(&path, Answer::data(DEFAULTS));
    let failure =
        r#"{"status":"FAILURE","code":"UNKNOWN_ERROR","message":"database","correlationId":"c-78"}"#;
    api.answer(&format!("{PATH}/update-config"), Answer::json(500, failure));
    let ended = ci_images(&project, &["update", "s3UploadTag=plugins/s3:2.0.0", "--apply"]).code(3);
    ended.says(&["update-config", "500 FAILURE, code UNKNOWN_ERROR: database [correlation id c-78]"]);
    assert_eq!(api.seen("POST").len(), 1);
}

#[test]
fn slow_and_busy_servers_are_waited_for_within_bounds() {
    let (api, project) = account(DEFAULTS, "{}");
    let path = format!("{PATH}/get-default-config");
    let busy = Answer::json(429, r#"{"status":"ERROR","message":"too many"}"#).header("Retry-After", "1");
    api.answers(
        &path,
        vec![busy.clone(), Answer::json(503, "").after(300), Answer::data(DEFAULTS).after(500)],
    );
    ci_images(&project, &["diff"]).code(0);
    assert_eq!(api.seen("get-default-config").len(), 3);
    // A refused POST was not carried out: it is sent again.
    api.answers(&format!("{PATH}/reset-config"), vec![busy, Answer::data("true")]);
    let set = Answer::data(r#"{"s3UploadTag":"a/b:1"}"#);
    api.answers(&format!("{PATH}/get-customer-config"), vec![set, Answer::data("{}")]);
    ci_images(&project, &["reset", "--apply"]).code(0);
    assert_eq!(api.seen("POST").len(), 2);
    // One that never answers ends.
    api.answer(&path, Answer::data(DEFAULTS).after(20_000));
    let begun = std::time::Instant::now();
    ci_images(&project, &["diff", "--api-timeout", "1"]).code(3).says(&["failed to read the default images"]);
    assert!(begun.elapsed().as_secs() < 15);
}

#[test]
fn the_accounts_images_can_be_mirrored() {
    let defaults = r#"{"s3UploadTag":"plugins/s3:1.0.5","cacheS3Tag":"plugins/cache:1.3.8","cacheGCSTag":"plugins/cache:1.3.8","flag":true}"#;
    let (_api, project) = account(defaults, r#"{"s3UploadTag":"plugins/gcs:1.3.0"}"#);
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let from = upstream();
    let names = |which: &str| -> Vec<String> {
        let ended = mirror(&project, 0, &["--to", &to, "--from", &from, "--ci-images", which]);
        ended["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("default"), ["plugins/cache:1.3.8", "plugins/s3:1.0.5"]);
    assert_eq!(names("current"), ["plugins/cache:1.3.8", "plugins/gcs:1.3.0"]);
    project.write("facts.toml", "url = \"https://x\"\npublished = [\"MON\"]\nsupport = [{ images = [\"plugins/*\"], releases = 1 }]\n[fields]\n");
    let ended = ci_images(&project, &["diff", "--facts", "facts.toml"]).code(0);
    ended.prints(&["supported, the latest release", "next publication"]);
    project.write("facts.toml", "url = 1\n");
    ci_images(&project, &["diff", "--facts", "facts.toml"]).code(2).says(&["--facts: `facts.toml`"]);
}
