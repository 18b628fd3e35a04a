use super::*;
use crate::dataset::{Pixels, Standardisation};
use proptest::prelude::*;

/// `n` images of 2 x 5 x 5 bytes.
fn split(n: usize) -> Arc<Split> {
    let pixels = (0..n * 50).map(|i| (i * 37 % 256) as u8).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
    let standardisation = Standardisation { mean: vec![10.0, 127.5], std: vec![2.0, 128.0] };
    Arc::new(Split::new([2, 5, 5], Pixels::U8(pixels), labels, standardisation))
}

fn config(batch_size: usize) -> LoaderConfig {
    LoaderConfig { batch_size, augment: "crop-flip-cutout".parse().unwrap(), seed: 9, ..Default::default() }
}

fn all<T: Element>(split: &Arc<Split>, config: LoaderConfig, epoch: u64) -> Vec<Batch<T>> {
    Loader::new(split.clone(), config).epoch(epoch).collect()
}

#[test]
fn plain_batches_are_the_data_standardised() {
    let s = split(5);
    let plain = LoaderConfig { shuffle: false, augment: Augment::default(), ..config(2) };
    let batches = all::<f64>(&s, plain.clone(), 3);
    assert_eq!(batches.iter().map(|b| b.shape[0]).collect::<Vec<_>>(), [2, 2, 1]);
    let indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    let singles = all::<f32>(&s, plain, 3);
    for (b, single) in batches.iter().zip(&singles) {
        for (k, &i) in b.indices.iter().enumerate() {
            assert_eq!(b.targets.classes().unwrap()[k], s.labels().unwrap()[i]);
            for at in 0..50 {
                let raw = s.image(i).get(at);
                let expected = if at < 25 { (raw - 10.0) / 2.0 } else { (raw - 127.5) / 128.0 };
                assert_eq!(b.images[k * 50 + at], expected);
                assert_eq!(single.images[k * 50 + at], expected as f32);
            }
        }
    }
}

#[test]
fn the_same_bytes_whatever_makes_them() {
    let s = split(23);
    let ahead = all::<f32>(&s, config(4), 1);
    let direct = all::<f32>(&s, LoaderConfig { prefetch: 0, ..config(4) }, 1);
    assert_eq!(ahead, direct);
    let loader = Loader::new(s.clone(), config(4));
    for (step, batch) in ahead.iter().enumerate() {
        assert_eq!(&loader.batch::<f32>(1, step), batch);
    }
    assert_eq!(loader.epoch_from::<f32>(1, 4).collect::<Vec<_>>(), ahead[4..]);
    assert_eq!(loader.epoch_from::<f32>(1, 9).count(), 0);
    let mut recycled = Vec::new();
    let mut epoch = loader.epoch::<f32>(1);
    assert_eq!(epoch.len(), 6);
    while let Some(batch) = epoch.next() {
        recycled.push(batch.clone());
        epoch.recycle(batch.images);
    }
    assert_eq!(recycled, ahead);
    // An image's augmentation does not depend on the batch that it is in.
    let other = all::<f32>(&s, config(23), 1);
    let joined: Vec<f32> = ahead.iter().flat_map(|b| b.images.clone()).collect();
    assert_eq!(other[0].images, joined);
}

#[test]
fn epochs_and_seeds_differ() {
    let s = split(23);
    let first = all::<f32>(&s, config(8), 0);
    assert_ne!(first, all::<f32>(&s, config(8), 1));
    assert_ne!(first, all::<f32>(&s, LoaderConfig { seed: 1, ..config(8) }, 0));
    let still = LoaderConfig { shuffle: false, ..config(8) };
    assert_ne!(all::<f32>(&s, still.clone(), 0), all::<f32>(&s, still, 1), "augmented anew");
}

#[test]
fn floats_are_used_as_they_are() {
    let values = vec![0.1f64, -1e-300, 3.5, f64::MAX];
    let s = Split::new([1, 1, 2], Pixels::F64(values.clone()), vec![0, 1], Standardisation::identity(1));
    let batch =
        Loader::new(Arc::new(s), LoaderConfig { shuffle: false, ..Default::default() }).batch::<f64>(0, 0);
    assert_eq!(
        batch.images.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
        values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    );
}

#[test]
fn dropping_an_epoch_ends_its_thread() {
    let s = split(1000);
    for taken in 0..5 {
        let mut epoch = Loader::new(s.clone(), config(1)).epoch::<f32>(0);
        (0..taken).for_each(|_| drop(epoch.next()));
    }
    // Drop joins the threads, so nobody else holds the data.
    assert_eq!(Arc::strong_count(&s), 1);
}

#[test]
fn a_panic_in_the_thread_reaches_the_consumer() {
    let mut s = Split::clone(&split(4));
    s.targets = vec![0, 1, 2, 0].into();
    s.pixels = Pixels::U8(vec![0; 150]);
    let s = Arc::new(s);
    let loader = Loader::new(s, LoaderConfig { shuffle: false, ..config(1) });
    let mut epoch = loader.epoch::<f32>(0);
    assert_eq!((0..3).filter_map(|_| epoch.next()).count(), 3);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| epoch.next())).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("out of range"));
    assert!(epoch.next().is_none());
}

#[test]
fn empty_splits_have_no_batches() {
    assert!(all::<f32>(&split(0), config(4), 0).is_empty());
    assert!(all::<f32>(&split(3), LoaderConfig { drop_last: true, ..config(4) }, 0).is_empty());
}

#[test]
#[should_panic(expected = "step 2 of an epoch of 2")]
fn a_batch_beyond_the_end() {
    Loader::new(split(8), config(4)).batch::<f32>(0, 2);
}

#[test]
#[should_panic(expected = "batch size")]
fn batches_of_nothing() {
    Loader::new(split(1), config(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_example_once(n in 0usize..40, size in 1usize..12, drop_last in any::<bool>(), epoch in 0u64..4) {
        let batches = all::<f32>(&split(n), LoaderConfig { drop_last, ..config(size) }, epoch);
        let mut indices: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
        let kept = if drop_last { n / size * size } else { n };
        prop_assert_eq!(indices.len(), kept);
        indices.sort_unstable();
        indices.dedup();
        prop_assert_eq!(indices.len(), kept);
    }
}
