use reqwest::{Method, Response};
use updraft_server::access::Role;
use updraft_server::actor::Actor;

use super::test_server::{TestServer, image};

struct Browser<'a> {
    server: &'a TestServer,
    cookie: String,
}

impl Browser<'_> {
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path, &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self
            .server
            .nobody()
            .request(Method::GET, path)
            .header("cookie", &self.cookie)
            .header("accept", "text/html");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn submit(&self, path: &str, body: &str, fragment: bool) -> Response {
        let mut request = self
            .server
            .nobody()
            .request(Method::POST, path)
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin");
        request = request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
        if fragment {
            request = request.header("x-updraft-fragment", "1");
        }
        request.send().await.unwrap()
    }
}

async fn browser(server: &TestServer) -> Browser<'_> {
    Browser { server, cookie: server.session().await }
}

#[tokio::test]
async fn pages_lead_to_the_log_in_and_back() {
    let server = TestServer::open().await;
    for (path, to) in [("/", "/login"), ("/releases?new=1", "/login?next=%2Freleases%3Fnew%3D1")] {
        let answer = server.nobody().get(path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, to));
    }
    let login = server.nobody().get("/login").await;
    assert_eq!(login.status(), 200);
    assert!(login.text().await.unwrap().contains("Password or token"));
    let guess = server.nobody().request(Method::POST, "/login");
    let guess = guess.header("content-type", "application/x-www-form-urlencoded").body("key=guess");
    let bad_link = guess.send().await.unwrap();
    assert_eq!(bad_link.status(), 401);
    assert!(!bad_link.text().await.unwrap().contains("guess"));
    let first = server.running.first_login().unwrap();
    let body = format!("name={}&password={}&next=%2Freleases", first.user, first.password);
    let enter = server
        .nobody()
        .request(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = enter.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (303, "/releases")
    );
}

#[tokio::test]
async fn a_login_link_works_once_and_only_by_its_button() {
    let server = TestServer::open().await;
    let link = server.running.login_link().unwrap();
    let at = format!("{}?{}", link.path(), link.query().unwrap());
    for _ in 0..3 {
        let page = server.nobody().get(&at).await;
        assert!(page.status() == 200 && !page.headers().contains_key("set-cookie"));
        assert!(page.text().await.unwrap().contains("type=\"submit\""));
    }
    let click = async |site| {
        let click = server.nobody().request(Method::POST, "/login").header("sec-fetch-site", site);
        let form = click.header("content-type", "application/x-www-form-urlencoded");
        form.body(link.query().unwrap().to_owned()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(click("cross-site").await, 403, "nobody is logged in by a foreign page");
    assert_eq!(click("same-origin").await, 303);
    assert_eq!(click("same-origin").await, 401);
}

#[tokio::test]
async fn no_page_shows_what_moves_a_cursor_or_reverses_text() {
    let server = TestServer::open().await;
    let page = server.nobody().get("/login?key=a%1B%5B2J%C2%9B%E2%80%AEb%E2%81%A6c%00").await;
    let length = page.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
    let page = page.text().await.unwrap();
    assert!(page.contains("value=\"a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}\""), "{page}");
    assert!(length.is_none_or(|length| length == page.len().to_string()));
}

#[tokio::test]
async fn every_page_forbids_inline_scripts_and_has_none() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    for path in [
        "/",
        "/releases",
        "/rollouts",
        "/releases/lamp/rollout",
        "/audit",
        "/not-admitted",
        "/login",
        "/devices/nobody",
        "/rollouts/1",
        "/nothing",
    ] {
        let answer = browser.get(path, &[]).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(
            policy.contains("default-src 'self'")
                && policy.contains("frame-ancestors 'none'")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        let html = answer.text().await.unwrap();
        assert!(html.starts_with("<!DOCTYPE html>"), "{path}: {html}");
        for inline in ["<script>", " onclick=", " style=", "<style"] {
            assert!(!html.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn assets_are_kept_by_browsers_under_names_that_change_with_them() {
    let server = TestServer::open().await;
    let html = server.nobody().get("/login").await.text().await.unwrap();
    for ending in [".css", ".js", ".svg"] {
        let end = html.find(ending).unwrap() + ending.len();
        let begin = html[..end].rfind("/assets/").unwrap();
        let answer = server.nobody().get(&html[begin..end]).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        let etag = answer.headers()["etag"].clone();
        let again = server
            .nobody()
            .request(Method::GET, &html[begin..end])
            .header("if-none-match", etag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304);
    }
    assert_eq!(server.nobody().get("/assets/updraft-0.css").await.status(), 404);
}

#[tokio::test]
async fn an_empty_server_says_what_to_do_next() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    assert!(browser.page("/").await.contains("updraft device add"));
    assert!(browser.page("/releases").await.contains("updraft publish"));
}

#[tokio::test]
async fn a_device_is_added_checked_and_removed_with_plain_forms() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    let added = browser.submit("/devices", "id=d1&product=lamp", false).await;
    assert_eq!(added.status(), 200);
    let added = added.text().await.unwrap();
    for word in ["MQTT password", "devices/d1/ota<", "devices/d1/ota/status<", "devices/d1/version<"] {
        assert!(added.contains(word), "{word}: {added}");
    }
    let list = browser.page("/").await;
    assert!(list.contains("Check update for d1\" disabled"), "it was never seen: {list}");
    let page = browser.page("/devices/d1").await;
    assert!(page.contains("d1") && page.contains("unknown") && page.contains("Check update"));
    let checked = browser.submit("/devices/d1/check", "", false).await;
    assert_eq!(
        (checked.status().as_u16(), checked.headers()["location"].to_str().unwrap()),
        (303, "/devices/d1")
    );
    let flash = super::test_server::cookie(&checked);
    let shown = browser.get("/devices/d1", &[("cookie", &flash)]).await.text().await.unwrap();
    assert!(shown.contains("Version not known yet"), "{shown}");
    let removed = browser.submit("/devices/d1/remove", "", false).await;
    assert_eq!(removed.headers()["location"], "/");
    assert_eq!(browser.get("/devices/d1", &[]).await.status(), 404);
}

#[tokio::test]
async fn the_script_gets_answers_and_fragments_without_the_frame() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    browser.submit("/devices", "id=d1&product=lamp", false).await;
    let answer = browser.submit("/devices/d1/check", "", true).await;
    assert_eq!(answer.status(), 200);
    let html = answer.text().await.unwrap();
    assert!(html.starts_with("<div class=\"notice warn\""), "{html}");
    let all = browser.submit("/devices/check", "id=d1&id=gone&id=a%2Fb", true).await.text().await.unwrap();
    assert!(all.contains("Checked 1 device") && all.contains("1 unknown version"), "{all}");
    let part = browser.get("/", &[("x-updraft-fragment", "1")]).await.text().await.unwrap();
    assert!(part.contains("id=\"row-d1\"") && !part.contains("<html"), "{part}");
    let gone = browser.submit("/devices/d1/remove", "", true).await;
    assert_eq!(gone.headers()["x-updraft-go"], "/");
    let nobody =
        server.nobody().request(Method::GET, "/").header("x-updraft-fragment", "1").send().await.unwrap();
    assert_eq!(nobody.status(), 401, "so that the script goes to the log in");
}

#[tokio::test]
async fn releases_are_promoted_blocked_and_unblocked_with_forms() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    let ci = server.actor(Role::Ci).await;
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(
            ci.publish(&format!("version={version}&notes=%3Cb%3Ebold%3C/b%3E"), image(version))
                .await
                .status(),
            201
        );
    }
    let page = browser.page("/releases/lamp").await;
    assert!(
        page.contains("Nothing") && page.contains("&lt;b&gt;bold&lt;/b&gt;") && !page.contains("<b>bold"),
        "text is escaped"
    );
    let said = |html: String, what: &str| assert!(html.contains(what), "{html}");
    said(
        browser.submit("/releases/lamp/promote", "version=1.1.0", true).await.text().await.unwrap(),
        "1.1.0 is in production",
    );
    said(
        browser.submit("/releases/lamp/block", "version=1.0.0&reason=", true).await.text().await.unwrap(),
        "Say why",
    );
    said(
        browser
            .submit("/releases/lamp/block", "version=1.0.0&reason=loops", true)
            .await
            .text()
            .await
            .unwrap(),
        "1.0.0 is blocked",
    );
    said(
        browser.submit("/releases/lamp/promote", "version=1.0.0", true).await.text().await.unwrap(),
        "1.0.0 is blocked: loops; it cannot be promoted; unblock it first",
    );
    let page = browser.page("/releases/lamp").await;
    assert!(page.contains("loops") && page.contains("Unblock 1.0.0?"));
    assert!(page.contains("Production points to this version: promote another one afterwards"));
    let next = "Nothing is offered until another version is promoted.";
    assert!(!page.contains(next));
    browser.submit("/releases/lamp/block", "version=1.1.0&reason=hangs", true).await;
    let page = browser.page("/releases/lamp").await;
    assert!(page.contains(next) && page.contains("it is offered to devices again from now on"));
    said(
        browser.submit("/releases/lamp/unblock", "version=1.0.0", true).await.text().await.unwrap(),
        "not blocked any more",
    );
    assert_eq!(browser.get("/releases/nothing", &[]).await.status(), 404);
}

#[tokio::test]
async fn an_unreadable_blocked_list_is_on_top_of_the_page() {
    let server = TestServer::open().await;
    let browser = browser(&server).await;
    assert_eq!(server.actor(Role::Ci).await.publish("version=1.0.0", image("1.0.0")).await.status(), 201);
    let folder = server.folder.path().join("store/lamp/rollback");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("blocked_versions.json"), "1.1.0").unwrap();
    browser.submit("/releases/lamp/refresh", "", true).await;
    assert!(browser.page("/releases/lamp").await.contains("Every version is blocked"));
}

#[tokio::test]
async fn a_viewer_sees_and_cannot_change() {
    let server = TestServer::open().await;
    server.session().await;
    let viewer = server.actor(Role::Viewer).await;
    let page = viewer.get("/").await.text().await.unwrap();
    assert!(page.contains("Viewer") && !page.contains("Add device"));
    let post = viewer
        .request(Method::POST, "/devices")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("id=d1");
    assert_eq!(post.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn an_announcement_goes_with_the_update_that_it_announced() {
    let server = TestServer::open().await;
    let ci = server.actor(Role::Ci).await;
    assert_eq!(ci.publish("version=1.1.0&promote=production", image("1.1.0")).await.status(), 201);
    let services = server.running.services();
    let id = "d1".parse().unwrap();
    let registered =
        services.devices.register(&Actor::SERVER, &id, Some(&"lamp".parse().unwrap())).await.unwrap();
    let browser = browser(&server).await;
    assert!(!browser.page("/devices/d1").await.contains("data-ended"));
    let port = server.running.mqtt_addr().unwrap().port().to_string();
    let login = ["-h", "127.0.0.1", "-p", &port, "-u", "d1", "-P", &registered.mqtt_password];
    let said = tokio::process::Command::new("mosquitto_pub")
        .args(login)
        .args(["-q", "1", "-t", "devices/d1/version", "-m", "1.0.0"])
        .status()
        .await
        .expect("install mosquitto-clients");
    assert!(said.success());
    server
        .until("the version is known", async || services.devices.show(&id).await.unwrap().version.is_some())
        .await;

    let offered = browser.submit("/devices/d1/check", "force=true", true).await.text().await.unwrap();
    assert!(offered.contains("Update offered"), "{offered}");
    let update = services.devices.show(&id).await.unwrap().update.unwrap().id;
    assert!(offered.contains(&format!("data-update=\"{update}\"")), "{offered}");
    assert!(!browser.page("/devices/d1").await.contains("data-ended"));
    services.updates.cancel(&Actor::SERVER, update).await.unwrap();
    for path in ["/devices/d1", "/"] {
        assert!(browser.page(path).await.contains(&format!("data-ended=\"{update}\"")), "{path}");
    }
}
