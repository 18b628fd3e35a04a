use super::*;
use crate::dataset::Raw;
use crate::error::Kind;
use crate::idx::tests::gzip;

/// Records with these label bytes; all pixels of record i are i.
fn records(labels: &[&[u8]]) -> Vec<u8> {
    labels.iter().enumerate().flat_map(|(i, l)| [l, &[i as u8; PIXELS][..]].concat()).collect()
}

fn write(dir: &Path, files: &[(&str, Vec<u8>)]) {
    std::fs::create_dir_all(dir).unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
}

fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    gzip(&tar.into_inner().unwrap())
}

fn small() -> [(&'static str, Vec<u8>); 3] {
    [
        ("data_batch_1.bin", records(&[&[3], &[9]])),
        ("data_batch_3.bin", records(&[&[0]])),
        ("test_batch.bin", records(&[&[7]])),
    ]
}

#[test]
fn cifar10_from_folders_and_archive() {
    let check = |dir: &Path| {
        let data = load("cifar10", Some(dir)).unwrap();
        assert_eq!(
            (data.shape(), data.train.labels().unwrap(), data.test.labels().unwrap()),
            ([3, 32, 32], &[3, 9, 0][..], &[7][..])
        );
        assert_eq!(data.train.image(1), Raw::U8(&[1; PIXELS]));
        assert_eq!(data.standardisation(), &Standardisation::uniform(3, 127.5, 128.0));
        assert!(
            data.notes[1].contains("3 of the 50000 training images (data_batch_1.bin, data_batch_3.bin)")
        );
        assert!(data.notes[2].contains("1 of the 10000 test images"));
    };
    for inside in ["", "cifar10", "cifar-10-batches-bin"] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(inside), &small());
        check(dir.path());
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("cifar-10-binary.tar.gz", tar_gz(&small()))]);
    check(dir.path());
}

#[test]
fn cifar100_fine_coarse_and_heads() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[("train_head.bin", records(&[&[19, 99], &[0, 50]])), ("test_head.bin", records(&[&[2, 0]]))],
    );
    let fine = load("cifar100", Some(dir.path())).unwrap();
    let coarse = load("cifar100-coarse", Some(dir.path())).unwrap();
    assert_eq!((fine.train.labels().unwrap(), fine.classes.len()), (&[99, 50][..], 100));
    assert_eq!((coarse.train.labels().unwrap(), coarse.classes.len()), (&[19, 0][..], 20));
    assert!(fine.notes[1].contains("subset"), "{:?}", fine.notes);
    // The whole file wins over its head.
    write(dir.path(), &[("train.bin", records(&[&[1, 1]]))]);
    assert_eq!(load("cifar100", Some(dir.path())).unwrap().train.labels().unwrap(), [1]);
}

#[test]
fn broken_sets_say_where() {
    let fails = |name: &str, files: &[(&str, Vec<u8>)], expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), files);
        let message = load(name, Some(dir.path())).unwrap_err().to_string();
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    };
    let with = |name: &'static str, bytes: Vec<u8>| {
        let mut files = small();
        files.iter_mut().find(|f| f.0 == name).unwrap().1 = bytes;
        files
    };
    let cut = records(&[&[1], &[2]])[..4000].to_vec();
    fails(
        "cifar10",
        &with("data_batch_3.bin", cut),
        "data_batch_3.bin: 4000 bytes are not a whole number of records of 3073 bytes: 1 records and 927",
    );
    fails("cifar10", &with("test_batch.bin", vec![]), "test_batch.bin: 0 bytes");
    fails(
        "cifar10",
        &with("data_batch_1.bin", records(&[&[1], &[10]])),
        "label 10 of record 1 (byte 3073) is out of range 0..=9",
    );
    fails("cifar10", &small()[..2], "has none of test_batch.bin");
    let bad = [("train.bin", records(&[&[20, 0]])), ("test.bin", records(&[&[0, 0]]))];
    fails("cifar100", &bad, "label 20 of record 0 (byte 0) is out of range 0..=19");
    let packed = tar_gz(&small());
    fails(
        "cifar10",
        &[("cifar-10-binary.tar.gz", packed[..packed.len() - 20].to_vec())],
        "not a whole .tar.gz",
    );
    fails("cifar10", &[("cifar-10-binary.tar.gz", b"<html>".to_vec())], "not a whole .tar.gz");
    let dir = tempfile::tempdir().unwrap();
    let error = load("cifar10", Some(dir.path())).unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    for part in ["data_batch_5.bin", "cifar-10-binary.tar.gz", "toronto", "--data-dir", "COMHE_DATA"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(load("cifar100", None).unwrap_err().to_string().contains("no folder was named"));
}

/// Reads the real files where COMHE_DATA has them.
#[test]
fn the_real_cifar() {
    let Some(dir) = std::env::var_os(crate::DATA_VARIABLE).map(PathBuf::from) else {
        return eprintln!("skipped: {} is not set", crate::DATA_VARIABLE);
    };
    match load("cifar10", Some(&dir)) {
        Ok(data) => {
            assert_eq!(data.test.counts(10), [1000; 10]);
            let first = [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981];
            let batch: Vec<usize> = (0..10_000).collect();
            assert_eq!(data.train.select(&batch).counts(10), first);
        }
        Err(e) if e.kind() == Kind::Missing => eprintln!("skipped: {e}"),
        Err(e) => panic!("{e}"),
    }
    match (load("cifar100", Some(&dir)), load("cifar100-coarse", Some(&dir))) {
        (Ok(fine), Ok(coarse)) => {
            // Each fine class lies in one coarse class, five in each.
            let mut parent = [None; 100];
            for (&f, &c) in fine.train.labels().unwrap().iter().zip(coarse.train.labels().unwrap()) {
                assert_eq!(*parent[f as usize].get_or_insert(c), c, "fine class {f}");
            }
            let children = |c| parent.iter().filter(|p| **p == Some(c)).count();
            assert!((0..20).all(|c| children(c) == 5));
            assert_eq!(fine.classes[fine.train.labels().unwrap()[0] as usize], "cattle");
        }
        (Err(e), _) if e.kind() == Kind::Missing => eprintln!("skipped: {e}"),
        (Err(e), _) | (_, Err(e)) => panic!("{e}"),
    }
}
