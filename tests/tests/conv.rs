//! Convolutions against PyTorch: stride x padding x dilation x groups with sizes that do not divide.

use autograd::ConvOptions;
use tests::{Fixtures, parameter};

const TOLERANCE: f64 = 1e-9;

fn options(case: &str) -> ConvOptions {
    ConvOptions {
        stride: parameter(case, 's'),
        padding: parameter(case, 'p'),
        dilation: parameter(case, 'd'),
        groups: parameter(case, 'g')[0],
    }
}

#[test]
fn conv2d() {
    let f = Fixtures::read("conv");
    let cases = f.cases("conv/");
    assert!(cases.len() > 200);
    for case in cases.keys() {
        let o = options(case);
        let [kh, kw] = parameter(case, 'k');
        let x = f.input(&format!("{case}/x"), [2, 4, 7, 10]);
        let w = f.input(&format!("{case}/w"), [parameter(case, 'o')[0], 4 / o.groups, kh, kw]);
        f.check(case, &[("x", x), ("w", w)], &[], TOLERANCE, |x| x[0].conv2d(&x[1], o));
    }
}

#[test]
fn conv2d_of_more_channels() {
    let f = Fixtures::read("conv");
    for case in f.cases("conv_large/").keys() {
        let o = options(case);
        let [kh, kw] = parameter(case, 'k');
        let of = |letter| parameter(case, letter)[0];
        let x = f.input(&format!("{case}/x"), [of('n'), of('c'), of('h'), of('w')]);
        let w = f.input(&format!("{case}/w"), [of('o'), of('c') / o.groups, kh, kw]);
        f.check(case, &[("x", x), ("w", w)], &[], TOLERANCE, |x| x[0].conv2d(&x[1], o));
    }
}

#[test]
fn conv_transpose2d() {
    let f = Fixtures::read("conv");
    for case in f.cases("conv_transpose/").keys() {
        let o = options(case);
        let [kh, kw] = parameter(case, 'k');
        let x = f.input(&format!("{case}/x"), [2, 4, 5, 4]);
        let w = f.input(&format!("{case}/w"), [4, parameter(case, 'o')[0] / o.groups, kh, kw]);
        let extra = parameter(case, 'e');
        f.check(case, &[("x", x), ("w", w)], &[], TOLERANCE, |x| x[0].conv_transpose2d(&x[1], extra, o));
    }
}

#[test]
fn conv1d() {
    let f = Fixtures::read("conv");
    for case in f.cases("conv1d/").keys() {
        let of = |letter| parameter(case, letter)[0];
        let x = f.input(&format!("{case}/x"), [2, 4, 11]);
        let w = f.input(&format!("{case}/w"), [of('o'), 4 / of('g'), of('k')]);
        f.check(case, &[("x", x), ("w", w)], &[], TOLERANCE, |x| {
            x[0].conv1d(&x[1], of('s'), of('p'), of('d'), of('g'))
        });
    }
}

#[test]
fn with_narrower_instruction_sets() {
    tests::again_with_narrower_instruction_sets();
}
