//! Blocks of a model, told from the names of its parameters.

use super::Layout;

/// The block that a parameter belongs to: the components of its name, which `.`
/// or `/` part, without the last two (the parameter and the module that owns
/// it), up to the last one that ends in a digit; empty where none does.
///
/// # Examples
/// ```
/// # use onnx_grad::block_of;
/// assert_eq!(block_of("layer4.1.conv2.weight"), "layer4.1");
/// assert_eq!(block_of("blocks.11.attn.qkv.weight"), "blocks.11");
/// assert_eq!(block_of("conv1.weight"), "");
/// ```
pub fn block_of(name: &str) -> &str {
    let mut block = name;
    for _ in 0..2 {
        block = owner(block);
    }
    while !block.is_empty() && !block.ends_with(|c: char| c.is_ascii_digit()) {
        block = owner(block);
    }
    block
}

/// A name without its last component.
fn owner(name: &str) -> &str {
    name.rfind(['.', '/']).map_or("", |end| &name[..end])
}

impl Layout {
    /// The blocks in the order in which they appear, each with the index of its
    /// first parameter.
    ///
    /// To train the last n of them means the parameters from the first one of
    /// the n-th last block on, a head after the blocks included:
    ///
    /// ```
    /// # use onnx_grad::{Layout, Parameter};
    /// # let mut layout = Layout::new();
    /// # for name in ["stem.weight", "layer1.0.conv.weight", "layer1.1.conv.weight", "fc.bias"] {
    /// #     layout.push(Parameter::new(name, &[1], true))?;
    /// # }
    /// let n = 1;
    /// let first = layout.blocks().into_iter().nth_back(n - 1).map(|(_, index)| index);
    /// let (trained, frozen) = layout.split(|i, _| first.is_some_and(|first| i >= first));
    /// # assert_eq!(trained.find("layer1.1.conv.weight"), Some(0));
    /// # assert_eq!((trained.len(), frozen.len()), (2, 2));
    /// # Ok::<(), onnx_grad::Error>(())
    /// ```
    pub fn blocks(&self) -> Vec<(&str, usize)> {
        let mut blocks: Vec<(&str, usize)> = Vec::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            let block = block_of(&parameter.name);
            if !block.is_empty() && blocks.iter().all(|(known, _)| *known != block) {
                blocks.push((block, index));
            }
        }
        blocks
    }
}
