//! A file from a server, with its checksum: what has arrived is kept and gone on from.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::failure::{Failure, one_of};
use crate::hash::sha256_of_file;
use crate::stop;

/// Attempts one after another that bring nothing.
const ATTEMPTS: u32 = 4;
/// Seconds after which a request is given up; what came is kept.
const TIMEOUT: u64 = 120;

/// The SHA-256 of a file and its length.
pub fn sha256(path: &Path) -> Result<(String, u64), Failure> {
    sha256_of_file(path).map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))
}

/// Bytes and SHA-256 of a file.
type Version = (u64, &'static str);

/// Brings `url` to `path`, and says which of the known versions it is. Until it is whole and checked it is `path`.part,
/// from whose end an interrupted transfer resumes.
pub fn fetch(url: &str, path: &Path, versions: &[Version]) -> Result<Version, Failure> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let cannot = |e: std::io::Error| Failure::place(&part, format_args!("cannot be written: {e}"));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|e| Failure::place(folder, format_args!("cannot be made: {e}")))?;
    }
    let length = || fs::metadata(&part).map_or(0, |m| m.len());
    let bytes = versions.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
    if length() > bytes {
        fs::remove_file(&part).map_err(cannot)?;
    }
    // A server that gives the same beginning again and again, or less than a thousandth at a time, brings nothing.
    let (mut furthest, mut fruitless, mut ended) = (0, 0, None);
    loop {
        let have = length();
        if versions.iter().any(|(bytes, _)| *bytes == have) {
            let (found, _) = sha256(&part)?;
            if let Some(version) = versions.iter().find(|version| **version == (have, &found)) {
                return fs::rename(&part, path).map_err(cannot).map(|()| *version);
            }
            if have == bytes {
                fs::remove_file(&part).map_err(cannot)?;
                let sums = versions.iter().map(|(_, sum)| *sum).collect::<Vec<_>>();
                return Err(Failure::unfinished(format_args!(
                    "{url}: the SHA-256 is {found}, not {}: another file, or damaged on the way; it was thrown away",
                    one_of(&sums)
                )));
            }
        }
        if let Some(why) = ended {
            let told = format!("{url}: {why}, after {have} of {bytes} bytes");
            if stop::wanted() || fruitless == ATTEMPTS {
                return Err(Failure::unfinished(format_args!("{told}; the same command resumes it")));
            }
            eprintln!("{told}; going on");
            std::thread::sleep(Duration::from_millis(100 << fruitless.min(5)));
        }
        ended = Some(match url.starts_with("https://") {
            true => curl(url, path, &part, versions)?,
            false => http(url, &part, have, bytes)?,
        });
        let now = length();
        fruitless = if now > furthest + bytes / 1000 { 0 } else { fruitless + 1 };
        furthest = furthest.max(now);
    }
}

/// One request for what is missing. How it ended, if that may be mended by another; an error if not.
fn http(url: &str, part: &Path, have: u64, bytes: u64) -> Result<String, Failure> {
    let mut request = minreq::get(url).with_timeout(TIMEOUT);
    if have > 0 {
        request = request.with_header("Range", format!("bytes={have}-"));
    }
    let mut response = match request.send_lazy() {
        Ok(response) => response,
        Err(minreq::Error::HttpsFeatureNotEnabled) => {
            return Err(Failure::unfinished(format_args!(
                "{url} leads to https://, which is left to curl: see comhe data --help"
            )));
        }
        Err(error) => return Ok(error.to_string()),
    };
    let header = |name: &str| {
        response
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    let append = match response.status_code {
        200 => false,
        206 => {
            let range = header("content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {have}-")) {
                return Err(Failure::unfinished(format_args!(
                    "{url}: asked for bytes from {have} on, the server sent {range:?}"
                )));
            }
            true
        }
        // What is there is no beginning of what the server has.
        416 => {
            let _ = fs::remove_file(part);
            return Ok("the server has no such range; from the beginning".into());
        }
        408 | 429 | 500.. => return Ok(format!("HTTP {} {}", response.status_code, response.reason_phrase)),
        code => {
            let reason = &response.reason_phrase;
            return Err(Failure::unfinished(format_args!("{url}: HTTP {code} {reason}")));
        }
    };
    let cannot = |e: std::io::Error| Failure::place(part, format_args!("cannot be written: {e}"));
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    let mut file =
        if append { options.append(true) } else { options.truncate(true) }.open(part).map_err(cannot)?;
    let mut have = if append { have } else { 0 };
    let mut buffer = vec![0; 1 << 16];
    loop {
        match response.read(&mut buffer) {
            Ok(0) => return Ok("the connection ended".into()),
            Ok(n) => {
                have += n as u64;
                if have > bytes {
                    drop(file);
                    let _ = fs::remove_file(part);
                    return Err(Failure::unfinished(format_args!(
                        "{url}: sends more than the {bytes} bytes that are expected: another file"
                    )));
                }
                file.write_all(&buffer[..n]).map_err(cannot)?;
            }
            Err(error) => return Ok(error.to_string()),
        }
        if stop::wanted() {
            return Ok("stopped".into());
        }
    }
}

/// The same by curl, which speaks TLS. What it keeps apart: a server's file that is whole and of another length, and a
/// certificate that curl does not trust, which no other request mends.
fn curl(url: &str, path: &Path, part: &Path, versions: &[Version]) -> Result<String, Failure> {
    let missing = |_| {
        Failure::unfinished(format_args!(
            "{url} needs TLS, which is left to curl, and curl is not installed; bring the file to {} by other means, or \
             install curl",
            path.display()
        ))
    };
    // As with http, a transfer that stands still for TIMEOUT seconds is given up.
    let mut child = Command::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error", "--continue-at", "-"])
        .args([
            "--connect-timeout",
            "30",
            "--speed-limit",
            "1",
            "--speed-time",
            &TIMEOUT.to_string(),
            "--output",
        ])
        .arg(part)
        .arg(url)
        .stdin(Stdio::null())
        .spawn()
        .map_err(missing)?;
    let status = loop {
        match child.try_wait() {
            Ok(None) if stop::wanted() => drop(child.kill()),
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Ok(Some(status)) => break status,
            Err(error) => return Err(Failure::unfinished(format_args!("{url}: curl: {error}"))),
        }
    };
    if !status.success() {
        return match status.code() {
            Some(35 | 51 | 60 | 77) => Err(Failure::unfinished(format_args!(
                "{url}: curl does not trust the server (above); a certificate of your own goes into CURL_CA_BUNDLE"
            ))),
            _ => Ok(format!("curl ended with {status}")),
        };
    }
    let length = fs::metadata(part).map_or(0, |m| m.len());
    if versions.iter().any(|(bytes, _)| *bytes == length) {
        return Ok("curl ended".into());
    }
    let _ = fs::remove_file(part);
    Err(Failure::unfinished(format_args!(
        "{url}: has {length} bytes, not the {} that are expected: another file; it was thrown away",
        one_of(&versions.iter().map(|(bytes, _)| bytes.to_string()).collect::<Vec<_>>())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    fn data() -> Vec<u8> {
        (0..100_000_u32).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect()
    }

    /// A hash for as long as the tests run.
    fn sum(data: &[u8]) -> &'static str {
        crate::hash::sha256(data).leak()
    }

    /// The address of a server of a file, whose answers break off after so many bytes each.
    fn server(served: Vec<u8>, breaks: Vec<usize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data.bin", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for most in breaks {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let from = lines
                    .take_while(|line| !line.is_empty())
                    .filter_map(|line| {
                        line.to_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()
                    })
                    .last();
                let from: Option<usize> = from;
                let rest = served.get(from.unwrap_or(0)..).unwrap_or_default();
                let status = match from {
                    None => "200 OK".to_string(),
                    Some(_) if rest.is_empty() => "416 Range Not Satisfiable".into(),
                    Some(from) => format!(
                        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                        served.len() - 1,
                        served.len()
                    ),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&rest[..most.min(rest.len())]).unwrap();
            }
        });
        url
    }

    #[test]
    fn a_file_arrives_in_parts_and_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data.bin");
        // The first answer breaks off; the second is asked for the rest.
        let url = server(data(), vec![30_000, usize::MAX]);
        let version = (100_000, sum(&data()));
        assert_eq!(fetch(&url, &path, &[version]).unwrap(), version);
        assert_eq!(fs::read(&path).unwrap(), data());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no part is left");
    }

    #[test]
    fn any_known_version_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.bin");
        let short = &data()[..90_000];
        let versions = [(100_000, sum(&data())), (90_000, sum(short))];
        let url = server(short.to_vec(), vec![40_000, usize::MAX]);
        assert_eq!(fetch(&url, &path, &versions).unwrap(), versions[1]);
        assert_eq!(fs::read(&path).unwrap(), short);
    }

    #[test]
    fn a_server_that_brings_nothing_new_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.bin");
        let versions = [(100_000, sum(&data())), (90_000, sum(&data()[..90_000]))];
        // Zeros of a known length, then no such range, then the same from the beginning; and a trickle.
        for (served, most) in [(vec![0; 90_000], usize::MAX), (data(), 50)] {
            let url = server(served, vec![most; 20]);
            let failure = fetch(&url, &path, &versions).unwrap_err();
            let line = failure.message().unwrap();
            assert!(line.contains("of 100000 bytes; the same command resumes it"), "{line}");
            assert_eq!(failure.code(), 1);
        }
    }
}
