//! Every relative link of the documents leads to a file, and to a heading of it where it names one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The documents: the overview, the guides, all of docs/.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "comhe/README.md", "tests/fixtures/README.md"].map(|path| root().join(path)).into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of documents") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The text outside fenced blocks, where brackets are code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)`, `![text](target)` and `src="target"`.
fn targets(text: &str) -> Vec<String> {
    let between = |open: &str, close: char| {
        let rest = text.split(open).skip(1);
        rest.filter_map(move |rest| rest.split_once(close)).map(|(target, _)| target.to_string()).collect()
    };
    let mut all: Vec<String> = between("](", ')');
    all.extend::<Vec<String>>(between("src=\"", '"'));
    all
}

/// The anchors that GitHub makes of headings: lower case, spaces to hyphens, nothing else but letters, digits, - and _.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(anchor).collect()
}

/// What is wrong with a link of `document`, if anything is.
fn problem(document: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { document.to_path_buf() } else { document.with_file_name(file) };
    if !path.exists() {
        return Some(format!("{}: {target} does not exist", document.display()));
    }
    let there =
        if file.is_empty() { text.to_string() } else { std::fs::read_to_string(&path).unwrap_or_default() };
    let known = anchor.is_empty() || anchors(&prose(&there)).contains(anchor);
    (!known).then(|| format!("{}: {target} names no heading", document.display()))
}

#[test]
fn relative_links_lead_somewhere() {
    let (mut links, mut problems) = (0, Vec::new());
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document");
        for target in targets(&prose(&text)) {
            links += 1;
            problems.extend(problem(&document, &text, &target));
        }
    }
    assert!(links > 50, "only {links} links were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_dead_link_is_noticed() {
    let readme = root().join("README.md");
    let wrong = |target: &str| problem(&readme, "# The parts\n", target);
    assert!(wrong("docs/no-such-page.md").is_some_and(|p| p.contains("does not exist")));
    assert!(wrong("#no-such-heading").is_some_and(|p| p.contains("names no heading")));
    assert_eq!(wrong("#the-parts"), None);
    assert_eq!(wrong("docs/data.md"), None);
    assert_eq!(targets("see [a](b.md), ![c](d.png) and <img src=\"e.svg\">"), ["b.md", "d.png", "e.svg"]);
    assert_eq!(prose("a\n```rust\nx[0](y)\n```\nb"), "a\nb");
}
