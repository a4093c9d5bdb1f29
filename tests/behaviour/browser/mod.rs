//! A headless Chromium, driven by the WebDriver protocol (W3C) through Debian's chromium-driver.
//!
//! Each browser has an empty profile of its own, and what it asks for is in its log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DRIVER: &str = "/usr/bin/chromedriver";
const CHROMIUM: &str = "/usr/bin/chromium";
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
];
/// The key of an element's id (WebDriver, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window; it ends when this is dropped.
pub struct Browser {
    driver: Child,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// When Chromium or its driver is missing: tests that need it are never skipped.
    pub fn start() -> Self {
        for program in [DRIVER, CHROMIUM] {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: `dev/prepare --tests` installs Debian's chromium and chromium-driver"
            );
        }
        let mut driver = Command::new(DRIVER)
            .args(["--port=0", "--log-level=WARNING"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .filter_map(|line| {
                line.split("successfully on port ").nth(1).map(|p| p.trim_matches('.').to_owned())
            })
            .next()
            .expect("chromedriver says its port");
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self {
            driver,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let directory = format!("--user-data-dir={}", browser._profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().copied().chain([directory.as_str()]).collect();
        let made = browser.ask(
            reqwest::Method::POST,
            "",
            json!({ "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "binary": CHROMIUM, "args": flags },
                "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            } } }),
        );
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        // The page that a new window shows is of no interest.
        browser.open("about:blank");
        browser.console();
        browser.requests();
        browser
    }

    #[track_caller]
    fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let answer = self.attempt(method, path, body).unwrap();
        let error = &answer["value"]["error"];
        assert!(error.is_null(), "{path}: {:#}", answer["value"]);
        answer["value"].clone()
    }

    fn attempt(&self, method: reqwest::Method, path: &str, body: Value) -> Result<Value, reqwest::Error> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.session));
        if method == reqwest::Method::POST {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let request = request.timeout(Duration::from_secs(60));
        let text = self.runtime.block_on(async { request.send().await?.text().await })?;
        Ok(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}")))
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        self.ask(reqwest::Method::POST, path, body)
    }

    /// Opens an address and waits until the page is there.
    #[track_caller]
    pub fn open(&self, address: &str) {
        self.post("/url", json!({ "url": address }));
    }

    /// The address of what is shown.
    #[track_caller]
    pub fn address(&self) -> String {
        self.ask(reqwest::Method::GET, "/url", Value::Null).as_str().unwrap().to_owned()
    }

    /// What a function's body returns in the page.
    #[track_caller]
    pub fn evaluate(&self, body: &str) -> Value {
        self.post("/execute/sync", json!({ "script": body, "args": [] }))
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks the first element that a CSS selector means, as a user would: it must be in sight.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Types into the first element that a CSS selector means; `\u{E007}` is Enter (WebDriver, 17.4.2).
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// The rendered text of the first element that a CSS selector means.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        let text = self.ask(reqwest::Method::GET, &format!("/element/{element}/text"), Value::Null);
        text.as_str().unwrap().to_owned()
    }

    /// Waits until a function's body returns true.
    #[track_caller]
    pub fn wait_until(&self, body: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.evaluate(body) != Value::Bool(true) {
            assert!(Instant::now() < end, "`{body}` never became true");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the page and the browser wrote to the console since last asked, errors of policy included.
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" }));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// Addresses that were asked for since last asked.
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "performance" }));
        let events = entries.as_array().unwrap().iter();
        events
            .map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap())
            .filter(|event| event["message"]["method"] == "Network.requestWillBeSent")
            .map(|event| event["message"]["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; the driver alone would leave it behind.
        let _ = self.attempt(reqwest::Method::DELETE, "", Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
