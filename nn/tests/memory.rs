//! Tensor memory over a training run. The counters are the process's, so this file has one test.

use autograd::{DType, Key, Tensor, memory};
use nn::{Adam, Batch, Clip, CrossEntropy, Optimizer, Trainer, evaluate, models};

#[test]
fn a_step_leaves_nothing_behind_and_the_second_allocates_nothing() {
    let start = memory();
    let images = Tensor::normal([4, 3, 16, 16], DType::F32, Key::new(1));
    let batch = Batch::new(images, vec![0, 1, 2, 3]);
    let optimizers = [
        ("cnn6", Optimizer::sgd(0.9)),
        ("resnet20", Optimizer::new(Adam::decoupled())),
        ("lenet", Optimizer::new(Adam::default())),
    ];
    for (name, optimizer) in optimizers {
        let model = models::build(name, [3, 16, 16], 10, 1, Key::new(1), DType::F32).unwrap();
        let optimizer = optimizer.weight_decay(1e-3).clip(Clip::Norm(1.0));
        let mut trainer = Trainer::new(model, optimizer, 0.01, Key::new(2)).loss(CrossEntropy::smoothed(0.1));
        trainer.step(&batch).unwrap();
        let first = memory();
        for _ in 0..3 {
            trainer.step(&batch).unwrap();
            assert_eq!(memory(), first, "{name}: live buffers, live bytes and allocations stay as they were");
        }
        evaluate(&trainer.model, [batch.clone()]);
        assert_eq!(memory().live_bytes, first.live_bytes, "{name}: evaluation keeps nothing");
    }
    drop(batch);
    let end = memory();
    assert_eq!((end.live_buffers, end.live_bytes), (start.live_buffers, start.live_bytes));
}
