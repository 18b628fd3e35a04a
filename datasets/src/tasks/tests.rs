use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::dataset::{Pixels, Raw, Rows, Targets};
use crate::error::Kind;
use crate::npy::tests::encode;
use crate::zip::tests::{Style, encode as zip};

fn load(name: &str, options: &TaskOptions) -> Tasks {
    Tasks::load(name, options).unwrap()
}

fn values(split: &Split) -> Vec<f64> {
    match &split.targets {
        Targets::Values(Rows { values, .. }) => values.clone(),
        other => panic!("{other:?}"),
    }
}

/// Which image of a split an example is: digits and fashion14 have no two equal ones in a class.
fn bytes(split: &Split, i: usize) -> Vec<u8> {
    let Raw::U8(image) = split.image(i) else { panic!("bytes") };
    image.to_vec()
}

/// The files of an archive: names and bytes.
type Files = Vec<(String, Vec<u8>)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_task_is_a_function_of_options_and_index(seed in 0u64..100, index in 0u64..1_000_000, shot in 1usize..5, query in 1usize..6) {
        for (name, way) in [("sinusoid", 2), ("digits", 3), ("fashion14", 5)] {
            let options = TaskOptions { way, shot, query, seed, ..TaskOptions::default() };
            let (a, b) = (load(name, &options), load(name, &options));
            prop_assert_eq!(a.train(index), b.train(index));
            prop_assert_eq!(a.test(index), b.test(index));
            prop_assert_ne!(a.train(index), a.train(index + 1));
            prop_assert_ne!(a.train(index), a.test(index));
            let other = load(name, &TaskOptions { seed: seed + 1, ..options });
            prop_assert_ne!(a.train(index), other.train(index));
        }
    }

    #[test]
    fn few_shot_tasks_are_balanced_and_disjoint(index in 0u64..1000, way in 2usize..6, shot in 1usize..6, query in 1usize..8) {
        let tasks = load("digits", &TaskOptions { way, shot, query, ..TaskOptions::default() });
        prop_assert_eq!((tasks.shape, tasks.outputs, tasks.regression, tasks.tests()), ([1, 8, 8], way, false, None));
        let Task { support, query: judged } = tasks.train(index);
        prop_assert_eq!(support.counts(way), vec![shot; way]);
        prop_assert_eq!(judged.counts(way), vec![query; way]);
        let images: HashSet<Vec<u8>> =
            (0..support.len()).map(|i| bytes(&support, i)).chain((0..judged.len()).map(|i| bytes(&judged, i))).collect();
        prop_assert_eq!(images.len(), way * (shot + query));
        // Examples of a label are of one digit, and it is a training digit.
        let data = crate::load("digits", &Options::default()).unwrap();
        let digit = |image: Vec<u8>| {
            (0..data.train.len()).find(|&i| bytes(&data.train, i) == image).map(|i| data.train.labels().unwrap()[i])
        };
        for label in 0..way {
            let digits: HashSet<Option<u32>> = (label * shot..(label + 1) * shot).map(|i| digit(bytes(&support, i)))
                .chain((label * query..(label + 1) * query).map(|i| digit(bytes(&judged, i)))).collect();
            prop_assert!(digits.len() == 1 && digits.iter().all(|d| d.is_some_and(|d| d < 5)), "{:?}", digits);
        }
    }

    #[test]
    fn sinusoids_are_sinusoids(index in 0u64..100_000) {
        let tasks = load("sinusoid", &TaskOptions { shot: 10, query: 30, ..TaskOptions::default() });
        let Task { support, query } = tasks.test(index);
        let x: Vec<f64> = [&support, &query].iter().flat_map(|s| (0..s.len()).map(|i| s.image(i).get(0))).collect();
        let y = [values(&support), values(&query)].concat();
        prop_assert!(x.iter().all(|x| (-5.0..5.0).contains(x)));
        // y = c sin x + d cos x, from two points, holds at all.
        let (i, j) = (0, 1);
        let det = x[i].sin() * x[j].cos() - x[j].sin() * x[i].cos();
        prop_assume!(det.abs() > 1e-3);
        let c = (y[i] * x[j].cos() - y[j] * x[i].cos()) / det;
        let d = (x[i].sin() * y[j] - x[j].sin() * y[i]) / det;
        for (x, y) in x.iter().zip(&y) {
            prop_assert!((c * x.sin() + d * x.cos() - y).abs() < 1e-9);
        }
        let amplitude = c.hypot(d);
        prop_assert!((0.1 - 1e-9..5.0).contains(&amplitude) && d <= 1e-9, "amplitude {}, d {}", amplitude, d);
    }
}

#[test]
fn a_pool_has_so_many_tasks_and_each_pass_has_each_once() {
    let tasks = load("sinusoid", &TaskOptions { pool: Some(4), ..TaskOptions::default() });
    let passes: Vec<Vec<Task>> =
        (0..3).map(|pass| (0..4).map(|i| tasks.train(4 * pass + i)).collect()).collect();
    for pass in &passes {
        assert!(pass.iter().all(|task| passes[0].contains(task)));
        assert!((0..4).all(|i| pass[..i].iter().all(|before| *before != pass[i])));
    }
    assert!(passes.iter().any(|pass| *pass != passes[0]), "another order");
    // Test tasks are new ones.
    assert!((0..20).all(|i| !passes[0].contains(&tasks.test(i))));
    // Of images, the pool counts classes.
    let options = TaskOptions { way: 2, pool: Some(2), ..TaskOptions::default() };
    let tasks = load("fashion14", &options);
    let Source::Classes(few) = &tasks.train else { panic!("classes") };
    let Source::Classes(test) = &tasks.test else { panic!("classes") };
    assert_eq!((few.classes(), test.classes()), (2, 5));
}

#[test]
fn what_cannot_be_is_said() {
    let fails = |name: &str, options: TaskOptions, expected: &str| {
        let error = Tasks::load(name, &options).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
        error.kind()
    };
    let with = TaskOptions::default;
    fails("sinusoids", with(), "there is no task \"sinusoids\"; did you mean sinusoid?");
    fails("file:", with(), "write file:TASKS.npz");
    fails("digits", TaskOptions { way: 1, ..with() }, "way is 1; at least 2");
    fails("digits", TaskOptions { shot: 0, ..with() }, "shot is 0; at least 1");
    fails("sinusoid", TaskOptions { query: 0, ..with() }, "query is 0");
    fails("sinusoid", TaskOptions { pool: Some(0), ..with() }, "pool is 0");
    fails(
        "digits",
        TaskOptions { way: 6, ..with() },
        "digits: 6 classes in a task, but there are 5 for training",
    );
    fails("digits", TaskOptions { pool: Some(6), ..with() }, "a pool of 6 classes, but there are 5");
    fails("digits", TaskOptions { pool: Some(3), ..with() }, "5 classes in a task, but there are 3");
    fails(
        "digits",
        TaskOptions { shot: usize::MAX, ..with() },
        "query examples of each class, but one class has",
    );
    fails("omniglot", TaskOptions { image_size: 20, ..with() }, "images of 28 or 14 pixels, not 20");
    let nowhere = TaskOptions { data_dir: Some(std::env::temp_dir()), ..with() };
    assert_eq!(fails("omniglot", nowhere, "omniglot needs omniglot/omniglot28_bits.npy"), Kind::Missing);
    let split =
        Split::new([1, 1, 1], Pixels::U8(vec![0; 2]), vec![0, 3], crate::Standardisation::identity(1));
    let few = |way| {
        FewShot::new(
            Arc::new(split.clone()),
            &TaskOptions { way, shot: 1, query: 0, ..with() },
            None,
            Key::new(0),
        )
    };
    // Labels without an example are no classes.
    assert_eq!(few(2).unwrap().classes(), 2);
    assert!(few(3).unwrap_err().contains("there are 2"));
}

/// Two training tasks and one test task of two support examples and one query example, with two features.
fn arrays() -> Vec<(String, Vec<u8>)> {
    let floats = |n: usize| (0..n).flat_map(|i| (i as f64).to_le_bytes()).collect::<Vec<u8>>();
    let ints = |v: &[i64]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut list = Vec::new();
    for (part, tasks) in [("train", 2), ("test", 1)] {
        for (role, each) in [("support", 2), ("query", 1)] {
            let (x, y) = (format!("({tasks}, {each}, 2)"), format!("({tasks}, {each})"));
            list.push((format!("x_{part}_{role}.npy"), encode("<f8", false, &x, &floats(tasks * each * 2))));
            list.push((
                format!("y_{part}_{role}.npy"),
                encode("<i8", false, &y, &ints(&[1, 0, 2, 0][..tasks * each])),
            ));
        }
    }
    list
}

fn file(arrays: &[(String, Vec<u8>)], options: &TaskOptions) -> Result<Tasks, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasks.npz");
    let arrays: Vec<(&str, &[u8])> = arrays.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
    std::fs::write(&path, zip(&arrays, Style::Deflated)).unwrap();
    Tasks::load(&format!("file:{}", path.display()), options)
}

#[test]
fn tasks_of_a_file_are_as_they_are() {
    let tasks = file(&arrays(), &TaskOptions::default()).unwrap();
    assert_eq!((tasks.shape, tasks.outputs, tasks.regression, tasks.tests()), ([2, 1, 1], 3, false, Some(1)));
    let all: Vec<Task> = (0..2).map(|i| tasks.train(i)).collect();
    assert_ne!(all[0], all[1]);
    let second = all.iter().find(|task| task.support.labels() == Some(&[2, 0])).unwrap();
    assert_eq!(second.support.image(1), Raw::F64(&[6.0, 7.0]));
    assert_eq!((second.query.image(0), second.query.labels()), (Raw::F64(&[2.0, 3.0]), Some(&[0][..])));
    assert_eq!(tasks.test(0), tasks.test(1));
    let one = file(&arrays(), &TaskOptions { pool: Some(1), ..TaskOptions::default() }).unwrap();
    assert_eq!(one.train(0), one.train(1));
    assert!(file(&arrays(), &TaskOptions { pool: Some(3), ..TaskOptions::default() }).is_err());
}

#[test]
fn broken_files_say_where() {
    let fails = |change: &dyn Fn(&mut Files), expected: &str| {
        let mut list = arrays();
        change(&mut list);
        let message = file(&list, &TaskOptions::default()).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("tasks.npz"), "{message}");
    };
    let replace = |list: &mut Vec<(String, Vec<u8>)>, name: &str, bytes: Vec<u8>| {
        list.iter_mut().find(|(known, _)| known == name).unwrap().1 = bytes;
    };
    fails(&|list| drop(list.remove(0)), "has no array x_train_support; it holds: y_train_support, ");
    let floats = |n: usize| vec![0; 8 * n];
    fails(
        &|list| replace(list, "x_train_query.npy", encode("<f8", false, "(2, 2)", &floats(4))),
        "[x_train_query]: has shape [2, 2]; T x N x C x H x W or T x N x D is needed",
    );
    fails(
        &|list| replace(list, "y_test_support.npy", encode("<i8", false, "(1, 3)", &floats(3))),
        "[y_test_support]: has shape [1, 3]; 1 tasks of 2 targets are needed",
    );
    fails(
        &|list| replace(list, "y_test_query.npy", encode("<f8", false, "(1, 1)", &floats(1))),
        "targets of different kinds",
    );
    let nan = f64::NAN.to_le_bytes().repeat(2);
    fails(
        &|list| replace(list, "x_test_query.npy", encode("<f8", false, "(1, 1, 2)", &nan)),
        "[x_test_query]: the value at [0, 0, 0, 0] is NaN",
    );
    fails(
        &|list| {
            replace(list, "x_test_query.npy", encode("<f8", false, "(2, 1, 2)", &floats(4)));
            replace(list, "y_test_query.npy", encode("<i8", false, "(2, 1)", &floats(2)));
        },
        "x_test_support has 1 tasks, x_test_query 2",
    );
}

#[test]
fn omniglot_has_its_characters_and_alphabets() {
    let Ok(Some(_)) = Options::default().folder().map(|dir| dir.filter(|d| d.join("omniglot").is_dir()))
    else {
        eprintln!("skipped: {} names no folder with omniglot/", crate::DATA_VARIABLE);
        return;
    };
    let tasks = load("omniglot", &TaskOptions { shot: 1, query: 15, ..TaskOptions::default() });
    let counts = |tasks: &Tasks| match (&tasks.train, &tasks.test) {
        (Source::Classes(train), Source::Classes(test)) => [train.classes(), test.classes()],
        _ => panic!("classes"),
    };
    assert_eq!((counts(&tasks), tasks.shape), ([964, 659], [1, 28, 28]));
    let half =
        load("omniglot", &TaskOptions { shot: 1, query: 15, image_size: 14, ..TaskOptions::default() });
    for index in 0..20 {
        let (large, small) = (tasks.train(index), half.train(index));
        assert_eq!((large.support.len(), large.query.len()), (5, 75));
        for i in 0..5 {
            let sum = |split: &Split| bytes(split, i).into_iter().map(usize::from).sum::<usize>();
            let ink = sum(&large.support);
            assert!((2..=207).contains(&ink) && ink == sum(&small.support), "the same ink: {ink}");
        }
        assert!(large.support.pixels.len() == 4 * small.support.pixels.len());
    }
    let pool =
        load("omniglot", &TaskOptions { shot: 1, query: 15, pool: Some(50), ..TaskOptions::default() });
    assert_eq!(counts(&pool), [50, 659]);
}
