//! What is released and what is asked for are one thing, and a workflow runs no code that can change under it.
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use e2e::command::Said;
use e2e::workspace;

fn text(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The workflows of this project and of its examples.
fn workflows() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let examples = std::fs::read_dir(workspace().join("examples")).unwrap().flatten();
    let projects = examples.map(|entry| format!("examples/{}", entry.file_name().to_string_lossy()));
    for project in projects.chain([".".to_owned()]) {
        let folder = format!("{project}/.github/workflows");
        if !workspace().join(&folder).is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(workspace().join(&folder)).unwrap().flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            found.push((path.clone(), text(&path)));
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

/// What follows `word` on each line that has it.
fn after<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.split_once(word)).map(|(_, rest)| rest.trim())
}

#[test]
fn every_platform_that_the_action_asks_for_is_built() {
    let platforms = text("action/platforms");
    let asked: BTreeSet<(String, String)> = platforms
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [_, _, target, runner] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (target.to_owned(), runner.to_owned())
        })
        .collect();
    let workflow = text(".github/workflows/release.yml");
    let built: BTreeSet<(String, String)> = after(&workflow, "- { target: ")
        .map(|rest| rest.trim_end_matches(" }").split_once(", runner: ").expect("target, runner"))
        .map(|(target, runner)| (target.to_owned(), runner.to_owned()))
        .collect();
    assert_eq!(asked, built);
    assert!(asked.len() >= 5, "{asked:?}");
}

#[test]
fn actions_of_others_are_pinned_to_a_commit() {
    for (path, text) in workflows() {
        for used in after(&text, "uses: ").filter(|used| !used.starts_with("updraft-ota/updraft/")) {
            let (name, version) =
                used.split_once(" # v").unwrap_or_else(|| panic!("{path}: {used}: which version?"));
            let commit = name.split_once('@').map_or("", |(_, commit)| commit);
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{path}: {used}");
            assert_eq!(version.split('.').count(), 3, "{path}: {used}");
        }
    }
}

#[test]
fn a_workflow_has_no_rights_but_those_it_names() {
    for (path, text) in workflows() {
        assert!(
            text.contains("\npermissions:\n  contents: read\n"),
            "{path}: without permissions for all its jobs"
        );
        assert!(
            !text.contains("pull_request_target"),
            "{path}: would run anybody's code with this project's rights"
        );
        // In a script such a text would be run; in `env` and `with` it is a value.
        let scripts =
            text.split("run: ").skip(1).map(|rest| rest.split("\n      - ").next().unwrap_or_default());
        for script in scripts {
            let env = script.find("\n        env:").unwrap_or(script.len());
            assert!(!script[..env].contains("${{"), "{path}: an expression in a script: {script}");
        }
    }
}

#[test]
fn the_examples_use_the_action_of_this_version() {
    let manifest = text("Cargo.toml");
    let version = after(&manifest, "version = \"").next().unwrap().trim_end_matches('"');
    let mut seen = 0;
    for (path, text) in workflows() {
        for used in after(&text, "uses: updraft-ota/updraft/") {
            let (folder, tag) = used.split_once('@').unwrap();
            assert_eq!(tag, format!("v{version}"), "{path}");
            assert!(workspace().join(folder).join("action.yml").is_file(), "{path}: {used}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "the examples use it {seen} times");
}

/// A build runs everybody's code, and names the files that it leaves: none of them may take the place of another.
#[test]
fn what_a_build_left_lies_in_a_folder_of_its_own() {
    let mut seen = 0;
    for (path, text) in workflows().into_iter().filter(|(path, _)| path.starts_with("examples/")) {
        for step in
            text.split("\n      - ").filter(|step| step.starts_with("uses: actions/download-artifact@"))
        {
            let folder = after(step, "path: ").next();
            assert_eq!(folder, Some("firmware"), "{path}: {step}");
            seen += 1;
        }
        assert!(after(&text, "image: ").all(|image| image == "firmware/firmware.bin"), "{path}");
    }
    assert!(seen >= 4, "{seen} downloads");
}

/// What a release has is what is in its checksums, whatever other artifacts a run leaves.
#[test]
fn a_draft_takes_the_archives_and_their_checksums_and_nothing_else() {
    let workflow = text(".github/workflows/release.yml");
    let draft = workflow.split("\n  draft:\n").nth(1).expect("the job draft");
    let taken: Vec<&str> = after(draft, "pattern: ").collect();
    assert_eq!(taken, ["updraft-*-*-*"], "more than the archives of the targets");
    let platforms = text("action/platforms");
    for target in platforms.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split(' ').nth(2))
    {
        assert!(target.split('-').count() >= 3, "updraft-{target} is not taken by {taken:?}");
    }
    let created = draft.split("gh release create").nth(1).expect("the draft is created");
    let files: Vec<&str> = created.split_whitespace().filter(|word| word.starts_with("dist/")).collect();
    assert_eq!(files, ["dist/updraft-*.tar.gz", "dist/SHA256SUMS"]);
    // Docker's action uploads a record of the build as an artifact unless it is told not to.
    let image = workflow.split("\n  image:\n").nth(1).and_then(|rest| rest.split("\n  draft:\n").next());
    assert!(image.is_some_and(|job| job.contains("DOCKER_BUILD_RECORD_UPLOAD: \"false\"")));
}

async fn packaged(words: &[&str]) -> Said {
    let mut command = Command::new(workspace().join("scripts/package"));
    command.args(words);
    Said::by(command).await
}

#[tokio::test]
async fn checksums_are_those_of_the_archives() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    let program = Path::new("/bin/true").to_str().unwrap();
    packaged(&["x86_64-pc-windows-msvc", program, dist.to_str().unwrap()]).await.ok();
    packaged(&["aarch64-apple-darwin", program, dist.to_str().unwrap()]).await.ok();
    packaged(&["sparc-sun-solaris", program, dist.to_str().unwrap()]).await.refused(&["action/platforms"]);
    packaged(&["checksums", dist.to_str().unwrap()]).await.ok();
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dist);
    assert_eq!(Said::by(check).await.ok().out.lines().count(), 2);
    let mut list = Command::new("tar");
    list.arg("-tzf").arg(dist.join("updraft-x86_64-pc-windows-msvc.tar.gz"));
    let names = Said::by(list).await.ok().out;
    for name in ["updraft.exe", "LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
        assert!(names.lines().any(|line| line == name), "{name} is not in {names}");
    }
}

/// Git for Windows makes CRLF of LF unless it is told not to, and bash reads no script with CR in it.
#[tokio::test]
async fn the_windows_runner_gets_scripts_that_bash_reads() {
    for path in ["scripts/package", "action/release.sh", "action/platforms"] {
        let mut command = Command::new("git");
        command.args(["check-attr", "text", "--", path]).current_dir(workspace());
        assert_eq!(Said::by(command).await.ok().out.trim(), format!("{path}: text: unset"));
    }
}

#[tokio::test]
async fn the_image_is_made_of_the_archives_and_root_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (dist, context) = (folder.path().join("dist"), folder.path().join("context"));
    let (dist, context) = (dist.to_str().unwrap(), context.to_str().unwrap());
    packaged(&["x86_64-unknown-linux-musl", "/bin/true", dist]).await.ok();
    packaged(&["context", dist, context]).await.refused(&["updraft-aarch64-unknown-linux-musl.tar.gz"]);
    packaged(&["aarch64-unknown-linux-musl", "/bin/true", dist]).await.ok();
    packaged(&["context", dist, context]).await.ok();
    let recipe = text("Dockerfile");
    let copied: Vec<&str> = after(&recipe, "COPY ").filter_map(|rest| rest.split(' ').rev().nth(1)).collect();
    assert!(copied.len() >= 3, "{copied:?}");
    for source in copied {
        for arch in ["amd64", "arm64"] {
            let path = Path::new(context).join(source.replace("${TARGETARCH}", arch));
            assert!(path.exists(), "{source} is not in the context");
        }
    }
    let roots = std::fs::read_to_string(Path::new(context).join("ca-certificates.crt")).unwrap();
    let (count, ends) =
        (roots.matches("-----BEGIN CERTIFICATE-----").count(), roots.matches("-----END CERTIFICATE-----\n"));
    assert!(count > 80 && count == ends.count(), "{count} root certificates");
}

#[tokio::test]
async fn a_tag_that_is_not_this_version_is_not_released() {
    let notes = async |words: [&str; 2]| {
        let mut command = Command::new(workspace().join("scripts/release-notes"));
        command.args(words);
        Said::by(command).await
    };
    assert!(notes(["branch", "main"]).await.ok().out.contains("### Added"));
    notes(["tag", "v99.0.0"]).await.refused(&["v99.0.0", "Cargo.toml"]);
}
