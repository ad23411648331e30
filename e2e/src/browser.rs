//! A real browser: Debian's Chromium, driven through its own driver.
use std::process::Command;

use tempfile::TempDir;
use thirtyfour::error::WebDriverResult;
use thirtyfour::{By, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WebElement};

use crate::process::{Process, free_port};
use crate::server::{Server, http_client};
use crate::wait::until;

/// It asks nobody outside this machine anything.
const OPTIONS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1280,900",
];

/// A running browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: WebDriver,
    _process: Process,
    _folder: TempDir,
}

impl Browser {
    /// Returns once the window is there.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", folder.path());
        let process = Process::start("chromedriver", &mut command, folder.path());
        let (http, url) = (http_client(), format!("http://127.0.0.1:{port}"));
        let status = format!("{url}/status");
        until("chromedriver answers", || async { http.get(&status).send().await.ok() }).await;
        let mut capabilities = DesiredCapabilities::chrome();
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        for option in OPTIONS.iter().copied().chain([profile.as_str()]) {
            capabilities.add_arg(option).expect("an option is a string");
        }
        let driver = WebDriver::new(&url, capabilities).await.expect("Chromium starts");
        Self { driver, _process: process, _folder: folder }
    }

    /// Logs in to the dashboard as a person would, with an admin's token for a password.
    pub async fn sign_in(&self, server: &Server) {
        self.open(&server.url("/")).await;
        let password = self.element("input[type=password]").await;
        self.element("input[name=name]").await.send_keys("e2e").await.expect("a name can be typed");
        password.send_keys(server.token()).await.expect("a password can be typed");
        self.element("form button").await.click().await.expect("the form can be sent");
        until("the dashboard opens", || async {
            let gone = self.driver.find(By::Css("input[type=password]")).await.is_err();
            gone.then_some(())
        })
        .await;
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect("the page loads");
    }

    /// The element, once it is there and shown.
    pub async fn element(&self, css: &str) -> WebElement {
        until(&format!("{css} on the page"), || async {
            let element = self.driver.find(By::Css(css)).await.ok()?;
            element.is_displayed().await.ok().filter(|shown| *shown).map(|_| element)
        })
        .await
    }

    /// The first button or link whose words contain these, once it is there and shown.
    pub async fn control(&self, words: &str) -> WebElement {
        let path = format!("//*[self::button or self::a][contains(normalize-space(.), '{words}')]");
        until(&format!("a control {words:?}"), || async {
            let element = self.driver.find(By::XPath(path.as_str())).await.ok()?;
            element.is_displayed().await.ok().filter(|shown| *shown).map(|_| element)
        })
        .await
    }

    /// What a person can read on the page now.
    pub async fn text(&self) -> String {
        let text: WebDriverResult<String> =
            async { self.driver.find(By::Tag("body")).await?.text().await }.await;
        text.unwrap_or_default()
    }

    /// Waits until a person can read these words, in capitals or not.
    pub async fn shows(&self, words: &str) {
        until(&format!("the page shows {words:?}"), || async {
            self.text().await.to_lowercase().contains(&words.to_lowercase()).then_some(())
        })
        .await;
    }

    /// Leaves a mark in the page that a reload would wipe out.
    pub async fn mark(&self) {
        self.driver.execute("window.mark = 'kept'", Vec::new()).await.expect("the page runs scripts");
    }

    /// Whether the mark is still there.
    pub async fn is_same_page(&self) -> bool {
        let answer = self.driver.execute("return window.mark === 'kept'", Vec::new()).await;
        answer.is_ok_and(|answer| answer.json() == &serde_json::Value::Bool(true))
    }

    /// Where it is now.
    pub async fn address(&self) -> String {
        self.driver.current_url().await.map(|url| url.to_string()).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its driver's process group. To quit it politely would block this thread, which is the one
        // that has to send the request.
        let _ = self.driver.clone().leak();
    }
}
