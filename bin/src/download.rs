//! A file from a server, with its checksum: what has arrived is kept and gone on from.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::failure::Failure;
use crate::hash::sha256_of_file;
use crate::stop;

/// Attempts without a byte that are one after another.
const ATTEMPTS: u32 = 4;
/// Seconds after which a request is given up; what came is kept.
const TIMEOUT: u64 = 120;

/// The SHA-256 of a file and its length.
pub fn sha256(path: &Path) -> Result<(String, u64), Failure> {
    sha256_of_file(path).map_err(|e| Failure::place(path, format_args!("cannot be read: {e}")))
}

/// Brings `url` to `path`, `bytes` long and with this SHA-256. Until it is whole and checked it is `path`.part, from
/// whose end an interrupted transfer goes on.
pub fn fetch(url: &str, path: &Path, bytes: u64, sum: &str) -> Result<(), Failure> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let cannot = |e: std::io::Error| Failure::place(&part, format_args!("cannot be written: {e}"));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|e| Failure::place(folder, format_args!("cannot be made: {e}")))?;
    }
    let mut fruitless = 0;
    loop {
        let mut have = fs::metadata(&part).map_or(0, |m| m.len());
        if have > bytes {
            fs::remove_file(&part).map_err(cannot)?;
            have = 0;
        }
        if have == bytes {
            break;
        }
        let ended = if url.starts_with("https://") {
            curl(url, path, &part, bytes)?
        } else {
            http(url, &part, have, bytes)?
        };
        let now = fs::metadata(&part).map_or(0, |m| m.len());
        fruitless = if now > have { 0 } else { fruitless + 1 };
        if stop::wanted() || (now < bytes && fruitless == ATTEMPTS) {
            let why = if stop::wanted() { "stopped".into() } else { ended };
            return Err(Failure::unfinished(format_args!(
                "{url}: {why}, after {now} of {bytes} bytes; the same command goes on from there"
            )));
        }
        if now < bytes {
            eprintln!("{url}: {ended}, after {now} of {bytes} bytes; going on");
            std::thread::sleep(Duration::from_millis(100 << fruitless.min(5)));
        }
    }
    let (found, _) = sha256(&part)?;
    if found != sum {
        fs::remove_file(&part).map_err(cannot)?;
        return Err(Failure::unfinished(format_args!(
            "{url}: the SHA-256 is {found}, not {sum}: another file, or damaged on the way; it was thrown away"
        )));
    }
    fs::rename(&part, path).map_err(cannot)
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
fn curl(url: &str, path: &Path, part: &Path, bytes: u64) -> Result<String, Failure> {
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
    if length == bytes {
        return Ok("curl ended".into());
    }
    let _ = fs::remove_file(part);
    Err(Failure::unfinished(format_args!(
        "{url}: has {length} bytes, not the {bytes} that are expected: another file; it was thrown away"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    #[test]
    fn a_file_arrives_in_parts_and_is_checked() {
        let data: Vec<u8> = (0..100_000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data.bin");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data.bin", listener.local_addr().unwrap());
        let served = data.clone();
        let server = std::thread::spawn(move || {
            // The first answer breaks off; the second is asked for the rest.
            for most in [30_000, usize::MAX] {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let from = lines
                    .take_while(|line| !line.is_empty())
                    .filter_map(|line| {
                        line.to_lowercase().strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()
                    })
                    .last();
                let rest = &served[from.unwrap_or(0)..];
                let status = from.map_or("200 OK".to_string(), |from| {
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                        served.len() - 1,
                        served.len()
                    )
                });
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&rest[..most.min(rest.len())]).unwrap();
            }
        });
        let sum = crate::hash::sha256(&data);
        fetch(&url, &path, data.len() as u64, &sum).unwrap();
        server.join().unwrap();
        assert_eq!(fs::read(&path).unwrap(), data);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no part is left");
    }
}
