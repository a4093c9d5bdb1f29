//! Names of variants, written once.

/// An enum without fields whose variants have names in documents: `name()`, `ALL`, and what serde writes.
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $kind:ident {
            $($(#[$doc:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$about])*
        pub enum $kind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $kind {
            /// All of them, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in documents.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    use crate::plan::ReasonCode;

    #[test]
    fn serde_writes_and_reads_the_same_names() {
        for code in ReasonCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert_eq!(serde_json::from_value::<ReasonCode>(code.name().into()).unwrap(), *code);
        }
    }
}
