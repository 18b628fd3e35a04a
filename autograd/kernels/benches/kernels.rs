//! Times of the kernels.
//!
//! ```sh
//! cargo bench -p kernels                               # everything
//! cargo bench -p kernels -- convolution::forward       # what has this in its name
//! COMHE_SIMD=avx2 COMHE_THREADS=1 cargo bench -p kernels -- product
//! ```
//!
//! Flops are multiplications and additions of the plain sum of products; Winograd's convolutions do fewer. Bytes count
//! every input and output once.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kernels::aligned::Aligned;
use kernels::{Element, MAX_RANK, Real};

fn main() {
    if let Some(threads) = std::env::var("COMHE_THREADS").ok().and_then(|n| n.parse().ok()) {
        kernels::par::set_threads(threads);
    }
    divan::main();
}

/// Numbers in -1..1 without a pattern.
fn numbers<T: Element>(len: usize) -> Aligned<T> {
    let mut x = Aligned::zeroed(len);
    x.iter_mut().enumerate().for_each(|(i, v)| *v = T::from_f64((i * 7919 % 1013) as f64 / 507.0 - 1.0));
    x
}

fn bytes<T>(elements: usize) -> BytesCount {
    BytesCount::new(elements * size_of::<T>())
}

fn flops(n: usize) -> ItemsCount {
    ItemsCount::new(n)
}

mod product {
    use super::*;
    use kernels::gemm::{batched, gemm};

    /// m, n, k: a square; the shapes of a convolution as a product; RP-CoMHE's; a linear layer; a small one.
    const SHAPES: [[usize; 3]; 8] = [
        [1024, 1024, 1024],
        [64, 131_072, 576],
        [256, 8192, 2304],
        [256, 800, 2304],
        [256, 2304, 800],
        [128, 256, 4096],
        [128, 10, 256],
        [64, 64, 64],
    ];

    fn run<T: Element>(bencher: Bencher, [m, n, k]: [usize; 3], transposed: [bool; 2]) {
        let (a, b, mut c) = (numbers::<T>(m * k), numbers::<T>(k * n), numbers::<T>(m * n));
        bencher.counter(flops(2 * m * n * k)).bench_local(|| {
            gemm(m, n, k, T::ONE, &a, transposed[0], black_box(&b), transposed[1], T::ZERO, &mut c);
        });
    }

    #[divan::bench(types = [f32, f64], args = SHAPES)]
    fn a_b<T: Element>(bencher: Bencher, size: [usize; 3]) {
        run::<T>(bencher, size, [false, false]);
    }

    #[divan::bench(types = [f32, f64], args = SHAPES)]
    fn a_bt<T: Element>(bencher: Bencher, size: [usize; 3]) {
        run::<T>(bencher, size, [false, true]);
    }

    #[divan::bench(types = [f32, f64], args = SHAPES)]
    fn at_b<T: Element>(bencher: Bencher, size: [usize; 3]) {
        run::<T>(bencher, size, [true, false]);
    }

    /// Many small ones: how many, m, n, k.
    #[divan::bench(args = [[1000, 8, 8, 8], [64, 64, 64, 64], [20, 256, 256, 40], [20, 256, 40, 256]])]
    fn batch(bencher: Bencher, [batch, m, n, k]: [usize; 4]) {
        let (a, b) = (numbers::<f32>(batch * m * k), numbers(batch * k * n));
        let mut c = numbers(batch * m * n);
        bencher.counter(flops(2 * batch * m * n * k)).bench_local(|| {
            batched(batch, m, n, k, 1.0, &a, false, black_box(&b), false, 0.0, &mut c);
        });
    }
}

mod convolution {
    use super::*;
    use kernels::conv::{Algorithm, Conv2d, set_algorithm};

    /// A layer by name, as in `cnn9 64-64 at 32`.
    const LAYERS: [&str; 15] = [
        "cnn9 3-64 at 32",
        "cnn9 64-64 at 32",
        "cnn9 64-128 at 16",
        "cnn9 128-128 at 16",
        "cnn9 128-256 at 8",
        "cnn9 256-256 at 8",
        "resnet 16-16 at 32",
        "resnet 32-32 at 16",
        "resnet 64-64 at 8",
        "resnet 16-32 at 32 by 2",
        "lenet 1-32 at 28",
        "lenet 32-64 at 14",
        "depthwise 64-64 at 32",
        "pointwise 256-256 at 16",
        "pointwise 64-256 at 56",
    ];

    fn layer(name: &str) -> Conv2d {
        let words: Vec<&str> = name.split(' ').collect();
        let (from, to) = words[1].split_once('-').expect("channels");
        let number = |word: &str| word.parse().expect("a number");
        let kernel = match words[0] {
            "lenet" => 5,
            "pointwise" => 1,
            _ => 3,
        };
        Conv2d {
            batch: if words[0] == "lenet" { 64 } else { 128 },
            groups: if words[0] == "depthwise" { number(from) } else { 1 },
            in_channels: number(from),
            out_channels: number(to),
            input: [number(words[3]); 2],
            kernel: [kernel; 2],
            stride: [words.get(5).map_or(1, |word| number(word)); 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
        }
    }

    fn run<T: Element>(bencher: Bencher, name: &str, slot: usize, algorithm: Algorithm) {
        let s = layer(name);
        let [oh, ow] = s.output();
        let mut x = numbers::<T>(s.batch * s.in_channels * s.input[0] * s.input[1]);
        let mut w = numbers(s.out_channels * s.in_channels / s.groups * s.kernel[0] * s.kernel[1]);
        let mut y = numbers(s.batch * s.out_channels * oh * ow);
        set_algorithm(algorithm);
        bencher.counter(flops(s.flops() as usize)).bench_local(|| match slot {
            0 => s.forward(&x, &w, black_box(&mut y)),
            1 => s.grad_input(&y, &w, black_box(&mut x)),
            _ => s.grad_weight(&x, &y, black_box(&mut w)),
        });
        set_algorithm(Algorithm::Auto);
    }

    #[divan::bench(types = [f32, f64], args = LAYERS)]
    fn forward<T: Element>(bencher: Bencher, name: &str) {
        run::<T>(bencher, name, 0, Algorithm::Auto);
    }

    #[divan::bench(types = [f32, f64], args = LAYERS)]
    fn grad_input<T: Element>(bencher: Bencher, name: &str) {
        run::<T>(bencher, name, 1, Algorithm::Auto);
    }

    #[divan::bench(types = [f32, f64], args = LAYERS)]
    fn grad_weight<T: Element>(bencher: Bencher, name: &str) {
        run::<T>(bencher, name, 2, Algorithm::Auto);
    }

    #[divan::bench(args = LAYERS)]
    fn forward_direct(bencher: Bencher, name: &str) {
        run::<f32>(bencher, name, 0, Algorithm::Direct);
    }

    #[divan::bench(args = LAYERS)]
    fn grad_input_direct(bencher: Bencher, name: &str) {
        run::<f32>(bencher, name, 1, Algorithm::Direct);
    }

    #[divan::bench(args = LAYERS)]
    fn grad_weight_direct(bencher: Bencher, name: &str) {
        run::<f32>(bencher, name, 2, Algorithm::Direct);
    }
}

mod elementwise {
    use super::*;
    use kernels::map::{Map, Strided, broadcast, flat};

    macro_rules! functions {
        ($($name:ident |$x:ident| $y:expr;)*) => {$(
            #[divan::bench(types = [f32, f64])]
            fn $name<T: Element>(bencher: Bencher) {
                #[derive(Clone, Copy)]
                struct Function;
                impl Map<1> for Function {
                    #[inline(always)]
                    fn call<R: Real>(&self, [$x]: [R; 1]) -> R {
                        $y
                    }
                }
                // 4096 numbers in 0.001..4.1, which one thread does in the first-level cache.
                let (mut x, mut out) = (numbers::<T>(4096), numbers::<T>(4096));
                x.iter_mut().enumerate().for_each(|(i, x)| *x = T::from_f64((i + 1) as f64 * 1e-3));
                bencher
                    .counter(ItemsCount::new(x.len()))
                    .bench_local(|| flat(&Function, [Some(black_box(x.blocks()))], out.blocks_mut()));
            }
        )*};
    }
    functions! {
        exp |x| x.exp();
        ln |x| x.ln();
        ln_1p |x| x.ln_1p();
        tanh |x| x.tanh();
        sigmoid |x| x.sigmoid();
        softplus |x| x.softplus();
        erf |x| x.erf();
        sin |x| x.sin();
        powf |x| x.powf(-1.5);
    }

    #[derive(Clone, Copy)]
    struct Add;
    impl Map<2> for Add {
        #[inline(always)]
        fn call<R: Real>(&self, [a, b]: [R; 2]) -> R {
            a + b
        }
    }

    #[divan::bench(args = [8, 1000, 1 << 24])]
    fn add(bencher: Bencher, n: usize) {
        let (a, b, mut out) = (numbers::<f32>(n), numbers(n), numbers(n));
        bencher
            .counter(bytes::<f32>(3 * n))
            .bench_local(|| flat(&Add, black_box([Some(a.blocks()), Some(b.blocks())]), out.blocks_mut()));
    }

    /// What is added to a tensor of three axes.
    #[divan::bench(args = ["a number a channel", "a row", "a column", "its transpose"])]
    fn add_broadcast(bencher: Bencher, what: &str) {
        let (dims, steps) = match what {
            "a number a channel" => ([128, 64, 1024], [0, 1, 0]),
            "a row" => ([1024, 64, 256], [0, 0, 1]),
            "a column" => ([1, 4096, 10], [0, 1, 0]),
            _ => ([1, 2048, 2048], [0, 1, 2048]),
        };
        let n: usize = dims.iter().product();
        let (a, mut out) = (numbers::<f32>(n), numbers(n));
        let strided = |steps: [usize; 3]| {
            let mut strides = [0; MAX_RANK];
            strides[..3].copy_from_slice(&steps);
            Strided { data: a.blocks(), strides }
        };
        let x = [strided([dims[1] * dims[2], dims[2], 1]), strided(steps)];
        bencher
            .counter(bytes::<f32>(2 * n))
            .bench_local(|| broadcast(&Add, black_box(x), &dims, out.blocks_mut()));
    }
}

mod normalisation {
    use super::*;
    use kernels::norm::*;

    const SHAPES: [[usize; 3]; 6] =
        [[128, 64, 1024], [128, 16, 1024], [128, 32, 256], [128, 64, 64], [128, 512, 4], [65_536, 128, 1]];

    #[divan::bench(args = SHAPES)]
    fn batch_norm_and_relu(bencher: Bencher, [n, c, s]: [usize; 3]) {
        let shape = Channels { n, c, s };
        let (x, gamma, mut y) = (numbers::<f32>(shape.len()), vec![1.0; c], numbers(shape.len()));
        let (mut mean, mut var, mut rstd) = (vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        bencher.counter(bytes::<f32>(2 * shape.len())).bench_local(|| {
            let statistics = Statistics { mean: &mut mean, var: &mut var, rstd: &mut rstd };
            let then = Then { residual: None, relu: true };
            batch_norm_train(black_box(&x), shape, &gamma, &gamma, 1e-5, then, statistics, &mut y);
        });
    }

    #[divan::bench(args = SHAPES)]
    fn gradients(bencher: Bencher, [n, c, s]: [usize; 3]) {
        let shape = Channels { n, c, s };
        let (x, mut g, ones) = (numbers::<f32>(shape.len()), numbers(shape.len()), vec![1.0; c]);
        let (mut dgamma, mut dbeta) = (vec![0.0; c], vec![0.0; c]);
        let by = Affine { mean: &ones, rstd: &ones, gamma: &ones, beta: &ones };
        bencher.counter(bytes::<f32>(3 * shape.len())).bench_local(|| {
            let over = Gradients::InPlace(&mut g);
            batch_norm_backward(black_box(&x), Mask::Again, over, shape, &by, &mut dgamma, &mut dbeta);
        });
    }

    #[divan::bench(args = [[8192, 1024], [65_536, 64], [64, 131_072]])]
    fn unit_rows(bencher: Bencher, [rows, len]: [usize; 2]) {
        let (x, mut y, mut norms) = (numbers::<f32>(rows * len), numbers(rows * len), vec![0.0; rows]);
        bencher
            .counter(bytes::<f32>(2 * rows * len))
            .bench_local(|| unit_rows_forward(black_box(&x), len, 0.0, &mut y, &mut norms));
    }

    #[divan::bench(args = [10, 100, 1000])]
    fn softmax(bencher: Bencher, classes: usize) {
        let (x, mut y) = (numbers::<f32>(4000), numbers(4000));
        bencher
            .counter(ItemsCount::new(x.len()))
            .bench_local(|| kernels::softmax::softmax_forward(black_box(&x), classes, &mut y));
    }
}

mod pooling {
    use super::*;
    use kernels::pool::Pool2d;

    /// Kernel, and height and width of an image; 8 million elements.
    const SHAPES: [[usize; 2]; 5] = [[2, 32], [2, 28], [2, 14], [2, 8], [3, 32]];

    fn windows([kernel, side]: [usize; 2]) -> Pool2d {
        let planes = (1 << 23) / (side * side);
        Pool2d { planes, input: [side; 2], kernel: [kernel; 2], stride: [2; 2], padding: [kernel / 3; 2] }
    }

    #[divan::bench(args = SHAPES)]
    fn max(bencher: Bencher, shape: [usize; 2]) {
        let pool = windows(shape);
        let x = numbers::<f32>(pool.input_len());
        let (mut y, mut winners) = (numbers(pool.output_len()), vec![0; pool.output_len()]);
        bencher
            .counter(bytes::<f32>(x.len() + 2 * y.len()))
            .bench_local(|| pool.max(black_box(&x), &mut y, &mut winners));
    }

    #[divan::bench(args = SHAPES)]
    fn max_adjoint(bencher: Bencher, shape: [usize; 2]) {
        let pool = windows(shape);
        let mut x = numbers::<f32>(pool.input_len());
        let (mut y, mut winners) = (numbers(pool.output_len()), vec![0; pool.output_len()]);
        pool.max(&x, &mut y, &mut winners);
        bencher
            .counter(bytes::<f32>(x.len() + 2 * y.len()))
            .bench_local(|| pool.max_adjoint(black_box(&y), &winners, &mut x));
    }
}

mod cosines {
    use super::*;
    use kernels::cosines::{CosineFunction, Kept, Specialised, Sums, Vectors, Visitor};
    use kernels::real::Arithmetic;

    /// 1 / (2 - 2c) of all points and their antipodes.
    #[derive(Clone, Copy)]
    struct InverseSquare;

    impl CosineFunction for InverseSquare {
        fn antipodes(&self) -> bool {
            true
        }
        fn two_ended(&self) -> bool {
            false
        }
        fn steepest(&self) -> f64 {
            1e24
        }
        fn at_chords(&self, x: f64, _: f64) -> (f64, f64) {
            (1.0 / x, 2.0 / (x * x))
        }
        #[inline(always)]
        fn specialise<V: Visitor>(&self, _: f64, visitor: V) -> V::Output {
            visitor.visit(*self)
        }
    }

    impl Specialised for InverseSquare {
        #[inline(always)]
        fn at<T: Element, A: Arithmetic>(&self, c: T) -> (T, T) {
            let f = T::ONE / ((T::ONE - c) * (T::ONE + c));
            (f, (c + c) * f * f)
        }
    }

    /// The value and the gradient of N rows of d: a layer, projected rows, many rows.
    #[divan::bench(args = [[256, 2304], [256, 40], [4096, 64]])]
    fn inverse_square(bencher: Bencher, [n, d]: [usize; 2]) {
        let sums = Sums(InverseSquare);
        let (mut w, mut dw, mut lengths) = (numbers::<f32>(n * d), numbers(n * d), vec![0.0; n]);
        kernels::random::Key::new(0).fill_normal(&mut w);
        bencher.counter(ItemsCount::new(n * (n - 1) / 2)).bench_local(|| {
            let vectors = Vectors { w: black_box(&w[..]), eps: 0.0, n, d };
            let value = sums.forward(vectors, &mut lengths);
            sums.backward(Kept::Nothing, vectors, &lengths, 1.0, &mut dw);
            value
        });
    }
}

mod random {
    use super::*;
    use kernels::random::Key;

    #[divan::bench(types = [f32, f64])]
    fn normal<T: Element>(bencher: Bencher) {
        let mut out = numbers::<T>(1 << 20);
        bencher.counter(ItemsCount::new(out.len())).bench_local(|| Key::new(0).fill_normal(&mut out));
    }

    #[divan::bench(types = [f32, f64])]
    fn uniform<T: Element>(bencher: Bencher) {
        let mut out = numbers::<T>(1 << 20);
        bencher.counter(ItemsCount::new(out.len())).bench_local(|| Key::new(0).fill_uniform(&mut out));
    }
}

mod threads {
    use super::*;

    /// Two pieces of nothing: what it costs to share work.
    #[divan::bench]
    fn share_two_pieces() {
        kernels::par::run(2, |i| {
            black_box(i);
        });
    }
}
