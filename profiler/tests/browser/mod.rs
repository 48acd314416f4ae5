//! A headless Chromium, driven through chromedriver (WebDriver, <https://www.w3.org/TR/webdriver2/>).

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How WebDriver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Where the browser keeps its state and its log.
    profile: TempDir,
}

impl Browser {
    /// Starts one. Without chromedriver a test is skipped; in CI on Debian, which has it as a package, that is a failure.
    pub fn start() -> Option<Browser> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped());
        let Ok(mut driver) = command.stderr(Stdio::null()).spawn() else {
            let debian = std::fs::read_to_string("/etc/os-release")
                .is_ok_and(|text| text.lines().any(|line| line == "ID=debian"));
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(
                !(ci && debian),
                "CI skips no test: apt-get install chromium-driver"
            );
            eprintln!("skipped: there is no chromedriver");
            return None;
        };
        let output = BufReader::new(driver.stdout.take().unwrap());
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Browser {
            driver,
            port: port.unwrap(),
            session: String::new(),
            profile: tempfile::tempdir().unwrap(),
        };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--window-size=1200,900".to_owned(),
            "--enable-logging".to_owned(),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"performance": "ALL"},
        });
        let session = browser.call(
            "POST",
            "",
            &json!({"capabilities": {"alwaysMatch": capabilities}}),
        );
        browser.session = format!("/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Opens a file.
    pub fn open(&self, file: &Path) {
        // Not what the browser began with.
        self.call("POST", "/url", &json!({"url": "about:blank"}));
        self.requests();
        let url = format!("file://{}", file.canonicalize().unwrap().display());
        self.call("POST", "/url", &json!({"url": url}));
    }

    /// Runs a script in the page, or in the frame that was entered last, and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.call(
            "POST",
            "/execute/sync",
            &json!({"script": script, "args": []}),
        )
    }

    /// Waits until a script returns true.
    pub fn wait_for(&self, script: &str) {
        super::common::wait_for(script, || self.run(script) == true);
    }

    /// Clicks on the first element that a CSS selector finds.
    pub fn click(&self, selector: &str) {
        let id = self.find(selector);
        self.call("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Types into it.
    pub fn type_into(&self, selector: &str, text: &str) {
        let id = self.find(selector);
        self.call(
            "POST",
            &format!("/element/{id}/value"),
            &json!({"text": text}),
        );
    }

    /// Goes on in a frame, once a script returns true in it: until then it may be another document.
    pub fn enter(&self, selector: &str, ready: &str) {
        super::common::wait_for(ready, || {
            self.leave();
            let frame = json!({ELEMENT: self.find(selector)});
            self.call("POST", "/frame", &json!({"id": frame}));
            self.run(&format!("try {{ {ready} }} catch {{ return false }}")) == true
        });
    }

    /// Goes on in the page.
    pub fn leave(&self) {
        self.call("POST", "/frame", &json!({"id": null}));
    }

    /// Shows the page in another way: `[{"name": "prefers-color-scheme", "value": "dark"}]`.
    pub fn emulate(&self, media: Value) {
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": media}});
        self.call("POST", "/goog/cdp/execute", &command);
    }

    /// What the consoles of the page and of all frames said so far. WebDriver tells of the page's alone, the browser's log of each.
    pub fn console(&self) -> Vec<String> {
        const END: &str = "so far";
        self.run(&format!("console.log('{END}')"));
        let log = self.profile.path().join("chrome_debug.log");
        let read =
            || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        super::common::wait_for("the browser's log", || read().contains(END));
        let text = read();
        let said = text.lines().filter(|line| line.contains(":CONSOLE"));
        said.take_while(|line| !line.contains(END))
            .map(str::to_owned)
            .collect()
    }

    /// What was asked for since this was last asked: every address.
    pub fn requests(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({"type": "performance"}));
        let events = log.as_array().unwrap().iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let request = event["method"] == "Network.requestWillBeSent";
            request.then(|| {
                event["params"]["request"]["url"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
        });
        events.collect()
    }

    fn find(&self, selector: &str) -> String {
        let what = json!({"using": "css selector", "value": selector});
        let element = self.call("POST", "/element", &what);
        element[ELEMENT].as_str().unwrap().to_owned()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(super::common::FOREVER))
            .unwrap();
        write!(
            stream,
            "{method} /session{}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            body.len()
        )
        .unwrap();
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).unwrap();
            match line.to_lowercase().split_once("content-length:") {
                Some((_, value)) => length = value.trim().parse().unwrap(),
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        let mut content = vec![0; length];
        answer.read_exact(&mut content).unwrap();
        let answer: Value = serde_json::from_slice(&content).unwrap();
        let value = &answer["value"];
        assert!(
            value.get("error").is_none(),
            "{method} {path} {body}: {value}"
        );
        value.clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", "", &json!({}));
        }
        // Asked to end, it ends the browser too.
        let _ = Command::new("kill")
            .arg(self.driver.id().to_string())
            .status();
        let _ = self.driver.wait();
    }
}
