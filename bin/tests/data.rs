//! comhe data: what is known and whole, and downloads from a server on this machine.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{Ran, comhe_in, refuses, succeeds};

/// How the server treats a request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// All that is asked for.
    Whole,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Other bytes.
    Wrong,
    /// Not there.
    Missing,
}

/// A server of one file for `manners.len()` requests, of which it keeps the ranges. Its address.
fn server(data: Vec<u8>, manners: Vec<Manner>) -> (String, Arc<Mutex<Vec<Option<usize>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        for manner in manners {
            let (mut stream, _) = listener.accept().unwrap();
            let mut from = None;
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap().to_lowercase();
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse::<usize>().ok();
                }
                if line.is_empty() {
                    break;
                }
            }
            log.lock().unwrap().push(from);
            let start = from.unwrap_or(0);
            let mut body = data[start..].to_vec();
            let status = match (manner, from) {
                (Manner::Missing, _) => "404 Not Found".to_string(),
                (_, None) => "200 OK".into(),
                (_, Some(_)) => {
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                        data.len() - 1,
                        data.len()
                    )
                }
            };
            if manner == Manner::Wrong {
                body.iter_mut().for_each(|b| *b ^= 1);
            }
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let sent = if let Manner::Cut(n) = manner { n.min(body.len()) } else { body.len() };
            let _ = stream.write_all(head.as_bytes()).and_then(|_| stream.write_all(&body[..sent]));
        }
    });
    (address, seen)
}

/// KMNIST's real bytes are not here: these downloads end at the checksum at the latest. One that arrives is tested in
/// `src/download.rs`.
fn download(folder: &Path, address: &str) -> Ran {
    comhe_in(folder, &["data", "download", "kmnist", "--data-dir", ".", "--from", address])
}

#[test]
fn an_interrupted_transfer_goes_on_and_a_wrong_sum_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    // The right length with other bytes: everything happens but the last step.
    let (address, seen) =
        server(vec![7; 18_165_135], vec![Manner::Cut(1_000_000), Manner::Cut(5_000_000), Manner::Whole]);
    let ran = download(folder.path(), &address);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("the SHA-256 is") && ran.err.contains("it was thrown away"), "{}", ran.err);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0], None);
    assert!(seen[1].is_some_and(|from| from > 0 && from <= 1_000_000), "{seen:?}");
    assert!(seen[2] > seen[1] && seen[2] <= Some(6_000_000), "{seen:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("kmnist")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn what_is_there_is_kept_when_the_server_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = server(vec![7; 18_165_135], vec![Manner::Cut(2_000_000)]);
    let ran = download(folder.path(), &address);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("of 18165135 bytes; the same command resumes it"), "{}", ran.err);
    let part = folder.path().join("kmnist/train-images-idx3-ubyte.gz.part");
    let kept = std::fs::metadata(&part).unwrap().len() as usize;
    assert!(kept > 0 && kept <= 2_000_000, "{kept}");
    let (address, seen) = server(vec![7; 18_165_135], vec![Manner::Wrong]);
    assert_eq!(download(folder.path(), &address).code, 1);
    assert_eq!(*seen.lock().unwrap(), [Some(kept)]);
}

#[test]
fn servers_that_have_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = server(vec![7; 100], vec![Manner::Missing]);
    let ran = download(folder.path(), &address);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("HTTP 404 Not Found"), "{}", ran.err);
    let (address, _) = server(vec![7; 18_165_136], vec![Manner::Whole]);
    let ran = download(folder.path(), &address);
    assert!(ran.err.contains("sends more than the 18165135 bytes"), "{}", ran.err);
    // A set whose address is not known, from one that the user knows.
    let (address, _) = server(vec![7; 100], vec![Manner::Missing]);
    let ran =
        comhe_in(folder.path(), &["data", "download", "modelnet10", "--data-dir", ".", "--from", &address]);
    assert!(ran.err.contains("/vox30_train_bits.npy: HTTP 404 Not Found"), "{}", ran.err);
}

#[test]
fn damaged_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("modelnet10")).unwrap();
    std::fs::write(root.join("modelnet10/classes.txt"), "bathtub\nbed\nchair\n").unwrap();
    let ran = comhe_in(root, &["data", "check", "--data-dir", "."]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("DAMAGED") && ran.err.contains("1 of 1 files are damaged"), "{ran:?}");
    let ran = comhe_in(root, &["data", "check", "cifar10", "--data-dir", "."]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("cifar10 is not there"), "{ran:?}");
    std::fs::create_dir(root.join("nothing")).unwrap();
    let ran = comhe_in(root, &["data", "check", "--data-dir", "nothing"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no data set that is known has a file in nothing"), "{ran:?}");
    assert!(refuses(root, "data check --data-dir nowhere").contains("nowhere: is not a folder"));
    succeeds(root, "data check digits");
    succeeds(root, "data list --json");
    assert!(succeeds(root, "data info cifar10").out.contains("c4a38c50a1bc5f3a"));
    assert!(refuses(root, "data info cifr10").contains("did you mean cifar10?"));
    assert!(refuses(root, "data download digits").contains("needs no download: built in"));
    assert!(
        refuses(root, "data download modelnet10 --data-dir .")
            .contains("no address is known of modelnet10; give one by")
    );
    assert!(refuses(root, "data download mnist").contains("there is no data folder"));
}
