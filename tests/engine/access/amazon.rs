//! Amazon ECR: signing in, roles, repositories; ECR and STS as moto plays them (`dev/moto`), the
//! registries behind are real ones that want the password moto gives.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::servers::{Running, assert_secret, crane, free_port, htpasswd, project, start};
use crate::project::registry::setting;
use crate::support::server as files;

/// What moto gives as the password of an account's registries.
const OF_ROLE: &str = "012345678901-auth-token";
const OF_USER: &str = "123456789012-auth-token";

fn moto() -> Running {
    let program = Path::new(&setting("RAILYARD_DEV_STATE")).join("moto/bin/moto_server");
    assert!(program.is_file(), "{} is missing: run dev/up", program.display());
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    command.env("MOTO_RECORDER_FILEPATH", directory.path().join("recording")).current_dir(directory.path());
    start(&mut command, port, directory)
}

/// What moto was sent: headers and body of each request.
fn recorded(moto: &Running) -> Vec<String> {
    let text = std::fs::read_to_string(moto.directory.path().join("recording")).unwrap();
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let body = |request: &Value| {
        let text = request["body"].as_str().unwrap_or_default();
        match request["body_encoded"] == true {
            true => String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
            false => text.to_owned(),
        }
    };
    requests.map(|request| format!("{} {}", request["headers"], body(&request))).collect()
}

/// Runs a script with boto3 in it; `endpoint` is moto.
#[track_caller]
fn boto(moto: &Running, script: &str) -> String {
    let python = Path::new(&setting("RAILYARD_DEV_STATE")).join("moto/bin/python");
    let begin = format!(
        "import boto3, json, os, urllib.request\nendpoint = 'http://{}'\n\
         def client(name, region='eu-central-1', **keys):\n    \
         keys = keys or dict(aws_access_key_id='setup', aws_secret_access_key='setup')\n    \
         return boto3.client(name, region_name=region, endpoint_url=endpoint, **keys)\n\
         def post(path, body=''):\n    \
         urllib.request.urlopen(urllib.request.Request(endpoint + path, body.encode(), {{'Content-Type': 'text/plain'}}, method='POST')).read()\n",
        moto.host
    );
    let output = Command::new(python).args(["-c", &(begin + script)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A user with keys who may assume a role in another account, which may use ECR there. From then on
/// signatures and rights are checked. Prints the keys.
const RIGHTS: &str = r#"
def allow(*actions):
    statement = dict(Effect='Allow', Action=list(actions), Resource='*')
    return json.dumps(dict(Version='2012-10-17', Statement=[statement]))
trust = json.dumps(dict(Version='2012-10-17', Statement=[dict(Effect='Allow', Principal=dict(AWS='*'), Action='sts:AssumeRole')]))
role = 'arn:aws:iam::012345678901:role/push'
first = client('sts').assume_role(RoleArn=role, RoleSessionName='setup')['Credentials']
there = dict(aws_access_key_id=first['AccessKeyId'], aws_secret_access_key=first['SecretAccessKey'], aws_session_token=first['SessionToken'])
iam = client('iam', **there)
iam.create_role(RoleName='push', AssumeRolePolicyDocument=trust)
iam.put_role_policy(RoleName='push', PolicyName='ecr', PolicyDocument=allow('ecr:*'))
iam = client('iam')
iam.create_user(UserName='ci')
iam.put_user_policy(UserName='ci', PolicyName='ecr', PolicyDocument=allow('ecr:*', 'sts:AssumeRole'))
keys = iam.create_access_key(UserName='ci')['AccessKey']
post('/moto-api/recorder/start-recording')
post('/moto-api/reset-auth', '0')
print(json.dumps([keys['AccessKeyId'], keys['SecretAccessKey']]))
"#;

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "$ROLE/team"
destinations = ["$USER/team"]
[registries."$ROLE"]
credentials = { ecr = { account = "012345678901", region = "eu-central-1", endpoint = "http://$MOTO", role = "arn:aws:iam::012345678901:role/push", external_id = { env = "EXTERNAL_ID" } } }
create = true
lifecycle_policy = "policy.json"
existing_tags = "refuse"
[registries."$USER"]
credentials = { ecr = { region = "us-east-1" } }
create = true
[layers.text]
files = [{ path = "/text", content = "$TEXT" }]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["text"]
"#;

const POLICY: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}"#;

/// The repositories of an account, and the lifecycle policy of the first.
const REPOSITORIES: &str = r#"
post('/moto-api/reset-auth', 'inf')
def there(role, region):
    keys = client('sts').assume_role(RoleArn=role, RoleSessionName='look')['Credentials']
    return client('ecr', region, aws_access_key_id=keys['AccessKeyId'], aws_secret_access_key=keys['SecretAccessKey'], aws_session_token=keys['SessionToken'])
first = there('arn:aws:iam::012345678901:role/push', 'eu-central-1')
second = client('ecr', 'us-east-1')
names = lambda ecr: [[r['repositoryName'], r['registryId'], r['imageTagMutability']] for r in ecr.describe_repositories()['repositories']]
print(json.dumps([names(first), names(second), json.loads(first.get_lifecycle_policy(repositoryName='team/app')['lifecyclePolicyText'])]))
"#;

#[test]
fn a_role_with_an_external_id_and_ones_own_keys_serve_two_registries_in_one_run() {
    let moto = moto();
    let (role, user) = (htpasswd(&[("AWS", OF_ROLE)]), htpasswd(&[("AWS", OF_USER)]));
    let keys: Vec<String> = serde_json::from_str(&boto(&moto, RIGHTS)).unwrap();
    let mut project = project("");
    for (name, value) in [("ROLE", &role.host), ("USER", &user.host), ("MOTO", &moto.host)] {
        project.name(name, value);
    }
    project.write("builds.toml", &MANIFEST.replace("$TEXT", "one"));
    project.write("policy.json", POLICY);
    project.set("AWS_ENDPOINT_URL", &format!("http://{}", moto.host));
    project.set("AWS_ACCESS_KEY_ID", &keys[0]);
    project.set("EXTERNAL_ID", "external-id-of-test");
    project.set("AWS_SECRET_ACCESS_KEY", "not-the-secret-key");
    let wrong = project.run(&["build", "--push"]).code(3).says(&["answered 403"]);
    project.set("AWS_SECRET_ACCESS_KEY", &keys[1]);
    let (ended, _) = project.build(&["--push"], 0);
    let at_role = || crane(&role.host, "AWS", OF_ROLE, &["digest", &format!("{}/team/app:1", role.host)]);
    let at_user = || crane(&user.host, "AWS", OF_USER, &["digest", &format!("{}/team/app:1", user.host)]);
    let first = at_role().unwrap();
    assert_eq!(at_user(), Some(first.clone()));
    project.run(&["status", "--exit-code"]).code(0);

    // Another image: nothing moves at the one, the other is not reached.
    project.write("builds.toml", &MANIFEST.replace("$TEXT", "two"));
    project.run(&["build", "--push"]).code(1).says(&["must not move", &first]);
    assert_eq!((at_role(), at_user()), (Some(first.clone()), Some(first)));

    let found: Value = serde_json::from_str(&boto(&moto, REPOSITORIES)).unwrap();
    assert_eq!(found[0], serde_json::json!([["team/app", "012345678901", "IMMUTABLE"]]));
    assert_eq!(found[1], serde_json::json!([["team/app", "123456789012", "MUTABLE"]]));
    assert_eq!(found[2], serde_json::from_str::<Value>(POLICY).unwrap());
    let assumed = recorded(&moto).into_iter().find(|request| request.contains("Action=AssumeRole&"));
    assert!(assumed.is_some_and(|request| request.contains("ExternalId=external-id-of-test")));
    let said = [ended.out.as_str(), &ended.err, &wrong.err];
    assert_secret(
        &project,
        &said,
        &[OF_ROLE, OF_USER, &keys[1], "external-id-of-test", "not-the-secret-key"],
    );
}

#[test]
fn what_the_environment_lacks_is_said() {
    let moto = moto();
    let role = htpasswd(&[("AWS", OF_ROLE)]);
    let mut project = project("");
    for (name, value) in [("ROLE", &role.host), ("USER", &role.host), ("MOTO", &moto.host)] {
        project.name(name, value);
    }
    let manifest =
        MANIFEST.replace("destinations", "#").replace("\n[registries.\"$USER\"]", "\n[registries.\"x.y\"]");
    project.write("builds.toml", &manifest.replace("$TEXT", "one"));
    project.write("policy.json", POLICY);
    project.run(&["build", "--push"]).code(3).says(&[
        "external id",
        "`EXTERNAL_ID` is not set",
        "builds.toml:",
    ]);
    project.set("EXTERNAL_ID", "of-test");
    project.run(&["build", "--push"]).code(3).says(&["no AWS credentials", "AWS_ACCESS_KEY_ID"]);
}

/// Every place where AWS credentials may be, told apart by the key that requests are signed with.
#[test]
fn credentials_are_found_where_the_sdk_finds_them() {
    let moto = moto();
    let user = htpasswd(&[("AWS", OF_USER)]);
    boto(&moto, "post('/moto-api/recorder/start-recording')");
    let document = |key: &str| {
        format!(
            r#"{{"AccessKeyId":"{key}","SecretAccessKey":"secret-key-of-test","Token":"session-token-of-test"}}"#
        )
    };
    let server = files::serve([
        ("container", document("AKIACONTAINER").into_bytes()),
        ("latest/api/token", b"token".to_vec()),
        ("latest/meta-data/iam/security-credentials/", b"role-of-instance\n".to_vec()),
        ("latest/meta-data/iam/security-credentials/role-of-instance", document("AKIAINSTANCE").into_bytes()),
    ]);
    let manifest = MANIFEST.replace("\"$ROLE/team\"", "\"$USER/team\"").replace("destinations", "#");
    let manifest = manifest.replace("[registries.\"$ROLE\"]", "[registries.\"x.y\"]").replace("$TEXT", "one");
    for (kind, key) in [
        ("environment", "AKIAENVIRONMENT"),
        ("profile", "AKIAPROFILE"),
        ("container", "AKIACONTAINER"),
        ("instance", "AKIAINSTANCE"),
        ("web-identity", ""),
    ] {
        let mut project = project("");
        for (name, value) in [("ROLE", "x.y"), ("USER", &user.host), ("MOTO", &moto.host)] {
            project.name(name, value);
        }
        project.write("builds.toml", &manifest);
        project.write("policy.json", POLICY);
        project.set("AWS_ENDPOINT_URL", &format!("http://{}", moto.host));
        match kind {
            "environment" => {
                project.set("AWS_ACCESS_KEY_ID", key);
                project.set("AWS_SECRET_ACCESS_KEY", "secret-key-of-test");
                project.set("AWS_SESSION_TOKEN", "session-token-of-test");
            }
            "profile" => {
                std::fs::create_dir(project.path("home/.aws")).unwrap();
                let text =
                    format!("[ci]\naws_access_key_id = {key}\naws_secret_access_key = secret-key-of-test\n");
                project.write("home/.aws/credentials", &text);
                std::fs::rename(project.path("home/.aws/credentials"), project.path("home/.aws/secret"))
                    .unwrap();
                project
                    .set("AWS_SHARED_CREDENTIALS_FILE", project.path("home/.aws/secret").to_str().unwrap());
                project.set("AWS_PROFILE", "ci");
            }
            "container" => project.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{server}/container")),
            "instance" => {
                project.set("AWS_EC2_METADATA_DISABLED", "false");
                project.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server);
            }
            _ => {
                project.write("secret-token", "token-of-service-account\n");
                project.set("AWS_WEB_IDENTITY_TOKEN_FILE", project.path("secret-token").to_str().unwrap());
                project.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/irsa");
            }
        }
        let ended = project.run(&["build", "--push"]).code(0);
        let recorded = recorded(&moto).join("\n");
        match kind {
            "web-identity" => {
                assert!(recorded.contains("WebIdentityToken=token-of-service-account"), "{kind}")
            }
            _ => assert!(recorded.contains(&format!("Credential={key}/")), "{kind}"),
        }
        let secrets = ["secret-key-of-test", "session-token-of-test", "token-of-service-account", OF_USER];
        assert_secret(&project, &[&ended.out, &ended.err], &secrets);
    }
}
