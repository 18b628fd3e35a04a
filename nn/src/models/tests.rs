use super::*;

fn make(name: &str, input: [usize; 3], width: usize) -> Result<Model, Error> {
    build(name, input, 10, width, Key::new(1), DType::F32)
}

#[test]
fn every_name_builds_and_its_plan_is_what_forward_gives() {
    for name in MODELS.iter().map(|row| row.name).filter(|&name| name != "resnet110") {
        let input = match name {
            "resnet18" | "resnet34" | "resnet50" => [3, 32, 35],
            name if name.contains("net18-") => [3, 32, 64],
            "pointnet" | "pointnet-vanilla" => [3, 20, 1],
            _ => [3, 14, 16],
        };
        let mut model = make(name, input, 1).unwrap();
        let [c, h, w] = input;
        let x = Tensor::normal([2, c, h, w], DType::F32, Key::new(2));
        let y = model.forward(&x, &mut Context::train(Key::new(0)));
        assert_eq!(*y.shape(), [2, 10], "{name}");
        assert!(y.is_finite());
        let summary = model.summary();
        assert_eq!(**summary.output().unwrap(), [1, 10]);
        assert_eq!(summary.parameters(), model.parameter_count());
        let y = model.detached().forward(&x, &mut Context::eval());
        assert!(!y.is_tracked() && y.is_finite());
    }
}

#[test]
fn sizes_are_the_published_ones() {
    // He et al. 2016, table 6: 0.27, 0.46, 0.66, 0.85, 1.7 million.
    for (name, millions) in
        [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85), ("resnet110", 1.73)]
    {
        let count = make(name, [3, 32, 32], 1).unwrap().parameter_count() as f64 / 1e6;
        assert!((count - millions).abs() < 0.006, "{name}: {count}");
    }
    // A 3x3 conv from 3 to 16 channels on 32 x 32: 2 * 27 * 16 * 1024 operations.
    let rows = make("resnet20", [3, 32, 32], 1).unwrap().summary().rows;
    assert_eq!((rows[0].parameters, rows[0].flops), (432, 884_736));
}

#[test]
fn names_of_the_state_dict() {
    let names = |name: &str, input| -> Vec<String> {
        make(name, input, 1).unwrap().state_dict().into_iter().map(|(name, _)| name).collect()
    };
    let lenet = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"];
    let fc = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];
    assert_eq!(names("lenet", [1, 28, 28]), [lenet, fc].concat());
    let cnn = names("cnn6", [3, 32, 32]);
    assert_eq!(
        cnn[..6],
        [
            "conv1_1.weight",
            "bn1_1.weight",
            "bn1_1.bias",
            "bn1_1.running_mean",
            "bn1_1.running_var",
            "conv1_2.weight"
        ]
    );
    assert_eq!(cnn[cnn.len() - 4..], fc);
    assert_eq!(cnn.len(), 6 * 5 + 4);
    let resnet = names("resnet20", [3, 32, 32]);
    for name in ["conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "fc.bias"] {
        assert!(resnet.iter().any(|n| n == name), "{name}");
    }
    assert_eq!(resnet.len(), 19 * 5 + 2);
}

#[test]
fn shapes_follow_the_width() {
    let model = make("cnn9", [3, 32, 32], 4).unwrap();
    let shape =
        |name: &str| model.state_dict().into_iter().find(|(n, _)| n == name).unwrap().1.shape().to_vec();
    assert_eq!(shape("conv1_1.weight"), [64, 3, 3, 3]);
    assert_eq!(shape("conv3_3.weight"), [256, 256, 3, 3]);
    assert_eq!(shape("fc1.weight"), [256, 4096]);
    assert_eq!(shape("fc2.weight"), [10, 256]);
}

#[test]
fn roles() {
    let roles = |name: &str| -> Vec<(String, Role)> {
        make(name, [3, 32, 32], 1).unwrap().weights().into_iter().map(|w| (w.name, w.role)).collect()
    };
    let cnn = roles("cnn9");
    assert_eq!(cnn.len(), 11);
    assert!(cnn[..9].iter().all(|(_, role)| *role == Role::Conv));
    assert_eq!(cnn[9..], [("fc1.weight".into(), Role::Hidden), ("fc2.weight".into(), Role::Classifier)]);
    assert_eq!(roles("resnet20").last().unwrap(), &("fc.weight".into(), Role::Classifier));
    assert_eq!(
        roles("mlp").iter().map(|(_, r)| *r).collect::<Vec<_>>(),
        [Role::Hidden, Role::Hidden, Role::Classifier]
    );
}

#[test]
fn a_weight_depends_on_seed_and_name_alone() {
    let weight = |model: Model, name: &str| {
        model.state_dict().into_iter().find(|(n, _)| n == name).unwrap().1.to_vec::<f32>()
    };
    let a = weight(make("cnn6", [3, 32, 32], 1).unwrap(), "conv1_1.weight");
    assert_eq!(a, weight(make("cnn15", [3, 16, 16], 1).unwrap(), "conv1_1.weight"));
    assert_ne!(a[..9], weight(make("cnn6", [3, 32, 32], 1).unwrap(), "conv1_2.weight")[..9]);
}

#[test]
fn mistakes_are_explained() {
    for (name, input, width, part) in [
        ("resnet22", [3, 32, 32], 1, "did you mean resnet20?"),
        ("LeNet", [3, 32, 32], 1, "did you mean lenet?"),
        ("transformer", [3, 32, 32], 1, "there is no model \"transformer\" (there are lenet, mlp"),
        ("cnn9", [3, 32, 32], 0, "model cnn9: width is 0; at least 1 is needed"),
        ("cnn9", [0, 32, 32], 1, "image channels is 0"),
        ("mlp", [3, 32, 0], 1, "image width is 0"),
        ("cnn9", [3, 7, 32], 1, "does not take images of 7 x 32: pool3 (MaxPool2d 2x2): input [1, 64, 1, 8]"),
        ("lenet", [1, 3, 3], 1, "pool2 (MaxPool2d 2x2)"),
        (
            "resnet18",
            [3, 31, 64],
            1,
            "images of 31 x 64: it divides both by 32, so that 32 x 32 is the least",
        ),
        ("pointnet", [3, 32, 32], 1, "takes point clouds, 3 x P x 1, not images of 3 x 32 x 32"),
    ] {
        let error = make(name, input, width).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(build("mlp", [1, 2, 2], 0, 1, Key::new(0), DType::F32).is_err());
    let error = make("resnet20", [3, 32, 32], 1).unwrap().check(&[1, 32, 32]).unwrap_err().to_string();
    assert!(error.starts_with("conv1 (Conv2d): input [1, 1, 32, 32], weight [16, 3, 3, 3]: "), "{error}");
}

#[test]
fn weights_know_the_stride_of_their_layer() {
    let model = build("resnet20", [3, 32, 32], 10, 1, Key::new(1), DType::F32).unwrap();
    let halving: Vec<String> =
        model.weights().into_iter().filter(|w| w.stride == [2, 2]).map(|w| w.name).collect();
    assert_eq!(halving, ["layer2.0.conv1.weight", "layer3.0.conv1.weight"]);
    assert_eq!(model.weights().iter().filter(|w| w.stride == [1, 1]).count(), 18);
}

#[test]
fn networks_without_batch_norm_keep_the_size_of_activations() {
    for (name, input) in [("vgg11", [3, 32, 32]), ("resnet18-nobn", [3, 32, 32]), ("vgg11", [1, 8, 8])] {
        let mut model = build(name, input, 10, 1, Key::new(1), DType::F32).unwrap();
        let [c, h, w] = input;
        let x = Tensor::normal([4, c, h, w], DType::F32, Key::new(2));
        let y = model.forward(&x, &mut Context::eval());
        let size = (&y * &y).mean(..).item().sqrt();
        assert!((0.1..10.0).contains(&size), "{name}: outputs of size {size}");
        assert!(model.state_dict().iter().all(|(name, _)| !name.contains("running")), "{name}");
    }
    let count = |name: &str| make(name, [3, 32, 32], 1).unwrap().parameter_count();
    // torchvision's features of VGG-11: 9,220,480; and 512 x 512 twice, 512 x 10.
    assert_eq!(count("vgg11"), 9_220_480 + 2 * (512 * 512 + 512) + 5_130);
    // ResNet-18 for CIFAR has 11,173,962 with batch norm: two numbers a channel there, one bias here.
    assert_eq!(count("resnet18-nobn"), 11_173_962 - 4_800);
    let names: Vec<String> =
        make("vgg11", [3, 32, 32], 1).unwrap().state_dict().into_iter().map(|(name, _)| name).collect();
    for name in ["features.0.weight", "features.18.bias", "classifier.3.weight", "classifier.6.bias"] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
}
