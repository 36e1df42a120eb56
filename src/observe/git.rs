//! Which commit the files of a scenario are from, asked of `git` where it is installed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// A repository on a slow disk must not hold up a benchmark.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The state of a scenario in its repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitState {
    /// Commit that is checked out, full hash.
    pub commit: String,
    /// Whether any input file differs from that commit or is not part of it.
    pub dirty: bool,
}

/// The commit of `files`: a scenario, its bases and the files it names. `None` without `git`, outside a
/// repository, before the first commit, or when `git` takes longer than five seconds.
pub async fn state_of(files: &[PathBuf]) -> Option<GitState> {
    tokio::time::timeout(TIMEOUT, ask(files)).await.ok().flatten()
}

async fn ask(files: &[PathBuf]) -> Option<GitState> {
    let files: Vec<PathBuf> = files.iter().map(|file| file.canonicalize()).collect::<Result<_, _>>().ok()?;
    let folder = files.first()?.parent()?;
    let top = git(folder, &["rev-parse", "--show-toplevel"], &[]).await?;
    let top = Path::new(top.trim_end_matches(['\r', '\n'])).canonicalize().ok()?;
    let commit = git(&top, &["rev-parse", "--verify", "HEAD^{commit}"], &[]).await?.trim().to_owned();
    let (inside, outside): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.starts_with(&top));
    // `--ignored`: a file that the repository ignores is not in the commit either.
    let arguments = ["status", "--porcelain", "--untracked-files=all", "--ignored=matching", "--"];
    let changes = git(&top, &arguments, &inside).await?;
    Some(GitState { commit, dirty: !outside.is_empty() || !changes.trim().is_empty() })
}

/// What `git` prints; `None` when it fails.
async fn git(folder: &Path, arguments: &[&str], files: &[&PathBuf]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).args(files);
    // No lock on a repository that somebody else works in; file names are names, not patterns.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_LITERAL_PATHSPECS", "1").env("GIT_TERMINAL_PROMPT", "0");
    // Inside a hook these would point at the repository of the hook.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn run(folder: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        git(folder, &[&identity[..], arguments].concat(), &[]).await.unwrap();
    }

    /// A repository with one commit of `scenario.toml` and `data.json`.
    async fn repository() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet"], &[]).await?;
        fs::write(folder.path().join("scenario.toml"), "schema = 1\n").unwrap();
        fs::write(folder.path().join("data.json"), "[]\n").unwrap();
        fs::write(folder.path().join(".gitignore"), "ignored.json\n").unwrap();
        run(folder.path(), &["add", "--all"]).await;
        run(folder.path(), &["commit", "--quiet", "--message", "first"]).await;
        Some(folder)
    }

    #[tokio::test]
    async fn clean_changed_untracked_ignored_and_foreign_files() {
        let Some(repository) = repository().await else { return eprintln!("skipped: no git") };
        let folder = repository.path();
        let (scenario, data) = (folder.join("scenario.toml"), folder.join("data.json"));
        // `ask`: a busy machine may need longer than the limit of `state_of`.
        let clean = ask(&[scenario.clone(), data.clone()]).await.unwrap();
        assert_eq!((clean.commit.len(), clean.dirty), (40, false));

        fs::write(folder.join("other.toml"), "not an input\n").unwrap();
        assert_eq!(ask(&[scenario.clone(), data.clone()]).await, Some(clean.clone()), "other files do not matter");
        assert!(ask(&[folder.join("other.toml")]).await.unwrap().dirty, "untracked");

        fs::write(folder.join("ignored.json"), "[]\n").unwrap();
        assert!(ask(&[scenario.clone(), folder.join("ignored.json")]).await.unwrap().dirty, "ignored");

        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        assert!(ask(&[scenario.clone(), elsewhere.path().to_owned()]).await.unwrap().dirty, "not in the repository");

        fs::write(&data, "[1]\n").unwrap();
        assert_eq!(ask(&[scenario.clone(), data]).await, Some(GitState { dirty: true, ..clean.clone() }));
        assert_eq!(ask(&[scenario]).await, Some(clean));
    }

    #[tokio::test]
    async fn outside_a_repository_there_is_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("scenario.toml");
        assert_eq!(state_of(std::slice::from_ref(&scenario)).await, None, "a missing file");
        fs::write(&scenario, "schema = 1\n").unwrap();
        assert_eq!(state_of(&[scenario]).await, None);
        assert_eq!(state_of(&[]).await, None);
    }
}
