//! Einstein summation of drawn equations, against a naive sum over all axes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use draw::cases;
use onnx_grad::{ElementType, Error, Graph, model};
use problem::check;
use proptest::prelude::*;
use reference::Array;

/// The sum of products with every axis under a letter; one of size one broadcasts.
fn naive(terms: &[&str], result: &str, x: &[Array]) -> Array {
    let mut letters: Vec<char> = result.chars().collect();
    letters.extend(terms.concat().chars());
    let mut seen = Vec::new();
    letters.retain(|c| {
        !seen.contains(c) && {
            seen.push(*c);
            true
        }
    });
    let size = |c: &char| {
        let own = |(term, x): (&&str, &Array)| term.find(*c).map(|axis| x.shape[axis]);
        terms.iter().zip(x).filter_map(own).max().unwrap()
    };
    let sizes: Vec<usize> = letters.iter().map(size).collect();
    let place = |c: char| letters.iter().position(|l| *l == c).unwrap();
    let places: Vec<Vec<usize>> =
        terms.iter().map(|term| term.chars().map(place).collect()).collect();
    let products = Array::from_fn(&sizes, |at| {
        let factor = |(own, x): (&Vec<usize>, &Array)| {
            let index: Vec<usize> =
                own.iter().zip(&x.shape).map(|(&place, &n)| at[place] % n).collect();
            x.at(&index)
        };
        places.iter().zip(x).map(factor).product()
    });
    let kept = result.len();
    products.sum(&(kept..letters.len()).collect::<Vec<_>>()).reshape(&sizes[..kept])
}

/// Some of the first four letters in some order.
fn letters() -> impl Strategy<Value = String> {
    prop::sample::subsequence(vec!['a', 'b', 'c', 'd'], 0..=4)
        .prop_shuffle()
        .prop_map(|letters| letters.into_iter().collect())
}

/// A term with the axes of an ellipsis, `X` and `Y`, put in at a place.
fn with(term: &str, place: usize, ellipsis: &str) -> String {
    let place = place.min(term.len());
    [&term[..place], ellipsis, &term[place..]].concat()
}

#[test]
fn drawn_equations() {
    let terms = (letters(), letters(), letters());
    let size = prop_oneof![1 => Just(1), 4 => Just(2), 2 => Just(3)];
    let sizes = prop::collection::vec(size, 6);
    let ones = prop::collection::vec(prop::bool::weighted(0.15), 6);
    let ellipsis = (0..=2usize, 0..=2usize, any::<bool>(), 0..=3usize);
    proptest!(cases(64), |(
        (first, second, result) in terms, sizes in sizes, ones in ones,
        (left, right, both, place) in ellipsis, narrow: bool, one in prop::bool::weighted(0.25), seed: u64,
    )| {
        let axes = |count: usize| &"XY"[2 - count..];
        let dots = |count: usize| if both || count > 0 { "..." } else { "" };
        let right = if one { 0 } else { right };
        let known = |c: &char| first.contains(*c) || (!one && second.contains(*c));
        let result: String = result.chars().filter(known).collect();
        let widest = left.max(right);
        let equation = [
            with(&first, place, dots(left)),
            if one { String::new() } else { format!(",{}", with(&second, 1, dots(right))) },
            format!("->{}", with(&result, place, dots(widest))),
        ].concat();
        let spelled = [with(&first, place, axes(left)), with(&second, 1, axes(right))];
        let spelled = &spelled[..if one { 1 } else { 2 }];
        let result = with(&result, place, axes(widest));
        let size = |c: char, may_be_one: bool| {
            let i = "abcdXY".find(c).unwrap();
            if may_be_one && ones[i] { 1 } else { sizes[i] }
        };
        let x: Vec<Array> = spelled.iter().zip([narrow, !narrow]).zip(0..).map(|((term, one), i)| {
            let shape: Vec<usize> = term.chars().map(|c| size(c, one)).collect();
            Array::random(&shape, seed ^ i)
        }).collect();
        let terms: Vec<&str> = spelled.iter().map(String::as_str).collect();
        check(&x, |g, x| g.einsum(&equation, x), |x| naive(&terms, &result, x));
    });
}

#[test]
fn equations_in_use() {
    for (equation, shapes, terms, result) in [
        ("bhqd,bhkd->bhqk", &[&[2, 3, 4, 5][..], &[2, 3, 2, 5]][..], &["bhqd", "bhkd"][..], "bhqk"),
        ("bhqk,bhkd->bqhd", &[&[2, 3, 4, 2], &[2, 3, 2, 5]], &["bhqk", "bhkd"], "bqhd"),
        ("bte,ef->btf", &[&[2, 3, 4], &[4, 5]], &["bte", "ef"], "btf"),
        ("btf,ef->bte", &[&[2, 3, 4], &[5, 4]], &["btf", "ef"], "bte"),
        ("nctkv,kvw->nctw", &[&[2, 2, 3, 2, 3], &[2, 3, 4]], &["nctkv", "kvw"], "nctw"),
        (" i , i -> ", &[&[4], &[4]], &["i", "i"], ""),
        // without an arrow
        ("ba", &[&[2, 3]], &["ba"], "ab"),
        ("bi,i", &[&[2, 3], &[3]], &["bi", "i"], "b"),
        ("...ij,...jk", &[&[2, 2, 3], &[1, 3, 4]], &["Yij", "Yjk"], "Yik"),
        ("i...,j...", &[&[2, 3], &[4, 3]], &["iY", "jY"], "Yij"),
        ("aB,Bc", &[&[2, 3], &[3, 4]], &["aB", "Bc"], "ac"),
        ("bA", &[&[2, 3]], &["bA"], "Ab"),
        // sums over an ellipsis, and one of no axes
        ("...a->a", &[&[2, 2, 3]], &["XYa"], "a"),
        ("...,a->...a", &[&[], &[3]], &["", "a"], "a"),
    ] {
        let x: Vec<Array> =
            shapes.iter().zip(1..).map(|(shape, seed)| Array::random(shape, seed)).collect();
        check(&x, |g, x| g.einsum(equation, x), |x| naive(terms, result, x));
    }
}

#[test]
fn attention_keeps_its_batch() {
    for (equation, shapes) in [
        ("bhqd,bhkd->bhqk", [&[2, 3, 4, 5][..], &[2, 3, 2, 5]]),
        ("bqhd,bkhd->bhqk", [&[2, 4, 3, 5], &[2, 2, 3, 5]]),
        ("bte,btf->bef", [&[2, 3, 4], &[2, 3, 5]]),
    ] {
        let mut g = Graph::new();
        let x: Vec<_> = shapes
            .iter()
            .zip(["x", "y"])
            .map(|(shape, name)| g.input(name, ElementType::F32, shape))
            .collect();
        let y = g.einsum(equation, &x).unwrap();
        g.output("z", y);
        let options = model::WriteOptions {
            dynamic_batch: Some("batch".to_owned()),
            ..model::WriteOptions::default()
        };
        model::write(&g, &options).unwrap();
    }
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3, 4]);
    let kernel = g.initializer_f32("kernel", &[4, 5], vec![0.5; 20]).unwrap();
    let y = g.einsum("bte,ef->btf", &[x, kernel]).unwrap();
    g.output("z", y);
    let options = model::WriteOptions {
        dynamic_batch: Some("batch".to_owned()),
        ..model::WriteOptions::default()
    };
    model::write(&g, &options).unwrap();
}

#[test]
fn equations_that_do_not_fit() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let i = g.input("i", ElementType::I64, &[2, 3]);
    for (equation, count) in [
        ("ii->i", 1),
        ("ij->ii", 1),
        ("ij->k", 1),
        ("i->i", 1),
        ("ijk->i", 1),
        ("ij,jk->ik", 1),
        ("ij->ij", 2),
        ("ij,ij,ij->ij", 3),
        ("", 0),
        ("", 1),
        ("i1->i", 1),
        ("i.j->i", 1),
        ("....ij->i", 1),
        ("...i...->i", 1),
        ("ij->ij->ij", 1),
        ("é", 1),
    ] {
        let error = g.einsum(equation, &vec![x; count]).unwrap_err();
        assert!(
            matches!(error, Error::Attribute { operator: "Einsum", .. }),
            "{equation}: {error}"
        );
    }
    let error = g.einsum("ij,jk->ik", &[x, x]).unwrap_err();
    assert!(matches!(error, Error::Shape { operator: "Einsum", .. }), "{error}");
    let error = g.einsum("ij->ji", &[i]).unwrap_err();
    assert!(matches!(error, Error::ElementType { operator: "Einsum", .. }), "{error}");
}
