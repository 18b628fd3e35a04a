use super::*;
use crate::dataset::Raw;
use crate::error::Kind;
use crate::idx::tests::{encode, gzip};

/// Writes a set of 3 training and 2 test images of 2 x 2 pixels.
fn write(folder: &Path, packed: bool) {
    std::fs::create_dir_all(folder).unwrap();
    let train: Vec<u8> = (0..12).collect();
    let files = [
        encode(&[3, 2, 2], &train),
        encode(&[3], &[9, 0, 1]),
        encode(&[2, 2, 2], &train[..8]),
        encode(&[2], &[5, 5]),
    ];
    for (name, bytes) in FILES.iter().zip(files) {
        if packed {
            std::fs::write(folder.join(format!("{name}.gz")), gzip(&bytes)).unwrap();
        } else {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn found_in_every_usual_place() {
    for (inside, packed) in [("", false), ("kmnist", true), ("KMNIST/raw", false)] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(inside), packed);
        let data = load("kmnist", Some(dir.path())).unwrap();
        assert_eq!((data.shape(), data.train.len(), data.test.len()), ([1, 2, 2], 3, 2));
        assert_eq!(data.train.labels().unwrap(), [9, 0, 1]);
        assert_eq!(data.test.image(1), Raw::U8(&[4, 5, 6, 7]));
        assert_eq!(data.standardisation().mean, [5.5]);
        assert!(data.notes[0].contains(inside), "{:?}", data.notes);
    }
}

#[test]
fn a_folder_named_after_another_set_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("fashion-mnist");
    write(&folder, false);
    assert_eq!(load("kmnist", Some(&folder)).unwrap_err().kind(), Kind::Missing);
    assert!(load("fashion-mnist", Some(&folder)).is_ok());
}

#[test]
fn a_missing_set_says_what_where_and_how() {
    let dir = tempfile::tempdir().unwrap();
    let error = load("mnist", Some(dir.path())).unwrap_err();
    let message = error.to_string();
    for part in ["t10k-labels-idx1-ubyte", "--data-dir", "COMHE_DATA", "lecun", dir.path().to_str().unwrap()]
    {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!((error.kind(), message.lines().count()), (Kind::Missing, 1));
}

#[test]
fn broken_sets_say_where() {
    let fails = |file: &str, bytes: Option<Vec<u8>>, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), false);
        match bytes {
            Some(bytes) => std::fs::write(dir.path().join(file), bytes).unwrap(),
            None => std::fs::remove_file(dir.path().join(file)).unwrap(),
        }
        let message = load("mnist", Some(dir.path())).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains(file), "{message}");
    };
    fails(FILES[3], None, "has no t10k-labels-idx1-ubyte[.gz]");
    fails(FILES[1], Some(encode(&[3], &[0, 10, 1])), "label 10 of image 1 is out of range 0..=9");
    fails(FILES[1], Some(encode(&[2], &[0, 1])), "2 labels for the 3 images");
    fails(FILES[1], Some(encode(&[3, 1], &[0, 1, 2])), "labels have one");
    fails(FILES[0], Some(encode(&[12], &[0; 12])), "images have three");
    fails(FILES[0], Some(encode(&[0, 2, 2], &[])), "holds no pixels");
    fails(FILES[2], Some(encode(&[2, 2, 1], &[0; 4])), "training images are 2 x 2");
    fails(FILES[2], Some(b"junk".to_vec()), "not an IDX file");
}

#[test]
fn fashion14_is_what_it_says() {
    let data = fashion14().unwrap();
    assert_eq!((data.shape(), data.classes.len()), ([1, 14, 14], 10));
    assert_eq!(data.train.counts(10), [200; 10]);
    assert_eq!(data.test.counts(10), [200; 10]);
    let Pixels::U8(pixels) = &data.train.pixels else { panic!("bytes") };
    assert!(pixels.iter().all(|p| p % 17 == 0), "16 grey levels");
    let measured = Standardisation::measure(&data.train);
    assert!((measured.mean[0] - FASHION14_MOMENTS.0).abs() < 1e-9);
    assert!((measured.std[0] - FASHION14_MOMENTS.1).abs() < 1e-9);
}

/// Reads the real thing where Debian's package or COMHE_DATA has it.
#[test]
fn the_real_fashion_mnist() {
    let dir = std::env::var_os(crate::DATA_VARIABLE).map(PathBuf::from);
    let data = match load("fashion-mnist", dir.as_deref()) {
        Ok(data) => data,
        Err(e) if e.kind() == Kind::Missing => return eprintln!("skipped: {e}"),
        Err(e) => panic!("{e}"),
    };
    assert_eq!((data.shape(), data.train.len(), data.test.len()), ([1, 28, 28], 60_000, 10_000));
    assert_eq!(data.train.counts(10), [6_000; 10]);
    assert_eq!(data.test.counts(10), [1_000; 10]);
    let measured = Standardisation::measure(&data.train);
    assert!((measured.mean[0] - data.standardisation().mean[0]).abs() < 1e-6, "{measured:?}");
    assert!((measured.std[0] - data.standardisation().std[0]).abs() < 1e-6, "{measured:?}");
}
