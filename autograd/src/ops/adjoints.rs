//! Properties that every linear operation must have, checked on all samples at once.

use kernels::random::Key;

use crate::dtype::DType;
use crate::sample::Sample;
use crate::tensor::Tensor;

/// Every linear operation: each must have a sample that is found to be linear.
const LINEAR: [&str; 31] = [
    "sum",
    "mean",
    "broadcast_to",
    "reshape",
    "permute",
    "slice",
    "select",
    "flip",
    "split",
    "chunk",
    "roll",
    "concat",
    "stack",
    "pad",
    "tril",
    "triu",
    "diagonal",
    "diag_embed",
    "trace",
    "gather",
    "scatter_add",
    "index_select",
    "index_add",
    "take",
    "mask select",
    "masked_fill",
    "cumsum",
    "max",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
];

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| a * b).sum()
}

/// f(x) - f(0), if f(t x) is affine in t. That holds for affine maps, and for maps that are linear on each side of
/// their kinks, such as a maximum.
fn linear_part(sample: &Sample, x: &[Tensor]) -> Option<Tensor> {
    let at = |t: f64| sample.call(&x.iter().map(|x| x * t).collect::<Vec<_>>()).detach();
    let (y0, y1) = (at(0.0), at(1.0));
    let bend = at(2.0) - &y1 * 2.0 + &y0;
    let size = y1.to_vec::<f64>().iter().chain(&y0.to_vec::<f64>()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let straight = bend.to_vec::<f64>().iter().all(|v| v.abs() <= 1e-5 * size);
    (straight && size.is_finite()).then(|| y1 - y0)
}

#[test]
fn adjoints_satisfy_their_defining_property() {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6)] {
        let mut found = Vec::new();
        for sample in crate::samples().into_iter().filter(|s| LINEAR.contains(&s.name.as_str())) {
            let x: Vec<Tensor> = sample.inputs(dtype).iter().map(Tensor::requires_grad).collect();
            let Some(ax) = linear_part(&sample, &x) else { continue };
            let refs: Vec<&Tensor> = x.iter().collect();
            let y = sample.call(&x);
            let g = Tensor::normal(y.shape(), dtype, Key::new(5).stream("cotangent")).requires_grad();
            let scale = dot(&ax, &ax).sqrt() * dot(&g, &g).sqrt() + f64::MIN_POSITIVE;
            let (name, case) = (&sample.name, &sample.case);

            // <A x, g> = <x, A' g>
            let fast = y.vjp(&g.detach(), &refs);
            let gap = fast.iter().zip(&x).map(|(d, x)| dot(d, x)).sum::<f64>() - dot(&ax, &g);
            assert!(gap.abs() <= tolerance * scale, "{name} ({case}), {dtype}: <Ax, g> - <x, A'g> = {gap:e}");

            // The adjoint of the adjoint is the map: the gradient of <x, A' g> by g is A x.
            let recorded = y.recorded().vjp(&g, &refs);
            let product = recorded.iter().zip(&x).map(|(d, x)| (d * x.detach()).sum(..));
            let total = product.fold(Tensor::scalar(0.0, dtype), |a, b| a + b);
            let gap = &total.grad(&[&g])[0] - &ax;
            let error = dot(&gap, &gap).sqrt();
            let size = dot(&ax, &ax).sqrt();
            assert!(error <= 10.0 * tolerance * size, "{name} ({case}), {dtype}: |A'' x - A x| = {error:e}");
            found.push(sample.name);
        }
        let missing: Vec<_> = LINEAR.iter().filter(|&name| !found.iter().any(|f| f == name)).collect();
        assert!(missing.is_empty(), "no linear sample found of {missing:?}");
    }
}

#[test]
fn third_order_gradients_of_moving_and_reducing() {
    let names = [
        "slice",
        "concat",
        "pad",
        "diagonal",
        "gather",
        "scatter_add",
        "mask select",
        "cumsum",
        "max",
        "logsumexp",
        "norm",
        "max_pool2d",
        "avg_pool2d",
    ];
    for sample in crate::samples().iter().filter(|s| names.contains(&s.name.as_str())) {
        let report = sample.check(DType::F64, 3);
        assert!(report.pass(), "{} ({}):\n{report}", sample.name, sample.case);
    }
}
