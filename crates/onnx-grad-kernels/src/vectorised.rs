//! Loops compiled for what the machine can do.

/// A function over slices of lifetime `'a`, compiled once more with AVX2 and FMA
/// where the machine has them.
///
/// It is a struct and not a closure that is handed to `pulp`: a closure is not
/// sure to be inlined into the function that has the instructions.
macro_rules! vectorised {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),+ $(,)?) $body:block) => {
        $(#[$doc])*
        $visibility fn $name<'a>($($argument: $type),+) {
            struct Loop<'a> {
                $($argument: $type),+
            }

            impl pulp::NullaryFnOnce for Loop<'_> {
                type Output = ();

                #[inline(always)]
                fn call(self) {
                    let Self { $($argument),+ } = self;
                    $body
                }
            }

            pulp::Arch::new().dispatch(Loop { $($argument),+ });
        }
    };
}

pub(crate) use vectorised;
