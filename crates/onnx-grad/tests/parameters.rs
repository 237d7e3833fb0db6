//! The flat buffer: places, parts and blocks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{ElementType, Error, Graph, Layout, Parameter, block_of, gradient, model};
use reference::Array;
use runtime::Model;

#[test]
fn layout_places_decay_first() {
    let mut layout = Layout::new();
    assert!(layout.is_empty());
    assert_eq!(layout.push(Parameter::new("bias", &[4], false)).unwrap(), 0);
    assert_eq!(layout.push(Parameter::new("weight", &[2, 3], true)).unwrap(), 1);
    assert_eq!(layout.push(Parameter::new("scale", &[], false)).unwrap(), 2);
    assert_eq!(layout.push(Parameter::new("last", &[1, 2], true)).unwrap(), 3);
    let error = layout.push(Parameter::new("bias", &[1], true)).unwrap_err();
    assert!(matches!(error, Error::DuplicateName { name } if name == "bias"));
    assert_eq!((layout.len(), layout.decayed()), (13, 8));
    let offsets: Vec<_> = (0..5).map(|i| layout.offset(i)).collect();
    assert_eq!(offsets, [Some(8), Some(0), Some(12), Some(6), None]);
    assert_eq!(layout.find("scale"), Some(2));

    let flat: Vec<f32> = (0..13u8).map(f32::from).collect();
    let mut g = Graph::new();
    let input = g.input("flat", ElementType::F32, &[13]);
    let bound = layout.bind_flat(&mut g, input).unwrap();
    let stored = layout.bind_initializers(&mut g, &flat).unwrap();
    for (i, parameter) in layout.parameters().iter().enumerate() {
        assert_eq!(g.shape(bound[i]), parameter.shape);
        let difference = g.sub(bound[i], stored[i]).unwrap();
        g.output(&format!("difference{i}"), difference);
    }
    let again = layout.flatten(&mut g, &stored).unwrap();
    g.output("again", again);
    let error = layout.flatten(&mut g, &stored[..3]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }));
    let error = layout.bind_initializers(&mut g, &flat[1..]).unwrap_err();
    assert!(matches!(error, Error::Length { required: 13, received: 12, .. }));

    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let flat = Array::from_fn(&[13], |i| i[0] as f64);
    let outputs = Model::load(&bytes).run(&[("flat", &flat)]);
    assert_eq!(outputs["again"], flat);
    for i in 0..4 {
        assert!(outputs[&format!("difference{i}")].data.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn blocks_are_told_from_names() {
    for (name, block) in [
        ("layer4.1.conv2.weight", "layer4.1"),
        ("layer1.0.downsample.0.weight", "layer1.0"),
        ("blocks.11.attn.qkv.weight", "blocks.11"),
        ("features.denseblock4.denselayer16.norm1.weight", "features.denseblock4.denselayer16"),
        ("encoder.layers.encoder_layer_3.mlp.0.weight", "encoder.layers.encoder_layer_3"),
        ("stages.2.blocks.8.gamma", "stages.2"),
        ("model/layer2/0/conv1/weight", "model/layer2/0"),
        ("model/layer2.0/conv1.weight", "model/layer2.0"),
        ("patch_embed.proj.weight", ""),
        ("conv1.weight", ""),
        ("3.weight", ""),
        ("weight", ""),
        ("onnx::Conv_123", ""),
        (".1..", ".1"),
        ("", ""),
    ] {
        assert_eq!(block_of(name), block, "{name}");
    }
}

/// A small network's parameters, in the order of an export.
fn network() -> Layout {
    let mut layout = Layout::new();
    for (name, size, decay) in [
        ("stem.weight", 2, true),
        ("layer1.0.conv.weight", 3, true),
        ("layer1.0.norm.weight", 1, false),
        ("layer1.1.conv.weight", 2, true),
        ("between", 1, false),
        ("layer2.0.conv.weight", 2, true),
        ("layer1.1.late.weight", 1, true),
        ("fc.weight", 3, true),
        ("fc.bias", 1, false),
    ] {
        layout.push(Parameter::new(name, &[size], decay)).unwrap();
    }
    layout
}

#[test]
fn blocks_stand_in_the_order_of_appearance() {
    let layout = network();
    assert_eq!(layout.blocks(), [("layer1.0", 1), ("layer1.1", 3), ("layer2.0", 5)]);
    assert!(Layout::new().blocks().is_empty());
}

#[test]
fn parts_of_a_buffer_come_out_and_go_back() {
    let layout = network();
    let (trained, frozen) = layout.split(|i, _| i >= 3);
    let names =
        |part: &Layout| part.parameters().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&frozen), ["stem.weight", "layer1.0.conv.weight", "layer1.0.norm.weight"]);
    assert_eq!(names(&trained), &names(&layout)[3..]);
    assert_eq!((trained.len(), trained.decayed(), frozen.len()), (10, 8, 6));

    // decayed: stem 0 1, layer1.0 2 3 4, layer1.1 5 6, layer2.0 7 8, late 9,
    // fc 10 11 12; then norm 13, between 14, bias 15
    let flat: Vec<f32> = (0..16u8).map(f32::from).collect();
    let taken = layout.take(&flat, &trained).unwrap();
    assert_eq!(taken, [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0, 15.0]);
    assert_eq!(layout.take(&flat, &frozen).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 13.0]);
    let mut changed = flat.clone();
    let doubled: Vec<f32> = taken.iter().map(|x| 2.0 * x).collect();
    layout.put(&mut changed, &trained, &doubled).unwrap();
    let expected: Vec<f32> =
        flat.iter().map(|&x| if taken.contains(&x) { 2.0 * x } else { x }).collect();
    assert_eq!(changed, expected);

    assert!(matches!(layout.take(&flat[1..], &trained), Err(Error::Length { .. })));
    assert!(matches!(layout.put(&mut changed, &trained, &flat), Err(Error::Length { .. })));
    let missing = |result| matches!(result, Err(Error::MissingParameter { name }) if name == "x");
    let mut other = Layout::new();
    other.push(Parameter::new("x", &[1], true)).unwrap();
    assert!(missing(layout.take(&flat, &other)));
    let mut with = network();
    with.push(Parameter::new("x", &[2], true)).unwrap();
    assert!(missing(with.take(&[0.0; 18], &other)));
}

#[test]
fn frozen_parameters_are_weights_of_the_graph() {
    let layout = network();
    let (trained, frozen) = layout.split(|i, _| i >= 3);
    let whole = Array::random(&[16], 1);
    let flat: Vec<f32> = whole.data.iter().map(|&x| x as f32).collect();

    // the loss is the sum of every parameter's square, once as a whole, once in parts
    let run = |layout: &Layout, split: Option<(&Layout, &Layout)>| {
        let mut g = Graph::new();
        let part = split.map_or(layout, |(trained, _)| trained);
        let params = g.input("params", ElementType::F32, &[part.len()]);
        let bound = part.bind_flat(&mut g, params).unwrap();
        let all = match split {
            Some((trained, frozen)) => {
                let stored = layout.take(&flat, frozen).unwrap();
                let stored = frozen.bind_initializers(&mut g, &stored).unwrap();
                layout.join(&[(trained, &bound), (frozen, &stored)]).unwrap()
            }
            None => bound.clone(),
        };
        let parts: Vec<_> = all
            .iter()
            .zip(1u8..)
            .map(|(&x, i)| {
                let square = g.reduce_sum_square(x, &[0], false).unwrap();
                let factor = g.scalar(f32::from(i));
                g.mul(square, factor).unwrap()
            })
            .collect();
        let loss = g.sum(&parts).unwrap();
        let grads = gradient(&mut g, loss, &bound).unwrap();
        let grads = part.flatten(&mut g, &grads).unwrap();
        g.output("loss", loss);
        g.output("grads", grads);
        let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
        let fed: Vec<f64> = layout.take(&flat, part).unwrap().into_iter().map(f64::from).collect();
        Model::load(&bytes).run(&[("params", &Array::new(&[part.len()], &fed))])
    };
    let (one, two) = (run(&layout, None), run(&layout, Some((&trained, &frozen))));
    assert_eq!(one["loss"], two["loss"]);
    let grads: Vec<f32> = one["grads"].data.iter().map(|&x| x as f32).collect();
    let taken = layout.take(&grads, &trained).unwrap();
    assert_eq!(two["grads"].data, taken.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());

    let mut g = Graph::new();
    let x = g.scalar(1.0);
    let error = layout.join(&[(&trained, &[x; 6])]).unwrap_err();
    assert!(matches!(error, Error::MissingParameter { name } if name == "stem.weight"));
}
