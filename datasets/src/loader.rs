//! Batches, in an order and with contents that are a pure function of (seed, epoch, step).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use kernels::random::Key;
use kernels::{Element, par};

use crate::augment::{Augment, Plan};
use crate::dataset::{Raw, Split, Targets};

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Examples in a batch; at least 1.
    pub batch_size: usize,
    /// A new random order every epoch; else the order of the data.
    pub shuffle: bool,
    /// Leave out the last batch of an epoch if it is not full.
    pub drop_last: bool,
    /// What may happen to the images.
    pub augment: Augment,
    /// For order and augmentation.
    pub seed: u64,
    /// How many batches a background thread may be ahead; 0 for no such thread.
    pub prefetch: usize,
}

impl Default for LoaderConfig {
    fn default() -> LoaderConfig {
        LoaderConfig {
            batch_size: 128,
            shuffle: true,
            drop_last: false,
            augment: Augment::default(),
            seed: 0,
            prefetch: 2,
        }
    }
}

/// A few examples, ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T> {
    /// Standardised pixels, N x C x H x W.
    pub images: Vec<T>,
    /// N, C, H, W.
    pub shape: [usize; 4],
    /// One target per image.
    pub targets: Targets,
    /// Which examples of the split they are.
    pub indices: Vec<usize>,
}

impl<T> Batch<T> {
    /// The label of each image, if the targets are classes.
    pub fn labels(&self) -> Option<&[u32]> {
        self.targets.classes()
    }
}

/// Makes the batches of a split. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Loader {
    split: Arc<Split>,
    config: LoaderConfig,
}

impl Loader {
    /// A loader for `split`.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn new(split: Arc<Split>, config: LoaderConfig) -> Loader {
        assert!(config.batch_size > 0, "Loader: the batch size must be at least 1");
        Loader { split, config }
    }

    /// The split that batches are made of.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The number of batches in an epoch; 0 if `drop_last` leaves none.
    pub fn steps(&self) -> usize {
        let (n, size) = (self.split.len(), self.config.batch_size);
        if self.config.drop_last { n / size } else { n.div_ceil(size) }
    }

    /// The examples in the order of an epoch.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        if self.config.shuffle {
            Key::new(self.config.seed).stream("shuffle").step(epoch).permutation(self.split.len())
        } else {
            (0..self.split.len()).collect()
        }
    }

    /// The batches of an epoch, from its first step on.
    pub fn epoch<T: Element>(&self, epoch: u64) -> Epoch<T> {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from `step` on: what is left of it after a resume.
    pub fn epoch_from<T: Element>(&self, epoch: u64, step: usize) -> Epoch<T> {
        let order = self.order(epoch);
        let steps = step..self.steps();
        if self.config.prefetch == 0 {
            return Epoch { loader: self.clone(), epoch, order, steps, worker: None };
        }
        let worker = Worker::spawn(self.clone(), epoch, order, steps.clone());
        Epoch { loader: self.clone(), epoch, order: Vec::new(), steps, worker: Some(worker) }
    }

    /// One batch by itself: the same as `epoch(epoch)` gives at `step`.
    ///
    /// # Panics
    /// If the epoch has no such step.
    pub fn batch<T: Element>(&self, epoch: u64, step: usize) -> Batch<T> {
        assert!(step < self.steps(), "Loader::batch: step {step} of an epoch of {}", self.steps());
        self.make(epoch, step, &self.order(epoch), Vec::new())
    }

    /// The batch at `step` of an epoch with this order. `spare` is reused for its images.
    fn make<T: Element>(&self, epoch: u64, step: usize, order: &[usize], spare: Vec<T>) -> Batch<T> {
        let size = self.config.batch_size;
        let indices = order[step * size..order.len().min((step + 1) * size)].to_vec();
        let [c, h, w] = self.split.shape;
        let mut images = spare;
        images.resize(indices.len() * c * h * w, T::ZERO);
        let tables = self.byte_tables();
        if c * h * w > 0 {
            par::chunks(&mut images, c * h * w, |i, out| self.image(epoch, indices[i], &tables, out));
        }
        let targets = self.split.targets.select(&indices);
        Batch { images, shape: [indices.len(), c, h, w], targets, indices }
    }

    /// The standardised, augmented image `index`.
    fn image<T: Element>(&self, epoch: u64, index: usize, tables: &[[T; 256]], out: &mut [T]) {
        let [_, h, w] = self.split.shape;
        let key = Key::new(self.config.seed).stream("augment");
        let augment = self.config.augment;
        let still = Augment { rotate: false, jitter: false, ..augment } == Augment::default();
        let plan = (!still).then(|| Plan::draw(augment, [h, w], key, epoch, index));
        self.planes(index, plan.as_ref(), tables, out);
        augment.cloud(out, key, epoch, index);
    }

    /// The standardised planes of image `index`, with their pixels where the plan has them.
    fn planes<T: Element>(&self, index: usize, plan: Option<&Plan>, tables: &[[T; 256]], out: &mut [T]) {
        let [_, h, w] = self.split.shape;
        let raw = self.split.image(index);
        for (c, out) in out.chunks_exact_mut(h * w).enumerate() {
            let start = c * h * w;
            match raw {
                Raw::U8(v) => fill(out, plan, |at| tables[c][usize::from(v[start + at])]),
                Raw::F32(v) => fill(out, plan, |at| self.standardise(c, v[start + at].into())),
                Raw::F64(v) => fill(out, plan, |at| self.standardise(c, v[start + at])),
            }
        }
    }

    /// (v - mean) / std in double precision, rounded once.
    fn standardise<T: Element>(&self, channel: usize, v: f64) -> T {
        let s = &self.split.standardisation;
        T::from_f64((v - s.mean[channel]) / s.std[channel])
    }

    /// What each byte becomes, one table a channel.
    fn byte_tables<T: Element>(&self) -> Vec<[T; 256]> {
        match self.split.pixels {
            crate::Pixels::U8(_) => (0..self.split.shape[0])
                .map(|c| std::array::from_fn(|byte| self.standardise(c, byte as f64)))
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn fill<T: Element>(out: &mut [T], plan: Option<&Plan>, value: impl Fn(usize) -> T) {
    match plan {
        Some(plan) => plan.plane(out, T::ZERO, value),
        None => out.iter_mut().enumerate().for_each(|(at, out)| *out = value(at)),
    }
}

/// The batches of one epoch, made ahead on a background thread.
///
/// Dropping it early ends the thread. A panic there propagates to the thread that asks for the next batch.
#[derive(Debug)]
pub struct Epoch<T: Element> {
    loader: Loader,
    epoch: u64,
    order: Vec<usize>,
    steps: std::ops::Range<usize>,
    worker: Option<Worker<T>>,
}

#[derive(Debug)]
struct Worker<T> {
    batches: Receiver<Batch<T>>,
    spares: Sender<Vec<T>>,
    thread: JoinHandle<()>,
}

impl<T: Element> Worker<T> {
    fn spawn(loader: Loader, epoch: u64, order: Vec<usize>, steps: std::ops::Range<usize>) -> Worker<T> {
        let (out, batches): (SyncSender<Batch<T>>, _) = sync_channel(loader.config.prefetch);
        let (spares, returned) = channel::<Vec<T>>();
        let thread = thread::spawn(move || {
            for step in steps {
                let spare = returned.try_recv().unwrap_or_default();
                // An error means that nobody waits for batches any more.
                if out.send(loader.make(epoch, step, &order, spare)).is_err() {
                    return;
                }
            }
        });
        Worker { batches, spares, thread }
    }
}

impl<T: Element> Epoch<T> {
    /// Hands back the images of a batch that is done with, so that a later batch can use their memory.
    pub fn recycle(&self, images: Vec<T>) {
        if let Some(worker) = &self.worker {
            // The thread may be done; then the memory is freed here.
            let _ = worker.spares.send(images);
        }
    }
}

impl<T: Element> Iterator for Epoch<T> {
    type Item = Batch<T>;

    fn next(&mut self) -> Option<Batch<T>> {
        let step = self.steps.next()?;
        let Some(worker) = &self.worker else {
            return Some(self.loader.make(self.epoch, step, &self.order, Vec::new()));
        };
        if let Ok(batch) = worker.batches.recv() {
            return Some(batch);
        }
        // The thread ended before its last batch: it panicked.
        let worker = self.worker.take()?;
        self.steps = 0..0;
        match worker.thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the loader's thread ended early"),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.steps.len(), Some(self.steps.len()))
    }
}

impl<T: Element> ExactSizeIterator for Epoch<T> {}

impl<T: Element> Drop for Epoch<T> {
    fn drop(&mut self) {
        if let Some(Worker { batches, spares: _, thread }) = self.worker.take() {
            // Closing the channel ends the thread. Its panic, if any, was of a batch nobody asked for.
            drop(batches);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
