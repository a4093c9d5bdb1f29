//! The envelope that every answer comes in, and the configuration inside.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::ApiError;

/// Longest text of a server that is repeated, in characters.
const LONGEST: usize = 300;

/// Field -> value. A value is an image as a rule; whatever else it is, is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// All fields, known or not.
    pub fields: BTreeMap<String, Value>,
}

impl Config {
    /// The image of a field, where its value is a text that is not empty.
    pub fn image(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// Out of an envelope's `data`: none, null and `{}` say that nothing is set.
    pub(super) fn of(data: Option<Value>) -> Result<Self, String> {
        match data {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(Value::Object(fields)) => Ok(Self { fields: fields.into_iter().collect() }),
            Some(other) => {
                Err(format!("its `data` is no table of fields: {}", shortened(&other.to_string())))
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Envelope {
    status: Option<String>,
    data: Option<Value>,
    code: Option<Value>,
    message: Option<String>,
    detailed_message: Option<String>,
    correlation_id: Option<String>,
    response_messages: Vec<ResponseMessage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseMessage {
    code: Option<Value>,
    message: Option<String>,
}

/// What an answer holds, or what it says is wrong. `action` is e.g. "read the default images".
pub(super) fn open(action: &str, status: u16, body: &str) -> Result<Option<Value>, ApiError> {
    let failed = |why: &str, help: &str| ApiError::new(format!("failed to {action}: {why}"), help);
    let envelope: Envelope = match serde_json::from_str(body) {
        Ok(envelope) => envelope,
        Err(_) if (200..300).contains(&status) => {
            let why = format!("the server answered {status}, but no JSON of the API: {}", excerpt(body));
            return Err(failed(
                &why,
                "check --url: it is the gateway of the API, e.g. `https://app.harness.io/gateway`",
            ));
        }
        Err(_) => {
            return Err(failed(&format!("the server answered {status}: {}", excerpt(body)), remedy(status)));
        }
    };
    if (200..300).contains(&status) && envelope.status.as_deref() == Some("SUCCESS") {
        return Ok(envelope.data);
    }
    Err(failed(&envelope.words(status), remedy(status)))
}

impl Envelope {
    /// Code, message and correlation id in one line.
    fn words(&self, status: u16) -> String {
        let first = self.response_messages.iter().find(|m| m.message.is_some());
        let code = self.code.as_ref().or(first.and_then(|m| m.code.as_ref()));
        let code = match code {
            Some(Value::String(code)) => Some(code.clone()),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        };
        let message = self.message.as_ref().or(first.and_then(|m| m.message.as_ref()));
        let mut words = format!("the server answered {status}");
        if let Some(state) = self.status.as_deref().filter(|state| *state != "SUCCESS") {
            words.push_str(&format!(" {state}"));
        }
        if let Some(code) = code {
            words.push_str(&format!(", code {}", shortened(&code)));
        }
        if let Some(message) = message {
            words.push_str(&format!(": {}", shortened(message)));
        }
        if let Some(detail) = self.detailed_message.as_ref().filter(|detail| Some(*detail) != message) {
            words.push_str(&format!(" ({})", shortened(detail)));
        }
        if let Some(id) = &self.correlation_id {
            words.push_str(&format!(" [correlation id {}]", shortened(id)));
        }
        words
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "check the key or token, its expiry, its rights on CI's configuration, and the account id"
        }
        404 => "check --url and the account id",
        408 | 429 | 500..=599 => "run again later; tell the server's operator the correlation id",
        _ => "correct the request; the correlation id finds it in the server's logs",
    }
}

fn excerpt(body: &str) -> String {
    if body.trim_start().starts_with('<') { "a web page".to_owned() } else { shortened(body) }
}

/// One line of at most so many characters.
fn shortened(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "nothing".to_owned();
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(body: &str) -> Config {
        Config::of(open("read", 200, body).unwrap()).unwrap()
    }

    #[test]
    fn data_may_be_full_empty_null_or_missing() {
        for body in [
            r#"{"status":"SUCCESS","data":{},"metaData":null,"correlationId":"11ce"}"#,
            r#"{"status":"SUCCESS","data":null}"#,
            r#"{"status":"SUCCESS"}"#,
        ] {
            assert_eq!(config(body), Config::default());
        }
        let full = config(
            r#"{"status":"SUCCESS","data":{"addonTag":"harness/ci-addon:1","odd":{"a":1},"none":null}}"#,
        );
        assert_eq!((full.fields.len(), full.image("addonTag")), (3, Some("harness/ci-addon:1")));
        assert_eq!((full.image("odd"), full.image("none"), full.image("other")), (None, None, None));
        assert!(Config::of(Some(Value::from("x"))).is_err());
    }

    #[test]
    fn errors_say_code_message_and_correlation_id() {
        let body = r#"{"status":"ERROR","code":"INVALID_REQUEST","message":"Invalid infra","correlationId":"c-1","detailedMessage":null,"responseMessages":[{"code":"X","level":"ERROR","message":"other"}]}"#;
        let error = open("read the default images", 400, body).unwrap_err();
        assert_eq!(
            error.message,
            "failed to read the default images: the server answered 400 ERROR, code INVALID_REQUEST: Invalid infra [correlation id c-1]"
        );
        let body = r#"{"metaData":null,"responseMessages":[{"code":"INVALID_TOKEN","message":"Token is not valid"}]}"#;
        let error = open("x", 401, body).unwrap_err();
        assert!(
            error.message.ends_with("401, code INVALID_TOKEN: Token is not valid")
                && error.help.contains("key")
        );
        for (status, body) in
            [(502, "<html>bad gateway</html>"), (200, "<html>log in</html>"), (200, ""), (200, "{}")]
        {
            assert!(open("x", status, body).is_err(), "{status} {body}");
        }
        assert!(
            open("x", 200, r#"{"status":"FAILURE","message":"no"}"#)
                .unwrap_err()
                .message
                .contains("FAILURE: no")
        );
    }
}
