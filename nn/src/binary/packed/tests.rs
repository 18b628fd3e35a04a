use autograd::{DType, Key, Tensor};
use kernels::binary::bits;
use proptest::prelude::*;

use super::conv::Thresholds;
use super::*;
use crate::binary::net::Parts;
use crate::binary::{BinaryConv, MultiSign};
use crate::module::Kind;
use crate::{Context, Module, models};

/// A network with weights, norms and statistics as after training: no two channels alike, some scales negative, one 0.
fn trained(name: &str, input: [usize; 3], dtype: DType) -> Model {
    let mut model = models::build(name, input, 10, 1, Key::new(7), dtype).unwrap();
    let mut draws = 0;
    let images = Tensor::normal([4, input[0], input[1], input[2]], dtype, Key::new(9));
    model.visit_mut(&mut |name, t, kind| {
        draws += 1;
        let draw = Tensor::normal(t.shape(), dtype, Key::new(8).step(draws));
        if kind == Kind::Parameter && t.rank() == 1 {
            let centre = if name.ends_with("weight") { 0.7 } else { 0.0 };
            let zero = |i: usize| if i == 0 && name.ends_with("bn1.weight") { 0.0 } else { 1.0 };
            t.assign(&((draw + centre) * Tensor::from_fn(t.shape(), dtype, zero)));
        }
    });
    // Two passes in training mode set the statistics.
    for _ in 0..2 {
        let _ = model.forward(&images, &mut Context::train(Key::new(0)).adopting());
    }
    model
}

/// All integers and logits of the packed network are those of the real one.
fn assert_same(model: &Model, images: &Tensor) {
    let packed = Packed::new(model).unwrap();
    let (logits, traces) = packed.run(images, true);
    let mut cx = Context::eval();
    let (_, _, mut parts) = Parts::of(&model.detached()).unwrap();
    let mut x = parts.sign.forward(&parts.stem.forward(images, &mut cx), &mut cx);
    let mut layer = 0;
    for (path, block) in &mut parts.blocks {
        x = block.run(&x, &mut cx, &mut |name, real| {
            let [_, filters, h, w] = <[usize; 4]>::try_from(&**real.shape()).unwrap();
            let real = real.to_vec::<f64>();
            for (n, trace) in traces.iter().enumerate() {
                let (found, size, sums) = &trace[layer];
                assert_eq!((found, *size), (&format!("{path}.{name}"), [h, w]));
                let pixels = h * w;
                assert_eq!(sums.len(), filters * pixels);
                for (i, (sum, real)) in sums.iter().zip(&real[n * filters * pixels..]).enumerate() {
                    let (filter, pixel) = (i / pixels, i % pixels);
                    assert_eq!(*real, f64::from(*sum), "{found}: image {n}, filter {filter}, pixel {pixel}");
                }
            }
            layer += 1;
        });
    }
    assert!(traces.iter().all(|trace| trace.len() == layer));
    let expected = parts.head.forward(&x, &mut cx);
    assert_eq!(logits.to_vec::<f64>(), expected.to_vec::<f64>());
    let file = Packed::from_bytes(&packed.to_bytes().unwrap()).unwrap();
    assert_eq!(file.run(images, false).0.to_vec::<f64>(), expected.to_vec::<f64>());
    assert_eq!(file.to_bytes().unwrap(), packed.to_bytes().unwrap());
}

#[test]
fn small_networks_agree_on_every_integer() {
    for name in models::MODELS.iter().map(|row| row.name).filter(|name| name.contains("-small-")) {
        for (dtype, size) in [(DType::F32, [14, 18]), (DType::F64, [6, 4])] {
            let input = [1, size[0], size[1]];
            let images = Tensor::normal([3, 1, size[0], size[1]], dtype, Key::new(1));
            assert_same(&trained(name, input, dtype), &images);
        }
    }
}

#[test]
fn the_18_layers_agree_on_every_integer() {
    for name in ["basenet18-k1", "boolnet18-k4", "boolnet18-star-k4", "boolnet18-k8"] {
        let images = Tensor::normal([2, 3, 64, 32], DType::F32, Key::new(1));
        assert_same(&trained(name, [3, 64, 32], DType::F32), &images);
    }
}

#[test]
fn no_image_no_logit() {
    let model = trained("boolnet-small-k4", [1, 4, 4], DType::F32);
    let logits = Packed::new(&model).unwrap().run(&Tensor::zeros([0, 1, 4, 4], DType::F32), false).0;
    assert_eq!(**logits.shape(), [0, 10]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Invariant 6: the thresholds are those of the closed form, t_s = (mu - (beta + o_s) sqrt(v + eps) / gamma) / a.
    #[test]
    fn thresholds_are_those_of_the_closed_form(
        gamma in prop_oneof![-2.0f64..-0.01, 0.01f64..2.0],
        beta in -2.0f64..2.0, mean in -4.0f64..4.0, var in 0.01f64..20.0, seed: u64, slices in 1usize..4,
    ) {
        let sign = MultiSign::new([1, 2, 4][slices - 1]).unwrap();
        let mut conv = BinaryConv::new(1, 3, 1, 3, DType::F64);
        conv.weight.assign(&Tensor::normal([1, 3, 3, 3], DType::F64, Key::new(seed)));
        let mut bn = BatchNorm::new(1, DType::F64);
        for (t, v) in [(&mut bn.weight, gamma), (&mut bn.bias, beta), (&mut bn.running_mean, mean), (&mut bn.running_var, var)] {
            t.assign(&Tensor::from([v]));
        }
        let Thresholds { limits, flips, .. } = fold::thresholds(&conv, &bn, &sign, "conv").unwrap();
        prop_assert_eq!(bits::get(&flips, 0), gamma < 0.0);
        let scale = conv.scale().item();
        for (limit, offset) in limits.iter().zip(sign.offsets()) {
            let t = (mean - (beta + offset) * (var + bn.eps).sqrt() / gamma) / scale;
            for x in (-27..=27).step_by(2) {
                prop_assume!((f64::from(x) - t).abs() > 1e-9);
                prop_assert_eq!((x >= *limit) ^ (gamma < 0.0), (f64::from(x) > t) ^ (gamma < 0.0));
            }
        }
    }
}

#[test]
fn ties_and_constants_are_those_of_the_real_layers() {
    let sign = MultiSign::new(1).unwrap();
    let mut conv = BinaryConv::new(1, 1, 4, 3, DType::F64);
    conv.weight.assign(&Tensor::ones([4, 1, 3, 3], DType::F64));
    let mut bn = BatchNorm::new(4, DType::F64).eps(0.0);
    // A tie at 3 from below and from above, gamma 0 with a positive and a negative beta.
    bn.weight.assign(&Tensor::from([1.0, -1.0, 0.0, 0.0]));
    bn.bias.assign(&Tensor::from([0.0, 0.0, 1.0, -1.0]));
    bn.running_mean.assign(&Tensor::from([3.0, 3.0, 3.0, 3.0]));
    let found = fold::thresholds(&conv, &bn, &sign, "conv").unwrap();
    assert_eq!(found.limits, [3, 5, i32::MIN, i32::MAX]);
    assert_eq!(found.flips, [0b0010]);
    // Weights 0: a scale of 0, and a constant sign.
    conv.weight.assign(&Tensor::zeros([4, 1, 3, 3], DType::F64));
    let found = fold::thresholds(&conv, &bn, &sign, "conv").unwrap();
    assert_eq!(found.limits, [i32::MAX, i32::MAX, i32::MIN, i32::MAX]);
}

#[test]
fn other_networks_and_infinite_weights_are_refused() {
    let mlp = models::build("mlp", [1, 4, 4], 10, 1, Key::new(0), DType::F32).unwrap();
    assert!(Packed::new(&mlp).err().unwrap().to_string().contains("only one-bit networks"));
    let mut model = trained("basenet-small-k1", [1, 4, 4], DType::F32);
    model.visit_mut(&mut |name, t, _| {
        if name == "layer1.0.bn1.running_mean" {
            t.update::<f32>(|values| values[0] = f32::NAN);
        }
    });
    let error = Packed::new(&model).err().unwrap().to_string();
    assert_eq!(error, "model basenet-small-k1: layer1.0.bn1.running_mean is not finite");
}

#[test]
fn every_corruption_is_an_error() {
    let model = trained("boolnet-small-k4", [1, 4, 4], DType::F32);
    let bytes = Packed::new(&model).unwrap().to_bytes().unwrap();
    assert!(Packed::is_packed(&bytes) && !Packed::is_packed(b"something else"));
    assert!(!Packed::is_packed(&crate::Archive::of(model.state_dict()).to_bytes().unwrap()));
    for cut in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Packed::from_bytes(&bytes[..cut]).is_err());
    }
    let swap = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        Packed::from_bytes(&bytes).err().unwrap_or_else(|| panic!("{to} is accepted")).to_string()
    };
    for (from, to, said) in [
        ("version=2", "version=1", "version 2 can be read"),
        ("boolnet-small-k4", "boolnet-small-k3", "there is no such network"),
        ("boolnet-small-k4", "boolnet-small-k1", "is I32 [4, 32]; I32 [1, 32] is needed"),
        ("input=1x4x4", "input=1x5x4", "does not take such an input"),
        ("input=1x4x4", "input=1xxx4", "the input is not CxHxW"),
        ("classes=10", "classes=11", "head.fc"),
        ("width=1", "width=9", "does not have the filters of width 9"),
        ("dtype=f32", "dtype=f64", "is F32"),
        ("layer2.0.conv2.bits", "layer2.0.conv9.bits", "layer2.0.conv2.bits is missing"),
    ] {
        let error = swap(from, to);
        assert!(error.contains(said), "{to}: {error}");
    }
    // Any bit of the tensors, of which most are as good as their opposites.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in (header..bytes.len()).step_by(61).chain([header, bytes.len() - 1]) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(Packed::from_bytes(&flipped).is_err(), "byte {at}");
    }
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let error = Packed::from_bytes(&flipped).err().unwrap().to_string();
    assert!(error.contains("does not have its checksum"), "{error}");
    // A bit past the end of a filter of 288 in five words.
    let packed = Packed::new(&model).unwrap();
    let row = packed.blocks[0].1.conv1.groups[0].rows();
    let first: Vec<u8> = row[..5].iter().flat_map(|w| w.to_le_bytes()).collect();
    let at = bytes.windows(first.len()).position(|w| w == first).unwrap();
    let mut dirty = bytes.clone();
    dirty[at + 39] = 1;
    let error = Packed::from_bytes(&dirty).err().unwrap().to_string();
    assert!(error.contains("bits past the first 288 of a row are not 0"), "{error}");
}

#[test]
fn an_attack_is_an_error() {
    let packed = Packed::new(&trained("basenet-small-k1", [1, 4, 4], DType::F32)).unwrap();
    let packed = Packed::from_bytes(&packed.to_bytes().unwrap()).unwrap();
    let batch = crate::Batch::new(Tensor::normal([2, 1, 4, 4], DType::F32, Key::new(1)), vec![0, 1]);
    let loss = crate::BatchLoss::new(packed.into_model().unwrap(), batch);
    let error = crate::Attack::l2(0.1).inputs(&loss).err().unwrap().to_string();
    assert!(error.contains("has no gradient by its inputs"), "{error}");
}
