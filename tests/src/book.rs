//! The programs of the book, compiled and run: a module a chapter, so that `cargo test` names it.

/// A module whose documentation is a chapter.
macro_rules! chapters {
    ($($name:ident $file:literal),* $(,)?) => {$(
        #[doc = include_str!(concat!("../../docs/book/", $file))]
        mod $name {}
    )*};
}

chapters! {
    contents "README.md",
    tensor "01-tensor.md",
    gradient "02-gradient.md",
    gradient_of_a_gradient "03-gradient-of-a-gradient.md",
    line "04-line.md",
    fashion_mnist "05-fashion-mnist.md",
    cnn "06-cnn.md",
    mhe_and_comhe "07-mhe-and-comhe.md",
    own_op "08-own-op.md",
    own_regulariser "09-own-regulariser.md",
    maml "10-maml.md",
    amp_and_sam "11-amp-and-sam.md",
    isda "12-isda.md",
    robustness "13-robustness.md",
    few_shot "14-few-shot.md",
    one_bit "15-one-bit.md",
}
