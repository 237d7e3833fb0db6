//! Encoders of every architecture: what they refuse, and what their files hold.

use super::*;

const SMALL: Vit = Vit { patch: 4, dim: 16, depth: 2, heads: 2 };
const VIEW: view::Settings =
    view::Settings { size: 32, pixel_mm: 2.5, plane: view::Plane::Axial, slices: None };
const BOX: view::Settings = view::Settings {
    size: 32,
    pixel_mm: 2.5,
    slices: Some(view::Slices { depth: 16, slice_mm: 2.5, form: view::Form::Box }),
    plane: view::Plane::Axial,
};

fn settings(architecture: Architecture) -> Settings {
    Settings {
        architecture,
        projection: 8,
        projector: Projector::Mlp,
        own: Own::default(),
        weights: None,
        train_last: None,
    }
}

fn vit(vit: Vit) -> Settings {
    settings(Architecture::Vit(vit))
}

fn open(architecture: Architecture, view: &view::Settings) -> Encoder {
    Encoder::open(&settings(architecture), view).unwrap()
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    assert!(Encoder::open(&vit(SMALL), &VIEW).is_ok());
    assert!(Encoder::open(&vit(SMALL), &view::Settings { size: 18, ..VIEW }).is_err());
    assert!(Encoder::open(&vit(Vit { heads: 3, ..SMALL }), &VIEW).is_err());
    assert!(Encoder::open(&vit(Vit { depth: 0, ..SMALL }), &VIEW).is_err());
    assert!(Encoder::open(&vit(Vit { dim: 1 << 40, ..SMALL }), &VIEW).is_err());
}

#[test]
fn boxes_and_planes_are_told_apart() {
    let refused = Encoder::open(&vit(SMALL), &BOX).unwrap_err();
    assert!(refused.to_string().contains("received view.depth = 16"), "{refused}");
    let over_boxes = Architecture::ResNet(ResNet::resnet18(3));
    let refused = Encoder::open(&settings(over_boxes), &VIEW).unwrap_err();
    assert!(refused.to_string().contains("received view.depth = 1"), "{refused}");
}

#[test]
fn the_slices_of_a_slab_are_channels() {
    let slab = view::Settings {
        slices: Some(view::Slices { depth: 5, slice_mm: 2.5, form: view::Form::Slab }),
        ..VIEW
    };
    for (architecture, first) in [
        (Architecture::Vit(SMALL), vec![5 * 4 * 4, 16]),
        (Architecture::ResNet(ResNet::resnet18(2)), vec![64, 5, 7, 7]),
        (Architecture::ConvNextTiny, vec![96, 5, 4, 4]),
    ] {
        let encoder = open(architecture, &slab);
        assert_eq!(encoder.layout().parameters()[0].shape, first);
    }
    let refused = Encoder::open(&settings(Architecture::ResNet(ResNet::resnet18(3))), &slab);
    assert!(refused.unwrap_err().to_string().contains("view.as = \"box\""));
}

#[test]
fn the_networks_have_the_sizes_of_their_papers() {
    // parameters of the backbones without their classifiers, for one channel in
    // place of three: torchvision's and timm's counts less what the first layer
    // has for the other two
    let millions = |architecture, view| {
        let encoder = open(architecture, view);
        let projector = encoder.dim() * encoder.dim() + encoder.dim() + encoder.dim() * 8 + 8;
        (encoder.layout().len() - projector, encoder.dim())
    };
    assert_eq!(millions(Architecture::ResNet(ResNet::resnet18(2)), &VIEW), (11_170_240, 512));
    assert_eq!(millions(Architecture::ResNet(ResNet::resnet50()), &VIEW), (23_501_760, 2048));
    assert_eq!(millions(Architecture::ConvNextTiny, &VIEW), (27_817_056, 768));
    assert_eq!(millions(Architecture::ResNet(ResNet::resnet18(3)), &BOX), (33_160_000, 512));
    // fixed positions and mean pooling: no class token, no position to learn
    assert_eq!(millions(Architecture::Vit(Vit::tiny(8)), &VIEW), (5_351_232, 192));
    assert_eq!(millions(Architecture::Vit(Vit::small(8)), &VIEW), (21_319_296, 384));
}

#[test]
fn the_seed_decides_the_weights() {
    let encoder = open(Architecture::Vit(SMALL), &VIEW);
    let first = encoder.initial_weights(1);
    assert_eq!(first, encoder.initial_weights(1));
    assert_ne!(first, encoder.initial_weights(2));
    assert_eq!(first.trained.len(), encoder.layout().len());
}

#[test]
fn the_file_carries_its_metadata_and_any_batch() {
    for (architecture, view, dim) in [
        (Architecture::Vit(SMALL), &VIEW, 16),
        (Architecture::ResNet(ResNet::resnet18(2)), &VIEW, 512),
        (Architecture::ResNet(ResNet::resnet18(3)), &BOX, 512),
        (Architecture::ConvNextTiny, &VIEW, 768),
    ] {
        let encoder = open(architecture, view);
        let metadata = vec![(RECIPE.to_owned(), "as tested".to_owned())];
        let bytes = encoder.export(&encoder.initial_weights(1), metadata).unwrap();
        let file = model::read(&bytes).unwrap();
        assert_eq!(file.metadata(RECIPE), Some("as tested"));
        assert_eq!(file.output_shape(EMBEDDING), Some(vec![None, Some(dim)]));
        assert_eq!(file.output_shape(PROJECTION), Some(vec![None, Some(8)]));
    }
}

#[test]
fn places_are_kept_apart_and_told_in_the_file() {
    let of = |patch, dim| Settings {
        projector: Projector::None,
        ..settings(Architecture::Local(Local { patch, dim }))
    };
    for (patch, dim) in [(1, 1), (4, 16), (16, 3)] {
        let encoder = Encoder::open(&of(patch, dim), &VIEW).unwrap();
        let places = (32 / patch) * (32 / patch);
        assert_eq!((encoder.places(), encoder.dim()), (places, places * dim));
        assert_eq!(encoder.projection(), encoder.dim());
        let bytes = encoder.export(&encoder.initial_weights(1), Vec::new()).unwrap();
        let file = model::read(&bytes).unwrap();
        assert_eq!(file.metadata(PLACES), Some(places.to_string().as_str()));
        for output in [EMBEDDING, PROJECTION] {
            assert_eq!(file.output_shape(output), Some(vec![None, Some(places * dim)]));
        }
    }
    for (patch, dim, words) in [
        (3, 16, "received 3 and 32"),
        (64, 16, "received 64 and 32"),
        (0, 16, "received 0 and 32"),
        (4, 0, "dim = 0"),
        (1, 5, "dim times places = 5120"),
    ] {
        let refused = Encoder::open(&of(patch, dim), &VIEW).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn the_last_blocks_alone_are_trained() {
    let resnet = Architecture::ResNet(ResNet::resnet18(2));
    let all = open(resnet.clone(), &VIEW);
    let last = |train_last| {
        Encoder::open(&Settings { train_last: Some(train_last), ..settings(resnet.clone()) }, &VIEW)
    };
    let two = last(2).unwrap();
    let names = |encoder: &Encoder| -> Vec<String> {
        encoder.layout().parameters().iter().map(|p| p.name.clone()).collect()
    };
    assert_eq!(names(&two)[0], "layer4.0.conv1.weight");
    assert!(names(&two).iter().all(|n| n.starts_with("layer4.") || n.starts_with("projector")));
    assert_eq!(two.layout().len() + two.frozen().len(), all.layout().len());
    let none = last(0).unwrap();
    assert!(names(&none).iter().all(|name| name.starts_with("projector")), "{:?}", names(&none));
    assert!(matches!(last(9).unwrap_err(), EncoderError::Blocks { asked: 9, blocks: 8 }));
    // freezing changes no draw
    let (all_weights, two_weights) = (all.initial_weights(3), two.initial_weights(3));
    let name = "layer4.1.conv2.weight";
    let start =
        |encoder: &Encoder| encoder.layout().offset(encoder.layout().find(name).unwrap()).unwrap();
    assert_eq!(all_weights.trained[start(&all)], two_weights.trained[start(&two)]);
}

#[test]
fn tensors_of_a_file_may_have_the_names_of_the_encoders_own() {
    let mut g = Graph::new();
    let mut y = g.input("image", ElementType::F32, &[4, 1, 32, 32]);
    for (name, n) in [(INPUT, 1024), (EMBEDDING, 6), (PROJECTION, 6)] {
        y = g.flatten(y, 1).unwrap();
        let w = g.initializer_f32(name, &[n, 6], vec![0.1; n * 6]).unwrap();
        y = g.matmul(y, w).unwrap();
    }
    g.output("y", y);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.onnx");
    std::fs::write(&path, model::write(&g, &model::WriteOptions::default()).unwrap()).unwrap();
    let foreign = Architecture::Imported { path: path.clone(), output: None };
    let encoder = open(foreign.clone(), &VIEW);
    let weights = encoder.initial_weights(1);
    let exported = encoder.export(&weights, Vec::new()).unwrap();
    // either file gives the weights back
    for bytes in [std::fs::read(&path).unwrap(), exported] {
        let path = folder.path().join("earlier.onnx");
        std::fs::write(&path, bytes).unwrap();
        let resumed = Settings { weights: Some(path), ..settings(foreign.clone()) };
        let resumed = Encoder::open(&resumed, &VIEW).unwrap().initial_weights(1);
        assert_eq!(resumed.trained[..6156], weights.trained[..6156]);
    }
}

#[test]
fn weights_of_an_earlier_run_are_taken_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.onnx");
    let encoder = open(Architecture::ResNet(ResNet::resnet18(2)), &VIEW);
    let earlier = encoder.initial_weights(5);
    std::fs::write(&path, encoder.export(&earlier, Vec::new()).unwrap()).unwrap();
    let resumed = Settings {
        weights: Some(path.clone()),
        ..settings(Architecture::ResNet(ResNet::resnet18(2)))
    };
    let resumed = Encoder::open(&resumed, &VIEW).unwrap();
    assert_eq!(resumed.initial_weights(6), earlier);
    assert_ne!(resumed.source_digest(), "");
    assert_eq!(encoder.source_digest(), "");
    // another network has other names
    let other = Settings { weights: Some(path), ..settings(Architecture::ConvNextTiny) };
    let refused = Encoder::open(&other, &VIEW).unwrap_err();
    assert!(matches!(refused, EncoderError::Weights { .. }), "{refused}");
}
