//! The other way: .npz archives of stored entries.

use flate2::Crc;

/// The bytes of a zip file with these entries, as they are, in this order. The same entries always give the same bytes:
/// no time is written.
///
/// # Errors
/// If an entry or the whole exceeds the 4 GiB that the format's 32-bit fields can say.
pub fn archive(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>, String> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let small = |n: usize| u32::try_from(n).map_err(|_| "more than 4 GiB do not fit a .npz file".to_string());
    for (name, data) in entries {
        let mut crc = Crc::new();
        crc.update(data);
        let offset = small(file.len())?;
        // Version, flags (names are UTF-8), method, time, date (1 January 1980); checksum; sizes; lengths of name, extra.
        let mut header = [20u16, 0x800, 0, 0, 0x21].map(u16::to_le_bytes).concat();
        let numbers = [crc.sum(), small(data.len())?, small(data.len())?];
        header.extend(numbers.map(u32::to_le_bytes).concat());
        let length =
            u16::try_from(name.len()).map_err(|_| format!("the name {name} is too long for a .npz file"))?;
        header.extend([length, 0].map(u16::to_le_bytes).concat());
        file.extend(b"PK\x03\x04");
        file.extend(&header);
        file.extend(name.bytes());
        file.extend(data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.bytes());
    }
    let count = u16::try_from(entries.len())
        .map_err(|_| "more than 65535 arrays do not fit a .npz file")?
        .to_le_bytes();
    let end = [small(directory.len())?, small(file.len())?].map(u32::to_le_bytes).concat();
    file.extend(&directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &end, &[0, 0]].concat());
    Ok(file)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_written_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let entries = vec![("a.npy".to_string(), vec![1u8, 2, 3]), ("b.c.npy".into(), vec![])];
        std::fs::write(&path, super::archive(&entries).unwrap()).unwrap();
        let mut archive = crate::zip::Archive::open(&path).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a.npy", "b.c.npy"]);
        for (name, data) in entries {
            assert_eq!(archive.read(&name).unwrap(), data);
        }
    }
}
